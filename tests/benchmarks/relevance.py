"""Measure whether relevance means what it says, on a folder of photos whose objects are known.

    python -m tests.benchmarks.relevance [--model starter] [--folder FOLDER] [--vectors FILE]

FOLDER holds photos and `captions.jsonl`, a line a photo with `file`, `captions` and `objects`
(names of the vocabulary, or null where they are not known). The vocabulary is COCO's, or that of
`--names`, a name a line. `--vectors` is an .npz with `names` and `vectors`, to take in place of
the model's own: where a model was trained on these photos, they have to be out of fold.

Coefficients are fitted again without the photo, or without the name, that is judged ("out of
fold"); those that are shipped stand beside them. Intervals are of 95 %, from drawing photos and
names anew together (Owen 2007, "The pigeonhole bootstrap", arXiv 0712.1111).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch import prompts, relevance
from clipsearch.models import registry
from clipsearch.models.embedder import Vectors
from clipsearch.relevance import LIKELY, STRONG, WEAK, Coefficients
from tests.benchmarks.starter_retrieval import FOLDER, read_captions
from tests.benchmarks.tagging_quality import COCO, best_f1, micro_f1
from training.fit_relevance import START, Matrix, Scene, Truth, fit, read_scene, shifted

ABSENT = 300
FOLDS = 5
RESAMPLES = 1000
SEEDS = 100
SHIFT = 0.03
SIZES = (1, 2, 10, 30, 81)
DRAWS = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its interval, and the bar that it must not fall below."""

    value: float
    low: float
    high: float
    least: float | None = None
    most: float | None = None

    @property
    def held(self) -> bool:
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)


def auc(scores: Matrix, truth: Truth) -> float:
    """Return the share of pairs of a true and a false one that are in order; ties are half."""
    _, place, count = np.unique(scores.ravel(), return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    true = int(truth.sum())
    false = truth.size - true
    if not true or not false:
        return float("nan")
    return float((rank[truth.ravel()].sum() - true * (true + 1) / 2) / (true * false))


def calibration_error(probabilities: Matrix, truth: Truth, *, even: bool = True) -> float:
    """Return the expected calibration error of ten bins: of even width, or of even mass."""
    p, y = probabilities.ravel(), truth.ravel()
    if even:
        bins = np.minimum((p * 10).astype(int), 9)
    else:
        bins = np.empty(len(p), int)
        bins[np.argsort(p, kind="stable")] = np.arange(len(p)) * 10 // len(p)
    off = np.bincount(bins, p, 10) - np.bincount(bins, y.astype(float), 10)
    return float(np.abs(off).sum() / len(p))


def precision(probabilities: Matrix, truth: Truth, low: float, high: float = np.inf) -> float:
    inside = (probabilities >= low) & (probabilities < high)
    return float(truth[inside].mean()) if inside.any() else float("nan")


def judged(scene: Scene, known: Coefficients) -> Matrix:
    """Return the relevance of every text for every photo of the library, as a search does."""
    backdrop = relevance.backdrop(scene.library, scene.background, known)
    hubs = relevance.hubs(backdrop, scene.library)
    columns = []
    for text in scene.texts:
        judge = relevance.judge(text, backdrop)
        cosines = (scene.library @ text).astype(np.float64)
        columns.append(relevance.relevance(judge, cosines, hubs))
    return np.stack(columns, axis=1)


def folds(count: int, seed: int = 0) -> list[NDArray[np.int64]]:
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(order[start::FOLDS]) for start in range(FOLDS)]


def fits_by_photo(scene: Scene, start: Coefficients = START) -> list[Coefficients]:
    """Return the coefficients that were fitted without the photos of each fold."""
    found = []
    for out in folds(len(scene.known)):
        kept = np.setdiff1d(np.arange(len(scene.known)), out)
        found.append(fit([replace(scene, known=scene.known[kept], truth=scene.truth[kept])], start))
    return found


def by_photo(scene: Scene, fitted: Sequence[Coefficients]) -> Matrix:
    """Return the relevance of every pair, (p, t), by the coefficients that have not seen it."""
    result = np.empty(scene.truth.shape)
    for out, known in zip(folds(len(scene.known)), fitted, strict=True):
        result[out] = judged(scene, known)[scene.known[out]]
    return result


def by_name(scene: Scene, start: Coefficients = START) -> Matrix:
    """Return the relevance of every text for the whole library, (n, t), fitted without it."""
    result = np.empty((len(scene.library), len(scene.texts)))
    for out in folds(len(scene.texts)):
        kept = np.setdiff1d(np.arange(len(scene.texts)), out)
        known = fit([replace(scene, texts=scene.texts[kept], truth=scene.truth[:, kept])], start)
        result[:, out] = judged(replace(scene, texts=scene.texts[out]), known)
    return result


def interval(
    measure: Callable[[NDArray[np.int64], NDArray[np.int64]], float], shape: tuple[int, int]
) -> tuple[float, float]:
    """Return the 95 % interval of a measure of rows and columns, both drawn anew."""
    random = np.random.default_rng(0)
    values = [
        measure(random.integers(0, shape[0], shape[0]), random.integers(0, shape[1], shape[1]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def pairs(cosines: Matrix, judged: Matrix, truth: Truth) -> dict[str, Figure]:
    """Return the figures over all pairs of a photo and a name."""

    def figure(measure: Callable[[Matrix, Matrix, Truth], float], **bar: float) -> Figure:
        def drawn(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> float:
            grid = np.ix_(rows, columns)
            return measure(cosines[grid], judged[grid], truth[grid])

        shape = (len(truth), truth.shape[1])
        return Figure(measure(cosines, judged, truth), *interval(drawn, shape), **bar)

    return {
        "ROC AUC of the cosine": figure(lambda c, r, t: auc(c, t)),
        "ROC AUC of relevance": figure(lambda c, r, t: auc(r, t)),
        "  their difference": figure(lambda c, r, t: auc(r, t) - auc(c, t), least=0),
        "calibration error": figure(lambda c, r, t: calibration_error(r, t), most=0.12),
        "  bins of even mass": figure(lambda c, r, t: calibration_error(r, t, even=False)),
        "  of pairs above the cut": figure(
            lambda c, r, t: calibration_error(r[r >= WEAK], t[r >= WEAK])
        ),
        "precision in strong": figure(lambda c, r, t: precision(r, t, STRONG)),
        "precision in likely": figure(lambda c, r, t: precision(r, t, LIKELY, STRONG)),
        "precision in weak": figure(lambda c, r, t: precision(r, t, WEAK, LIKELY)),
        "  strong / weak": figure(
            lambda c, r, t: precision(r, t, STRONG) / max(precision(r, t, WEAK, LIKELY), 1e-9),
            least=3,
        ),
        "share of the relevant kept": figure(lambda c, r, t: float((r >= WEAK)[t].mean())),
        "F1 of the cut": figure(lambda c, r, t: micro_f1(r >= WEAK, t)),
        "F1 of the best flat cosine": figure(lambda c, r, t: best_f1(c, t)[0]),
    }


def absent_names(folder: Path, count: int = ABSENT) -> list[str]:
    """Draw names of ImageNet none of whose words occurs in a caption or object of a folder."""
    import open_clip

    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    photos = [json.loads(line) for line in lines]
    texts = [
        text for photo in photos for text in (*photo["captions"], *(photo.get("objects") or ()))
    ]
    heard = {_stem(word) for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    names = [
        name
        for name in dict.fromkeys(open_clip.IMAGENET_CLASSNAMES)
        if not heard & {_stem(word) for word in re.findall(r"[a-z]+", name.lower())}
    ]
    order = np.random.default_rng(0).permutation(len(names))[:count]
    return [names[index] for index in np.sort(order)]


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") else word


def best_hits(
    cosines: Matrix, judged: Matrix, missing_cosines: Matrix, missing: Matrix
) -> dict[str, Figure]:
    """Compare names that occur with names that do not, by their best hit; columns are names."""
    here = np.stack([cosines.max(axis=0), judged.max(axis=0)])
    there = np.stack([missing_cosines.max(axis=0), missing.max(axis=0)])

    def figure(measure: Callable[[Matrix, Matrix], float], **bar: float) -> Figure:
        def drawn(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> float:
            return measure(here[:, rows], there[:, columns])

        shape = (here.shape[1], there.shape[1])
        return Figure(measure(here, there), *interval(drawn, shape), **bar)

    def area(row: int) -> Callable[[Matrix, Matrix], float]:
        return lambda h, t: auc(
            np.concatenate([h[row], t[row]]), np.arange(h.shape[1] + t.shape[1]) < h.shape[1]
        )

    return {
        "ROC AUC of the best cosine": figure(area(0)),
        "ROC AUC of the best relevance": figure(area(1)),
        "  their difference": figure(lambda h, t: area(1)(h, t) - area(0)(h, t), least=0),
        "absent names with no relevant photo": figure(lambda h, t: float((t[1] < WEAK).mean())),
        "absent names with nothing likely": figure(lambda h, t: float((t[1] < LIKELY).mean())),
        "present names with a relevant photo": figure(lambda h, t: float((h[1] >= WEAK).mean())),
        "relevant photos of an absent name": Figure(
            float((missing >= WEAK).sum(axis=0).mean()),
            *np.quantile((missing >= WEAK).sum(axis=0), [0.025, 0.975]).tolist(),
        ),
    }


def offsets(
    scene: Scene, fitted: Sequence[Coefficients], deviation: float = SHIFT, seeds: int = SEEDS
) -> dict[str, Figure]:
    """Return what the cut keeps when all cosines of each text and of each photo get a random
    constant; the best flat cosine is chosen again, with hindsight, for each draw."""
    random = np.random.default_rng(0)
    before = micro_f1(by_photo(scene, fitted) >= WEAK, scene.truth)
    cut, flat = [], []
    for _ in range(seeds):
        moved = shifted(scene, random, deviation)
        cut.append(micro_f1(by_photo(moved, fitted) >= WEAK, scene.truth))
        cosines = moved.library[moved.known].astype(np.float64) @ moved.texts.T
        flat.append(best_f1(cosines, scene.truth)[0])
    ratio, lead = np.array(cut) / before, np.array(cut) - np.array(flat)

    def over_seeds(values: NDArray[np.float64], **bar: float) -> Figure:
        drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values))).mean(axis=1)
        return Figure(float(values.mean()), *np.quantile(drawn, [0.025, 0.975]).tolist(), **bar)

    return {
        "F1 of the cut without offsets": Figure(before, before, before),
        "F1 of the cut": over_seeds(np.array(cut)),
        "F1 of the best flat cosine": over_seeds(np.array(flat)),
        "  share of its F1 that the cut keeps": over_seeds(ratio, least=0.9),
        "  lead over the best flat cosine": over_seeds(lead, least=0),
        "  share of draws where the cut leads": over_seeds((lead > 0).astype(float)),
    }


def small_libraries(scene: Scene, known: Coefficients) -> list[dict[str, float]]:
    """Judge in libraries of a few of the labelled photos, drawn `DRAWS` times."""
    random = np.random.default_rng(0)
    rows = []
    for size in SIZES:
        relevances, cosines, truths = [], [], []
        for _ in range(DRAWS):
            chosen = random.choice(len(scene.known), min(size, len(scene.known)), replace=False)
            part = replace(
                scene,
                library=scene.library[scene.known[chosen]],
                known=np.arange(len(chosen)),
                truth=scene.truth[chosen],
            )
            relevances.append(judged(part, known))
            cosines.append(part.library.astype(np.float64) @ part.texts.T)
            truths.append(part.truth)
        judged_, truth = np.concatenate(relevances), np.concatenate(truths)
        given = judged_ >= WEAK
        rows.append(
            {
                "photos": size,
                "AUC cosine": auc(np.concatenate(cosines), truth),
                "AUC relevance": auc(judged_, truth),
                "calibration error": calibration_error(judged_, truth),
                "F1": micro_f1(given, truth),
                "kept": float(given[truth].mean()),
                "precision": float(truth[given].mean()) if given.any() else float("nan"),
            }
        )
    return rows


def phrases(
    library: Vectors, captions: Vectors, owner: NDArray[np.int64], scene: Scene, known: Coefficients
) -> dict[str, float]:
    """Judge whole sentences: the own photo of each caption, and how many photos are relevant."""
    found = judged(replace(scene, texts=captions), known)
    own = found[owner, np.arange(len(owner))]
    given = found >= WEAK
    cosines = library.astype(np.float64) @ captions.T
    truth = owner[None, :] == np.arange(len(library))[:, None]
    return {
        "median relevance of the own photo": float(np.median(own)),
        "own photo relevant": float((own >= WEAK).mean()),
        "own photo likely or strong": float((own >= LIKELY).mean()),
        "median relevance of other photos": float(np.median(found[~truth])),
        "other photos relevant": float(given[~truth].mean()),
        "photos relevant, median of captions": float(np.median(given.sum(axis=0))),
        "captions without any relevant photo": float((~given.any(axis=0)).mean()),
        "ROC AUC of the cosine": auc(cosines, truth),
        "ROC AUC of relevance": auc(found, truth),
    }


def show(title: str, figures: dict[str, Figure]) -> None:
    print(f"\n{title}")
    for name, figure in figures.items():
        bar = "" if figure.least is None else f">= {figure.least:g}"
        bar = bar if figure.most is None else f"<= {figure.most:g}"
        verdict = bar and ("holds" if figure.held else "FAILS")
        print(
            f"  {name:38}{figure.value:8.3f}  [{figure.low:7.3f}, {figure.high:7.3f}]"
            f"  {bar:8}{verdict}".rstrip()
        )


def as_json(figures: dict[str, Figure]) -> dict[str, list[float]]:
    return {
        name.strip(): [round(each, 4) for each in (figure.value, figure.low, figure.high)]
        for name, figure in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--names", type=Path)
    arguments = parser.parse_args()
    names = prompts.sentences(arguments.names) if arguments.names else COCO
    embedder = registry.load(arguments.model)
    scene = read_scene(arguments.folder, embedder, names, arguments.vectors)
    shipped = relevance.coefficients(embedder.name)
    start = replace(START, soft=shipped.soft, hub=shipped.hub, echo=shipped.echo)
    cosines = scene.library.astype(np.float64) @ scene.texts.T
    occurs = scene.truth.any(axis=0)
    print(
        f"{embedder.name}: {len(scene.known)} photos with objects of {len(scene.library)}, "
        f"{len(names)} names, {occurs.sum()} of them occur, {scene.truth.sum()} relevant pairs; "
        f"{'the general default' if shipped.general else f'fitted {shipped.fitted}'}"
    )
    fitted = fits_by_photo(scene, start)
    out_by_photo, out_by_name = by_photo(scene, fitted), by_name(scene, start)
    seen = scene.known
    document: dict[str, Any] = {"model": embedder.name, "general": shipped.general}
    for title, relevances, columns in (
        ("all names, out of fold by photo", out_by_photo, np.ones(len(names), bool)),
        ("all names, out of fold by name", out_by_name[seen], np.ones(len(names), bool)),
        ("names that occur, out of fold by photo", out_by_photo, occurs),
        ("all names, shipped", judged(scene, shipped)[seen], np.ones(len(names), bool)),
    ):
        figures = pairs(cosines[seen][:, columns], relevances[:, columns], scene.truth[:, columns])
        show(title, figures)
        document[title] = as_json(figures)
    missing = replace(scene, texts=embedder.texts(absent_names(arguments.folder)))
    for title, relevances, known in (
        ("best hits of names, out of fold by name", out_by_name, fit([scene], start)),
        ("best hits of names, shipped", judged(scene, shipped), shipped),
    ):
        absent = missing.library.astype(np.float64) @ missing.texts.T
        figures = best_hits(
            cosines[:, occurs], relevances[:, occurs], absent, judged(missing, known)
        )
        show(title, figures)
        document[title] = as_json(figures)
    for columns, what in ((np.ones(len(names), bool), "all names"), (occurs, "names that occur")):
        part = replace(scene, texts=scene.texts[columns], truth=scene.truth[:, columns])
        for deviation in (SHIFT, 0.1):
            title = f"offsets of deviation {deviation}, {what}, out of fold by photo"
            bars = offsets(part, fitted, deviation)
            show(title, bars)
            document[title] = as_json(bars)
    print("\nlibraries of a few of these photos, shipped")
    rows = small_libraries(scene, shipped)
    print("  " + "".join(f"{name:>19}" for name in rows[0]))
    for row in rows:
        print("  " + "".join(f"{value:19.3f}" for value in row.values()))
    document["small libraries"] = rows
    _, captions, owner = read_captions(arguments.folder)
    document["captions"] = phrases(scene.library, embedder.texts(captions), owner, scene, shipped)
    print(f"\n{len(captions)} captions as queries, shipped")
    for name, value in document["captions"].items():
        print(f"  {name:38}{value:8.3f}")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
