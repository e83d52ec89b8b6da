"""Say how likely a photo answers a query: a probability, so that results can be cut.

A cosine alone does not tell: some queries are near to every photo, some photos are near to
every text, and no flat threshold serves two queries. Two pieces of evidence are weighed by
logistic regression, in units that a model brings along itself,

    level      (cosine + echo * hub of the photo - level of the background) / unit
    stands out asinh((cosine - hub of the photo - centre of the query) / spread / soft)

    relevance = 1 / (1 + exp(-(intercept + w1 * level + w2 * stands out)))

- The *background* is a bank of neutral sentences that any answer has to compete with (the
  canonical phrases of LERF: Kerr et al. 2023, arXiv 2303.09553, section 3.4). Over a sample of
  the library, the median of a photo's mean cosine with them is the level, and the deviation of
  all their cosines the unit.
- *Centre* and *spread* are the median and the scaled median absolute deviation of the query's
  own cosines with the sample: most photos do not answer a query, so the library is its own null
  distribution (Efron 2004, JASA 99, 96-104). Whatever adds a constant to all cosines of a query
  drops out.
- The *hub* of a photo is how much nearer than others it is to the background: a photo near to
  every text is taken down by it (hubness correction with a bank of queries, after "Nearest
  Neighbor Normalization", Chowdhury et al. 2024, arXiv 2410.24114). Whatever adds a constant to
  all cosines of a photo drops out.
- Standing out counts by its inverse hyperbolic sine, from `soft` on by its logarithm: a word that
  no photo is near to stands out far, on some photo, by chance. There the level decides, and there
  hubs speak for a photo, not against it: the model sees much in it (`echo` is their share).

A small library says little of itself, and a photo in it may well be what is searched for. So
centre and spread are means of what was seen and what is typical of queries of the model, with
the weights of the photos in the sample and of `TRUST` photos. A library of one photo is judged
by level; one of `TRUST` photos half by itself; photos all alike stand out in nothing.

Which evidence serves (starter model; 80 names of COCO x 81 photos, out of fold by name and by
photo; the best hits of 62 names that occur against 300 that do not, `tests/benchmarks/
relevance.py`):

| standing out, and hub       | AUC of pairs | best hits | F1 of the cut: alone, offsets 0.03 |
|-----------------------------|--------------|-----------|------------------------------------|
| the cosine (flat, hindsight) | 0.823       | 0.773     | 0.382  0.361                       |
| not above 2, echo 0         | +0.006       | -0.002    | 0.376  0.357                       |
| not above 2.5, echo 0       | +0.005       | -0.005    | 0.386  0.364                       |
| not limited, echo 0         | +0.005       | -0.044    | 0.391  0.379                       |
| soft 0.5, echo 0            | +0.005       | -0.009    | 0.375  0.366                       |
| soft 0.5, echo -0.5         | +0.006       | -0.034    | 0.389  0.364                       |
| soft 0.5, echo 0.5 (chosen) | +0.004       | +0.002    | 0.382  0.371                       |

Differences of AUC are to the cosine, all with an uncertainty of about 0.01; coefficients are
fitted without the photo that is judged, and photos are embedded by heads that have not seen them.
Without its head, the hub corrected in full against not at all gave 0.821 and 0.812 of pairs; hubs
by the 1,400 sentences of `data/captions.txt`, their mean or the mean of the nearest 8 or 32, gave
0.815 to 0.803. Names that are generic lie near to the background and more often occur; this was
not used, for it says more of the list of names than of the photos.
"""

from __future__ import annotations

import datetime
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsearch.resources import folder

Vector = NDArray[np.floating]
Scores = NDArray[np.float64]
Band = Literal["strong", "likely", "weak"]

STRONG = 0.6
LIKELY = 0.35
WEAK = 0.22
"""The cut: below it a photo is not relevant. Where probabilities are calibrated, the cut with the
highest F1 is half of that F1 (Lipton et al. 2014, arXiv 1402.1892), here 0.38 / 2. Measured out of
fold, with offsets of 0.03, and on 300 names that do not occur and 62 that do:

| cut                           | 0.10 | 0.15 | 0.20 | 0.22 | 0.25 | 0.30 |
|-------------------------------|------|------|------|------|------|------|
| F1                            | 0.30 | 0.35 | 0.38 | 0.38 | 0.38 | 0.38 |
| F1 with offsets               | 0.29 | 0.34 | 0.36 | 0.37 | 0.37 | 0.36 |
| relevant photos kept          | 0.55 | 0.45 | 0.39 | 0.36 | 0.32 | 0.28 |
| absent names with nothing     | 0.08 | 0.23 | 0.38 | 0.44 | 0.50 | 0.61 |
| present names with something  | 0.98 | 0.97 | 0.97 | 0.92 | 0.87 | 0.81 |
"""

TRUST = 20
"""Photos at which the library's own statistics weigh as much as what is typical of the model."""

_MAD = 1.4826  # median absolute deviation of a normal distribution of deviation 1, inverted
_SMALLEST_UNIT = 1e-3  # of a cosine: a bank of one sentence and one photo has no deviation
_SLACK = 1e-9  # of a cosine: rounding never hides a photo that is just relevant
_BEYOND = 1.0 + 1e-6  # more than any cosine, rounded or not
_CERTAIN = 36.0  # logit beyond which a float64 probability may round to 1
_BLOCK = 4096  # photos that are widened to float64 at once


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What is known of the queries of one model.

    `intercept`, `level` and `standing` weigh the evidence, `soft` is where standing out begins to
    count less, `hub` the share of a photo's hubness that is taken off it, `echo` the share that is
    added to its level. `unit` is the deviation of the background's cosines, 0 where it is to be
    measured in the library. `centre` and `spread` are of a typical query, in units from the level
    of the background. `general` marks the default for a model that was never fitted; otherwise
    `fitted` is the day and `data` tells the photos and names.
    """

    intercept: float
    level: float
    standing: float
    soft: float
    hub: float
    echo: float
    unit: float
    centre: float
    spread: float
    general: bool
    fitted: datetime.date
    data: str


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """What a library looks like to any query of its model; make it with `backdrop`.

    `sample` is (m, d), `bank` (d,) the mean of the background, `hubs` (m,) the cosines of the
    two, `level` their median, `unit` the deviation of the cosines of all pairs.
    """

    sample: NDArray[np.float32]
    bank: Scores
    hubs: Scores
    level: float
    unit: float
    coefficients: Coefficients


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """What is known of one query in one library: `centre` and `spread` of its cosines."""

    backdrop: Backdrop
    centre: float
    spread: float


class Part(NamedTuple):
    """A piece of evidence: `weight * value` is what it adds to the logit."""

    name: str
    value: float
    weight: float

    @property
    def contribution(self) -> float:
        return self.weight * self.value


def coefficients(model: str, path: Path | None = None) -> Coefficients:
    """Return what was fitted for a model, or else the general default, marked as such.

    `path` is a file in the format of `data/relevance.toml`, which is read where none is given.
    """
    document = read(path or folder("data") / "relevance.toml")
    return document.get(model, document["general"])


def read(path: Path) -> dict[str, Coefficients]:
    """Return the coefficients in a file by model; "general" is the default of all others."""
    document: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        model: Coefficients(**entry, general=model == "general")
        for model, entry in document.items()
    }


def backdrop(
    sample: NDArray[np.floating],
    background: NDArray[np.floating],
    coefficients: Coefficients,
) -> Backdrop:
    """Learn from a sample of the library how its photos score neutral sentences.

    `sample` is (m, d), `background` (b, d), rows of unit length.

    Raises: ValueError where one is empty, they do not fit each other, or are not finite.
    """
    if sample.ndim != 2 or background.ndim != 2 or sample.shape[1] != background.shape[1]:
        raise ValueError(f"photos {sample.shape} and neutral sentences {background.shape}")
    if not len(sample) or not len(background):
        raise ValueError(f"{len(sample)} photos and {len(background)} neutral sentences")
    photos = np.ascontiguousarray(sample, np.float32)
    cosines = photos @ np.asarray(background, np.float32).T
    if not np.isfinite(cosines).all():
        raise ValueError("a vector of a photo or of a neutral sentence is not finite")
    bank = background.mean(axis=0, dtype=np.float64)
    hubs = _dot(photos, bank)
    unit = coefficients.unit or max(float(cosines.std(dtype=np.float64)), _SMALLEST_UNIT)
    return Backdrop(photos, bank, hubs, float(np.median(hubs)), unit, coefficients)


def judge(query: Vector, backdrop: Backdrop) -> Judge:
    """Measure where the library's cosines with a query, (d,), lie and how far they spread.

    Raises: ValueError for a query of another dimension, or not finite.
    """
    if query.shape != backdrop.bank.shape:
        raise ValueError(f"a query of shape {query.shape} and photos of {backdrop.bank.shape}")
    known = backdrop.coefficients
    cosines = (backdrop.sample @ np.asarray(query, np.float32)).astype(np.float64)
    if not np.isfinite(cosines).all():
        raise ValueError("the query's vector is not finite")
    cosines -= known.hub * (backdrop.hubs - backdrop.level)
    middle = float(np.median(cosines))
    deviation = _MAD * float(np.median(np.abs(cosines - middle)))
    own = len(cosines) / (len(cosines) + TRUST)
    centre = own * middle + (1 - own) * (backdrop.level + known.centre * backdrop.unit)
    typical = known.spread * backdrop.unit
    spread = math.sqrt(own * deviation**2 + (1 - own) * typical**2)
    return Judge(backdrop, centre, spread)


def hubs(backdrop: Backdrop, photos: NDArray[np.floating]) -> Scores:
    """Return how much nearer than others photos, (k, d), are to the background, (k,).

    No photo is believed to be more or less of a hub than any of the sample: see `lowest_cosine`.
    """
    return hubs_of(backdrop, background_cosines(backdrop, photos))


def background_cosines(backdrop: Backdrop, photos: NDArray[np.floating]) -> Scores:
    """Return the cosines of photos, (k, d), with the background, (k,).

    They depend on nothing but the photo and the neutral sentences.
    """
    return _dot(photos, backdrop.bank)


def hubs_of(backdrop: Backdrop, cosines: Scores) -> Scores:
    """Return what `hubs` does, from cosines of photos with the background, (k,)."""
    seen = backdrop.hubs
    return np.clip(cosines, seen.min(), seen.max()) - backdrop.level


def relevance(judge: Judge, cosines: Scores, hubs: Scores) -> Scores:
    """Return the probability that each photo answers the query, (k,) in 0..1.

    `cosines` is (k,), of the query with the photos, `hubs` (k,) what `hubs` says of them. Each
    probability has the same bits whichever other photos are asked for.

    Raises: ValueError for shapes that do not fit.
    """
    if hubs.shape != cosines.shape:
        raise ValueError(f"{len(cosines)} cosines and {len(hubs)} hubs")
    known = judge.backdrop.coefficients
    level, standing = evidence(judge, cosines, hubs)
    logits = known.intercept + known.level * level + known.standing * standing
    small = np.exp(-np.abs(logits))  # exp of a negative number never overflows
    result: Scores = np.where(logits >= 0, 1, small) / (1 + small)
    return result


def evidence(judge: Judge, cosines: Scores, hubs: Scores) -> tuple[Scores, Scores]:
    """Return level and standing out of each photo, (k,) each: what the coefficients weigh."""
    wide = np.asarray(cosines, np.float64)
    return _level(judge, wide, hubs), _standing(judge, wide, hubs)


def _level(judge: Judge, cosines: Scores | float, hubs: Scores | float) -> Any:
    scene = judge.backdrop
    return (cosines + scene.coefficients.echo * hubs - scene.level) / scene.unit


def _standing(judge: Judge, cosines: Scores | float, hubs: Scores | float) -> Any:
    known = judge.backdrop.coefficients
    away = (cosines - known.hub * hubs - judge.centre) / judge.spread
    return np.arcsinh(away / known.soft)


def lowest_cosine(judge: Judge, relevance: float) -> float:
    """Return a cosine below which no photo at all reaches a relevance; it may be infinite."""
    if relevance <= 0:
        return -math.inf
    scene, known = judge.backdrop, judge.backdrop.coefficients
    needed = math.log(relevance / (1 - relevance)) if relevance < 1 else math.inf
    needed = min(needed, _CERTAIN)
    most, least = float(scene.hubs.max()) - scene.level, float(scene.hubs.min()) - scene.level

    def logit(cosine: float) -> float:
        """Return the most that a photo of this cosine may have; it rises with the cosine."""
        level, standing = _level(judge, cosine, most), _standing(judge, cosine, least)
        return float(known.intercept + known.level * level + known.standing * standing)

    low, high = -_BEYOND, _BEYOND
    if logit(high) < needed:
        return math.inf
    if logit(low) >= needed:
        return -math.inf
    while high - low > _SLACK / 2:
        middle = (low + high) / 2
        low, high = (low, middle) if logit(middle) >= needed else (middle, high)
    return low - _SLACK


def band(relevance: float) -> Band | None:
    """Name a relevance; `None` is not relevant."""
    if relevance >= STRONG:
        return "strong"
    if relevance >= LIKELY:
        return "likely"
    return "weak" if relevance >= WEAK else None


def explain(judge: Judge, cosine: float, hub: float) -> tuple[Part, ...]:
    """Return the evidence for one photo; the contributions add up to the logit."""
    known = judge.backdrop.coefficients
    level, standing = evidence(judge, np.array([cosine]), np.array([hub]))
    return (
        Part("intercept", 1.0, known.intercept),
        Part("level", float(level[0]), known.level),
        Part("stands out", float(standing[0]), known.standing),
    )


def _dot(rows: NDArray[np.floating], vector: Scores) -> Scores:
    """Return the cosines of rows, (k, d), with one vector, each summed by itself in float64."""
    result = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = np.ascontiguousarray(rows[start : start + _BLOCK], np.float64)
        result[start : start + _BLOCK] = np.einsum("ij,j->i", block, vector)
    return result
