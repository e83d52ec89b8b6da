"""Make `clipsearch/models/data/starter-classes.npz`: the ImageNet classes as text vectors.

    python training/build_starter_classes.py imagenet1k.csv CAPTIONS_FOLDER

`imagenet1k.csv` has the columns index, wnid, lemmas, gloss in the order of the classifiers'
outputs. The glosses are those of WordNet 3.0, Copyright 2006 by Princeton University, all rights
reserved; its licence and disclaimer are in `clipsearch/models/data/README.md`. CAPTIONS_FOLDER
holds photos and `captions.jsonl`, a line a photo with `file` and `captions`; the logit scale is
fitted on it.

Nothing is random: the same inputs give the same bytes on the same machine.

What was tried as the text of a class, in percent found on 181 photos with 749 captions, float32
(the 30 likeliest classes at temperature 2, the centre square of each photo):

| text              | text to image R@1, 5, 10 | image to text R@1, 10 |
|-------------------|--------------------------|-----------------------|
| name              | 29.1  65.3  79.0         | 19.9  48.1            |
| a photo of a name | 28.0  65.8  79.6         | 12.2  42.0            |
| gloss             | 31.2  66.9  79.0         | 16.6  49.7            |
| name: gloss       | 33.9  69.8  80.1         | 22.7  53.6            |
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clipsearch.models.embedder import Vectors
from clipsearch.models.minilm import MiniLM
from clipsearch.models.starter import CLASSES_FILE, StarterEmbedder


def class_texts(table: Path) -> list[str]:
    """Return "name: gloss" for each class, in the order of the classifier's outputs."""
    import open_clip

    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = open_clip.IMAGENET_CLASSNAMES
    if [int(row["index"]) for row in rows] != list(range(len(names))):
        raise SystemExit(f"{table}: not the {len(names)} ImageNet classes in order")
    return [f"{name}: {row['gloss']}" for name, row in zip(names, rows, strict=True)]


def negative_log_likelihood(cosines: Vectors, owner: NDArray[np.int64], scale: float) -> float:
    """Return the mean loss of finding an own caption among those of all other photos.

    `cosines` is (photos, captions), `owner` the photo of each caption. The loss is the
    image-to-text half of CLIP's (Radford et al. 2021, arXiv 2103.00020, figure 3), with one own
    caption at a time among the captions of other photos.
    """
    logits = scale * cosines.astype(np.float64)
    own = owner[None, :] == np.arange(len(cosines))[:, None]
    others = np.logaddexp.reduce(np.where(own, -np.inf, logits), axis=1, keepdims=True)
    losses = np.logaddexp(others, logits) - logits
    return float(losses[own].mean())


def minimise(loss: Callable[[float], float], low: float, high: float) -> float:
    """Find the minimum of a function with one valley by golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def fit_logit_scale(folder: Path) -> float:
    """Fit the factor of the cosine that explains the captions of a folder best."""
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    embedder = StarterEmbedder("cpu", "float32", head=False)
    images = []
    for photo in photos:
        with Image.open(folder / photo["file"]) as image:
            images.append(embedder.prepare(ImageOps.exif_transpose(image).convert("RGB")))
    owner = np.array([row for row, photo in enumerate(photos) for _ in photo["captions"]])
    captions = embedder.texts([caption for photo in photos for caption in photo["captions"]])
    cosines = embedder.images(images) @ captions.T
    low, high = math.log(1), math.log(200)
    scale = math.exp(
        minimise(lambda log: negative_log_likelihood(cosines, owner, math.exp(log)), low, high)
    )
    print(f"logit scale {scale:.2f}: {negative_log_likelihood(cosines, owner, scale):.4f} nats")
    print(f"logit scale 100: {negative_log_likelihood(cosines, owner, 100):.4f} nats")
    return scale


def main() -> None:
    """Write the file twice: the logit scale is fitted with the class vectors in place."""
    table, captions = (Path(argument) for argument in sys.argv[1:])
    vectors = MiniLM().encode(class_texts(table)).astype(np.float16)
    np.savez(CLASSES_FILE, vectors=vectors, logit_scale=np.float32(1))
    scale = round(fit_logit_scale(captions), 1)
    np.savez(CLASSES_FILE, vectors=vectors, logit_scale=np.float32(scale))
    print(f"{CLASSES_FILE}: {CLASSES_FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
