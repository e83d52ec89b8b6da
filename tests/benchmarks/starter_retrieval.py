"""Measure how well a model finds photos by their captions, and captions by their photo.

    python -m tests.benchmarks.starter_retrieval [FOLDER] [--model starter] [--precision auto]

FOLDER holds photos and `captions.jsonl`, a line a photo with `file` and `captions`. Recall@k of
text to image is the share of captions whose photo is among the first k photos; of image to text
the share of photos with one of their own captions among the first k captions.

The head of the starter model was trained on two of the folders. There each photo is embedded by
a head that has not seen it, five folds by photo and trained anew, in float32; the model without
its head stands beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clipsearch.models import registry
from clipsearch.models.embedder import Embedder, Vectors
from clipsearch.models.starter import NAME, StarterEmbedder
from training.train_starter_head import out_of_fold

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "captions"
TRAINED_ON = (FOLDER, FOLDER.parent / "captions_cc")
RANKS = (1, 5, 10)


def read_captions(folder: Path) -> tuple[list[Path], list[str], NDArray[np.int64]]:
    """Return the photos of a folder, all captions, and the photo of each caption."""
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    captions = [caption for photo in photos for caption in photo["captions"]]
    owner = [row for row, photo in enumerate(photos) for _ in photo["captions"]]
    return [folder / photo["file"] for photo in photos], captions, np.array(owner)


def embed_photos(embedder: Embedder, photos: list[Path]) -> Vectors:
    """Embed upright photos from their files."""
    images = []
    for photo in photos:
        with Image.open(photo) as image:
            images.append(embedder.prepare(ImageOps.exif_transpose(image).convert("RGB")))
    return embedder.images(images)


def is_trained_on(embedder: Embedder, folder: Path) -> bool:
    """Tell whether the model has learnt from the captions of a folder."""
    trained_on = [trained.resolve() for trained in TRAINED_ON]
    return embedder.name == NAME and folder.resolve() in trained_on


def embed_unseen(embedder: Embedder, folder: Path) -> Vectors:
    """Embed the photos of a folder as the model would had it never seen them."""
    if is_trained_on(embedder, folder):
        others = [other for other in TRAINED_ON if other.resolve() != folder.resolve()]
        return out_of_fold([folder, *others])[1]
    return embed_photos(embedder, read_captions(folder)[0])


def recall(
    photos: Vectors, captions: Vectors, owner: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Return recall at `RANKS` in percent for both directions."""
    cosines = photos @ captions.T
    own = owner[None, :] == np.arange(len(photos))[:, None]
    true = cosines[owner, np.arange(len(owner))]
    rank_of_photo = (cosines > true[None, :]).sum(0)
    best = np.where(own, cosines, -np.inf).max(1)
    rank_of_caption = (cosines > best[:, None]).sum(1)
    return {
        direction: {f"R@{k}": round(100 * float((rank < k).mean()), 1) for k in RANKS}
        for direction, rank in (
            ("text_to_image", rank_of_photo),
            ("image_to_text", rank_of_caption),
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--model", default=NAME)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    photos, captions, owner = read_captions(arguments.folder)
    embedder = registry.load(arguments.model, precision=arguments.precision)
    embedder.images([Image.new("RGB", (8, 8))])
    embedder.texts(["warm-up"])
    start = time.perf_counter()
    image_vectors = embed_photos(embedder, photos)
    middle = time.perf_counter()
    text_vectors = embedder.texts(captions)
    end = time.perf_counter()
    measured = {embedder.name: image_vectors}
    if embedder.name == NAME:
        plain = StarterEmbedder(precision=arguments.precision, head=False)
        measured = {f"{NAME} without head": embed_photos(plain, photos)}
        if is_trained_on(embedder, arguments.folder):
            image_vectors = embed_unseen(embedder, arguments.folder)
            measured[f"{NAME} with head, out of fold"] = image_vectors
        else:
            measured[f"{NAME} with head"] = image_vectors
    recalls = {name: recall(vectors, text_vectors, owner) for name, vectors in measured.items()}
    print(f"{len(photos)} photos, {len(captions)} captions, {arguments.folder}")
    for name, directions in recalls.items():
        print(f"{name:30}" + "".join(f"{f'R@{k}':>8}" for k in RANKS))
        for direction, values in directions.items():
            print(f"  {direction:28}" + "".join(f"{value:8.1f}" for value in values.values()))
    document = {
        "model": embedder.name,
        "precision": arguments.precision,
        "folder": arguments.folder.name,
        "photos": len(photos),
        "captions": len(captions),
        "recall": recalls,
        "photos_per_second": round(len(photos) / (middle - start), 1),
        "captions_per_second": round(len(captions) / (end - middle), 1),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
