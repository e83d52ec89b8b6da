"""What can be wrong with the file of a catalogue, in sentences that say the way out."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipsearch.errors import (
    DamagedLibraryError,
    ForeignDatabaseError,
    LibraryBusyError,
    LibraryError,
    ReadOnlyLibraryError,
)

REPAIR = "`clipsearch doctor --repair` restores the last good backup"


@contextmanager
def translated(path: Path, busy: float = 0) -> Iterator[None]:
    """Turn the errors of sqlite3 into sentences: the only place that does.

    `busy` is how many seconds another program was waited for.

    Raises: LibraryError and those below it.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _operational(path, str(error), busy) from error
    except sqlite3.IntegrityError as error:
        raise LibraryError(
            f"{path}: another program changed the library meanwhile; run the command again"
        ) from error
    except sqlite3.ProgrammingError as error:
        raise LibraryError(f"{path}: the library is closed") from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise ForeignDatabaseError(
                f"{path}: this file is no database, or its first page is damaged; {REPAIR}, "
                "or choose another folder with --library"
            ) from error
        raise damaged(path, str(error)) from error


def damaged(path: Path, what: str) -> DamagedLibraryError:
    """Return the error of a catalogue that SQLite cannot read."""
    return DamagedLibraryError(f"{path}: the catalogue is damaged ({what}); {REPAIR}")


def _operational(path: Path, text: str, busy: float) -> LibraryError:
    if "locked" in text or "busy" in text:
        return LibraryBusyError(
            f"{path}: another program has kept the catalogue locked for "
            f"{busy:.0f} seconds; try again when it is done"
        )
    if "readonly" in text:
        return ReadOnlyLibraryError(
            f"{path}: the library cannot be written to; check its permissions"
        )
    if "disk is full" in text or "disk I/O" in text:
        return LibraryError(f"{path}: {text}; free some space and run again")
    if "unable to open" in text:
        return LibraryError(f"{path}: cannot be opened; check that its folder exists")
    if "Could not decode" in text:
        return damaged(path, text)
    return LibraryError(f"{path}: {text}")


def fault(connection: sqlite3.Connection) -> str | None:
    """Return the first thing that SQLite's own checks find wrong; reads the whole file."""
    try:
        found: str = connection.execute("pragma integrity_check(1)").fetchone()[0]
        if found != "ok":
            return " ".join(found.removeprefix("*** in database main ***").split())
        orphan = connection.execute("pragma foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise
        return str(error)
    return f"a row of {orphan[0]} refers to nothing" if orphan else None


def read_only(path: Path) -> sqlite3.Connection:
    """Open a file for reading, as it is on the disk, with what lies in its log.

    Raises: LibraryError, sqlite3.Error.
    """
    if not path.is_file():
        raise LibraryError(f"{path}: there is no such file")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        connection.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if not is_frozen(path):
            raise
        connection = frozen(path)
    return connection


def is_frozen(path: Path) -> bool:
    """Tell whether a file lies where nothing may be written, with nothing in its log.

    SQLite cannot read a catalogue there in the usual way, for it keeps its locks in a file beside.
    """
    log = path.with_name(f"{path.name}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    return path.is_file() and not os.access(path.parent, os.W_OK) and not has_log


def frozen(path: Path) -> sqlite3.Connection:
    """Open a file for reading that nobody changes meanwhile; one thread uses a connection."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )
