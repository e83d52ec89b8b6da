"""Look again at a tree of photos that did not change, against only listing it.

    python -m tests.benchmarks.incremental [--photos 100000] [--rounds 7]

`Library.index`, opening and closing the library included, and a plain loop of `os.scandir` and
`stat` over the same tree take turns; the best round of each counts. The files are hard links to
a few empty ones. The rows are those that an index run writes, put into the catalogue through the
same functions without decoding anything.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch import Library
from tests.benchmarks.figures import Figure, show

PER_FOLDER = 250
_MOST_LINKS = 50_000  # ext4 allows 65,000


class SimulatedEmbedder:
    """Costs next to nothing: each image is a random direction."""

    name = "simulated"
    fingerprint = "1"
    dimensions = 512
    image_size = 8
    batch_size = 64
    logit_scale = 100.0
    logit_bias: float | None = None

    def __init__(self) -> None:
        self._dice = np.random.default_rng(12)

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self._unit(len(images))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._unit(len(texts))

    def _unit(self, count: int) -> NDArray[np.float32]:
        rows = self._dice.standard_normal((count, self.dimensions), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


def make_tree(root: Path, photos: int) -> None:
    """Make a tree of so many names, `PER_FOLDER` in a folder."""
    root.mkdir(parents=True)
    folder = source = root
    for number in range(photos):
        if number % PER_FOLDER == 0:
            trip = number // PER_FOLDER
            folder = root / f"{2000 + trip % 20}" / f"trip {trip}"
            folder.mkdir(parents=True)
        path = folder / f"IMG_{number:07}.jpg"
        if number % _MOST_LINKS == 0:
            source = path
            source.write_bytes(b"%d" % number)
        else:
            os.link(source, path)


def fill(library: Path, root: Path) -> None:
    """Let a library know all photos of a tree as they are."""
    from clipsearch.catalog import Catalog, archive, photos, vectors
    from clipsearch.photos.walk import walk
    from clipsearch.records import Facts

    embedder = SimulatedEmbedder()
    library.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(library / "catalog.db")
    with catalog.write() as db:
        model = archive.ensure_model(
            db,
            embedder.name,
            embedder.fingerprint,
            dimensions=embedder.dimensions,
            logit_scale=embedder.logit_scale,
            logit_bias=None,
        )
        archive.use_model(db, model.id)
        added = archive.add_root(db, str(root.resolve()), root.stat().st_dev)
    files = walk(root).files
    for start in range(0, len(files), 10_000):
        part = files[start : start + 10_000]
        rows = embedder.texts([""] * len(part))
        with catalog.write() as db:
            for file, row in zip(part, rows, strict=True):
                content = hashlib.sha256(os.fsencode(file.path)).digest()
                year = file.path[:4]
                facts = Facts("JPEG", 4000, 3000, 1, f"{year}-06-01T12:00:00", "Canon", "EOS 5D")
                photo = photos.File(added.id, file.path, file.size, file.mtime_ns, content)
                vectors.put(db, photos.add(db, photo, facts), model.id, row)
    catalog.close()


def list_tree(root: Path) -> int:
    """Count the files of a tree as fast as plain Python stats them."""
    count = 0
    folders = [os.fspath(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


def measure(photos: int, rounds: int, scratch: Path) -> list[Figure]:
    """Return seconds of an index run in which nothing changed, and its ratio to listing."""
    root, folder = scratch / "photos", scratch / "library"
    make_tree(root, photos)
    fill(folder, root)
    listing: list[float] = []
    indexing: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert list_tree(root) == photos
        listed = time.perf_counter()
        with Library(folder, SimulatedEmbedder()) as library:
            report = library.index()
        indexed = time.perf_counter()
        assert (report.unchanged, report.added, report.removed) == (photos, 0, 0)
        listing.append(listed - began)
        indexing.append(indexed - listed)
    ratio = min(indexing) / min(listing)
    what = f"{photos:,} unchanged files"
    return [
        Figure(f"index {what}", min(indexing), "s", 3.0 * photos / 100_000),
        Figure(f"index {what} / scandir and stat", ratio, "x", 2.0, slack=1.5),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        show(measure(arguments.photos, arguments.rounds, Path(scratch)))


if __name__ == "__main__":
    main()
