"""What SQLite's own checks cannot know: vectors that are none, words that do not fit the photos."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
from sqlite_utils import Database

from clipsearch.catalog import archive, vectors

# float16 keeps 11 bits: a unit vector of 512 dimensions is 0.9999 to 1.0001 long.
_TOLERANCE = 0.02
_BLOCK = 4096

_WORDS = {
    "photo_words": "select id, name, cast(folder as text) from photo",
    "label_words": "select id, name from label",
    "alt_words": "select photo_id, text from alt_text",
}


def bad_vectors(db: Database) -> list[tuple[int, int]]:
    """Return (model id, photo id) of vectors of the wrong size, not finite or not of unit length.

    The same photo is searched by other models as before.
    """
    found = []
    for model, _ in archive.models(db):
        last = 0
        while rows := db.execute(
            "select photo_id, vector from vector where model_id = ? and photo_id > ? "
            "order by photo_id limit ?",
            [model.id, last, _BLOCK],
        ).fetchall():
            last = rows[-1][0]
            found += [(model.id, photo_id) for photo_id in _bad(rows, model.dimensions)]
    return found


def drop_vectors(db: Database, bad: Sequence[tuple[int, int]]) -> None:
    """Forget vectors; the next index run embeds their photos again."""
    db.conn.executemany("delete from vector where model_id = ? and photo_id = ?", bad)


def bad_words(db: Database) -> list[str]:
    """Return the tables of words that are damaged, or that do not say what the photos do.

    The caller is in a transaction to write: FTS5 checks itself by an insert that changes nothing.
    """
    return [table for table in _WORDS if not _are_right(db, table)]


def rebuild_words(db: Database, table: str) -> None:
    """Make a table of words anew from what it is derived from."""
    sql = db.execute("select sql from sqlite_master where name = ?", [table]).fetchone()[0]
    columns = ", ".join(_columns(db, table))
    db.execute(f"drop table {table}")
    db.execute(sql)
    db.execute(f"insert into {table} (rowid, {columns}) {_WORDS[table]}")


def _bad(rows: Sequence[tuple[int, bytes]], dimensions: int) -> list[int]:
    size = dimensions * vectors.STORED.itemsize
    found = [photo_id for photo_id, vector in rows if len(vector) != size]
    right = [row for row in rows if len(row[1]) == size]
    values = np.frombuffer(b"".join(row[1] for row in right), vectors.STORED)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(values.reshape(-1, dimensions).astype(np.float32), axis=1)
        wrong = ~(np.abs(lengths - 1) <= _TOLERANCE)  # also where a length is no number
    return found + [row[0] for row, is_wrong in zip(right, wrong, strict=True) if is_wrong]


def _are_right(db: Database, table: str) -> bool:
    columns = ", ".join(_columns(db, table))
    try:
        db.execute(f"insert into {table} ({table}) values ('integrity-check')")
        for one, other in (
            (_WORDS[table], f"select rowid, {columns} from {table}"),
            (f"select rowid, {columns} from {table}", _WORDS[table]),
        ):
            if db.execute(f"select exists ({one} except {other})").fetchone()[0]:
                return False
    except sqlite3.DatabaseError as error:
        if "readonly" in str(error) or "locked" in str(error):
            raise
        return False
    return True


def _columns(db: Database, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"pragma table_info({table})")]
