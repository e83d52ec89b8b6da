"""Where disks were mounted below the roots, when photos were last seen on them."""

from __future__ import annotations

import os
from collections.abc import Collection

from sqlite_utils import Database

_BELOW = "root_id = ? and path > ? and path < ?"


def with_photos(db: Database, root_id: int) -> dict[str, int]:
    """Return the mount points below a root that the catalogue has photos of, and how many.

    They are relative to the root.
    """
    rows = db.execute("select path from mount where root_id = ?", [root_id]).fetchall()
    counts = {os.fsdecode(path): len(photo_ids(db, root_id, os.fsdecode(path))) for (path,) in rows}
    return {path: count for path, count in counts.items() if count}


def replace(db: Database, root_id: int, paths: Collection[str]) -> None:
    """Remember these mount points of a root, and no other."""
    db.execute("delete from mount where root_id = ?", [root_id])
    db.conn.executemany(
        "insert into mount (root_id, path) values (?, ?)",
        ((root_id, os.fsencode(path)) for path in sorted(set(paths))),
    )


def photo_ids(db: Database, root_id: int, path: str) -> list[int]:
    """Return the ids of the photos below a mount point."""
    rows = db.execute(f"select id from photo where {_BELOW}", _range(root_id, path))
    return [row[0] for row in rows]


def forget(db: Database, root_id: int, path: str) -> None:
    """Forget a mount point, and the files below it that were skipped."""
    db.execute(f"delete from skipped where {_BELOW}", _range(root_id, path))
    for table in ("mount", "skipped"):
        db.execute(
            f"delete from {table} where root_id = ? and path = ?", [root_id, os.fsencode(path)]
        )


def _range(root_id: int, path: str) -> list[object]:
    below = os.fsencode(path)
    return [root_id, below + b"/", below + b"0"]  # "0" is what comes after "/"
