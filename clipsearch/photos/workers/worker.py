"""What runs inside a worker: decode one file after the other, with as few rights as possible.

Nothing here trusts the files, and nothing outside trusts what is said here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import sys

# Before NumPy is loaded: its threads would only take address space from the limit.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from clipsearch.errors import PhotoError
from clipsearch.photos import decode
from clipsearch.photos.workers import messages
from clipsearch.photos.workers.messages import HELLO, LENGTHS, Request

_MOST_FILES_OPEN = 64


def main() -> None:
    """Answer requests on stdin until it ends: `memory` in bytes, `seconds` of computing a file."""
    memory, seconds, lifeline = (int(text) for text in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    # Libraries in C print to where answers go and to the user's terminal: neither is theirs.
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    _end_with(lifeline)
    _give_up_rights(memory)
    os.write(answers, HELLO)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    while (request := _next_request()) is not None:
        _limit_computing(seconds)
        for part in _answer(request):
            _write(answers, part)


def _end_with(lifeline: int) -> None:
    """Die as soon as the other end of this pipe is closed, whatever is being done by then.

    The kernel sends SIGIO, which nobody catches: also from the midst of a decoder that hangs,
    and also where the process that asks was killed. (Linux's PR_SET_PDEATHSIG speaks of the thread
    that started this process, which may end long before.)
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # it was closed before anyone watched
        sys.exit(0)


def _give_up_rights(memory: int) -> None:
    """Limit memory (bytes of address space) and handles; write no file and no core."""
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES_OPEN),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # macOS knows the limit of address space, and does not always take it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    sys.dont_write_bytecode = True  # it could not


def _limit_computing(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) when it computes that long on the next file."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    end = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard == resource.RLIM_INFINITY or end < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (end, hard))


def _next_request() -> Request | None:
    head = _read(LENGTHS.size)
    if head is None:
        return None
    text = _read(LENGTHS.unpack(head)[0])
    return None if text is None else messages.unpack_request(text)


def _answer(request: Request) -> list[bytes]:
    path = os.fsdecode(request.path)
    try:
        decoded = decode.open_photo(
            path, size=request.size, max_pixels=request.max_pixels, hashed=request.hashed
        )
        return messages.pack_photo(request.number, decoded)
    except PhotoError as error:
        return messages.pack_error(request.number, error)
    except MemoryError:
        return messages.pack_error(request.number, PhotoError(path, decode.NO_MEMORY))


def _read(count: int) -> bytes | None:
    """Read so many bytes of stdin, `None` where it ends."""
    parts = b""
    while len(parts) < count:
        part = os.read(0, count - len(parts))
        if not part:
            return None
        parts += part
    return parts


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
