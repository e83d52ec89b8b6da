"""Put a copy of a catalogue in the place of the present one, while others may have it open.

A catalogue that is whole is overwritten by SQLite itself, in one transaction: whoever has it open
sees the other state with its next question. One that is damaged is put aside, never deleted, and
the new file takes its name; `Catalog` notices that it is another file.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from clipsearch.catalog import backups, faults, salvage, schema
from clipsearch.errors import DamagedLibraryError, ForeignDatabaseError, LibraryError
from clipsearch.records import OnProgress, Progress, Repaired, Restored, Salvaged, ignore_progress

_BUSY = 30.0
_TRIES = 5
_STEP = 8  # pages at once: fewer than any catalogue has
# What a catalogue that cannot be read may have counted to, no one knows: far more than any has.
_GAP = 1_000_000
_MOST = 1 << 53


@dataclass(frozen=True, slots=True)
class Past:
    """How far the catalogue that goes away had counted: what comes must count on from there."""

    uuid: str | None = None
    revision: int = 0
    described: int = 0
    embedded: int = 0
    sequences: dict[str, int] = field(default_factory=dict)


def restore(
    catalog: Path,
    source: Path,
    *,
    keep: bool = True,
    on_progress: OnProgress = ignore_progress,
) -> Restored:
    """Make the catalogue what a copy of it says; what was there is kept.

    No id that was given since is given again. With `keep` off, a whole catalogue goes without a
    backup.

    Raises: LibraryError and those below it; then the catalogue is what it was.
    """
    if os.path.realpath(source) == os.path.realpath(catalog):
        raise LibraryError(f"{source}: this is the catalogue itself; name a backup of it")
    backups.check(source)
    with faults.translated(catalog, _BUSY), backups.partial(catalog, source) as staged:
        with closing(faults.read_only(source)) as reader:
            backups.copy(reader, staged, on_progress)
        _bring_up_to_date(staged)
        kept = damaged = None
        try:
            kept = _overwrite(catalog, staged, keep)
        except _NotWholeError:
            damaged = _replace(catalog, staged, past(catalog))
        return Restored(str(source), _photos(catalog), _text(kept), _text(damaged))


def repair(catalog: Path, *, on_progress: OnProgress = ignore_progress) -> Repaired:
    """Put the newest whole backup in the place of a damaged catalogue, or else an empty one.

    The damaged file is put aside; folders and what people decided are read out of it as far as
    they can be, and kept.

    Raises: LibraryError; then the catalogue is what it was.
    """
    with faults.translated(catalog, _BUSY), backups.partial(catalog, catalog) as staged:
        if _mended(catalog, staged, on_progress):
            damaged = _replace(catalog, staged, past(staged))
            return Repaired(None, _photos(catalog), _text(damaged), Salvaged(), complete=True)
        best = backups.newest_whole(catalog)
        if best is not None:
            with closing(faults.read_only(Path(best.path))) as reader:
                backups.copy(reader, staged, on_progress)
        _bring_up_to_date(staged)
        on_progress(Progress("check", 0))
        with salvage.readable(catalog, Path(best.path) if best else None) as lost:
            before = past(lost) if lost else Past()
            found = salvage.merge(lost, staged) if lost else Salvaged()
        with closing(sqlite3.connect(staged)) as connection:
            wrong = faults.fault(connection)
        if wrong:
            raise DamagedLibraryError(f"{catalog}: what was read cannot be kept ({wrong})")
        damaged = _replace(catalog, staged, before)
        return Repaired(best, _photos(catalog), _text(damaged), found)


def damage(catalog: Path) -> str | None:
    """Say what is wrong with a catalogue, also where it cannot be opened; reads all of it.

    Raises: ForeignDatabaseError for what is another program's, or of a newer version.
    """
    if not catalog.is_file() or not catalog.stat().st_size:
        return "it is empty" if catalog.is_file() else "it is gone"
    try:
        with closing(faults.read_only(catalog)) as connection:
            _refuse_foreign(connection, catalog)
            if wrong := faults.fault(connection):
                return wrong
            schema.pending(Database(connection, execute_plugins=False), catalog)
    except sqlite3.DatabaseError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise
        return str(error)
    return None


def past(catalog: Path) -> Past:
    """Read how far a catalogue has counted, as far as it can be read."""
    try:
        with closing(faults.read_only(catalog)) as connection:
            row = dict(
                zip(
                    (column[1] for column in connection.execute("pragma table_info(archive)")),
                    connection.execute("select * from archive").fetchone() or (),
                    strict=False,
                )
            )
            sequences = dict(connection.execute("select name, seq from sqlite_sequence").fetchall())
    except (sqlite3.DatabaseError, LibraryError):
        return Past()
    counts = {name: row.get(name) or 0 for name in ("revision", "described", "embedded")}
    if not all(map(_may_count, (*counts.values(), *sequences.values()))):
        return Past()
    name = row.get("uuid")
    return Past(name if isinstance(name, str) else None, **counts, sequences=sequences)


def _may_count(value: object) -> bool:
    """Tell whether a count of a damaged catalogue can be one: after 2^63 SQLite stops counting."""
    return isinstance(value, int) and 0 <= value < _MOST


class _ChangedError(Exception):
    """Another process has changed the catalogue since it was backed up."""


class _NotWholeError(Exception):
    """The catalogue cannot be overwritten in place: it is damaged, or not there."""


def _overwrite(catalog: Path, staged: Path, keep: bool) -> Path | None:
    if not catalog.is_file() or not catalog.stat().st_size:
        raise _NotWholeError
    try:
        with closing(faults.read_only(catalog)) as present:
            _refuse_foreign(present, catalog)
            _let_read_beside_writers(catalog)
            _page_like(staged, catalog)
            for _ in range(_TRIES):
                # Moves when another process commits: the backup has to hold that as well.
                version = present.execute("pragma data_version").fetchone()
                kept = backups.automatic(catalog, "restore") if keep else None
                if kept is None and faults.fault(present):
                    raise _NotWholeError
                _move_on(staged, past(catalog))
                _close_finished_exports(staged, present)

                def refuse_changed(version: object = version) -> None:
                    if present.execute("pragma data_version").fetchone() != version:
                        raise _ChangedError

                try:
                    _pour(staged, catalog, refuse_changed)
                    break
                except _ChangedError:
                    if kept:
                        kept.unlink()
            else:
                raise LibraryError(f"{catalog}: others keep changing the library; stop them first")
    except ForeignDatabaseError:
        raise
    except (DamagedLibraryError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise _NotWholeError from error
    return kept


def _close_finished_exports(staged: Path, present: sqlite3.Connection) -> None:
    """Mark as finished the exports that were under way when a copy was made, and ended since.

    The next run would take them for killed ones, and take back what they wrote.
    """
    if not present.execute("select 1 from pragma_table_info('run') where name = 'open'").fetchone():
        return
    finished = present.execute("select id from run where kind = 'export' and open = 0").fetchall()
    library = present.execute("select uuid from archive").fetchone()
    with closing(sqlite3.connect(staged)) as db, db:
        if db.execute("select uuid from archive").fetchone() == library:
            db.executemany("update run set open = 0 where id = ?", finished)


def _page_like(staged: Path, catalog: Path) -> None:
    """Give a copy the page size of the catalogue, which SQLite does not change under readers."""
    sizes = []
    for path in (catalog, staged):
        with closing(faults.read_only(path)) as db:
            sizes.append(db.execute("pragma page_size").fetchone()[0])
    if sizes[0] != sizes[1]:
        with closing(sqlite3.connect(staged, isolation_level=None)) as db:
            db.execute(f"pragma page_size = {sizes[0]}")
            db.execute("vacuum")


def _pour(staged: Path, catalog: Path, refuse_changed: Callable[[], None]) -> None:
    """Overwrite a catalogue; `refuse_changed` is asked when nobody else can write any more."""
    wait = backups.reporter(ignore_progress)
    is_checked = False

    def look(status: int, remaining: int, total: int) -> None:
        nonlocal is_checked
        wait(status, remaining, total)
        # The first pages are written: their lock is held to the end, and an error takes them back.
        if not is_checked and status == sqlite3.SQLITE_OK:
            refuse_changed()
            is_checked = True

    with (
        closing(sqlite3.connect(staged)) as source,
        closing(sqlite3.connect(catalog, timeout=_BUSY)) as target,
    ):
        source.backup(target, pages=_STEP, progress=look, sleep=0.05)
        target.execute("pragma wal_checkpoint(truncate)").fetchone()


def _let_read_beside_writers(catalog: Path) -> None:
    """Switch to a write-ahead log a catalogue that nobody opened since it was put there."""
    with closing(sqlite3.connect(catalog, timeout=_BUSY)) as connection:
        if connection.execute("pragma journal_mode").fetchone()[0] != "wal":
            connection.execute("pragma journal_mode = wal").fetchone()


def _replace(catalog: Path, staged: Path, before: Past) -> Path | None:
    _move_on(staged, before)
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    damaged = _set_aside(catalog)
    backups.put(staged, catalog)
    return damaged


def _set_aside(catalog: Path) -> Path | None:
    """Give the damaged file and its log another name; the file keeps its own until it is replaced.

    A log must never meet another catalogue than its own: SQLite would write it into that.
    """
    log = catalog.with_name(f"{catalog.name}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    if not has_log and not (catalog.exists() and catalog.stat().st_size):
        target = None
    else:
        where = catalog.parent / "damaged"
        where.mkdir(exist_ok=True)
        stamp, number = datetime.now(UTC).strftime("%Y%m%d-%H%M%S"), 1
        target = where / f"catalog-{stamp}.db"
        while target.exists():
            number += 1
            target = where / f"catalog-{stamp}-{number}.db"
        if catalog.exists():
            try:
                target.hardlink_to(catalog)
            except OSError:  # not every file system has links
                catalog.rename(target)
        if has_log:
            log.rename(target.with_name(f"{target.name}-wal"))
    for end in ("-wal", "-shm"):
        catalog.with_name(catalog.name + end).unlink(missing_ok=True)
    return target


def _bring_up_to_date(staged: Path) -> None:
    connection = sqlite3.connect(staged, isolation_level=None)
    with closing(connection):
        database = Database(connection, execute_plugins=False)
        if schema.pending(database, staged):
            database.execute("begin immediate")
            schema.bring_up_to_date(database)
            database.execute("commit")


def _move_on(staged: Path, before: Past) -> None:
    """Let the counters of a copy go on where those of the catalogue that it replaces end."""
    with closing(sqlite3.connect(staged)) as db, db:
        if before.uuid is None:
            db.execute("update archive set uuid = ?", [uuid.uuid4().hex])
            db.execute("update sqlite_sequence set seq = seq + ?", [_GAP])
            db.execute("update archive set revision = revision + ?", [_GAP])
        columns = {row[1] for row in db.execute("pragma table_info(archive)")}
        for name in ("revision", "described", "embedded"):
            if name in columns:
                db.execute(
                    f"update archive set {name} = max({name}, ?) + 1", [getattr(before, name)]
                )
        if "embedded" in columns:  # the log of vectors says nothing of what happened between
            db.execute("delete from vector_log")
            db.execute("update model set logged_from = (select embedded from archive)")
        for table, last in before.sequences.items():
            db.execute("update sqlite_sequence set seq = max(seq, ?) where name = ?", [last, table])
            db.execute(
                "insert into sqlite_sequence (name, seq) select ?, ? where not exists "
                "(select 1 from sqlite_sequence where name = ?)",
                [table, last, table],
            )


def _mended(catalog: Path, staged: Path, on_progress: OnProgress) -> bool:
    """Copy a catalogue whose tables are whole, with indexes made anew; else copy nothing."""
    with salvage.readable(catalog, None) as lost:
        if lost is None:
            return False
        try:
            with closing(sqlite3.connect(lost)) as connection:
                connection.execute("reindex")
                connection.commit()
                if faults.fault(connection):
                    return False
                backups.copy(connection, staged, on_progress)
            with closing(faults.read_only(staged)) as connection:
                return bool(connection.execute("select count(*) from archive").fetchone()[0])
        except (sqlite3.DatabaseError, DamagedLibraryError):
            staged.write_bytes(b"")
            return False


def _photos(catalog: Path) -> int:
    with closing(faults.read_only(catalog)) as connection:
        found: int = connection.execute("select count(*) from photo").fetchone()[0]
    return found


def _refuse_foreign(connection: sqlite3.Connection, catalog: Path) -> None:
    application = connection.execute("pragma application_id").fetchone()[0]
    tables = {row[0] for row in connection.execute("select name from sqlite_master")}
    if tables and application != schema.APPLICATION_ID:
        raise ForeignDatabaseError(
            f"{catalog}: this database is no clipsearch catalogue, and is left as it is; "
            "choose another folder with --library"
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
