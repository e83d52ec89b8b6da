"""Keep, of all that a fuzzer wrote down, the smallest inputs that reach every line."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import Target

Line = tuple[str, int]

_PACKAGES = ("/clipsearch/", "/PIL/")


def merge(
    target: Target, seeds: Iterable[bytes], found: Sequence[Path], corpus: Path, scratch: Path
) -> int:
    """Copy the inputs that reach a line which neither seeds nor corpus do; return how many."""
    reached: set[Line] = set()
    for data in (*seeds, *(path.read_bytes() for path in sorted(corpus.iterdir()))):
        reached |= lines_of(target, data, scratch)
    kept = 0
    for path in sorted(found, key=lambda path: (path.stat().st_size, path.name)):
        data = path.read_bytes()
        lines = lines_of(target, data, scratch)
        if not lines <= reached:
            reached |= lines
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            kept += 1
    return kept


def lines_of(target: Target, data: bytes, scratch: Path) -> set[Line]:
    """Return the lines of clipsearch and Pillow that an input reaches."""
    reached: set[Line] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if event == "call" and not any(package in name for package in _PACKAGES):
            return None
        if event == "line":
            reached.add((name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        target(data, scratch)
    finally:
        sys.settrace(None)
    return reached
