"""Open the SQLite file of a library: refuse what is not ours, migrate what is older."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

from sqlite_utils import Database

from clipsearch.catalog import backups, faults, names, schema
from clipsearch.errors import (
    DamagedLibraryError,
    LibraryBusyError,
    LibraryError,
    ReadOnlyLibraryError,
)

BUSY_SECONDS = 30.0
PAGE_BYTES = 8192

_State = tuple[int, ...]


class Catalog:
    """The catalogue file of one library: a connection for each thread that asks.

    Raises: ForeignDatabaseError, LibraryBusyError, LibraryError on opening.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: WeakSet[_Connection] = WeakSet()
        self._closed = False
        self._at_work: set[int] = set()  # threads inside a transaction
        self._idle = threading.Condition(self._lock)
        self._ready: _State = ()  # the file that is known to be ours and up to date
        with self._translated():
            self._database()

    @contextmanager
    def read(self) -> Iterator[Database]:
        """Give this thread's connection, inside one consistent snapshot."""
        with self._transaction("begin") as database:
            yield database

    @contextmanager
    def write(self, *, wait: float = BUSY_SECONDS) -> Iterator[Database]:
        """Give this thread's connection inside a transaction: all of it lands, or nothing.

        `wait` is how many seconds another process may take to finish its own.

        Raises: LibraryBusyError where it takes longer.
        """
        with self._transaction("begin immediate", wait) as database:
            yield database

    def close(self) -> None:
        """Close every connection, those of other threads too, once those have finished."""
        with self._idle:
            self._closed = True
            # SQLite crashes where a connection is closed under a running statement.
            self._idle.wait_for(lambda: self._at_work <= {threading.get_ident()}, BUSY_SECONDS)
            for connection in list(self._open):
                connection.database.close()
            self._open.clear()

    def release(self) -> None:
        """Let go of the file, once no thread is at work; the next question opens it again.

        Raises: LibraryBusyError where one is at work for longer than half a minute.
        """
        with self._idle:
            if not self._idle.wait_for(lambda: not self._at_work, BUSY_SECONDS):
                raise LibraryBusyError(f"{self.path}: the library is in use; try again later")
            for connection in list(self._open):
                connection.database.close()
                connection.state = ()
            self._open.clear()

    @contextmanager
    def _transaction(self, begin: str, wait: float = BUSY_SECONDS) -> Iterator[Database]:
        with self._translated():
            own: _Connection | None = getattr(self._local, "connection", None)
            if own is not None and own.state and own.database.conn.in_transaction:
                yield own.database  # a nested block joins its outer one
                return
            with self._working():
                database = self._begun(begin, wait)
                try:
                    yield database
                except BaseException:
                    database.rollback()
                    raise
                database.commit()

    def _begun(self, begin: str, wait: float) -> Database:
        """Begin a transaction on the file that lies at the path now."""
        while True:
            database = self._database()
            database.execute(f"pragma busy_timeout = {round(wait * 1000)}")
            database.execute(begin)
            # A repair may have put another file there while this one was opened or waited for.
            if self._local.connection.is_current():
                return database
            database.rollback()

    def _translated(self) -> AbstractContextManager[None]:
        return faults.translated(self.path, BUSY_SECONDS)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Keep `close` waiting meanwhile."""
        with self._idle:
            self._refuse_closed()
            self._at_work.add(threading.get_ident())
        try:
            yield
        finally:
            with self._idle:
                self._at_work.discard(threading.get_ident())
                self._idle.notify_all()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LibraryError(f"{self.path}: the library is closed")

    def _database(self) -> Database:
        self._refuse_closed()
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.is_current():
            return connection.database
        with self._lock:
            if connection is not None:
                self._open.discard(connection)
                connection.database.close()
            if self._ready and not self.path.exists():  # SQLite would make an empty one
                raise DamagedLibraryError(f"{self.path}: the catalogue is gone; {faults.REPAIR}")
            connection = _Connection(self.path, self._ready)
            while not connection.state and self.path.exists():
                connection.database.close()
                connection = _Connection(self.path, self._ready)
            self._local.connection = connection
            self._ready = connection.state
            self._open.add(connection)
        return connection.database


class _Connection:
    """A connection that is closed when the thread that it belongs to ends.

    `state` says which file it reads. SQLite itself goes on with a file that was moved away, or
    replaced by another, as if nothing had happened: what is written there is lost.
    """

    def __init__(self, path: Path, ready: _State) -> None:
        self.path = path
        self.is_frozen = False
        before = self._seen()
        try:
            self._open(ready)
        except sqlite3.OperationalError:
            if os.access(path.parent, os.W_OK) or not path.is_file():
                raise
            self._open_frozen()
        self.state = self._seen()
        if (
            before and self.state[:2] != before
        ):  # replaced while it was opened: `Catalog` asks again
            self.state = ()

    def __del__(self) -> None:
        if hasattr(self, "database"):
            self.database.close()

    def is_current(self) -> bool:
        """Tell whether the file at the path is still the one that was opened."""
        return bool(self.state) and self._seen() == self.state

    def _seen(self) -> _State:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        file = (found.st_dev, found.st_ino)
        # Without locks, SQLite does not see what somebody else changes in the file.
        return (*file, found.st_size, found.st_mtime_ns) if self.is_frozen else file

    def _open(self, ready: _State) -> None:
        # One thread uses a connection; only close() comes from another one.
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            self.database = _connect(connection)
            if self._seen() != ready:
                _migrate(self.database, self.path)
                _use_write_ahead_log(self.database)
        except BaseException:
            connection.close()
            raise

    def _open_frozen(self) -> None:
        """Open a catalogue that lies where nothing may be written."""
        if not faults.is_frozen(self.path):
            raise ReadOnlyLibraryError(
                f"{self.path}: the library lies where nothing may be written, and its last changes "
                "are still in a file beside; open it once where it can be written to"
            )
        self.is_frozen = True
        self.database = _connect(faults.frozen(self.path))
        if schema.pending(self.database, self.path):
            raise ReadOnlyLibraryError(
                f"{self.path}: an earlier clipsearch wrote this catalogue, and it cannot be "
                "brought up to date where nothing may be written; copy the library elsewhere"
            )


def _connect(connection: sqlite3.Connection) -> Database:
    database = Database(connection, execute_plugins=False)
    connection.create_function("fold", 1, names.fold, deterministic=True)
    database.execute("pragma foreign_keys = on")
    # With WAL a crash of the machine may lose the last commits, never the consistency.
    database.execute("pragma synchronous = normal")
    return database


def _migrate(database: Database, path: Path) -> None:
    database.execute("begin")  # one snapshot: another process may be creating the file just now
    try:
        is_behind = schema.pending(database, path) is not None
    finally:
        database.rollback()
    if is_behind:
        # Only of effect in an empty file. Three vectors of 1 KiB fill a page of 4 KiB, and leave a
        # quarter of it unused; seven fill one of 8 KiB.
        database.execute(f"pragma page_size = {PAGE_BYTES}")
        # `begin immediate` first: two processes on a fresh file must not both create it.
        database.execute("begin immediate")
        try:
            if first := schema.pending(database, path):
                backups.automatic(path, first)
                schema.bring_up_to_date(database)
            database.commit()
        except BaseException:
            database.rollback()
            raise


def _use_write_ahead_log(database: Database) -> None:
    """Switch the file to WAL, where another process is not just doing so.

    The switch wants the file for itself and, unlike other statements, does not wait for it.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if database.execute("pragma journal_mode").fetchone()[0] != "wal":
                database.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def now() -> str:
    """Return the present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
