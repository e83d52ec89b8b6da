"""Vectors of texts that were asked for before, so that the model need not embed them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

MOST = 20_000
"""Texts kept for one model; 512 dimensions make 40 MB. The oldest go first."""

_STORED = np.dtype("<f4")
_BLOCK = 500


def known(db: Database, model_id: int, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors that are kept, (dimensions,) each, by text."""
    keys = {_key(text): text for text in texts}
    hashes = list(keys)
    found: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        marks = ", ".join("?" * len(block))
        for text_hash, vector in db.execute(
            "select text_hash, vector from text_vector "
            f"where model_id = ? and text_hash in ({marks})",
            [model_id, *block],
        ):
            found[keys[text_hash]] = np.frombuffer(vector, _STORED).astype(np.float32)
    return found


def latest(db: Database, model_id: int, dimensions: int, limit: int) -> NDArray[np.float32]:
    """Return the vectors of texts that were asked for last, (n, dimensions)."""
    rows = db.execute(
        "select vector from text_vector where model_id = ? order by rowid desc limit ?",
        [model_id, limit],
    ).fetchall()
    found = np.frombuffer(b"".join(row[0] for row in rows), _STORED)
    return found.reshape(len(rows), dimensions).astype(np.float32)


def keep(db: Database, model_id: int, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Keep the vectors of texts, and drop the oldest beyond `MOST`."""
    db.conn.executemany(
        "insert or ignore into text_vector (model_id, text_hash, vector) values (?, ?, ?)",
        ((model_id, _key(text), row.astype(_STORED).tobytes()) for text, row in vectors.items()),
    )
    db.execute(
        "delete from text_vector where model_id = ? and rowid <= "
        "(select rowid from text_vector where model_id = ? order by rowid desc limit 1 offset ?)",
        [model_id, model_id, MOST],
    )


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
