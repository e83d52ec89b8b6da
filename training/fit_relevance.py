"""Fit what relevance must know of a model, and store it in `clipsearch/data/relevance.toml`.

    python -m training.fit_relevance FOLDER [--model starter] [--names FILE] [--vectors FILE]

FOLDER holds photos and `captions.jsonl`, a line a photo with `file` and `objects`, the names of
all things of the vocabulary in the photo, or null where they are not known; photos without are
part of the library all the same. The vocabulary is a text file with a name a line; without one
it is COCO's. Photos that the starter's head was trained on are embedded out of fold, which takes
minutes; `--vectors` is an .npz with `names` (files as in `captions.jsonl`) and `vectors` (n, d)
to take instead, such as `training.train_starter_head --out-of-fold` writes.

Every pair of a name and a photo counts once. Nothing is random but `--offsets`, which is seeded:
it adds a random constant of that deviation to all cosines of each name, each neutral sentence
and each photo, many times over. The general default is fitted so, on the starter's cosines: a
model that nobody has looked at may have its queries anywhere, so that the general default trusts
what stands out, and hardly the level. Its cut lies near 2.8 spreads, beyond which chance puts one
photo of 400; `--lean` is added to the intercept:

    python -m training.fit_relevance FOLDER --general --offsets 0.1 --soft 3 --echo 0
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch import prompts, relevance
from clipsearch.models import registry
from clipsearch.models.embedder import Embedder, Vectors
from clipsearch.relevance import Coefficients
from tests.benchmarks.starter_retrieval import embed_unseen, is_trained_on
from tests.benchmarks.tagging_quality import COCO

Matrix = NDArray[np.float64]
Truth = NDArray[np.bool_]

FILE = Path(relevance.__file__).parent / "data" / "relevance.toml"
SOFT = 0.5
HUB = 1.0
ECHO = 0.5
RIDGE = 1e-2  # a penalty that keeps weights finite where few names occur
SEEDS = 20
START = Coefficients(0, 0, 0, SOFT, HUB, ECHO, 0, 0, 1, False, datetime.date(1970, 1, 1), "")
"""What stands before a fit: only `soft`, `hub` and `echo` are chosen, the rest is learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A labelled library: `library` (n, d), of which the rows `known` (p,) have their names
    known, `truth` (p, t); `texts` (t, d) are the names, `background` (b, d) neutral sentences."""

    library: Vectors
    known: NDArray[np.int64]
    truth: Truth
    texts: Vectors
    background: Vectors


def read_photos(folder: Path) -> list[tuple[str, list[str] | None]]:
    """Return the file of each photo and the names of what it shows, where that is known."""
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    return [(photo["file"], photo.get("objects")) for photo in photos]


def read_vectors(path: Path, files: Sequence[str]) -> Vectors:
    """Return the vectors of an .npz in the order of `files`, of unit length."""
    with np.load(path, allow_pickle=False) as archive:
        rows = {str(name): row for row, name in enumerate(archive["names"])}
        vectors = archive["vectors"].astype(np.float32)
    missing = [file for file in files if file not in rows]
    if missing:
        raise SystemExit(f"{path}: no vector of {missing[0]}; write one for every photo")
    chosen: Vectors = vectors[[rows[file] for file in files]]
    unit: Vectors = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    return unit


def scene_of(folder: Path, embedder: Embedder, names: Sequence[str], vectors: Vectors) -> Scene:
    """Join the photos of a labelled folder, in the order of `captions.jsonl`, with names."""
    photos = read_photos(folder)
    known = [row for row, (_, objects) in enumerate(photos) if objects is not None]
    truth = np.array([[name in (photos[row][1] or ()) for name in names] for row in known])
    if not truth.any():
        raise SystemExit(f"{folder}: no photo shows any of the {len(names)} names; give others")
    background = embedder.texts(prompts.background())
    return Scene(vectors, np.array(known), truth, embedder.texts(names), background)


def read_scene(
    folder: Path, embedder: Embedder, names: Sequence[str], vectors: Path | None = None
) -> Scene:
    """Embed a labelled folder, out of fold where the model has learnt from it, or take its
    photos' vectors from a file."""
    files = [file for file, _ in read_photos(folder)]
    library = read_vectors(vectors, files) if vectors else embed_unseen(embedder, folder)
    return scene_of(folder, embedder, names, library)


def shifted(scene: Scene, random: np.random.Generator, deviation: float) -> Scene:
    """Add a random constant to all cosines of each text and of each photo.

    The constants are two dimensions more: (constant, 1) of photos by (1, constant) of texts.
    """

    def widen(vectors: Vectors, first: bool) -> Vectors:
        extra = np.ones((len(vectors), 2))
        extra[:, 1 - first] = random.normal(0, deviation, len(vectors))
        return np.concatenate([vectors, extra], axis=1).astype(np.float32)

    return replace(
        scene,
        library=widen(scene.library, True),
        texts=widen(scene.texts, False),
        background=widen(scene.background, False),
    )


def evidence(scene: Scene, known: Coefficients) -> Matrix:
    """Return level and standing out of every pair, (photos of the library, names, 2)."""
    backdrop = relevance.backdrop(scene.library, scene.background, known)
    hubs = relevance.hubs(backdrop, scene.library)
    pairs = []
    for text in scene.texts:
        judge = relevance.judge(text, backdrop)
        cosines = (scene.library @ text).astype(np.float64)
        pairs.append(np.stack(relevance.evidence(judge, cosines, hubs), axis=-1))
    return np.stack(pairs, axis=1)


def typical(scene: Scene, start: Coefficients) -> Coefficients:
    """Return `start` with the unit, unless each library is to measure its own, and with centre
    and spread of a typical name."""
    backdrop = relevance.backdrop(scene.library, scene.background, start)
    hubs = start.hub * (backdrop.hubs - backdrop.level)
    cosines = scene.library.astype(np.float64) @ scene.texts.T.astype(np.float64) - hubs[:, None]
    middles = np.median(cosines, axis=0)
    deviations = 1.4826 * np.median(np.abs(cosines - middles), axis=0)
    return replace(
        start,
        unit=0.0 if start.general else backdrop.unit,
        centre=float(np.median(middles) - backdrop.level) / backdrop.unit,
        spread=float(np.median(deviations)) / backdrop.unit,
    )


def regress(values: Matrix, labels: Truth) -> tuple[float, float, float]:
    """Return intercept and weights of a logistic regression, (pairs, 2) on (pairs,).

    Evidence never speaks against a photo: a weight below zero is left out.
    """
    used = [True, True]
    while True:
        columns = [np.ones(len(values)), *(values[:, i] for i in (0, 1) if used[i])]
        found = iter(_newton(np.stack(columns, axis=1), labels))
        intercept = next(found)
        weights = [next(found) if use else 0.0 for use in used]
        if min(weights) >= 0:
            return intercept, weights[0], weights[1]
        used[int(np.argmin(weights))] = False


def _newton(design: Matrix, labels: Truth) -> list[float]:
    """Return the coefficients of highest likelihood, by Newton's method."""
    penalty = np.full(design.shape[1], RIDGE)
    penalty[0] = 0
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        expected = 0.5 + 0.5 * np.tanh(design @ weights / 2)
        gradient = design.T @ (expected - labels) + penalty * weights
        curvature = (design.T * (expected * (1 - expected))) @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            return [float(weight) for weight in weights]
    raise SystemExit("the regression does not settle; give more photos or names")


def fit(scenes: Sequence[Scene], start: Coefficients = START) -> Coefficients:
    """Learn all but `soft`, `hub` and `echo` from labelled libraries."""
    learned = [typical(scene, start) for scene in scenes]
    known = replace(
        start,
        unit=float(np.mean([each.unit for each in learned])),
        centre=float(np.mean([each.centre for each in learned])),
        spread=float(np.mean([each.spread for each in learned])),
    )
    values = np.concatenate([evidence(each, known)[each.known].reshape(-1, 2) for each in scenes])
    labels = np.concatenate([scene.truth.ravel() for scene in scenes])
    intercept, level, standing = regress(values, labels)
    return replace(known, intercept=intercept, level=level, standing=standing)


def write(path: Path, document: dict[str, Coefficients]) -> None:
    """Write coefficients as `clipsearch.relevance.read` reads them, general default first."""
    lines = [
        "# What relevance knows of each model: see clipsearch/relevance.py.",
        "# Written by training/fit_relevance.py; fit a model again instead of editing.",
    ]
    for model in sorted(document, key=lambda model: (model != "general", model)):
        lines += ["", f"[{json.dumps(model)}]", *_entry(document[model])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entry(known: Coefficients) -> Iterator[str]:
    for field in fields(known):
        value = getattr(known, field.name)
        if field.name == "general":
            continue
        if isinstance(value, datetime.date):
            yield f"{field.name} = {value.isoformat()}"
        else:
            shown = json.dumps(value) if isinstance(value, str) else f"{value:.4f}"
            yield f"{field.name} = {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--names", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--soft", type=float, default=SOFT)
    parser.add_argument("--hub", type=float, default=HUB)
    parser.add_argument("--echo", type=float, default=ECHO)
    parser.add_argument("--offsets", type=float, default=0.0)
    parser.add_argument("--lean", type=float, default=0.0)
    parser.add_argument("--general", action="store_true", help="store as the general default")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    names = prompts.sentences(arguments.names) if arguments.names else COCO
    embedder = registry.load(arguments.model)
    scene = read_scene(arguments.folder, embedder, names, arguments.vectors)
    scenes = [scene]
    if arguments.offsets:
        random = np.random.default_rng(0)
        scenes = [shifted(scene, random, arguments.offsets) for _ in range(SEEDS)]
    counts = (
        f"{arguments.folder.resolve().name}: {len(scene.known)} photos with objects of "
        f"{len(scene.library)}, {len(names)} names, {scene.truth.sum()} of {scene.truth.size} "
        f"pairs relevant; photos by {embedder.name}"
    )
    if arguments.vectors or is_trained_on(embedder, arguments.folder):
        counts += ", out of fold"
    if arguments.offsets:
        counts += f", offsets of deviation {arguments.offsets}"
    if arguments.lean:
        counts += f", intercept raised by {arguments.lean}"
    today = datetime.datetime.now(datetime.UTC).date()
    given = {name: getattr(arguments, name) for name in ("soft", "hub", "echo", "general")}
    chosen = replace(START, **given)
    found = fit(scenes, replace(chosen, fitted=today, data=counts))
    found = replace(found, intercept=found.intercept + arguments.lean)
    document = relevance.read(arguments.out) if arguments.out.exists() else {}
    write(arguments.out, document | {"general" if arguments.general else embedder.name: found})
    print("\n".join(_entry(found)))


if __name__ == "__main__":
    main()
