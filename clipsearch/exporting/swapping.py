"""Two folders change places in one step, while no other export runs beside them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipsearch.errors import ExportError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other exports out of a folder; the lock ends with the process, whatever ends it.

    Raises:
        ExportError: another export is at work there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(f"{folder}: another export is writing there; wait for it") from error
        except OSError:
            pass  # A network file system without locks: one export at a time is up to the user.
        yield
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> None:
    """Swap two folders of one parent in one step, so that a kill finds the names whole.

    Where the system cannot do that, there are two renames, and the first is taken back when
    the second fails.
    """
    if _exchanged(first, second):
        return
    between = _between(first)
    second.rename(between)
    try:
        first.rename(second)
    except BaseException:
        between.rename(second)
        raise
    between.rename(first)


def recover(final: Path, aside: Path) -> None:
    """Finish what a kill between the two renames of `exchange` left: nothing else makes it."""
    between = _between(aside)
    if not between.is_dir() or between.is_symlink():
        return
    if not final.exists():
        between.rename(final)
    elif not aside.exists():
        between.rename(aside)


def _between(aside: Path) -> Path:
    return aside.with_name(f"{aside.name}.old")


def _exchanged(first: Path, second: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(first), os.fsencode(second)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(second))
