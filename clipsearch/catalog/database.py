"""Open the SQLite file of a library: refuse what is not ours, migrate what is older."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

from sqlite_utils import Database, Migrations

from clipsearch import resources
from clipsearch.catalog import names
from clipsearch.errors import ForeignDatabaseError, LibraryBusyError, LibraryError

APPLICATION_ID = 0x436C6950  # "CliP", https://sqlite.org/pragma.html#pragma_application_id
BUSY_SECONDS = 30.0
KEPT_BACKUPS = 5


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
        with _translated(path):
            _migrate(self._database(), path)

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

    @contextmanager
    def _transaction(self, begin: str, wait: float = BUSY_SECONDS) -> Iterator[Database]:
        with _translated(self.path):
            database = self._database()
            if database.conn.in_transaction:  # a nested block joins its outer one
                yield database
                return
            with self._working():
                database.execute(f"pragma busy_timeout = {round(wait * 1000)}")
                database.execute(begin)
                try:
                    yield database
                except BaseException:
                    database.rollback()
                    raise
                database.commit()

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
        if connection is None:
            with self._lock:
                connection = _Connection(self.path)
                self._open.add(connection)
            self._local.connection = connection
        return connection.database


class _Connection:
    """A connection that is closed when the thread that it belongs to ends."""

    def __init__(self, path: Path) -> None:
        self.database = _connect(path)

    def __del__(self) -> None:
        if hasattr(self, "database"):
            self.database.close()


def _connect(path: Path) -> Database:
    # One thread uses a connection; only close() comes from another one.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    database = Database(connection, execute_plugins=False)
    connection.create_function("fold", 1, names.fold, deterministic=True)
    database.execute("pragma foreign_keys = on")
    # With WAL a crash of the machine may lose the last commits, never the consistency.
    database.execute("pragma synchronous = normal")
    return database


def _migrate(database: Database, path: Path) -> None:
    migrations = _migrations()
    database.execute("begin")  # one snapshot: another process may be creating the file just now
    try:
        _refuse_foreign(database, path, migrations)
        is_behind = bool(migrations.pending(database))
    finally:
        database.rollback()
    if is_behind:
        # `begin immediate` first: two processes on a fresh file must not both create it.
        database.execute("begin immediate")
        try:
            _refuse_foreign(database, path, migrations)
            if pending := migrations.pending(database):
                _back_up(database, path, before=pending[0].name)
                migrations.apply(database)
                database.execute(
                    "insert or ignore into archive (id, uuid, created_at) values (1, ?, ?)",
                    [uuid.uuid4().hex, now()],
                )
                database.execute(f"pragma application_id = {APPLICATION_ID}")
            database.commit()
        except BaseException:
            database.rollback()
            raise
    _use_write_ahead_log(database)


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


def _scripts() -> list[Path]:
    return sorted(resources.folder("migrations").glob("[0-9]*.sql"))


def _migrations() -> Migrations:
    migrations = Migrations("clipsearch")
    for file in _scripts():
        migrations(name=file.stem)(_migration(file.read_text(encoding="utf-8")))
    return migrations


def _migration(sql: str) -> Callable[[Database], None]:
    def migrate(db: Database, /) -> None:
        db.executescript(sql)

    return migrate


def _refuse_foreign(database: Database, path: Path, migrations: Migrations) -> None:
    tables = set(database.table_names())
    application = database.execute("pragma application_id").fetchone()[0]
    if not tables and application == 0:
        return
    if application != APPLICATION_ID or "archive" not in tables:
        raise ForeignDatabaseError(
            f"{path}: this database is no clipsearch catalogue; "
            "choose another folder with --library"
        )
    known = {file.stem for file in _scripts()}
    if newer := [step.name for step in migrations.applied(database) if step.name not in known]:
        raise ForeignDatabaseError(
            f"{path}: a newer clipsearch wrote this catalogue ({newer[-1]}); "
            "upgrade clipsearch to open it"
        )


def _back_up(database: Database, path: Path, *, before: str) -> None:
    """Copy a catalogue that has rows aside; the caller holds the write lock."""
    if (
        "photo" not in database.table_names()
        or not database.execute("select exists (select 1 from photo)").fetchone()[0]
    ):
        return
    folder = path.parent / "backups"
    folder.mkdir(exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = folder / f"catalog-{stamp}-before-{before}.db"
    partial = target.with_suffix(".partial")
    reader = sqlite3.connect(path, timeout=BUSY_SECONDS)
    writer = sqlite3.connect(partial)
    try:
        reader.backup(writer)
    finally:
        writer.close()
        reader.close()
    os.replace(partial, target)  # noqa: PTH105 - atomic on every platform
    for old in sorted(folder.glob("catalog-*.db"))[:-KEPT_BACKUPS]:
        old.unlink()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the errors of sqlite3 into sentences: the only place that does."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise LibraryBusyError(
                f"{path}: another program has kept the catalogue locked for "
                f"{BUSY_SECONDS:.0f} seconds; try again when it is done"
            ) from error
        if "readonly" in text:
            raise LibraryError(
                f"{path}: the library cannot be written to; check its permissions"
            ) from error
        if "disk is full" in text or "disk I/O" in text:
            raise LibraryError(f"{path}: {text}; free some space and run again") from error
        if "unable to open" in text:
            raise LibraryError(f"{path}: cannot be opened; check that its folder exists") from error
        raise LibraryError(f"{path}: {text}") from error
    except sqlite3.IntegrityError as error:
        raise LibraryError(
            f"{path}: another program changed the library meanwhile; run the command again"
        ) from error
    except sqlite3.ProgrammingError as error:
        raise LibraryError(f"{path}: the library is closed") from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise ForeignDatabaseError(
                f"{path}: this file is no database; choose another folder with --library"
            ) from error
        raise LibraryError(
            f"{path}: the catalogue is damaged ({error}); restore a copy from backups/"
        ) from error


def now() -> str:
    """Return the present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
