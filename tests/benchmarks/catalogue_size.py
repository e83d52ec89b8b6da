"""What a photo takes of the catalogue beside its vector, by table and index.

    python -m tests.benchmarks.catalogue_size [--photos 50000] [--library FOLDER]

The photos are those of `big_library`, with three tags and a picture hash each; words, indexes,
triggers' logs and the unused ends of pages are counted. `--library` looks at a real one instead.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
from pathlib import Path

from tests.benchmarks.figures import Figure, show

DIMENSIONS = 512
LABELS = 300
BAR = 1000.0


def make(folder: Path, photos: int) -> None:
    """Make a library with tags and picture hashes."""
    from clipsearch.catalog import Catalog
    from tests.benchmarks import big_library

    big_library.make(folder, photos, DIMENSIONS)
    dice = random.Random(12)
    labels = [f"{word}/{number}" for word in big_library.WORDS for number in range(LABELS // 9)]
    catalog = Catalog(folder / "catalog.db")
    with catalog.write() as db:
        db.conn.executemany(
            "insert into tag (photo_id, label, origin, score) values (?, ?, 'file', 0.5)",
            ((number, each) for number in range(1, photos + 1) for each in dice.sample(labels, 3)),
        )
        db.execute(
            "insert into picture_hash select content_hash, abs(random()) from photo "
            "group by content_hash"
        )
    catalog.close()


def sizes(folder: Path) -> tuple[dict[str, float], float]:
    """Return bytes a photo by table or index, the largest first, and those of its vector."""
    db = sqlite3.connect(f"{(folder / 'catalog.db').as_uri()}?mode=ro", uri=True)
    photos, vectors = db.execute(
        "select (select count(*) from photo), (select sum(length(vector)) from vector)"
    ).fetchone()
    parts = db.execute("select name, sum(pgsize) from dbstat group by name order by 2 desc")
    found = {name: size / photos for name, size in parts}
    db.close()
    return found, vectors / photos


def measure(folder: Path) -> list[Figure]:
    """Return the bytes a photo of each part, and of all but the vector."""
    parts, vector = sizes(folder)
    figures = [
        Figure(f"  {name}", size - (vector if name == "vector" else 0), "B")
        for name, size in parts.items()
        if size >= 1
    ]
    total = sum(parts.values()) - vector
    return [Figure("catalogue beside the vector, a photo", total, "B", BAR), *figures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--library", type=Path, help="an existing library to look at")
    arguments = parser.parse_args()
    if arguments.library:
        show(measure(arguments.library))
        return
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), arguments.photos)
        show(measure(Path(name)))


if __name__ == "__main__":
    main()
