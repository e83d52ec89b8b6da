"""Measure what the encoders cost: allocator, number format, length of the prompt.

    python -m tests.benchmarks.model_speed [FOLDER] [--seconds 1.5]

Each figure is a ratio of two rates measured in turns in the same minutes. Of the rounds the best
rate of either side counts: other work on the machine only ever slows one down. FOLDER holds photos
and `captions.jsonl`; its captions are the queries of the starter, its photos those of the ViT,
whose weights are random: no published ones are needed to time it. The naive forward pass, batches
of 32 in float32 and channels first, runs in a process of its own, for the allocator is told once
and for all how to behave.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from clipsearch.models import architectures, registry, texttower
from clipsearch.models.embedder import Embedder, Vectors
from clipsearch.models.starter import StarterEmbedder
from tests.benchmarks.starter_retrieval import FOLDER, read_captions

VIT = "ViT-B-32"
ROUNDS = 6
Pictures = list[Image.Image]


def rate(step: Callable[[], object], size: int, seconds: float) -> float:
    """Return items a second of a step that handles `size` of them, after a warm-up."""
    step()
    start = time.perf_counter()
    steps = 0
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    return size * steps / (time.perf_counter() - start)


def in_turns(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """Measure two rates `ROUNDS` times in turns and return the best of each."""
    pairs = [(first(), second()) for _ in range(ROUNDS)]
    return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)


def naive_rate(seconds: float) -> float:
    """Time the starter's image network as it comes: run this in a fresh process."""
    import timm
    import torch

    network = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    x = torch.randn(32, 3, 260, 260)
    with torch.inference_mode():
        return rate(lambda: network(x), len(x), seconds)


def naive_rate_elsewhere(seconds: float) -> float:
    """Return `naive_rate` of a fresh process."""
    code = f"from tests.benchmarks.model_speed import naive_rate; print(naive_rate({seconds}))"
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout)


def agreement(queries: Vectors, first: Vectors, second: Vectors) -> tuple[float, float]:
    """Compare the ten best photos of each query: mean overlap, and share of identical sets."""
    best = [np.argsort(-(queries @ photos.T), axis=1)[:, :10] for photos in (first, second)]
    overlaps = [len(set(a) & set(b)) / 10 for a, b in zip(*best, strict=True)]
    return float(np.mean(overlaps)), float(np.mean([overlap == 1 for overlap in overlaps]))


def self_agreement(first: Vectors, second: Vectors) -> tuple[float, float]:
    """Compare the ten nearest neighbours of each photo, among photos of the same precision."""
    best = []
    for photos in (first, second):
        cosines = photos @ photos.T
        np.fill_diagonal(cosines, -np.inf)
        best.append(np.argsort(-cosines, axis=1)[:, :10])
    overlaps = [len(set(a) & set(b)) / 10 for a, b in zip(*best, strict=True)]
    return float(np.mean(overlaps)), float(np.mean([overlap == 1 for overlap in overlaps]))


def time_starter(pictures: Pictures, captions: list[str], seconds: float) -> dict[str, object]:
    """Compare the starter with its naive forward pass, and its number formats."""
    ours, exact = StarterEmbedder("cpu"), StarterEmbedder("cpu", "float32")
    batch = pictures[: 4 * ours.batch_size]
    naive, fast = in_turns(
        lambda: naive_rate_elsewhere(seconds),
        lambda: rate(lambda: ours.images(batch), len(batch), seconds),
    )
    queries = exact.texts(captions)
    overlap, identical = agreement(queries, exact.images(pictures), ours.images(pictures))
    return {
        "naive_per_second": round(naive, 1),
        "ours_per_second": round(fast, 1),
        "ratio": round(fast / naive, 2),
        "top10_overlap": round(overlap, 4),
        "top10_identical": round(identical, 4),
    }


def random_vit(folder: str) -> str:
    """Write a ViT-B-32 with seeded random weights into a folder and return its model name."""
    import torch

    torch.manual_seed(11)
    path = Path(folder) / "random.pt"
    torch.save(architectures.build(VIT, quick_gelu=False).state_dict(), path)
    return f"{VIT}/{path}"


def time_vit(name: str, pictures: Pictures, seconds: float) -> dict[str, object]:
    """Compare float32 and bfloat16 of a ViT whose weights are random."""
    exact = registry.load(name, device="cpu", precision="float32")
    rough = registry.load(name, device="cpu", precision="bfloat16")
    batch = [exact.prepare(picture) for picture in pictures[: 2 * exact.batch_size]]
    slow, fast = in_turns(
        lambda: rate(lambda: exact.images(batch), len(batch), seconds),
        lambda: rate(lambda: rough.images(batch), len(batch), seconds),
    )
    full, half = exact.images(pictures), rough.images(pictures)
    overlap, identical = agreement(full, full, half)
    neighbours, same_neighbours = self_agreement(full, half)
    return {
        "float32_per_second": round(slow, 1),
        "bfloat16_per_second": round(fast, 1),
        "ratio": round(fast / slow, 2),
        "top10_overlap": round(overlap, 4),
        "top10_identical": round(identical, 4),
        "neighbours_overlap": round(neighbours, 4),
        "neighbours_identical": round(same_neighbours, 4),
        "least_cosine": round(float((full * half).sum(1).min()), 5),
    }


def time_prompts(seconds: float) -> dict[str, object]:
    """Compare a prompt of eight tokens with all 77 positions, on the text tower of ViT-B-32."""
    import open_clip
    import torch

    model = architectures.build(VIT, quick_gelu=False).eval()
    tower = texttower.causal_tower(model)
    assert tower is not None
    tokens = open_clip.get_tokenizer(VIT)(["a dog on the beach, running"])
    length = int(texttower.end_positions(tower, tokens)[0]) + 1
    with torch.inference_mode():
        full, short = in_turns(
            lambda: rate(lambda: model.encode_text(tokens), 1, seconds),
            lambda: rate(lambda: texttower.encode(tower, tokens), 1, seconds),
        )
        normalize = torch.nn.functional.normalize
        difference = normalize(model.encode_text(tokens), dim=-1) - normalize(
            texttower.encode(tower, tokens), dim=-1
        )
    return {
        "tokens": length,
        "full_ms": round(1000 / full, 1),
        "short_ms": round(1000 / short, 1),
        "cost": round(full / short, 3),
        "greatest_difference": float(difference.abs().max()),
    }


def upright(path: Path, embedder: Embedder) -> Image.Image:
    """Open a photo, as the embedder's input."""
    with Image.open(path) as image:
        return embedder.prepare(ImageOps.exif_transpose(image).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--seconds", type=float, default=1.5, help="time of one measurement")
    arguments = parser.parse_args()
    paths, captions, _ = read_captions(arguments.folder)
    embedder = StarterEmbedder("cpu")
    pictures = [upright(path, embedder) for path in paths]
    starter = time_starter(pictures, captions, arguments.seconds)
    with tempfile.TemporaryDirectory() as folder:
        vit = time_vit(random_vit(folder), pictures, arguments.seconds)
    prompts = time_prompts(arguments.seconds)
    document = {"starter": starter, "vit_b_32": vit, "prompt": prompts}
    for title, rows in document.items():
        print(title)
        for key, value in rows.items():
            print(f"  {key:22} {value}")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
