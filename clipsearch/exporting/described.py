"""What is exported of a photo, and how a file is replaced in one step."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clipsearch.errors import ExportError


@dataclass(frozen=True, slots=True)
class TagScore:
    """A tag of a photo; `score` is `None` where a human set it."""

    name: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Described:
    """A photo with what is said of it; `path` round-trips with `os.fsencode`."""

    id: int
    path: str
    taken_at: str | None
    width: int
    height: int
    tags: tuple[TagScore, ...] = ()
    alt_text: str | None = None
    caption_score: float | None = None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a UTF-8 file for writing that takes the place of `path` when the block succeeds.

    Until then, and when the block fails, what was there before stays. Line ends are written
    as they are. A link at `path` stays one; the file that it leads to is replaced.

    Raises:
        ExportError: the file cannot be written, or something other than a file is there.
    """
    target = Path(os.path.realpath(path))
    aside = target.parent / f".clipsearch-{secrets.token_hex(8)}.tmp"
    try:
        mode = _mode(target)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(
            os.open(aside, flags, 0o666), "w", encoding="utf-8", errors="replace", newline=""
        ) as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        raise ExportError(f"{target}: it cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _mode(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ExportError(f"{target}: there is something that is no file; choose another name")
    return stat.S_IMODE(mode)
