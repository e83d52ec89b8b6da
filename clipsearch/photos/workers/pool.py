"""The worker processes of one library: started when there is something to decode, and replaced.

A file that ends its worker, or makes it answer nonsense, is tried once more in a new one: it may
have been the machine. What a person is told in the end is a reason like any other that a photo
is not indexed for.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from clipsearch.errors import DecoderError, PhotoError
from clipsearch.photos import decode
from clipsearch.photos.decode import DEFAULT_MAX_PIXELS, Decoded
from clipsearch.photos.workers.messages import Answer, NonsenseError, Refusal, Request
from clipsearch.photos.workers.process import (
    LostError,
    Process,
    StalledError,
    StoppedError,
    own_command,
)

MEMORY = 2 << 30
"""Bytes of address space of a worker."""

SECONDS = 60
"""Seconds that a worker may compute on one file: 300 megapixels take some ten."""

_PATIENCE = 5  # times SECONDS without computing, and a file is stalled: disks may be asleep
_MOST_FILES = 5000  # of one worker: libraries in C lose memory
_MOST_RESIDENT = 256 << 20  # bytes that a worker may keep between two files
_ATTEMPTS = 3  # to start a worker
# A second worker pays only where there is work for as long as it takes to start one.
_START = 0.2
_BESIDE = 2  # workers beyond the threads that index: for a server's thumbnails

_INTERRUPTED = "interrupted"
_KILLED = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT})
_SIGNALS: dict[int, str] = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGBUS: "bus error",
    signal.SIGABRT: "aborted",
    signal.SIGFPE: "arithmetic error",
    signal.SIGILL: "illegal instruction",
}

_Outcome = tuple[Answer, bytearray] | Refusal | LostError | NonsenseError


@dataclass(slots=True)
class _Place:
    """One of the places for a worker, and who has it."""

    process: Process | None = None


class Workers:
    """Processes that decode for `threads` callers at a time, and a few more.

    None runs before the first photo is opened. `memory` is in bytes, `seconds` are of computing
    on one file; `command` starts something else than our own worker.
    """

    def __init__(
        self,
        threads: int,
        *,
        memory: int = MEMORY,
        seconds: int = SECONDS,
        command: Sequence[str] | None = None,
    ) -> None:
        self._most = threads + _BESIDE
        self._memory, self._seconds = memory, seconds
        self._command = command or own_command(memory, seconds)
        self._changed = threading.Condition()
        self._running: set[Process] = set()
        self._idle: list[Process] = []
        self._taken = 0  # places that callers have
        self._ready_since: float | None = None
        self._closed = False
        self._numbers = itertools.count(1)
        # For a library that nobody closes.
        self._finalizer = weakref.finalize(self, _end_all, self._running)

    def close(self) -> None:
        """End all workers; what they are doing is lost."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._running.difference(idle)
            self._changed.notify_all()
        for process in busy:  # whoever waits for its answer clears up behind it
            process.kill()
        for process in idle:
            self._end(_Place(process))

    def fingerprint(self, max_pixels: int) -> str:
        """Describe decoders and limits; where this changes, files that failed are tried again."""
        limits = f"{self._memory / 2**30:g} GiB, {self._seconds} s"
        return f"{decode.fingerprint(max_pixels)}, {limits}"

    def open_photo(
        self,
        path: str | os.PathLike[str],
        *,
        size: int,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        hashed: bool = False,
        stop: threading.Event | None = None,
    ) -> Decoded:
        """Decode a file as `decode.open_photo` does, in a worker, until `stop` is set.

        Raises:
            PhotoError: whatever keeps this file from being decoded.
            DecoderError: no worker can be started.
        """
        name = os.fspath(path)
        if size < 1 or max_pixels < 1:
            raise ValueError("size and max_pixels must be positive")
        # The worker is in another folder. Not abspath: `..` after a link is not the folder before.
        whole = name if os.path.isabs(name) else os.path.join(os.getcwd(), name)  # noqa: PTH109, PTH117, PTH118
        request = Request(next(self._numbers), os.fsencode(whole), size, max_pixels, hashed)
        place = self._take(stop)
        if place is None:
            raise PhotoError(name, _INTERRUPTED, transient=True)
        try:
            found = self._ask(place, request, stop)
            if self._may_be_better_in_another(found, place):
                self._end(place)
                found = self._ask(place, request, stop)
        finally:
            self._give_back(place)
        if isinstance(found, Refusal):
            raise PhotoError(name, found.reason, transient=found.transient)
        if isinstance(found, Exception):
            reason, transient = self._reason(found)
            raise PhotoError(name, reason, transient=transient) from found
        return found[0].decoded(found[1])

    def _ask(self, place: _Place, request: Request, stop: threading.Event | None) -> _Outcome:
        """Ask the worker of a place, or a new one; one that is of no more use is ended."""
        process = place.process = place.process or self._started()
        try:
            return process.ask(request, _PATIENCE * self._seconds, stop)
        except (LostError, NonsenseError) as error:
            self._end(place)
            return error
        except BaseException:  # such as Ctrl-C: the answer may be on its way still
            self._end(place)
            raise

    def _may_be_better_in_another(self, found: _Outcome, place: _Place) -> bool:
        if isinstance(found, LostError):
            computed = found.status == -signal.SIGXCPU
            return not (computed or isinstance(found, StoppedError | StalledError))
        if isinstance(found, Refusal):
            # What earlier files left behind in the worker must not decide.
            used = place.process is not None and place.process.files > 1
            return used and found.reason == decode.NO_MEMORY
        return isinstance(found, NonsenseError)

    def _reason(self, error: LostError | NonsenseError) -> tuple[str, bool]:
        """Say what the end of a worker means for the photo, and whether it may pass."""
        if isinstance(error, StoppedError):
            return _INTERRUPTED, True
        if isinstance(error, StalledError):
            waited = _PATIENCE * self._seconds
            return f"could not be read: the disk did not answer for {waited} s", True
        status = error.status if isinstance(error, LostError) else None
        if status is None:
            return "the decoder broke on it: it gave no sensible answer", False
        if status == -signal.SIGXCPU:
            return f"takes more than {self._seconds} s of computing to decode", False
        if status in _KILLED:
            return "its decoder was killed, as happens where memory is short", True
        how = f"exit status {status}"
        if status < 0:
            how = _SIGNALS.get(-status, f"signal {-status}")
        return f"the decoder crashed on it ({how})", False

    def _take(self, stop: threading.Event | None) -> _Place | None:
        """Wait for a place, with a worker if one is idle; `None` when `stop` is set."""
        with self._changed:
            while not self._closed:
                if stop is not None and stop.is_set():
                    return None
                if self._idle:
                    self._taken += 1
                    return _Place(self._idle.pop())
                if self._taken < self._allowed():
                    self._taken += 1
                    return _Place()
                self._changed.wait(_START / 2)
        raise DecoderError("no photo can be opened any more: the library is closed")

    def _allowed(self) -> int:
        """Return how many workers there may be now; one until it was worth to start another."""
        if self._ready_since is None:
            return 1
        return min(self._most, 1 + int((time.monotonic() - self._ready_since) / _START))

    def _give_back(self, place: _Place) -> None:
        process = place.process
        if process is not None and (
            process.files >= _MOST_FILES or process.resident() > _MOST_RESIDENT
        ):
            self._end(place)
        with self._changed:
            self._taken -= 1
            if place.process is not None and not self._closed:
                self._idle.append(place.process)
                place.process = None
            self._changed.notify()
        self._end(place)

    def _started(self) -> Process:
        for attempt in range(_ATTEMPTS):
            with self._changed:
                if self._closed:
                    break
            try:
                process = Process(self._command)
            except LostError as error:
                if attempt + 1 < _ATTEMPTS:
                    continue
                raise DecoderError(
                    f"the process that decodes photos does not start: {error}; "
                    "run `clipsearch doctor`, or free some memory"
                ) from error
            with self._changed:
                if not self._closed:
                    self._running.add(process)
                    if self._ready_since is None:
                        self._ready_since = time.monotonic()
                    self._changed.notify_all()
                    return process
            process.end()  # the library was closed while it started
            break
        raise DecoderError("no photo can be opened any more: the library is closed")

    def _end(self, place: _Place) -> None:
        """End the worker of a place, if it has one."""
        process, place.process = place.process, None
        if process is not None:
            process.end()
            with self._changed:
                self._running.discard(process)


def _end_all(running: set[Process]) -> None:
    for process in list(running):
        process.end()
