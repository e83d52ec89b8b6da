"""Copies of a catalogue: made while others write, checked before they count, put back whole.

Automatic copies lie in `backups/` beside the catalogue. Each is made before something that loses
data, and its name says before what. A copy counts only after SQLite's own check of all of it: a
catalogue that is damaged never pushes a good copy out.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlite_utils import Database

from clipsearch.catalog import faults, schema
from clipsearch.errors import DamagedLibraryError, LibraryBusyError, LibraryError
from clipsearch.photos.formats import PREFIX_LENGTH, sniff, suffix_of
from clipsearch.records import Backup, OnProgress, Progress, ignore_progress

KEPT = {"migration": 3, "restore": 3}
KEPT_OTHERS = 2
"""Copies of each kind that stay. A kind has its own number, so that a day of tidying up does not
push out the copy from before an upgrade; it is small, for a large catalogue takes a gigabyte."""

APART = timedelta(minutes=10)
"""Copies of one kind are not made more often: who undoes ten runs in a row goes back to where the
row began. A folder that is forgotten and a restore lose much at once, and get theirs each time."""

_ALWAYS = frozenset({"migration", "forget", "restore", "repair"})
_STEP = 2048  # pages between two reports of progress
_STALE = 3600.0  # seconds after which half a copy belongs to a process that was killed
_BUSY = 30.0
_ENDING = ".partial"
_NAME = re.compile(r"catalog-(\d{8}-\d{6})(?:-\d+)?-before-(.+)\.db")


def folder(catalog: Path) -> Path:
    """Return where the automatic copies of a catalogue lie."""
    return catalog.parent / "backups"


def write(
    catalog: Path, target: Path, *, force: bool = False, on_progress: OnProgress = ignore_progress
) -> Backup:
    """Copy a catalogue, as it is at this moment, to a file that appears only when it is whole.

    Raises: DamagedLibraryError, LibraryError where the file is there already or cannot be written.
    """
    if os.path.realpath(target) == os.path.realpath(catalog):
        raise LibraryError(f"{target}: this is the catalogue itself; name another file")
    if target.is_dir():
        raise LibraryError(f"{target}: this is a folder; name a file in it")
    if os.path.realpath(target).startswith(f"{os.path.realpath(catalog)}-"):
        raise LibraryError(f"{target}: this file belongs to the catalogue; name another file")
    if force:
        _refuse_precious(target)
    if not force and os.path.lexists(target):
        raise LibraryError(f"{target}: this file is there already; --force replaces it")
    with faults.translated(catalog, _BUSY), closing(faults.read_only(catalog)) as source:
        source.execute("pragma query_only = on")
        return _place(source, catalog, target, on_progress)


def automatic(catalog: Path, before: str) -> Path | None:
    """Copy a catalogue that has photos aside, before `before` happens to it.

    `before` is the name of a migration, or of what is about to be done. Returns None where there
    is nothing to lose, or a copy of that kind was made a moment ago.

    Raises: DamagedLibraryError, LibraryError where no copy can be made.
    """
    where = folder(catalog)
    kind = _kind(before)
    known = [each for each in listed(catalog) if each.kind == kind]
    with faults.translated(catalog, _BUSY), closing(faults.read_only(catalog)) as source:
        if not _has_photos(source):
            return None
        moment = datetime.now(UTC)
        if kind not in _ALWAYS and known:
            age = moment - datetime.fromisoformat(known[-1].made_at)
            if timedelta(0) <= age < APART:
                return None
        try:
            where.mkdir(exist_ok=True)
            target = _unused(where, moment, before)
            _place(source, catalog, target, ignore_progress)
        except OSError as error:
            raise LibraryError(
                f"{where}: no backup could be made before the {_spoken(before)} "
                f"({error.strerror}), so nothing was changed; make it writable"
            ) from error
        except _FullError as error:
            raise LibraryError(
                f"{where}: no backup could be made before the {_spoken(before)}, so nothing was "
                f"changed ({error}); free some space, or go without with --no-backup"
            ) from error
    for old in known[: max(0, len(known) + 1 - KEPT.get(kind, KEPT_OTHERS))]:
        Path(old.path).unlink(missing_ok=True)
    return target


def listed(catalog: Path) -> list[Backup]:
    """List the automatic copies of a catalogue, the oldest first; none of them is opened."""
    found = []
    for path in folder(catalog).glob("catalog-*.db"):
        if match := _NAME.fullmatch(path.name):
            try:
                made = datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
                status = path.stat()
            except (ValueError, FileNotFoundError):  # no moment, or just pushed out by another run
                continue
            backup = Backup(str(path), made.isoformat(), _kind(match[2]), status.st_size)
            found.append((backup.made_at, status.st_mtime_ns, backup.path, backup))
    return [each[-1] for each in sorted(found, key=lambda each: each[:-1])]


def newest_whole(catalog: Path) -> Backup | None:
    """Return the latest automatic copy that is whole, by the catalogue's own count of changes.

    A clock may have jumped; the count only ever moves on.
    """
    found: list[tuple[int, int, Backup]] = []
    for position, each in enumerate(listed(catalog)):
        try:
            found.append((_changes(Path(each.path)), position, each))
        except (sqlite3.Error, LibraryError):
            continue  # `check` would refuse it as well
    for _, _, each in sorted(found, key=lambda one: one[:2], reverse=True):
        try:
            check(Path(each.path))
        except LibraryError:
            continue
        return each
    return None


def check(path: Path) -> None:
    """Refuse a file that is no catalogue of ours, or damaged, or of a newer version.

    Raises: LibraryError and those below it.
    """
    try:
        with closing(faults.read_only(path)) as connection:
            database = Database(connection, execute_plugins=False)
            step = schema.pending(database, path)
            if step is not None and "archive" not in database.table_names():
                raise LibraryError(f"{path}: this file is empty; name a backup of clipsearch")
            wrong = faults.fault(connection)
    except sqlite3.DatabaseError as error:
        wrong = str(error)
    if wrong:
        raise DamagedLibraryError(
            f"{path}: this backup is damaged ({wrong}); `clipsearch restore` lists others"
        )


@contextmanager
def partial(target: Path, like: Path) -> Iterator[Path]:
    """Give an empty file beside `target`, as private as `like`; it is gone afterwards."""
    start = f".{target.name[:40]}."  # a long name leaves no room for more
    for left in target.parent.glob(f".*{_ENDING}*"):
        if _is_abandoned(left, start):
            left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=start, suffix=_ENDING)
    path = Path(name)
    try:
        if like.exists():
            os.fchmod(handle, like.stat().st_mode & 0o666)
        os.close(handle)
        yield path
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + end).unlink(missing_ok=True)


def copy(source: sqlite3.Connection, target: Path, on_progress: OnProgress) -> None:
    """Copy all of a database into an empty file, in one snapshot, and check the copy.

    Raises: DamagedLibraryError, LibraryError where the disk is full.
    """
    begun = not source.in_transaction
    if begun:
        # Held open, the snapshot stays what it is while others write: no page is copied twice.
        source.execute("begin")
        source.execute("select count(*) from sqlite_master").fetchone()
    try:
        with closing(sqlite3.connect(target)) as writer:
            writer.execute("pragma journal_mode = off")
            source.backup(writer, pages=_STEP, progress=reporter(on_progress), sleep=0.05)
        on_progress(Progress("check", 0))
        with closing(sqlite3.connect(target)) as writer:
            # One file, which can be read from a disk that cannot be written to.
            writer.execute("pragma journal_mode = delete")
            wrong = faults.fault(writer)
    except sqlite3.OperationalError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise _FullError(f"{target.parent}: {error}") from error
        raise
    finally:
        if begun and source.in_transaction:
            source.rollback()
    if wrong:
        raise DamagedLibraryError(f"the catalogue is damaged ({wrong}); {faults.REPAIR}")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def put(path: Path, target: Path) -> None:
    """Give a finished file its name, for good: the folder itself is on the disk afterwards."""
    os.replace(path, target)  # noqa: PTH105 - atomic on every platform
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reporter(on_progress: OnProgress) -> Callable[[int, int, int], None]:
    """Return what SQLite tells of a copy to; it gives up where the file stays locked.

    Raises: LibraryBusyError.
    """
    deadline = time.monotonic() + _BUSY

    def report(status: int, remaining: int, total: int) -> None:
        nonlocal deadline
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):  # it would wait for ever
            if time.monotonic() > deadline:
                raise LibraryBusyError(
                    f"another program has kept the catalogue locked for {_BUSY:.0f} seconds; "
                    "try again when it is done"
                )
        else:
            deadline = time.monotonic() + _BUSY
            on_progress(Progress("copy", total - remaining, total))

    return report


def _refuse_precious(target: Path) -> None:
    """Refuse to replace a picture, a device or a pipe, whatever was asked for."""
    try:
        if not target.is_file():
            if target.exists():
                raise LibraryError(f"{target}: this is no regular file; name another one")
            return
        with target.open("rb") as file:
            prefix = file.read(PREFIX_LENGTH)
    except OSError as error:
        raise LibraryError(f"{target}: the file cannot be read: {error.strerror}") from error
    if sniff(prefix, suffix_of(target.name)):
        raise LibraryError(f"{target}: a picture is there; name another file")


class _FullError(LibraryError):
    """There is no room for a copy."""


def _place(
    source: sqlite3.Connection, catalog: Path, target: Path, on_progress: OnProgress
) -> Backup:
    if not target.parent.is_dir():
        raise LibraryError(f"{target.parent}: there is no such folder; make it first")
    try:
        with partial(target, catalog) as unfinished:
            copy(source, unfinished, on_progress)
            put(unfinished, target)
    except OSError as error:
        if target.parent == folder(catalog):
            raise
        raise LibraryError(f"{target}: the backup cannot be written: {error.strerror}") from error
    except _FullError as error:
        raise _FullError(f"{error}; free some space, or name another place") from error
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    return Backup(str(target), now, "hand", target.stat().st_size)


def _kind(before: str) -> str:
    return "migration" if re.match(r"\d{4}_", before) else before


def _spoken(before: str) -> str:
    return "migration" if _kind(before) == "migration" else before


def _unused(where: Path, moment: datetime, before: str) -> Path:
    stamp = moment.strftime("%Y%m%d-%H%M%S")
    target, number = where / f"catalog-{stamp}-before-{before}.db", 1
    while target.exists():
        number += 1
        target = where / f"catalog-{stamp}-{number}-before-{before}.db"
    return target


def _has_photos(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("select 1 from sqlite_master where name = 'photo'").fetchone()
    return bool(tables and connection.execute("select exists (select 1 from photo)").fetchone()[0])


def _changes(path: Path) -> int:
    with closing(faults.read_only(path)) as connection:
        columns = {row[1] for row in connection.execute("pragma table_info(archive)")}
        counts = " + ".join(sorted(columns & {"revision", "described"}))
        found = connection.execute(f"select max({counts}) from archive").fetchone()[0]
    if not isinstance(found, int):
        raise DamagedLibraryError(f"{path}: this backup is damaged (it has no count of changes)")
    return found


def _is_abandoned(path: Path, start: str) -> bool:
    """Tell whether a file is half a copy of a process that was killed."""
    if not path.name.startswith((start, ".catalog-")):
        return False
    try:
        return time.time() - path.stat().st_mtime > _STALE
    except FileNotFoundError:  # another process has just finished its copy
        return False
