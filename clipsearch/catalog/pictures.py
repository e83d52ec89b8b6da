"""Perceptual hashes of pictures, and what it takes to choose between copies of one.

A hash belongs to the content of a file: its copies share it. It is kept as SQLite's signed
integer and handed out as 64 unsigned bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from sqlite_utils import Database

# The best of several copies first: resolution, file size, the earliest date. A copy that lost
# its metadata has no date; the shorter name is the one without "(1)" or "copy".
_BEST_FIRST = (
    "width * height desc, size desc, taken_at is null, taken_at, mtime_ns, "
    "length(photo.path), photo.path, root.path"
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A photo as it stands beside others: `path` is absolute, `hash` that of its picture."""

    id: int
    path: str
    content_hash: bytes
    hash: int | None
    size: int
    mtime_ns: int
    width: int
    height: int
    taken_at: str | None


def put(db: Database, hashes: Iterable[tuple[bytes, int]]) -> None:
    """Store (SHA-256 of a file, hash of its picture) for contents that have no hash yet."""
    db.conn.executemany(
        "insert or ignore into picture_hash (content_hash, hash) values (?, ?)",
        ((content, _signed(value)) for content, value in hashes),
    )


def best_first(db: Database) -> list[Copy]:
    """Return all photos, the one to keep before its copies."""
    rows = db.execute(
        "select photo.id, root.path, photo.path, photo.content_hash, hash, size, mtime_ns, "
        "width, height, taken_at from photo join root on root.id = root_id "
        "left join picture_hash on picture_hash.content_hash = photo.content_hash "
        f"order by {_BEST_FIRST}"
    )
    return [
        Copy(row[0], _join(row[1], row[2]), row[3], _unsigned(row[4]), *row[5:]) for row in rows
    ]


def without_hash(db: Database) -> dict[bytes, list[str]]:
    """Return the absolute paths of each content whose picture has no hash."""
    found: dict[bytes, list[str]] = {}
    for content, root, path in db.execute(
        "select photo.content_hash, root.path, photo.path "
        "from photo join root on root.id = root_id where not exists "
        "(select 1 from picture_hash where content_hash = photo.content_hash) order by photo.id"
    ):
        found.setdefault(content, []).append(_join(root, path))
    return found


def drop_unused(db: Database) -> None:
    """Forget the hashes of contents that no photo has any more."""
    db.execute(
        "delete from picture_hash where not exists "
        "(select 1 from photo where content_hash = picture_hash.content_hash)"
    )


def _join(root: bytes, path: bytes) -> str:
    return os.fsdecode(root.rstrip(b"/") + b"/" + path)


def _unsigned(value: int | None) -> int | None:
    return None if value is None else value % 2**64


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
