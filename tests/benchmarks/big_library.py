"""Make a large library of random but clustered vectors, straight in its catalogue.

    python -m tests.benchmarks.big_library FOLDER [--photos 1000000] [--dimensions 512]

Vectors lie as those of CLIP do: photos in a narrow cone (cosines of two photos around 0.5),
around the centres of clusters of very unequal sizes, with detail that has few directions and
noise that has all; texts in a cone of their own, with cosines of 0.1 to 0.3 to photos.
"""

from __future__ import annotations

import argparse
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLUSTERS = 4000
CAMERAS = ("Canon EOS 5D", "Canon EOS R5", "NIKON D850", "iPhone 12", "Pixel 7", "X-T4", "Leica M")
WORDS = ("lake", "snow", "party", "harbour", "garden", "street", "forest", "bridge", "museum")
RATINGS = {0.001: 5, 0.01: 4, 0.1: 3, 0.5: 2}
"""Shares of photos by rating: `rating:5` passes 0.1 % of them, and so on."""

_BLOCK = 20_000
_DETAILS = 48  # directions in which photos of a cluster differ most

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """A space of photos and texts; one seed, one world."""

    dimensions: int = 512
    seed: int = 12
    clusters: int = CLUSTERS

    def photos(self, count: int) -> Iterator[Vector]:
        """Yield the vectors of `count` photos in blocks, (b, dimensions) of unit length."""
        dice = np.random.default_rng([self.seed, 1])
        shares = dice.exponential(size=self.clusters) ** 2
        shares /= shares.sum()
        for start in range(0, count, _BLOCK):
            size = min(_BLOCK, count - start)
            chosen = dice.choice(self.clusters, size, p=shares)
            detail = dice.standard_normal((size, _DETAILS), np.float32) @ self._details
            noise = dice.standard_normal((size, self.dimensions), np.float32)
            noise *= np.float32(0.3 / self.dimensions**0.5)
            yield _unit(0.7 * self._cones[0] + 0.6 * self._centres[chosen] + detail + noise)

    def texts(self, seeds: Sequence[int]) -> Vector:
        """Return a text for each seed, (n, dimensions) of unit length: some cluster's name."""
        rows = []
        for seed in seeds:
            dice = np.random.default_rng([self.seed, 2, seed])
            names = self._centres[dice.integers(self.clusters, size=2)]
            said = 0.3 * names[0] + 0.1 * names[1]
            said += 0.35 * _unit(dice.standard_normal(_DETAILS, np.float32) @ self._details)
            noise = _unit(dice.standard_normal(self.dimensions, np.float32))
            rows.append(0.8 * self._cones[1] + said + 0.3 * noise)
        return _unit(np.array(rows, np.float32).reshape(len(seeds), self.dimensions))

    @cached_property
    def _cones(self) -> Vector:
        dice = np.random.default_rng([self.seed, 3])
        photo, text = _unit(dice.standard_normal((2, self.dimensions), np.float32))
        return np.stack([photo, _unit(text + 0.2 * photo)])

    @cached_property
    def _centres(self) -> Vector:
        dice = np.random.default_rng([self.seed, 4])
        return _unit(dice.standard_normal((self.clusters, self.dimensions), np.float32))

    @cached_property
    def _details(self) -> Vector:
        dice = np.random.default_rng([self.seed, 5])
        rows = _unit(dice.standard_normal((_DETAILS, self.dimensions), np.float32))
        falling = 1 / np.sqrt(np.arange(1, _DETAILS + 1))
        scaled: Vector = rows * (0.45 * falling / np.linalg.norm(falling))[:, None]
        return scaled.astype(np.float32)


class WorldEmbedder:
    """Texts of a `World`; it has never seen an image."""

    name = "world"
    fingerprint = "1"
    image_size = 8
    batch_size = 1
    logit_scale = 100.0
    logit_bias: float | None = None

    def __init__(self, dimensions: int = 512, seed: int = 12) -> None:
        self.dimensions = dimensions
        self._world = World(dimensions, seed)

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def images(self, images: Sequence[Image.Image]) -> Vector:
        raise NotImplementedError("vectors of photos are put into the catalogue directly")

    def texts(self, texts: Sequence[str]) -> Vector:
        return self._world.texts([zlib.crc32(text.encode()) for text in texts])


def make(folder: Path, photos: int, dimensions: int = 512, seed: int = 12) -> None:
    """Make a library of `photos` photos in `folder`; open it with `WorldEmbedder`.

    A photo in 50 has a telling name, all have dates, cameras and places, 1 in 100 is a copy of
    another file, ratings are as `RATINGS` says.
    """
    from clipsearch.catalog import Catalog, archive

    world = World(dimensions, seed)
    folder.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(folder / "catalog.db")
    with catalog.write() as db:
        model = archive.ensure_model(
            db,
            WorldEmbedder.name,
            WorldEmbedder.fingerprint,
            dimensions=dimensions,
            logit_scale=WorldEmbedder.logit_scale,
            logit_bias=None,
        )
        archive.use_model(db, model.id)
        root = archive.add_root(db, "/photos", 1)
    dice = random.Random(seed)
    first = 1
    for block in world.photos(photos):
        numbers = range(first, first + len(block))
        first += len(block)
        with catalog.write() as db:
            db.conn.executemany(
                "insert into photo (id, root_id, path, name, size, mtime_ns, content_hash, format,"
                " width, height, orientation, taken_at, camera_make, camera_model, indexed_at,"
                " rating, latitude, longitude)"
                " values (?, ?, ?, ?, ?, ?, ?, 'JPEG', 4000, 3000, 1, ?, '', ?, 'now', ?, ?, ?)",
                (_row(dice, root.id, number) for number in numbers),
            )
            db.conn.executemany(
                "insert into vector (photo_id, model_id, vector) values (?, ?, ?)",
                (
                    (number, model.id, row.tobytes())
                    for number, row in zip(numbers, block.astype("<f2"), strict=True)
                ),
            )
    catalog.close()


def _row(dice: random.Random, root_id: int, number: int) -> tuple[object, ...]:
    year = 2005 + dice.randrange(20)
    name = f"IMG_{number:07}.jpg" if number % 50 else f"{dice.choice(WORDS)} {number}.jpg"
    folder = f"{year}/trip {dice.randrange(300)}"
    content = number - 1 if number % 100 == 0 else number
    rating = next((stars for share, stars in RATINGS.items() if dice.random() < share), None)
    date = f"{year}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
    return (
        *(number, root_id, f"{folder}/{name}".encode(), name, 3_000_000 + number, number),
        *(zlib.crc32(b"%d" % content).to_bytes(4, "big") * 7 + content.to_bytes(4, "big"),),
        *(f"{date}T{dice.randrange(24):02}:{dice.randrange(60):02}:00", dice.choice(CAMERAS)),
        *(rating, dice.uniform(-60, 70), dice.uniform(-180, 180)),
    )


def _unit(rows: Vector) -> Vector:
    unit: Vector = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    arguments = parser.parse_args()
    began = time.perf_counter()
    make(arguments.folder, arguments.photos, arguments.dimensions)
    print(f"{arguments.photos:,} photos in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
