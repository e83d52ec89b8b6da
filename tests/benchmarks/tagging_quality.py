"""Measure how well labels are decided for a library of photos whose objects are known.

    python -m tests.benchmarks.tagging_quality [FOLDER] [--model starter] [--clothing FOLDER]

FOLDER holds photos and `captions.jsonl`, a line a photo with `file` and `objects` (names of
COCO's categories, or null where they are not known). The calibrated decision sees neither
objects nor results. It stands beside two that know the answers: the one cosine above which
micro-F1 is highest, and the likeliest label of each photo, where the softmax is above the value
at which micro-F1 is highest. Photos that the starter's head was trained on are embedded out of
fold.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch import prompts, tagging
from clipsearch.models import registry
from clipsearch.models.embedder import Embedder, Vectors
from tests.benchmarks.starter_retrieval import FOLDER, embed_photos, embed_unseen

CLOTHING = FOLDER.parent / "clothing"
NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
    "bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, "
    "sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, "
    "bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, "
    "dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, "
    "toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, "
    "toothbrush"
)
COCO = tuple(NAMES.split(", "))
SHIFT = 0.03  # deviation of the constant that CLIP's labels differ by
SEEDS = 50
RESAMPLES = 500

Matrix = NDArray[np.float64]
Truth = NDArray[np.bool_]


def read_objects(folder: Path) -> tuple[list[Path], NDArray[np.int64], Truth]:
    """Return all photos, the rows whose objects are known, and those, (rows, 80)."""
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    known = [row for row, photo in enumerate(photos) if photo.get("objects") is not None]
    truth = np.array([[name in photos[row]["objects"] for name in COCO] for row in known])
    return [folder / photo["file"] for photo in photos], np.array(known), truth


def micro_f1(given: Truth, truth: Truth) -> float:
    return 2 * float((given & truth).sum()) / max(1, int(given.sum() + truth.sum()))


def best_f1(scores: Matrix, truth: Truth) -> tuple[float, float]:
    """Return the highest micro-F1 of any one threshold, and the threshold: hindsight."""
    order = np.argsort(-scores, axis=None, kind="stable")
    hits = np.cumsum(truth.ravel()[order])
    f1 = 2 * hits / (np.arange(1, truth.size + 1) + truth.sum())
    best = int(f1.argmax())
    return float(f1[best]), float(scores.ravel()[order[best]])


def argmax_f1(cosines: Matrix, truth: Truth, logit_scale: float) -> float:
    """Return the highest micro-F1 of one label a photo, above any softmax: hindsight."""
    weights = np.exp(logit_scale * (cosines - cosines.max(axis=1, keepdims=True)))
    softmax = weights / weights.sum(axis=1, keepdims=True)
    likeliest = np.arange(truth.shape[1]) == softmax.argmax(axis=1)[:, None]
    return best_f1(np.where(likeliest, softmax, -1), truth)[0]


def average_precision(scores: Matrix, truth: Truth) -> float:
    """Return the mean average precision over the labels that occur."""
    values = []
    for column in np.flatnonzero(truth.any(axis=0)):
        hits = truth[np.argsort(-scores[:, column], kind="stable"), column]
        values.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return float(np.mean(values))


def decide(
    library: Vectors, photos: Vectors, rows: Vectors, background: Vectors
) -> tuple[Truth, Matrix]:
    """Calibrate on a library and tag photos: what was given, and how far each label stands out."""
    labels = tagging.pool(rows, np.arange(len(rows)))
    calibration = tagging.calibrate(library, labels, background)
    given = np.zeros((len(photos), len(rows)), bool)
    blocks = [(np.arange(len(photos)), photos)]
    for ids, label, _ in tagging.tag_blocks(blocks, labels, background, calibration):
        given[ids, label] = True
    return given, tagging.standardise(photos, labels, calibration)


def compare(
    library: Vectors,
    photos: Vectors,
    rows: Vectors,
    background: Vectors,
    truth: Truth,
    logit_scale: float,
) -> dict[str, float]:
    """Return the figures of one setting."""
    cosines = photos.astype(np.float64) @ rows.astype(np.float64).T
    given, spreads = decide(library, photos, rows, background)
    flat = best_f1(cosines, truth)[0]
    calibrated = micro_f1(given, truth)
    return {
        "mAP cosine": average_precision(cosines, truth),
        "mAP calibrated": average_precision(spreads, truth),
        "F1 calibrated": calibrated,
        "F1 flat": flat,
        "F1 argmax": argmax_f1(cosines, truth, logit_scale),
        "ratio": calibrated / flat,
        "tags": float(given.sum() / len(photos)),
    }


def shifted(
    library: Vectors, photos: Vectors, rows: Vectors, background: Vectors, truth: Truth
) -> dict[str, float]:
    """Return what both decisions lose when each label's scores get a random constant.

    The constant is a dimension of its own: 1 for photos, the constant for labels, 0 for the
    neutral sentences. The flat threshold is chosen again, with hindsight, for each draw.
    """
    random = np.random.default_rng(0)
    cosines = photos.astype(np.float64) @ rows.astype(np.float64).T
    before = (
        best_f1(cosines, truth)[0],
        micro_f1(decide(library, photos, rows, background)[0], truth),
    )
    after = []
    for _ in range(SEEDS):
        constant = random.normal(0, SHIFT, len(rows))
        wide = [
            np.column_stack([vectors, column]).astype(np.float32)
            for vectors, column in (
                (library, np.ones(len(library))),
                (photos, np.ones(len(photos))),
                (rows, constant),
                (background, np.zeros(len(background))),
            )
        ]
        given, _ = decide(wide[0], wide[1], wide[2], wide[3])
        after.append((best_f1(cosines + constant, truth)[0], micro_f1(given, truth)))
    flat, calibrated = (np.array(before) - np.mean(after, axis=0)).tolist()
    return {"flat loses": flat, "calibrated loses": calibrated}


def uncertainty(
    library: Vectors, photos: Vectors, rows: Vectors, background: Vectors, truth: Truth
) -> dict[str, list[float]]:
    """Return bootstrap intervals over photos (95 %), and what a cut chosen with hindsight on
    one half of the photos gives on the other, as ratios to the best flat cosine there."""
    random = np.random.default_rng(0)
    cosines = photos.astype(np.float64) @ rows.astype(np.float64).T
    given, spreads = decide(library, photos, rows, background)
    f1, ratio = [], []
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(photos), len(photos))
        f1.append(micro_f1(given[drawn], truth[drawn]))
        ratio.append(f1[-1] / best_f1(cosines[drawn], truth[drawn])[0])
    chosen, fixed, cuts = [], [], []
    for _ in range(SEEDS):
        order = random.permutation(len(photos))
        here, there = order[: len(order) // 2], order[len(order) // 2 :]
        cut = best_f1(spreads[here], truth[here])[1]
        flat = best_f1(cosines[here], truth[here])[1]
        reference = max(micro_f1(cosines[there] >= flat, truth[there]), 1e-9)
        cuts.append(cut)
        chosen.append(micro_f1(spreads[there] >= cut, truth[there]) / reference)
        fixed.append(micro_f1(given[there], truth[there]) / reference)
    return {
        "F1 interval": np.quantile(f1, [0.025, 0.975]).tolist(),
        "ratio interval": np.quantile(ratio, [0.025, 0.975]).tolist(),
        "half: cut chosen": np.quantile(cuts, [0.1, 0.5, 0.9]).tolist(),
        "half: ratio, cut chosen on the other half": [float(np.mean(chosen))],
        "half: ratio, shipped cut": [float(np.mean(fixed))],
    }


def clothing(embedder: Embedder, folder: Path) -> dict[str, float]:
    """Return zero-shot accuracy in percent with 1 template and with all."""
    lines = (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    names = sorted({photo["label"] for photo in photos})
    truth = np.array([names.index(photo["label"]) for photo in photos])
    vectors = embed_photos(embedder, [folder / photo["file"] for photo in photos])
    result = {}
    for templates in (prompts.TEMPLATES[:1], prompts.TEMPLATES):
        rows = prompts.embed_labels(embedder.texts, names, templates)
        correct = (vectors @ rows.T).argmax(axis=1) == truth
        result[f"accuracy, {len(templates)} templates"] = 100 * float(correct.mean())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--clothing", type=Path, default=CLOTHING)
    arguments = parser.parse_args()
    embedder = registry.load(arguments.model)
    paths, known, truth = read_objects(arguments.folder)
    everything = embed_unseen(embedder, arguments.folder)
    photos = everything[known]
    neutral = embedder.texts(prompts.background())
    occurring = truth.any(axis=0)
    document: dict[str, Any] = {"model": embedder.name, "photos": len(photos), "settings": []}
    print(f"{embedder.name}: {len(photos)} photos with objects of {len(paths)}")
    columns = (
        "mAP cosine", "mAP calibrated", "F1 calibrated", "F1 flat", "F1 argmax", "ratio", "tags",
    )  # fmt: skip
    print(f"{'templates labels library':27}" + "".join(f"{name:>16}" for name in columns))
    for templates in (prompts.TEMPLATES[:1], prompts.TEMPLATES):
        rows = prompts.embed_labels(embedder.texts, COCO, templates)
        for chosen in (occurring, np.ones(len(COCO), bool)):
            for library in (photos, everything):
                figures = compare(
                    library,
                    photos,
                    rows[chosen],
                    neutral,
                    truth[:, chosen],
                    embedder.logit_scale,
                )
                setting = {
                    "templates": len(templates),
                    "labels": int(chosen.sum()),
                    "library": len(library),
                }
                print(
                    "".join(f"{setting[name]:<{len(name) + 1}}" for name in setting)
                    + "  "
                    + "".join(f"{figures[name]:16.3f}" for name in columns)
                )
                document["settings"].append({**setting, **figures})
    main_setting = (everything, photos, rows[occurring], neutral, truth[:, occurring])
    document |= shifted(*main_setting) | uncertainty(*main_setting)
    print(f"all templates, {occurring.sum()} labels, the whole folder as library:")
    for name in ("flat loses", "calibrated loses"):
        print(f"  {name:44}{document[name]:.3f}")
    for name in ("F1 interval", "ratio interval", *(key for key in document if "half" in key)):
        print(f"  {name:44}" + " ".join(f"{value:.3f}" for value in document[name]))
    if arguments.clothing.is_dir():
        document["clothing"] = clothing(embedder, arguments.clothing)
        for name, value in document["clothing"].items():
            print(f"clothing: {name:34}{value:.1f}")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
