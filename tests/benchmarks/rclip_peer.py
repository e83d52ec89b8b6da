"""rclip's own search over given vectors; run by an interpreter that has rclip, not by ours.

    python tests/benchmarks/rclip_peer.py VECTORS.npy

The vectors, (n, d) float32, go into a database of rclip's own schema through its own `DB`. Then
each line on stdin, a JSON list of d numbers, is answered with a JSON line: seconds of one
`RClip.search`, and the numbers of the best 50 vectors with their scores. Only the model is not
rclip's: the vector of the query is the one given.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclip import db, main, model  # type: ignore[import-not-found]

ROOT = "/photos"
TOP = 50


class GivenModel(model.Model):  # type: ignore[misc] # rclip is not installed where types are checked
    """rclip's model with a query vector that is told to it."""

    def __init__(self) -> None:
        self.vector: NDArray[np.float32] = np.zeros(1, np.float32)

    def compute_features_for_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        return self.vector if queries else np.zeros_like(self.vector)


def answer(vectors: NDArray[np.float32], folder: Path) -> None:
    """Fill a database, then answer the queries on stdin."""
    database = db.DB(folder / "db.sqlite3")
    for number, row in enumerate(vectors):
        image: dict[str, Any] = {"filepath": f"{ROOT}/{number:07}.jpg", "modified_at": 0.0}
        database.upsert_image(
            db.NewImage(**image, size=number, vector=row.tobytes(), hash=str(number)), commit=False
        )
    database.commit()
    told = GivenModel()
    rclip = main.RClip(told, database, indexing_batch_size=8, exclude_dirs=None)
    print("ready", flush=True)
    for line in sys.stdin:
        told.vector = np.array(json.loads(line), np.float32)
        began = time.perf_counter()
        found = rclip.search("words", ROOT, TOP)
        seconds = time.perf_counter() - began
        hits = [(int(Path(hit.filepath).stem), float(hit.score)) for hit in found]
        print(json.dumps([seconds, hits]), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        answer(np.load(sys.argv[1]), Path(name))
