"""Photos, their facts, and the files that were skipped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from clipsearch.catalog import captions, runs, tags
from clipsearch.catalog.database import now
from clipsearch.records import Facts, Photo, Skipped

_FILE = "root_id, path, name, size, mtime_ns, content_hash, sidecar"
_FACTS = (
    "format, width, height, orientation, taken_at, camera_make, camera_model, lens, "
    "latitude, longitude, altitude, rating, description"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the indexer compares with a file: `path` is relative to its root."""

    id: int
    path: str
    size: int
    mtime_ns: int
    has_vector: bool
    sidecar: str = ""
    moved: bool = False

    @property
    def stamp(self) -> tuple[int, int]:
        """What tells an unchanged file without opening it."""
        return self.size, self.mtime_ns


@dataclass(frozen=True, slots=True)
class StoredSkip:
    """A file that was skipped earlier, as it was then."""

    size: int | None
    mtime_ns: int | None
    reason: str
    decoder: str | None


@dataclass(frozen=True, slots=True)
class File:
    """Where a photo is: `path` is relative to the root."""

    root_id: int
    path: str
    size: int
    mtime_ns: int
    content_hash: bytes
    sidecar: str = ""


def stamps(
    db: Database, root_id: int, after: tuple[bytes, int], limit: int
) -> tuple[list[tuple[bytes, int, int, str]], tuple[bytes, int] | None]:
    """Return (path, size, mtime_ns, sidecar) of a root's photos, and where to go on.

    They are ordered by folder and id; those that come after that folder and id, at most `limit`.
    None to go on from means that there are no more.
    """
    select = "select path, size, mtime_ns, coalesce(sidecar, '') from photo where root_id = ? "
    folder, last_id = after
    # Two statements that an index answers; SQLite would walk through all of a folder for one.
    rows = db.execute(
        f"{select} and folder = ? and id > ? order by id limit ?", [root_id, folder, last_id, limit]
    ).fetchall()
    rows += db.execute(
        f"{select} and folder > ? order by folder, id limit ?", [root_id, folder, limit - len(rows)]
    ).fetchall()
    if len(rows) < limit:
        return rows, None
    last = db.execute(
        "select folder, id from photo where root_id = ? and path = ?", [root_id, rows[-1][0]]
    ).fetchone()
    return rows, last


def stored(db: Database, root_id: int, model_id: int, paths: Iterable[bytes]) -> Iterator[Stored]:
    """Yield the photos at some paths relative to a root; `has_vector` is said of that model."""
    for path in paths:
        row = db.execute(
            "select id, size, mtime_ns, exists "
            "(select 1 from vector where model_id = ? and photo_id = photo.id), sidecar "
            "from photo where root_id = ? and path = ?",
            [model_id, root_id, path],
        ).fetchone()
        yield Stored(row[0], os.fsdecode(path), row[1], row[2], bool(row[3]), row[4] or "")


def lacking(db: Database, root_id: int, model_id: int) -> set[bytes]:
    """Return the paths of a root's photos without a vector of one model."""
    photos, vectors = db.execute(
        "select (select count(*) from photo), (select count(*) from vector where model_id = ?)",
        [model_id],
    ).fetchone()
    if photos == vectors:  # nearly always, and soon known
        return set()
    rows = db.execute(
        "select path from photo where root_id = ? and not exists "
        "(select 1 from vector where model_id = ? and photo_id = photo.id)",
        [root_id, model_id],
    )
    return {row[0] for row in rows}


def count_in(db: Database, root_id: int) -> int:
    """Count the photos of a root."""
    count: int = db.execute("select count(*) from photo where root_id = ?", [root_id]).fetchone()[0]
    return count


def stored_skips(db: Database, root_id: int) -> dict[str, StoredSkip]:
    """Return the skipped files of a root by path."""
    rows = db.execute(
        "select path, size, mtime_ns, reason, decoder from skipped where root_id = ?", [root_id]
    )
    return {os.fsdecode(row[0]): StoredSkip(*row[1:]) for row in rows}


def add(db: Database, file: File, facts: Facts) -> int:
    """Insert a photo and return its id."""
    cursor = db.execute(
        f"insert into photo ({_FILE}, indexed_at, {_FACTS}) values ({', '.join('?' * 21)})",
        [*_file_values(file), now(), *_fact_values(facts)],
    )
    assert cursor.lastrowid is not None  # noqa: S101 - an insert has just happened
    _take_words(db, cursor.lastrowid, facts)
    return cursor.lastrowid


def update(db: Database, photo_id: int, file: File, facts: Facts) -> None:
    """Replace what is known of a photo whose content is another now.

    Its vectors and what runs decided of it go; what people decided stays.
    """
    columns = f"{_FILE}, indexed_at, {_FACTS}"
    assignments = ", ".join(f"{column} = ?" for column in columns.split(", "))
    db.execute(
        f"update photo set {assignments} where id = ?",
        [*_file_values(file), now(), *_fact_values(facts), photo_id],
    )
    runs.drop_results_of(db, photo_id)
    _take_words(db, photo_id, facts)
    db.execute("delete from vector where photo_id = ?", [photo_id])


def take_words(db: Database, photo_id: int, facts: Facts) -> None:
    """Take keywords and description anew, for the photo's sidecar is another now."""
    db.execute("update photo set description = ? where id = ?", [facts.description, photo_id])
    _take_words(db, photo_id, facts)


def relocate(db: Database, photo_id: int, file: File) -> None:
    """Record that a photo with unchanged content is now at `file`; facts and vectors stay."""
    db.execute(
        "update photo set root_id = ?, path = ?, name = ?, size = ?, mtime_ns = ?, "
        "content_hash = ?, sidecar = ? where id = ?",
        [*_file_values(file), photo_id],
    )


def with_content(db: Database, content_hash: bytes) -> list[tuple[int, int, str]]:
    """Return (photo id, root id, path relative to the root) of all photos with that content."""
    rows = db.execute(
        "select id, root_id, path from photo where content_hash = ? order by id", [content_hash]
    )
    return [(row[0], row[1], os.fsdecode(row[2])) for row in rows]


def copies(db: Database) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids (c,) ascending of photos that share their content, and their groups (c,)."""
    rows = db.execute(
        "select photo_id, dense_rank() over (order by content_hash) from twin order by photo_id"
    ).fetchall()
    table = np.array(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def places_of(db: Database, ids: Sequence[int]) -> dict[int, tuple[str, str | None]]:
    """Return path and date of photos by id, without those that do not exist."""
    rows = db.execute(
        "select photo.id, root.path, photo.path, taken_at from photo "
        "join root on root.id = root_id where photo.id in (select value from json_each(?))",
        [json.dumps(list(ids))],
    )
    return {row[0]: (_join(row[1], row[2]), row[3]) for row in rows}


def plain_twin(db: Database, content_hash: bytes) -> int | None:
    """Return a photo with that content; one without sidecar, whose words are the file's own."""
    row = db.execute(
        "select id from photo where content_hash = ? order by sidecar > '', id limit 1",
        [content_hash],
    ).fetchone()
    return row[0] if row else None


def content_hash(db: Database, photo_id: int) -> bytes:
    """Return the SHA-256 of a photo's file as it was indexed."""
    found: bytes = db.execute("select content_hash from photo where id = ?", [photo_id]).fetchone()[
        0
    ]
    return found


def contents(db: Database) -> tuple[set[int], set[bytes]]:
    """Return sizes and SHA-256 of all photos."""
    rows = db.execute("select size, content_hash from photo").fetchall()
    return {row[0] for row in rows}, {row[1] for row in rows}


def embedded_contents(db: Database, model_id: int) -> tuple[set[bytes], set[bytes]]:
    """Return the SHA-256 of photos with a vector of one model: all, and those without sidecar."""
    rows = db.execute(
        "select content_hash, coalesce(sidecar, '') from photo "
        "join vector on photo_id = photo.id where model_id = ?",
        [model_id],
    ).fetchall()
    return {row[0] for row in rows}, {row[0] for row in rows if not row[1]}


def park(db: Database, photo_ids: Iterable[int]) -> None:
    """Take photos off their paths, so that several can change places in one transaction."""
    db.conn.executemany(
        "update photo set path = cast('/' || id as blob) where id = ?",  # no relative path is so
        ((photo_id,) for photo_id in photo_ids),
    )


def remove(db: Database, photo_ids: Iterable[int]) -> None:
    """Forget photos with all that belongs to them; files are not touched."""
    db.conn.executemany("delete from photo where id = ?", ((photo_id,) for photo_id in photo_ids))


def set_skipped(
    db: Database,
    root_id: int,
    path: str,
    reason: str,
    *,
    size: int | None = None,
    mtime_ns: int | None = None,
    decoder: str | None = None,
) -> None:
    """Record why a file is not indexed."""
    db.execute(
        "insert into skipped (root_id, path, size, mtime_ns, reason, decoder) "
        "values (?, ?, ?, ?, ?, ?) on conflict (root_id, path) do update set size = excluded.size, "
        "mtime_ns = excluded.mtime_ns, reason = excluded.reason, decoder = excluded.decoder",
        [root_id, os.fsencode(path), size, mtime_ns, reason, decoder],
    )


def clear_skipped(db: Database, root_id: int, paths: Iterable[str]) -> None:
    """Forget that files were skipped."""
    db.conn.executemany(
        "delete from skipped where root_id = ? and path = ?",
        ((root_id, os.fsencode(path)) for path in paths),
    )


def skipped(db: Database) -> list[tuple[str, Skipped]]:
    """List the skipped files of the library: (root, skip), all paths absolute."""
    rows = db.execute(
        "select root.path, skipped.path, reason from skipped join root on root.id = root_id "
        "order by root.path, skipped.path"
    )
    return [(os.fsdecode(root), Skipped(_join(root, path), reason)) for root, path, reason in rows]


def photo(db: Database, photo_id: int) -> Photo | None:
    """Return one photo with its facts."""
    return next(iter(photos(db, [photo_id])), None)


def photos(db: Database, ids: Sequence[int]) -> list[Photo]:
    """Return photos in the order of `ids`, without those that do not exist."""
    found: dict[int, Photo] = {}
    # One text for any number of ids: each thread keeps the last 128 statements, however large.
    wanted = "(select value from json_each(?))"
    for start in range(0, len(ids), 500):
        block = json.dumps([int(each) for each in ids[start : start + 500]])
        keywords: dict[int, list[str]] = {}
        for photo_id, keyword in db.execute(
            f"select photo_id, keyword from keyword where photo_id in {wanted} "
            "order by photo_id, position",
            [block],
        ):
            keywords.setdefault(photo_id, []).append(keyword)
        for row in db.execute(
            f"select photo.id, root.path, photo.path, {_FACTS} "
            f"from photo join root on root.id = root_id where photo.id in {wanted}",
            [block],
        ):
            facts = Facts(*row[3:], tuple(keywords.get(row[0], ())))  # type: ignore[call-arg]
            found[row[0]] = Photo(row[0], _join(row[1], row[2]), facts)
    return [found[photo_id] for photo_id in ids if photo_id in found]


def any_there(db: Database) -> bool:
    """Tell whether the library has a photo at all, without counting them."""
    return bool(db.execute("select exists (select 1 from photo)").fetchone()[0])


def all_ids(db: Database) -> list[int]:
    """Return the ids of all photos in ascending order."""
    return [row[0] for row in db.execute("select id from photo order by id")]


def at_path(db: Database, root_id: int, path: str) -> int | None:
    """Return the id of the photo at `path` relative to its root."""
    row = db.execute(
        "select id from photo where root_id = ? and path = ?", [root_id, os.fsencode(path)]
    ).fetchone()
    return row[0] if row else None


def _join(root: bytes, path: bytes) -> str:
    return os.fsdecode(root.rstrip(b"/") + b"/" + path) if path else os.fsdecode(root)


def _file_values(file: File) -> list[object]:
    name = file.path.rpartition("/")[2].encode("utf-8", "replace").decode("utf-8")
    return [
        file.root_id,
        os.fsencode(file.path),
        name,
        file.size,
        file.mtime_ns,
        file.content_hash,
        file.sidecar,
    ]


def _fact_values(facts: Facts) -> list[object]:
    return [getattr(facts, name) for name in _FACTS.split(", ")]


def _take_words(db: Database, photo_id: int, facts: Facts) -> None:
    """Let the file's own keywords be tags and its description alt text, of origin "file"."""
    db.execute("delete from keyword where photo_id = ?", [photo_id])
    db.conn.executemany(
        "insert into keyword (photo_id, position, keyword) values (?, ?, ?)",
        ((photo_id, position, keyword) for position, keyword in enumerate(facts.keywords)),
    )
    tags.derive(db, photo_id)
    captions.take_from_file(db, photo_id, facts.description)
