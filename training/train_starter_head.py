"""Train `clipsearch/models/data/starter-head.npz`: the head that corrects ConSE.

    python -m training.train_starter_head FOLDER... [--seed 0]
    python -m training.train_starter_head FOLDER... --folds 5 [--clothing FOLDER]
        [--out-of-fold FILE]

Each FOLDER holds photos and `captions.jsonl`, a line a photo with `file` and `captions`; more
photos make a better head. Without `--folds` the head learns from all of them and its weights are
written; its logit scale is fitted out of fold, five folds. With `--folds`, nothing is written but
what `--out-of-fold` names. Either way the photos of the first folder are divided, each is
embedded by a head that has not seen it, and the table compares the model without and with its
head. The other folders are always learnt from. `--clothing` is a folder with `labels.jsonl`, a
line a photo with `file` and `label`: never learnt from.

The loss is CLIP's (Radford et al. 2021, arXiv 2103.00020, figure 3), from photos to captions and
back, the way back weighing more; captions of one photo are never each other's rivals. Captions
are vectors of the frozen text tower. The same photos and seed give the same head on the same
machine.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional

from clipsearch import prompts
from clipsearch.models import efficientnet
from clipsearch.models.embedder import Vectors
from clipsearch.models.minilm import MiniLM
from clipsearch.models.runtime import keep_freed_memory
from clipsearch.models.starter import join, read_classes
from clipsearch.models.starterhead import DIMENSIONS, FEATURES, HEAD_FILE, StarterHead, Weights
from training.build_starter_classes import minimise, negative_log_likelihood

CPU = torch.device("cpu")
BATCH = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained; each value was chosen out of fold, see `data/README.md`."""

    heads: int = 2  # trained apart, then one: the mean of their corrections
    units: int = 500  # of the hidden layer of each
    steps: int = 60  # over all photos at once
    rate: float = 1e-3
    decay: float = 0.5
    dropout: float = 0.3
    scale: float = 40.0  # of the cosines in the loss
    to_photo: float = 0.8  # weight of the half of the loss from captions to photos
    strength: float = 0.45  # of the correction once trained: the training photos fit too well
    crops: int = 2  # beside the photo and its mirror image
    other_views: float = 0.8  # share of steps in which a photo is not shown whole


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """What the towers make of photos and captions.

    `features` is (n, views, 1280) and `joined` (n, views, 384), the whole photo first;
    `captions` (m, 384), `owner` (m,) the photo of each.
    """

    names: list[str]
    features: torch.Tensor
    joined: torch.Tensor
    captions: torch.Tensor
    owner: torch.Tensor


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def views(image: Image.Image, crops: int, random: np.random.Generator) -> list[Image.Image]:
    """Return the input that the model sees, its mirror image, and random squares of the photo."""
    whole = efficientnet.crop(image)
    chosen = [whole, ImageOps.mirror(whole)]
    for _ in range(crops):
        side = min(image.size) * random.uniform(0.65, 1)
        left, top = (random.uniform(0, length - side) for length in image.size)
        square = efficientnet.crop(
            image.crop((int(left), int(top), int(left + side), int(top + side)))
        )
        chosen.append(ImageOps.mirror(square) if random.random() < 0.5 else square)
    return chosen


def look(images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (n, 1280) and vectors of ConSE (n, 384) of cropped images, float32."""
    keep_freed_memory()
    tower = efficientnet.EfficientNetLite2(CPU, torch.float32)
    classes = functional.normalize(torch.from_numpy(read_classes()[0]).float(), dim=-1)
    features, joined = [], []
    for start in range(0, len(images), BATCH):
        seen, logits = tower.classify(images[start : start + BATCH])
        features.append(seen.clone())
        joined.append(join(logits, classes).clone())
    return torch.cat(features), torch.cat(joined)


def read_photos(folders: Sequence[Path], recipe: Recipe, seed: int) -> tuple[Photos, int]:
    """Embed the photos and captions of folders; return also how many the first folder has."""
    random = np.random.default_rng(seed)
    names: list[str] = []
    squares: list[Image.Image] = []
    texts: list[str] = []
    owner: list[int] = []
    first = 0
    for folder in folders:
        lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
        for photo in map(json.loads, lines):
            owner += [len(names)] * len(photo["captions"])
            texts += photo["captions"]
            names.append(photo["file"])
            squares += views(upright(folder / photo["file"]), recipe.crops, random)
        first = first or len(names)
    features, joined = look(squares)
    photos = Photos(
        names,
        features.view(len(names), -1, FEATURES),
        joined.view(len(names), -1, DIMENSIONS),
        torch.from_numpy(MiniLM().encode(texts)),
        torch.tensor(owner),
    )
    return photos, first


def symmetric_loss(
    cosines: torch.Tensor, own: torch.Tensor, scale: float, to_photo: float = 0.5
) -> torch.Tensor:
    """Return CLIP's loss for photos with several captions each.

    `cosines` is (photos, captions), `own` of the same shape says whose a caption is. From a
    photo each own caption competes with those of other photos alone; photos count alike.
    `to_photo` is the weight of the direction from captions to photos, 0.5 in CLIP.
    """
    logits = scale * cosines
    others = logits.masked_fill(own, -math.inf).logsumexp(1, keepdim=True)
    to_text = torch.logaddexp(others, logits) - logits
    from_text = logits.logsumexp(0, keepdim=True) - logits
    weight = own / own.sum(1, keepdim=True) / len(own)
    return (weight * ((1 - to_photo) * to_text + to_photo * from_text)).sum()


def train_one(
    photos: Photos, rows: NDArray[np.int64], recipe: Recipe, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Train one head on some photos; return weights and biases for raw inputs."""
    features, joined = photos.features[rows], photos.joined[rows]
    own = photos.owner == torch.from_numpy(rows)[:, None]
    heard = own.any(0)
    own = own[:, heard]
    captions = photos.captions[heard]
    whole = joined[:, 0]
    centre, spread = whole.mean(0), whole.std(0).mean()
    # Features outweigh the vector of ConSE, which is a function of them and easier to memorise.
    gain = torch.cat([torch.full((FEATURES,), 7.4), torch.full((DIMENSIONS,), 0.075) / spread])
    shift = torch.cat([torch.zeros(FEATURES), centre])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden, output = nn.Linear(len(gain), recipe.units), nn.Linear(recipe.units, DIMENSIONS)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)
        parameters = [*hidden.parameters(), *output.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=recipe.rate, total_steps=recipe.steps, pct_start=0.1
        )
        everyone = torch.arange(len(rows))
        for _ in range(recipe.steps):
            view = torch.randint(0, features.shape[1], (len(rows),))
            view[torch.rand(len(rows)) >= recipe.other_views] = 0
            base = joined[everyone, view]
            seen = torch.cat([functional.normalize(features[everyone, view], dim=-1), base], -1)
            active = functional.dropout(hidden((seen - shift) * gain).relu(), recipe.dropout)
            vectors = functional.normalize(base + output(active), dim=-1)
            loss = symmetric_loss(vectors @ captions.T, own, recipe.scale, recipe.to_photo)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        weight = hidden.weight * gain
        return weight, hidden.bias - weight @ shift, output.weight, output.bias


def train(photos: Photos, rows: NDArray[np.int64], recipe: Recipe, seed: int) -> Weights:
    """Train several heads on some photos and make one of them; its logit scale is not known."""
    heads = [train_one(photos, rows, recipe, 1000 * seed + k) for k in range(recipe.heads)]
    share = recipe.strength / recipe.heads

    def stored(part: torch.Tensor) -> NDArray[np.float16]:
        return part.detach().numpy().astype(np.float16)

    return Weights(
        hidden=stored(torch.cat([head[0] for head in heads])),
        hidden_bias=stored(torch.cat([head[1] for head in heads])),
        output=stored(torch.cat([head[2] for head in heads], dim=1) * share),
        output_bias=stored(torch.stack([head[3] for head in heads]).sum(0) * share),
        logit_scale=math.nan,
    )


def divide(count: int, folds: int, seed: int) -> list[NDArray[np.int64]]:
    """Divide photos at random into folds."""
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(order[fold::folds]) for fold in range(folds)]


def cross_validate(
    photos: Photos, first: int, recipe: Recipe, folds: int, seed: int
) -> tuple[Vectors, list[Weights]]:
    """Embed each of the `first` photos by a head that has not seen it; return the heads too."""
    vectors = np.empty((first, DIMENSIONS), np.float32)
    heads = []
    for unseen in divide(first, folds, seed):
        rows = np.setdiff1d(np.arange(len(photos.names)), unseen)
        heads.append(train(photos, rows, recipe, seed))
        with torch.inference_mode():
            head = StarterHead(heads[-1], CPU)
            vectors[unseen] = head.correct(photos.features[unseen, 0], photos.joined[unseen, 0])
    return vectors, heads


def out_of_fold(
    folders: Sequence[Path], *, folds: int = 5, seed: int = 0
) -> tuple[list[str], Vectors]:
    """Embed the photos of the first folder, each by a head that has not seen it.

    The photos of the other folders are always learnt from. Returns the names as they stand in
    `captions.jsonl`, in its order, and (n, 384) float32, rows of unit length. Takes a minute.
    """
    recipe = Recipe()
    photos, first = read_photos(folders, recipe, seed)
    return photos.names[:first], cross_validate(photos, first, recipe, folds, seed)[0]


def recalls(vectors: Vectors, captions: Vectors, owner: NDArray[np.int64]) -> list[float]:
    """Return R@1, R@5, R@10 of text to image and R@1, R@10 of image to text in percent."""
    cosines = vectors @ captions.T
    own = owner[None, :] == np.arange(len(vectors))[:, None]
    true = cosines[owner, np.arange(len(owner))]
    photo = (cosines > true[None, :]).sum(0)
    caption = (cosines > np.where(own, cosines, -np.inf).max(1)[:, None]).sum(1)
    ranks = [(photo, 1), (photo, 5), (photo, 10), (caption, 1), (caption, 10)]
    return [100 * float((rank < k).mean()) for rank, k in ranks]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Photos with one label each, and the averaged text vectors of the labels."""

    features: torch.Tensor
    joined: torch.Tensor
    labels: Vectors
    truth: NDArray[np.int64]

    def accuracy(self, head: Weights | None) -> float:
        """Return the zero-shot accuracy in percent, without a head where there is none."""
        vectors = self.joined
        if head is not None:
            with torch.inference_mode():
                vectors = StarterHead(head, CPU).correct(self.features, self.joined)
        return 100 * float(((vectors.numpy() @ self.labels.T).argmax(1) == self.truth).mean())


def read_labelled(folder: Path) -> Labelled:
    """Embed the photos and labels of a folder, all templates averaged."""
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    names = sorted({photo["label"] for photo in photos})
    truth = np.array([names.index(photo["label"]) for photo in photos])
    squares = [efficientnet.crop(upright(folder / photo["file"])) for photo in photos]
    labels = prompts.embed_labels(MiniLM().encode, names, prompts.TEMPLATES)
    return Labelled(*look(squares), labels, truth)


def fit_logit_scale(vectors: Vectors, captions: Vectors, owner: NDArray[np.int64]) -> float:
    """Fit the factor of the cosine to captions of photos that the head has not seen."""
    cosines = vectors @ captions.T
    low, high = math.log(1), math.log(200)
    return math.exp(
        minimise(lambda log: negative_log_likelihood(cosines, owner, math.exp(log)), low, high)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--folds", type=int, default=0, help="measure instead of writing weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="divide the photos so many times")
    parser.add_argument("--clothing", type=Path, help="photos with labels.jsonl")
    parser.add_argument("--out-of-fold", type=Path, metavar="FILE", help="an .npz to write")
    parser.add_argument("--out", type=Path, default=HEAD_FILE, help="the weights to write")
    arguments = parser.parse_args()
    if arguments.folds == 1 or arguments.folds < 0:
        parser.error("--folds: two or more")
    torch.set_num_threads(min(2, torch.get_num_threads()))
    recipe = Recipe()
    photos, first = read_photos(arguments.folders, recipe, arguments.seed)
    captions = photos.captions[photos.owner < first].numpy()
    owner = photos.owner[photos.owner < first].numpy()
    labelled = read_labelled(arguments.clothing) if arguments.clothing else None
    scales, rows, kept = [], [], None
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        vectors, heads = cross_validate(photos, first, recipe, arguments.folds or 5, seed)
        kept = vectors if kept is None else kept
        scales.append(fit_logit_scale(vectors, captions, owner))
        rows.append(recalls(vectors, captions, owner))
        if labelled:
            rows[-1].append(float(np.mean([labelled.accuracy(head) for head in heads])))
    without = recalls(photos.joined[:first, 0].numpy(), captions, owner)
    if labelled:
        without.append(labelled.accuracy(None))
    titles = ("t2i R@1", "t2i R@5", "t2i R@10", "i2t R@1", "i2t R@10", "clothing")
    print(f"{first} photos, {len(captions)} captions; each photo by a head that has not seen it")
    print(f"{'':12}" + "".join(f"{title:>10}" for title in titles[: len(without)]))
    for name, values in (
        ("without head", without),
        ("with head", np.mean(rows, axis=0)),
        ("deviation", np.std(rows, axis=0)),
    ):
        print(f"{name:12}" + "".join(f"{value:10.1f}" for value in values))
    scale = round(float(np.mean(scales)), 1)
    print(f"logit scale {scale}")
    if arguments.out_of_fold and kept is not None:
        np.savez(arguments.out_of_fold, names=np.array(photos.names[:first]), vectors=kept)
    if arguments.folds:
        return
    head = train(photos, np.arange(len(photos.names)), recipe, arguments.seed)
    replace(head, logit_scale=scale).save(arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")
    if labelled:
        print(f"clothing with this head {labelled.accuracy(head):.1f}")


if __name__ == "__main__":
    main()
