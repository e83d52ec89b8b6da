"""Stored vectors: little-endian float16 blobs, the truth that every index is derived from."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

STORED = np.dtype("<f2")


def put(db: Database, photo_id: int, model_id: int, vector: NDArray[np.float32]) -> None:
    """Store the vector of a photo: (dimensions,) float32 of unit length."""
    db.execute(
        "insert into vector (photo_id, model_id, vector) values (?, ?, ?) "
        "on conflict (model_id, photo_id) do update set vector = excluded.vector",
        [photo_id, model_id, vector.astype(STORED).tobytes()],
    )


def carry_over(db: Database, source_id: int, photo_id: int) -> None:
    """Copy the vectors of all models to a photo with the same content."""
    db.execute(
        "insert or ignore into vector (photo_id, model_id, vector) "
        "select ?, model_id, vector from vector where photo_id = ?",
        [photo_id, source_id],
    )


def take_from_copy(db: Database, photo_id: int, model_id: int) -> None:
    """Give a photo the vector of another photo with the same content, where there is one."""
    db.execute(
        "insert or ignore into vector (photo_id, model_id, vector) "
        "select own.id, model_id, vector from photo as own "
        "join photo as other on other.content_hash = own.content_hash "
        "join vector on vector.photo_id = other.id where own.id = ? and model_id = ? limit 1",
        [photo_id, model_id],
    )


def has(db: Database, photo_id: int, model_id: int) -> bool:
    """Tell whether a photo has a vector of that model."""
    row = db.execute(
        "select exists (select 1 from vector where model_id = ? and photo_id = ?)",
        [model_id, photo_id],
    ).fetchone()
    return bool(row[0])


def get(db: Database, photo_id: int, model_id: int) -> NDArray[np.float32] | None:
    """Return the vector of a photo as (dimensions,) float32."""
    row = db.execute(
        "select vector from vector where model_id = ? and photo_id = ?", [model_id, photo_id]
    ).fetchone()
    return np.frombuffer(row[0], STORED).astype(np.float32) if row else None


def ids(db: Database, model_id: int) -> NDArray[np.int64]:
    """Return the ids of all photos with a vector of one model, (n,) ascending."""
    rows = db.execute(
        "select photo_id from vector where model_id = ? order by photo_id", [model_id]
    ).fetchall()
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def count(db: Database, model_id: int) -> int:
    """Count the photos with a vector of one model."""
    found: int = db.execute(
        "select count(*) from vector where model_id = ?", [model_id]
    ).fetchone()[0]
    return found


def blocks(
    db: Database,
    model_id: int,
    dimensions: int,
    chosen: NDArray[np.int64] | None = None,
    size: int = 4096,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Yield ids (b,) ascending and vectors (b, dimensions) float16 of one model, or of `chosen`."""
    if chosen is None:
        chosen = ids(db, model_id)
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        first, last = int(part[0]), int(part[-1])
        rows = db.execute(
            "select photo_id, vector from vector where model_id = ? and photo_id between ? and ? "
            "order by photo_id",
            [model_id, first, last],
        )
        wanted = set(part.tolist())
        kept = [row for row in rows if row[0] in wanted]
        vectors = np.frombuffer(b"".join(row[1] for row in kept), STORED)
        found = np.fromiter((row[0] for row in kept), np.int64, len(kept))
        yield found, vectors.reshape(len(kept), dimensions)


def all_of(
    db: Database, model_id: int, dimensions: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Return ids (n,) ascending and vectors (n, dimensions) float16 of one model."""
    rows = db.execute(
        "select photo_id, vector from vector where model_id = ? order by photo_id", [model_id]
    ).fetchall()
    return _table(rows, dimensions)


def chosen(
    db: Database, model_id: int, dimensions: int, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Return ids (m,) ascending and vectors (m, dimensions) of those of `wanted` that are there."""
    rows = db.execute(
        "select photo_id, vector from json_each(?) "
        "cross join vector on model_id = ? and photo_id = value",
        [json.dumps(np.unique(wanted).tolist()), model_id],
    ).fetchall()
    return _table(rows, dimensions)


def after(
    db: Database, model_id: int, dimensions: int, photo_id: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Return the first `limit` ids (m,) beyond `photo_id` and their vectors (m, dimensions)."""
    rows = db.execute(
        "select photo_id, vector from vector where model_id = ? and photo_id > ? "
        "order by photo_id limit ?",
        [model_id, photo_id, limit],
    ).fetchall()
    return _table(rows, dimensions)


def changes(db: Database, model_id: int, since: int) -> NDArray[np.int64] | None:
    """Return the ids (m,) ascending of photos whose vectors changed after a revision.

    They may have changed back, or be gone. `None` where the log does not reach back so far.
    """
    row = db.execute("select logged_from from model where id = ?", [model_id]).fetchone()
    if row is None or row[0] > since:
        return None
    rows = db.execute(
        "select distinct photo_id from vector_log where revision > ? and model_id = ? order by 1",
        [since, model_id],
    ).fetchall()
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def trim(db: Database, model_id: int, until: int) -> None:
    """Forget the changes up to a revision, which an index file holds by now."""
    db.execute(
        "delete from vector_log where revision <= ? "
        "and (model_id = ? or model_id not in (select id from model))",
        [until, model_id],
    )
    db.execute("update model set logged_from = max(logged_from, ?) where id = ?", [until, model_id])


def _table(
    rows: list[tuple[int, bytes]], dimensions: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    vectors = np.frombuffer(b"".join(row[1] for row in rows), STORED)
    return ids, vectors.reshape(len(rows), dimensions).astype(np.float16, copy=False)
