"""The folder of a library: whether it is one, and the lock that only one process may hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipsearch.catalog.faults import REPAIR
from clipsearch.config import LIBRARY_MARKER, default_library
from clipsearch.errors import (
    DamagedLibraryError,
    LibraryBusyError,
    LibraryError,
    ReadOnlyLibraryError,
)

_BELONGS = "This folder belongs to clipsearch.\n"
_HAS_CATALOGUE = "It has a catalogue: where catalog.db is missing, it was lost.\n"


def library_folder(folder: str | os.PathLike[str] | None) -> Path:
    """Return the absolute folder of a library: without one, the user's own."""
    return Path(folder).expanduser().absolute() if folder else default_library()


def is_library(folder: Path) -> bool:
    """Tell whether there is a library in a folder, be it damaged."""
    return (folder / "catalog.db").exists() or (folder / LIBRARY_MARKER).exists()


def mark_library(folder: Path) -> None:
    """Make the folder of a library, where there is none.

    Raises: LibraryError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / LIBRARY_MARKER).exists():
            (folder / LIBRARY_MARKER).write_text(_BELONGS, encoding="utf-8")
    except OSError as error:
        raise LibraryError(
            f"{folder}: the library folder cannot be made: {error.strerror}"
        ) from error


def mark_catalogue(folder: Path) -> None:
    """Remember that a library has a catalogue, so that its loss is noticed."""
    marker = folder / LIBRARY_MARKER
    with suppress(OSError):  # where nothing may be written, nothing gets lost
        if _HAS_CATALOGUE.encode() not in marker.read_bytes():
            marker.write_text(_BELONGS + _HAS_CATALOGUE, encoding="utf-8")


def is_lost(folder: Path) -> bool:
    """Tell whether a library had a catalogue that is gone or empty."""
    catalog, marker = folder / "catalog.db", folder / LIBRARY_MARKER
    if catalog.exists() and catalog.stat().st_size:
        return False
    return marker.exists() and _HAS_CATALOGUE.encode() in marker.read_bytes()


def refuse_lost(folder: Path) -> None:
    """Refuse a library whose catalogue is gone or empty: SQLite would make a new one.

    Raises: DamagedLibraryError.
    """
    if is_lost(folder):
        catalog = folder / "catalog.db"
        raise DamagedLibraryError(
            f"{catalog}: the catalogue is {'empty' if catalog.exists() else 'gone'}; {REPAIR}, "
            "or delete the folder of the library to start anew"
        )


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let no other process index, export or restore meanwhile.

    Raises: LibraryBusyError, ReadOnlyLibraryError.
    """
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(folder / "index.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise LibraryBusyError(
            f"{folder}: another clipsearch is changing this library; wait until it is done"
        ) from None
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise ReadOnlyLibraryError(
            f"{folder}: the library cannot be written to; check its permissions"
        ) from error
    try:
        yield
    finally:
        lock.release()
