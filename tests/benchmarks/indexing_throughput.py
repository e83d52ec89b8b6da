"""End-to-end indexing of 12-megapixel JPEGs against its two halves, in one run.

    python -m tests.benchmarks.indexing_throughput [--photos 384] [--repeat 3]

Decoding alone: the threads of the indexer read, hash, decode and prepare, nothing else runs.
Forward alone: the model embeds images that are prepared already. End to end: `Library.index` into
an empty library. Both halves want the same processors, so no schedule can take less than the
seconds that both keep a processor busy, divided by the processors: that is the bound.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clipsearch import Embedder, Library
from clipsearch.models import registry
from clipsearch.photos import decode
from tests.benchmarks.figures import Figure, show

# As the command line does, before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "captions"
THREADS = os.cpu_count() or 2
ORIGINALS = 32  # pictures; files beyond repeat them
MODELS = (("starter", "auto"), ("ViT-B-32", "float32"), ("ViT-B-32", "auto"))


def write_photos(folder: Path, count: int) -> float:
    """Write JPEGs of 4000 x 3000 with camera-like grain; return their mean size in megabytes."""
    random = np.random.default_rng(12)
    sources = sorted(SHARED.glob("*/*.jpg"))[:count]
    grain = random.normal(0, 6, (3000, 4000)).astype(np.int16)
    for number in range(count):
        if sources:
            with Image.open(sources[number % len(sources)]) as small:
                picture = small.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        else:
            blobs = random.integers(0, 256, (30, 40, 3), np.uint8)
            picture = Image.fromarray(blobs).resize((4000, 3000), Image.Resampling.BICUBIC)
        noisy = np.asarray(picture, np.int16) + np.roll(grain, 37 * number, axis=1)[..., None]
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            folder / f"{number:04}.jpg", quality=88
        )
    return sum(path.stat().st_size for path in folder.iterdir()) / count / 1e6


def write_many(folder: Path, count: int) -> float:
    """Write JPEGs that differ, most of them only in what follows the picture; return megabytes."""
    megabytes = write_photos(folder, min(ORIGINALS, count))
    for number in range(ORIGINALS, count):
        content = (folder / f"{number % ORIGINALS:04}.jpg").read_bytes()
        (folder / f"{number:04}.jpg").write_bytes(content + number.to_bytes(4, "big"))
    return megabytes


def random_vit(folder: Path, precision: str) -> Embedder:
    """ViT-B-32 with seeded random weights: real in cost, empty in meaning."""
    import open_clip
    import torch

    file = folder / "vit-b-32.pt"
    if not file.exists():
        torch.manual_seed(12)
        torch.save(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), file)
    return registry.load(f"ViT-B-32/{file}", precision=precision)


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds that a number of photos take: alone, and of processors while that ran."""

    photos: int
    decode: float
    decode_busy: float
    forward: float
    forward_busy: float
    end_to_end: float

    @property
    def share(self) -> float:
        """The bound as a share of what indexing took."""
        return (self.decode_busy + self.forward_busy) / THREADS / self.end_to_end


def taken(embedder: Embedder, photos: Path, scratch: Path) -> Taken:
    """Measure decoding, forward and both."""
    paths = sorted(photos.iterdir())

    def read(path: Path) -> Image.Image:
        decoded = decode.open_photo(path, size=embedder.image_size)
        return embedder.prepare(decoded.image)

    size = embedder.batch_size
    warm = [read(path) for path in paths[:size]]
    for _ in range(3):
        embedder.images(warm)
    started, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        prepared = list(pool.map(read, paths))
    decoded, decoded_busy = time.perf_counter(), time.process_time()
    for start in range(0, len(prepared), size):
        embedder.images(prepared[start : start + size])
    forwarded, forwarded_busy = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=scratch) as folder, Library(folder, embedder) as library:
        report = library.index(photos)
    assert report.embedded == len(paths)
    return Taken(
        photos=len(paths),
        decode=decoded - started,
        decode_busy=decoded_busy - busy,
        forward=forwarded - decoded,
        forward_busy=forwarded_busy - decoded_busy,
        end_to_end=report.seconds,
    )


def measure(photos: int, repeat: int, scratch: Path) -> list[Figure]:
    """Return what each model reaches of the bound: the median of `repeat` rounds."""
    folder = scratch / "photos"
    folder.mkdir()
    write_many(folder, photos)
    figures = []
    for label, precision in MODELS:
        if label == "starter":
            embedder = registry.load("starter", precision=precision)
        else:
            embedder = random_vit(scratch, precision)
        rounds = sorted(
            (taken(embedder, folder, scratch) for _ in range(repeat)), key=lambda each: each.share
        )
        found = rounds[repeat // 2]
        name = f"index 12 Mpx, {label} {precision}"
        figures += [
            Figure(f"{name}: decoding alone", photos / found.decode, "/s"),
            Figure(f"{name}: forward alone", photos / found.forward, "/s"),
            Figure(f"{name}: Library.index", photos / found.end_to_end, "/s"),
            Figure(f"{name}: share of the bound", found.share, "", 0.9, True, slack=1.5),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        show(measure(arguments.photos, arguments.repeat, Path(name)))


if __name__ == "__main__":
    main()
