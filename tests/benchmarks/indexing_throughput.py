"""End-to-end indexing of 12-megapixel JPEGs against its two halves, in one run.

    python -m tests.benchmarks.indexing_throughput [--photos 96]

Decoding alone: the threads of the indexer read, hash, decode and prepare, nothing else runs.
Forward alone: the model embeds images that are prepared already. End to end: `Library.index` into
an empty library. Both halves want the same processors, so no schedule can index faster than the
"shared" rate 1 / (1 / decode + 1 / forward) where each half alone already fills them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from clipsearch import Embedder, Library
from clipsearch.models import registry
from clipsearch.photos import decode

# As the command line does, before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "captions"
THREADS = os.cpu_count() or 2
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


def random_vit(folder: Path, precision: str) -> Embedder:
    """ViT-B-32 with seeded random weights: real in cost, empty in meaning."""
    import open_clip
    import torch

    file = folder / "vit-b-32.pt"
    if not file.exists():
        torch.manual_seed(12)
        torch.save(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), file)
    return registry.load(f"ViT-B-32/{file}", precision=precision)


def rates(embedder: Embedder, photos: Path, scratch: Path) -> dict[str, float]:
    """Return images per second of decoding, forward and both."""
    paths = sorted(photos.iterdir())

    def read(path: Path) -> Image.Image:
        decoded = decode.open_photo(path, size=embedder.image_size)
        return embedder.prepare(decoded.image)

    size = embedder.batch_size
    warm = [read(path) for path in paths[:size]]
    for _ in range(3):
        embedder.images(warm)
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        prepared = list(pool.map(read, paths))
    decoded = time.perf_counter()
    for start in range(0, len(prepared), size):
        embedder.images(prepared[start : start + size])
    forwarded = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch) as folder, Library(folder, embedder) as library:
        report = library.index(photos)
    assert report.embedded == len(paths)
    decode_rate = len(paths) / (decoded - started)
    forward_rate = len(paths) / (forwarded - decoded)
    return {
        "decode": decode_rate,
        "forward": forward_rate,
        "end_to_end": len(paths) / report.seconds,
        "shared": 1 / (1 / decode_rate + 1 / forward_rate),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        photos = scratch / "photos"
        photos.mkdir()
        megabytes = write_photos(photos, arguments.photos)
        print(f"{arguments.photos} JPEGs of 4000 x 3000, {megabytes:.1f} MB, {THREADS} threads")
        print(
            f"{'model':24} {'decode':>8} {'forward':>8} {'both':>8} {'shared':>8} "
            f"{'both/slower':>12} {'both/shared':>12}"
        )
        for label, precision in MODELS:
            if label == "starter":
                embedder = registry.load("starter", precision=precision)
            else:
                embedder = random_vit(scratch, precision)
            label = f"{label} {precision}"
            for _ in range(arguments.repeat):
                found = rates(embedder, photos, scratch)
                slower = min(found["decode"], found["forward"])
                print(
                    f"{label:24} {found['decode']:8.1f} {found['forward']:8.1f} "
                    f"{found['end_to_end']:8.1f} {found['shared']:8.1f} "
                    f"{found['end_to_end'] / slower:12.2f} "
                    f"{found['end_to_end'] / found['shared']:12.2f}",
                    flush=True,
                )
            print(json.dumps({"model": label, **{k: round(v, 2) for k, v in found.items()}}))


if __name__ == "__main__":
    main()
