"""What it costs to decode in worker processes: indexing good 12-megapixel JPEGs, both ways.

    python -m tests.benchmarks.isolation [--photos 256] [--repeat 3]

`threads` decodes in threads of the indexing process, where a file that crashes a decoder ends the
run; `workers` is what `Library.index` does. They take turns in one run, into an empty library
each time. Wall time is what a person waits for; processor time, of the indexing process and all of
its workers, is what the work costs, also on a machine that does other things meanwhile. `instant`
is a model that costs nothing, so that only reading and decoding is left. Each worker takes a
fifth of a second to start, once a run: with few photos that is most of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch import Embedder, Library
from clipsearch.models import registry
from clipsearch.photos import decode
from clipsearch.photos.decode import DEFAULT_MAX_PIXELS, Decoded
from clipsearch.photos.workers.pool import Workers
from tests.benchmarks.indexing_throughput import write_many
from tests.fakes import ColourEmbedder

# As the command line does, before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


BAR = 1.1
"""Isolation may cost a tenth of the time with a real model."""


class InstantEmbedder(ColourEmbedder):
    """A model that only counts its images; they are prepared as for a model of 224 pixels."""

    image_size = 224
    batch_size = 16

    def prepare(self, image: Image.Image) -> Image.Image:
        return image.resize((224, 224), reducing_gap=2)

    def images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return np.tile(np.array([1, 0, 0, 0], np.float32), (len(images), 1))


class InThreads(Workers):
    """No workers at all: photos are decoded by the threads that ask."""

    def open_photo(
        self,
        path: str | os.PathLike[str],
        *,
        size: int,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        hashed: bool = False,
        stop: threading.Event | None = None,
    ) -> Decoded:
        return decode.open_photo(path, size=size, max_pixels=max_pixels, hashed=hashed)


class ThreadedLibrary(Library):
    """A library that decodes in threads."""

    @property
    def workers(self) -> Workers:
        return InThreads(os.cpu_count() or 2)


KINDS: dict[str, type[Library]] = {"threads": ThreadedLibrary, "workers": Library}


def measure(kind: type[Library], embedder: Embedder, photos: Path) -> tuple[float, float]:
    """Return seconds of wall and of processor time that indexing takes, its workers' too."""
    before = os.times()
    with tempfile.TemporaryDirectory() as folder, kind(folder, embedder) as library:
        started = time.perf_counter()
        report = library.index(photos)
        wall = time.perf_counter() - started
    assert report.added == len(list(photos.iterdir()))
    # The workers have ended with the library: only then does the system count them.
    return wall, sum(os.times()[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    models: dict[str, Embedder] = {
        "starter": registry.load("starter"),
        "instant": InstantEmbedder(),
    }
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name)
        megabytes = write_many(photos, arguments.photos)
        print(f"{arguments.photos} JPEGs of 4000 x 3000, {megabytes:.1f} MB, {os.cpu_count()} CPUs")
        print(f"{'model':10} {'decoded in':10} {'photos/s':>9} {'wall s':>8} {'processor s':>12}")
        for label, embedder in models.items():
            measure(Library, embedder, photos)  # once to warm model and file cache
            found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
            for _ in range(arguments.repeat):
                for kind, library in KINDS.items():
                    found[kind].append(measure(library, embedder, photos))
            medians = {
                kind: [statistics.median(column) for column in zip(*times, strict=True)]
                for kind, times in found.items()
            }
            for kind, (wall, processor) in medians.items():
                print(
                    f"{label:10} {kind:10} {arguments.photos / wall:9.1f} {wall:8.2f} "
                    f"{processor:12.2f}",
                    flush=True,
                )
            wall, processor = (
                ours / theirs
                for ours, theirs in zip(medians["workers"], medians["threads"], strict=True)
            )
            print(
                f"{label:10} workers take {wall:.3f} of the wall, {processor:.3f} of the CPU time"
            )
            document = {"model": label, "wall": round(wall, 3), "processor": round(processor, 3)}
            if label == "starter":
                document["passes"] = wall <= BAR
            print(json.dumps(document))


if __name__ == "__main__":
    main()
