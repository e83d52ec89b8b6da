"""One worker process, seen from outside: started, asked, and ended without asking."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from clipsearch.photos.workers import messages
from clipsearch.photos.workers.messages import HELLO, LENGTHS, Answer, NonsenseError, Refusal

_SLICE = 0.1  # seconds between looks at whether to stop
_LONGEST = 10  # times the patience with a worker that always computes a little
_START = 60.0  # seconds that a worker may take until it is ready
_PIPE = 1 << 20  # bytes: most pictures fit, and the worker need not wait for its reader

# Isolated from the environment and the current folder, with the very modules of this process.
_PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = sys.argv[4:]; "
    "from clipsearch.photos.workers.worker import main; main()"
)


class LostError(Exception):
    """A worker is lost; `status` as of `subprocess`, `None` where it had to be ended."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class StalledError(LostError):
    """A worker did not answer in time, without computing."""


class StoppedError(LostError):
    """Nobody wants the answer any more."""


def own_command(memory: int, seconds: int) -> list[str]:
    """Return the command of a worker, with `{}` for the number of its lifeline."""
    paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - "" is the current folder
    return [sys.executable, "-I", "-c", _PROGRAM, str(memory), str(seconds), "{}", *paths]


class Process:
    """A worker that runs and is ready.

    Raises: LostError where it does not start; its message is the worker's own last line.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.files = 0
        lifeline, self._alive = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [str(lifeline) if part == "{}" else part for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(lifeline,),
                cwd="/",
            )
        except (OSError, ValueError) as error:
            os.close(self._alive)
            raise LostError(str(error)) from error
        finally:
            os.close(lifeline)
        self._in, self._out = _descriptor(self._process.stdin), _descriptor(self._process.stdout)
        with contextlib.suppress(OSError, AttributeError):  # Linux, and not too many pipes yet
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            self._await_hello()
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(
        self, request: messages.Request, patience: float, stop: threading.Event | None = None
    ) -> tuple[Answer, bytearray] | Refusal:
        """Return the answer and its pixels; wait until `stop`, or until it did not compute for
        `patience` seconds.

        Raises: LostError; the process is of no use after that. NonsenseError, the same.
        """
        self.files += 1
        wait = _Patience(self._out, self.pid, patience, stop)
        if wait.poll(0):
            raise self._lost() if self._at_end() else NonsenseError("it speaks without being asked")
        frame = messages.pack_request(request)
        try:
            while frame:
                frame = frame[os.write(self._in, frame) :]
        except OSError:
            raise self._lost() from None
        head = self._read(LENGTHS.size, wait)
        of_json, of_pixels = LENGTHS.unpack(head)
        if of_json > messages.MOST_JSON:
            raise NonsenseError("it says too much")
        answer = messages.unpack_answer(bytes(self._read(of_json, wait)), of_pixels, request)
        if isinstance(answer, Refusal):
            return answer
        return answer, self._read(of_pixels, wait)

    def resident(self) -> int:
        """Return the bytes of memory that it holds, 0 where the system does not tell."""
        try:
            text = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii")
            return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    def kill(self) -> None:
        """Let it end; whoever waits for its answer gets none."""
        self._process.kill()

    def end(self) -> None:
        """End it now; what it was doing is lost. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _await_hello(self) -> None:
        errors = self._process.stderr
        assert errors is not None  # noqa: S101 - it was asked for
        try:
            if self._read(len(HELLO), _Patience(self._out, self.pid, _START)) != HELLO:
                raise LostError("it is something else than a worker")
        except LostError as error:
            self._process.kill()
            said = errors.read().decode("utf-8", "replace").strip()
            if said:
                raise LostError(said.splitlines()[-1][:300], error.status) from None
            raise
        errors.close()

    def _read(self, count: int, wait: _Patience) -> bytearray:
        data = bytearray(count)
        with memoryview(data) as rest:
            done = 0
            while done < count:
                wait.for_more()
                got = os.readv(self._out, [rest[done:]])
                if not got:
                    raise self._lost()
                done += got
        return data

    def _at_end(self) -> bool:
        return not os.read(self._out, 1)

    def _lost(self) -> LostError:
        """Say how the process ended; one that only closed its pipes is ended."""
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return LostError("it stopped answering")
        return LostError(f"it ended with status {status}", status)


class _Patience:
    """Waiting for a worker's answer, with an end.

    What counts is time in which the worker does not compute, where the system tells: for what it
    computes it has a limit of its own, which a machine with much to do only reaches late. Time in
    which this process itself is stopped hardly counts.
    """

    def __init__(
        self, descriptor: int, pid: int, seconds: float, stop: threading.Event | None = None
    ) -> None:
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._pid = pid
        self._idle = max(1, round(seconds / _SLICE))
        self._slices = _LONGEST * self._idle
        self._computed = 0
        self._stop = stop

    def poll(self, seconds: float) -> bool:
        """Tell whether there is something to read, or will be in that time."""
        return bool(self._poll.poll(1000 * seconds))

    def for_more(self) -> None:
        """Wait until there is something to read.

        Raises: StoppedError, StalledError.
        """
        while not self.poll(_SLICE):
            if self._stop is not None and self._stop.is_set():
                raise StoppedError("nobody waits for it")
            self._slices -= 1
            self._idle -= not self._computes()
            if not self._idle or not self._slices:
                raise StalledError("it does not answer")

    def _computes(self) -> bool:
        """Tell whether it computed since the last look, or would if it was its turn."""
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()  # proc(5): from the third on
            computed = int(fields[11]) + int(fields[12])
        except (OSError, ValueError, IndexError):
            return False
        before, self._computed = self._computed, computed
        return computed > before or fields[0] == "R"


def _descriptor(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # noqa: S101 - it was asked for
    return pipe.fileno()
