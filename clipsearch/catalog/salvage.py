"""Read out of a damaged catalogue what nothing else can bring back: folders and decisions."""

from __future__ import annotations

import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlite_utils import Database

from clipsearch.catalog import faults, names, tags
from clipsearch.errors import LibraryError
from clipsearch.records import Salvaged

_MAGIC = b"SQLite format 3\0"
_LARGEST_STEP = 1 << 40

Row = tuple[Any, ...]


@contextmanager
def readable(catalog: Path, backup: Path | None) -> Iterator[Path | None]:
    """Give a copy of a damaged catalogue that SQLite opens, or None where there is none.

    A file that was cut short is filled up with zeros. The first page, if it is lost, is taken
    from a backup: it says where the tables begin, which does not change from day to day.
    """
    if not catalog.is_file() or not catalog.stat().st_size:
        yield None
        return
    for left in catalog.parent.glob(".salvage-*"):  # of one who was killed: we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=catalog.parent, prefix=".salvage-") as folder:
        target = Path(folder) / "catalog.db"
        shutil.copyfile(catalog, target)
        log = catalog.with_name(f"{catalog.name}-wal")
        if log.exists():
            shutil.copyfile(log, target.with_name("catalog.db-wal"))
        _fill_up(target)
        if not _opens(target) and backup is not None:
            with backup.open("rb") as source, target.open("r+b") as file:
                file.write(source.read(_page_size(backup)))
            _fill_up(target)
        yield target if _opens(target) else None


def merge(lost: Path, target: Path) -> Salvaged:
    """Add to a whole catalogue what people gave a damaged one, where that was later.

    Photos that only the damaged one has are taken along where something was decided of them; the
    next index run embeds them.
    """
    connection = sqlite3.connect(target, isolation_level=None)
    with closing(connection), closing(faults.read_only(lost)) as source:
        connection.create_function("fold", 1, names.fold, deterministic=True)
        db = Database(connection, execute_plugins=False)
        db.execute("pragma foreign_keys = on")
        db.execute("begin immediate")
        found = _Merging(source, db).run()
        db.execute("commit")
    return found


class _Merging:
    """The two catalogues, and what is known of how their photos correspond."""

    def __init__(self, source: sqlite3.Connection, db: Database) -> None:
        self._source, self._db = source, db
        self._unreadable: list[str] = []
        self._roots: dict[int, int] = {}
        self._new_photos = 0
        self._photo_ids: dict[int, int | None] = {}
        self._photos: dict[int, dict[str, Any]] = {}

    def run(self) -> Salvaged:
        roots = self._merge_roots()
        self._photos = {row["id"]: row for row in self._rows("photo", "id")}
        decided = self._merge_tags()
        texts = self._merge_texts()
        searches = self._merge_searches()
        return Salvaged(roots, self._new_photos, decided, texts, searches, tuple(self._unreadable))

    def _merge_roots(self) -> int:
        added = 0
        for row in self._rows("root", "id"):
            added += self._put(
                "root",
                "insert or ignore into root (path, device, added_at) values (?, ?, ?)",
                [row["path"], row["device"], row["added_at"]],
            )
            found = self._db.execute("select id from root where path = ?", [row["path"]]).fetchone()
            if found:
                self._roots[row["id"]] = found[0]
        return added

    def _merge_tags(self) -> int:
        added, touched = 0, set()
        for row in self._rows("hand_tag", "photo_id"):
            if (photo_id := self._photo_id(row["photo_id"])) is None:
                continue
            count = self._put(
                "hand_tag",
                "insert into hand_tag (photo_id, label, holds, decided_at) values (?, ?, ?, ?) "
                "on conflict (photo_id, label) do update set holds = excluded.holds, "
                "decided_at = excluded.decided_at where excluded.decided_at >= hand_tag.decided_at "
                "and excluded.holds <> hand_tag.holds",
                [photo_id, row["label"], row["holds"], row["decided_at"]],
            )
            if count:
                added += 1
                touched.add(photo_id)
        for photo_id in touched:
            tags.derive(self._db, photo_id)
        return added

    def _merge_texts(self) -> int:
        added = 0
        for row in self._rows("alt_text", "photo_id"):
            if row["state"] == "file" or (photo_id := self._photo_id(row["photo_id"])) is None:
                continue
            added += self._put(
                "alt_text",
                "insert into alt_text (photo_id, text, state, decided_at) values (?, ?, ?, ?) "
                "on conflict (photo_id) do update set text = excluded.text, "
                "state = excluded.state, decided_at = excluded.decided_at "
                "where (excluded.decided_at >= alt_text.decided_at or alt_text.state = 'file') "
                "and (excluded.text, excluded.state) <> (alt_text.text, alt_text.state)",
                [photo_id, row["text"], row["state"], row["decided_at"]],
            )
        for row in self._rows("rejected", "photo_id"):
            if (photo_id := self._photo_id(row["photo_id"])) is not None:
                self._put(
                    "rejected",
                    "insert or ignore into rejected (photo_id, text, decided_at) values (?, ?, ?)",
                    [photo_id, row["text"], row["decided_at"]],
                )
        return added

    def _merge_searches(self) -> int:
        added = 0
        for row in self._rows("saved_search", "id"):
            columns = ("name", "query", "min_relevance", "sort", "saved_at", "looked_at")
            added += self._put(
                "saved_search",
                f"insert or ignore into saved_search ({', '.join(columns)}) "
                "values (?, ?, ?, ?, ?, ?)",
                [row[name] for name in columns],
            )
        return added

    def _photo_id(self, lost_id: int) -> int | None:
        """Return the photo that stands for one of the damaged catalogue."""
        if lost_id not in self._photo_ids:
            self._photo_ids[lost_id] = self._find_photo(lost_id)
        return self._photo_ids[lost_id]

    def _find_photo(self, lost_id: int) -> int | None:
        row = self._photos.get(lost_id)
        same = self._db.execute("select content_hash from photo where id = ?", [lost_id]).fetchone()
        if row is None:  # ids are never given twice: the backup knows the photo, if it has it
            return lost_id if same else None
        if same and same[0] == row["content_hash"]:
            return lost_id
        root = self._roots.get(row["root_id"])
        if root is None:
            return None
        there = self._db.execute(
            "select id from photo where root_id = ? and path = ?", [root, row["path"]]
        ).fetchone()
        if there:
            return int(there[0])
        return self._add_photo({**row, "root_id": root}, keep_id=not same)

    def _add_photo(self, row: dict[str, Any], *, keep_id: bool) -> int | None:
        columns = [each[1] for each in self._db.execute("pragma table_info(photo)")]
        chosen = [name for name in columns if name in row and (keep_id or name != "id")]
        count = self._put(
            "photo",
            f"insert into photo ({', '.join(chosen)}) values ({', '.join('?' * len(chosen))})",
            [row[name] for name in chosen],
        )
        if not count:
            return None
        self._new_photos += 1
        added: int = self._db.execute(
            "select id from photo where root_id = ? and path = ?", [row["root_id"], row["path"]]
        ).fetchone()[0]
        return added

    def _put(self, table: str, sql: str, values: Sequence[Any]) -> int:
        """Write a row and return how many that changed: none, where it is not what it should be."""
        try:
            return max(0, self._db.execute(sql, values).rowcount)
        except (sqlite3.IntegrityError, sqlite3.DataError):
            if table not in self._unreadable:
                self._unreadable.append(table)
            return 0

    def _rows(self, table: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table that can be read, each a dictionary by column."""
        try:
            columns = [row[1] for row in self._source.execute(f"pragma table_info({table})")]
        except sqlite3.DatabaseError:
            columns = []
        if not columns:
            self._unreadable.append(table)
            return
        lost = [False]
        rows = _tolerant(self._source, table, columns, key, lost)
        for row in rows:
            yield dict(zip(columns, row, strict=True))
        if lost[0] and table not in self._unreadable:
            self._unreadable.append(table)


def _tolerant(
    source: sqlite3.Connection, table: str, columns: Sequence[str], key: str, lost: list[bool]
) -> Iterator[Row]:
    """Yield rows by their key; a page that cannot be read is stepped over, wider each time."""
    where = columns.index(key)
    names = ", ".join(columns)
    after, step, seen = -1, 0, defaultdict[int, set[Row]](set)
    while step <= _LARGEST_STEP:
        try:
            for row in source.execute(
                f"select {names} from {table} where {key} >= ? order by {key}", [after]
            ):
                if not isinstance(row[where], int):
                    continue
                if row in seen[row[where]]:  # read before the page that stopped us
                    continue
                seen = defaultdict(set, {row[where]: seen[row[where]] | {row}})
                after, step = row[where], 0
                yield row
            return
        except (sqlite3.DatabaseError, LibraryError):
            lost[0] = True
            step = max(1, step * 2)
            after += step


def _fill_up(path: Path) -> None:
    with path.open("r+b") as file:
        header = file.read(32)
        if not header.startswith(_MAGIC):
            return
        pages = int.from_bytes(header[28:32], "big")
        size = file.seek(0, 2)
        wanted = pages * _page_size(path)
        if size < wanted < max(size, 1 << 20) * 100:  # the header may lie
            file.truncate(wanted)


def _page_size(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:18], "big")
    return 65536 if size == 1 else size


def _opens(path: Path) -> bool:
    try:
        with closing(faults.read_only(path)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
    except (sqlite3.DatabaseError, LibraryError):
        return False
    return True
