"""Measure how captions are ranked for a photo, and whether "fits" tells own from foreign ones.

    python -m tests.benchmarks.caption_ranking [FOLDER] [--model starter]

FOLDER holds photos and `captions.jsonl`, a line a photo with `file` and `captions`. Recall@k is
the share of photos with one of their own captions among the first k of all captions. Several
rules for "fits" are compared; the shipped one is marked. Photos that the starter's head was
trained on are embedded out of fold.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch import captioning, prompts
from clipsearch.models import registry
from clipsearch.models.embedder import Vectors
from tests.benchmarks.starter_retrieval import FOLDER, embed_unseen, read_captions

RANKS = (1, 10)


def recall(
    photos: Vectors, captions: Vectors, owner: NDArray[np.int64], logit_scale: float
) -> dict[str, float]:
    """Return recall at `RANKS` in percent, image to text."""
    first = []
    for row, photo in enumerate(photos):
        ranked = captioning.rank(photo, captions, logit_scale=logit_scale)
        first.append(next(rank for rank, text in enumerate(ranked) if owner[text.position] == row))
    return {f"R@{k}": round(100 * float((np.array(first) < k).mean()), 1) for k in RANKS}


def fitting(
    photos: Vectors, captions: Vectors, owner: NDArray[np.int64], background: Vectors
) -> dict[str, tuple[float, float]]:
    """Return the share of own and of other photos' captions that fit, by rule, in percent."""
    scores = photos @ captions.T
    neutral = photos @ background.T
    own = owner[None, :] == np.arange(len(photos))[:, None]
    mean, spread = neutral.mean(axis=1), neutral.std(axis=1)
    rules = {
        "maximum": neutral.max(axis=1),
        "quantile 0.9": np.quantile(neutral, 0.9, axis=1),
        "quantile 0.75": np.quantile(neutral, 0.75, axis=1),
        "median": np.median(neutral, axis=1),
        "mean + 1 spread": mean + spread,
        "mean + 2 spreads": mean + 2 * spread,
    }
    return {
        name: (
            round(100 * float((scores > limit[:, None])[own].mean()), 1),
            round(100 * float((scores > limit[:, None])[~own].mean()), 1),
        )
        for name, limit in rules.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--model", default="starter")
    arguments = parser.parse_args()
    _, captions, owner = read_captions(arguments.folder)
    embedder = registry.load(arguments.model)
    photos, texts = embed_unseen(embedder, arguments.folder), embedder.texts(captions)
    background = embedder.texts(prompts.background())
    recalls = recall(photos, texts, owner, embedder.logit_scale)
    rules = fitting(photos, texts, owner, background)
    # The rule as it is shipped, a caption at a time.
    shipped = [
        captioning.fits(photos[row], texts[index : index + 1], background)
        for index, row in enumerate(owner)
    ]
    print(f"{embedder.name}: {len(photos)} photos, {len(captions)} captions, {arguments.folder}")
    for name, value in recalls.items():
        print(f"{name:20}{value:8.1f}")
    print(f"{'fits if above':20}{'own':>8}{'foreign':>9}   ({len(background)} neutral sentences)")
    for name, (true, false) in rules.items():
        mark = " *" if name == f"quantile {captioning.FITTING_QUANTILE}" else ""
        print(f"{name:20}{true:8.1f}{false:9.1f}{mark}")
    document = {
        "model": embedder.name,
        "folder": arguments.folder.name,
        "photos": len(photos),
        "captions": len(captions),
        **recalls,
        "own_fit": round(100 * float(np.mean(shipped)), 1),
        "fits": rules,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
