"""Answers that are kept as long as they are true: people and pages ask the same again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MOST_BYTES = 8_000_000
MOST_ANSWERS = 2_000
"""With keys of a fixed size, what surrounds the answers stays below a megabyte."""

LONGEST = 20.0
"""Seconds that an answer is kept at most.

What other processes change in photos and tags shows at once, for the catalogue counts it; an
alt text that they write shows after this time.
"""


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str
    state: Hashable
    until: float


class Answers:
    """The last answers in JSON, by request; each belongs to one state of the library."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0
        self._changes = 0

    def changed(self) -> None:
        """Forget all: something was written."""
        with self._lock:
            self._changes += 1
            self._kept.clear()
            self._bytes = 0

    @property
    def changes(self) -> int:
        """How often something was written: part of the state that an answer belongs to."""
        return self._changes

    def get(self, request: str, state: Hashable) -> str | None:
        """Return the answer to a request if it is kept and the library is still as it was."""
        key = _key(request)
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.state != state or found.until < time.monotonic():
                return None
            self._kept.move_to_end(key)
            return found.text

    def keep(self, request: str, state: Hashable, text: str) -> None:
        """Keep an answer that was worked out while the library was in `state`."""
        key, now = _key(request), time.monotonic()
        with self._lock:
            for gone in [each for each, kept in self._kept.items() if kept.until < now]:
                self._drop(gone)
            self._drop(key)
            self._kept[key] = _Kept(text, state, now + LONGEST)
            self._bytes += len(text)
            while self._bytes > MOST_BYTES or len(self._kept) > MOST_ANSWERS:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= len(old.text)


def _key(request: str) -> bytes:
    return hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=16).digest()
