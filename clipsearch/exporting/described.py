"""What is exported of a photo, and how a file is replaced in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clipsearch.errors import ExportError
from clipsearch.photos.formats import PREFIX_LENGTH, sniff


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
        ExportError: the file cannot be written, or a picture, no text or no file at all is there.
    """
    target = Path(os.path.realpath(path))
    # Of one name each time, so that a kill leaves one such file at most, and the next run it.
    name = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    aside = target.with_name(f".clipsearch-{name}.tmp")
    made = False
    try:
        mode = _mode(target)
        descriptor = _create(aside)
        made = True
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        raise ExportError(f"{target}: it cannot be written: {error.strerror or error}") from error
    finally:
        if made:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def _create(aside: Path) -> int:
    """Create a file, locked while it is written, in place of one whose writer is dead."""
    with suppress(FileNotFoundError):
        left = os.open(aside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside.unlink()
        except BlockingIOError as error:
            raise ExportError(f"{aside}: another export is writing there; wait for it") from error
        finally:
            os.close(left)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with suppress(OSError):  # a network file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _mode(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ExportError(f"{target}: there is something that is no file; choose another name")
    with target.open("rb") as file:
        begin = file.read(PREFIX_LENGTH)
    if sniff(begin, ""):
        raise ExportError(f"{target}: this is a picture, which is never written over")
    if b"\0" in begin:  # a raw photo, a film, the catalogue
        raise ExportError(f"{target}: this is no text, and is not written over; delete it first")
    return stat.S_IMODE(mode)
