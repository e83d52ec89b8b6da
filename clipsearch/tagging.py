"""Decide which labels hold for which photos of a library, from stored vectors alone.

A cosine means little by itself: a label is near to everything or to nothing because of its
wording, and a photo because of its style. So a photo is compared with the library and a label
with the vocabulary, by a cosine that is centred twice,

    score = (x - mean of the library) / |x - mean of the library| . (w - mean of the texts),

less its mean over the library, in units of its spread there: how far does this label stand
out on this photo? Whatever adds a constant to all scores of a label, or to all scores of a
photo, drops out. (Such hubs and their removal by centring: Suzuki et al. 2013, "Centering
Similarity Measures to Reduce Hubs", EMNLP; Dinu et al. 2015, arXiv 1412.6568.)

Most photos do not show a given label. The library therefore is its own null distribution, and
the score of a tag is the posterior of two groups (Efron 2004, "Large-Scale Simultaneous
Hypothesis Testing: The Choice of a Null Hypothesis", JASA 99): N(0, 1) for photos without the
label, N(`SEPARATION`, 1) for those that show it. What follows from "stands out":

- a label that no photo shows gets few tags: where the sample holds no more photos beyond the
  cut than chance puts there, the cut moves outwards;
- a label that all photos show is no news: its bulk looks like a null, and only the photos
  that show it most are tagged. The same vectors admit both readings; a label like that wants
  a threshold of its own, or an exclusive group with its opposite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Block = tuple[NDArray[np.int64], NDArray[np.floating]]
Tags = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]

# Of tags in the making: photo, label, standardised score, posterior.
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

CUT = 2.5
"""Spreads above its mean at which a label holds (score 0.5).

Micro-F1 over that of the best flat cosine, which is chosen with hindsight. Means over 18
settings with the starter model: the objects of 81 photos; the library these photos, 181 or
1,796; 62 or 80 labels; 0, 1 or 7 templates (`tests/benchmarks/tagging_quality.py`).

| cut   | 2.1  | 2.2  | 2.3  | 2.4  | 2.5  | 2.6  | 2.7  | 2.8  |
|-------|------|------|------|------|------|------|------|------|
| ratio | 0.94 | 0.94 | 0.95 | 0.97 | 0.97 | 0.97 | 0.96 | 0.94 |

A spread of its own for each label, instead of one for all, lost 0.02 to 0.04: words that no
photo is near to, such as "happiness", then stand out by chance.
"""

SEPARATION = 2.5
"""Spreads between the two groups. With `CUT` it implies a prior: 4 of 100 photos show a label."""

SAMPLE = 20_000
"""Photos that stand for the library: its quantiles are known to a hundredth of a spread."""

_EXCESS = 1.5  # photos beyond the cut, as a multiple of what chance puts there
_DOUBT = 1.0  # errors of counting (Poisson) within which a sample is believed to hold them
_FARTHEST_CUT = 10.0
_SMALLEST_SCALE = 1e-3  # of a score: identical photos have a spread of rounding errors
_ROUNDING = 1e-5  # of a float32 score; what is this near to its cut is summed again in float64
_STEP = 1e-4  # to which standardised scores of exclusive labels are rounded
_CELLS = 1 << 22  # scores in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A vocabulary as vectors; make it with `pool`.

    `rows` is (R, d) float32, `owner` (R,) the label of each row in ascending order, `groups`
    (L,) the exclusive group of each label or -1, `thresholds` (L,) the lowest score of a tag.
    """

    rows: Vectors
    owner: NDArray[np.int64]
    groups: NDArray[np.int64]
    thresholds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def first(self) -> NDArray[np.int64]:
        """The first row of each label, (L,)."""
        return np.searchsorted(self.owner, np.arange(len(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a library says of a vocabulary: all that a run needs to record.

    `mean` is (d,), of the library; `centre` (d,), of the texts; `location` (L,) the mean score
    of each label, `background` (m,) that of each neutral sentence; `scale` the spread of a
    score, the same for all labels; `cut` (L,) the standardised score at which an independent
    label holds; `photos` the number of photos in the sample.
    """

    mean: Vectors
    centre: Vectors
    location: NDArray[np.float64]
    background: NDArray[np.float64]
    scale: float
    cut: NDArray[np.float64]
    photos: int


def pool(
    rows: NDArray[np.floating],
    owner: NDArray[np.integer],
    *,
    groups: NDArray[np.integer] | None = None,
    thresholds: NDArray[np.floating] | None = None,
) -> Labels:
    """Gather the texts of each label; the label's score is the maximum over them.

    With up to four synonyms for COCO's names, mean F1 was 0.388 by the maximum, 0.38 by a
    log-sum-exp, 0.37 by the mean and 0.37 without them; mAP was 0.55 by each.

    `rows` is (R, d), of unit length; `owner` (R,) says which label each row is a synonym of,
    and every label from 0 to the largest has a row. Labels of the same number in `groups` (L,)
    exclude each other, -1 is independent. `thresholds` (L,) are scores in 0..1, 0.5 unless given.

    Raises: ValueError for shapes that do not fit, a label without a row, vectors not finite.
    """
    if rows.ndim != 2 or owner.shape != (len(rows),) or not len(rows):
        raise ValueError(f"{owner.shape} owners do not fit rows of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("a label's vector is not finite")
    count = int(owner.max()) + 1
    if not np.array_equal(np.unique(owner), np.arange(count)):
        raise ValueError("a label has no text")
    groups = np.full(count, -1) if groups is None else groups
    thresholds = np.full(count, 0.5) if thresholds is None else thresholds
    if groups.shape != (count,) or thresholds.shape != (count,):
        raise ValueError(f"groups or thresholds do not fit {count} labels")
    if not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise ValueError("a threshold lies outside 0..1")
    # A synonym given twice is one text; it must not weigh twice in the mean of the texts.
    narrow = np.ascontiguousarray(rows, np.float32)
    texts = {
        (label, row.tobytes()): i
        for i, (label, row) in enumerate(zip(owner.tolist(), narrow, strict=True))
    }
    kept = np.sort(np.fromiter(texts.values(), np.int64))
    kept = kept[np.argsort(owner[kept], kind="stable")]
    return Labels(
        narrow[kept],
        owner[kept].astype(np.int64),
        groups.astype(np.int64),
        thresholds.astype(np.float64),
    )


def sample_positions(count: int, size: int = SAMPLE) -> NDArray[np.int64]:
    """Return which of `count` photos, in order of id, stand for the library; always the same."""
    if count <= size:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False))


def calibrate(
    sample: NDArray[np.floating], labels: Labels, background: NDArray[np.floating]
) -> Calibration:
    """Learn from a sample of the library, (n, d), how its photos score the labels.

    `background` is (m, d), sentences that are true of every photo. One imaginary photo that
    shows nothing joins the sample, so that a library of a single photo has a mean to differ from.

    Raises: ValueError for dimensions that differ, an empty background, vectors not finite.
    """
    dimensions = labels.rows.shape[1]
    if sample.ndim != 2 or background.ndim != 2 or not len(background):
        raise ValueError(f"photos {sample.shape} and neutral sentences {background.shape}")
    if sample.shape[1] != dimensions or background.shape[1] != dimensions:
        raise ValueError(f"photos {sample.shape} and labels {labels.rows.shape} do not fit")
    if not np.isfinite(sample).all():
        raise ValueError("a photo's vector is not finite")
    photos = len(sample)
    share = 1 / (photos + 1)
    mean = (sample.sum(axis=0, dtype=np.float64) * share).astype(np.float32)
    texts = np.bincount(labels.owner)[labels.owner][:, None]
    total = (labels.rows / texts).sum(axis=0) + background.sum(axis=0, dtype=np.float64)
    centre = (total / (len(labels) + len(background))).astype(np.float32)
    units = _units(sample, mean)
    neutral = (units @ (background - centre).astype(np.float32).T).sum(axis=0, dtype=np.float64)
    location = np.zeros(len(labels))
    squares = 0.0
    for start, scores in _columns(units, labels, centre):
        columns = slice(start, start + scores.shape[1])
        location[columns] = scores.sum(axis=0, dtype=np.float64) * share
        scores -= location[columns].astype(np.float32)
        squares += float(np.einsum("ij,ij->", scores, scores, dtype=np.float64))
    scale = max(math.sqrt(squares / max(1, photos * len(labels))), _SMALLEST_SCALE)
    cut = np.full(len(labels), CUT)
    for start, scores in _columns(units, labels, centre):
        columns = slice(start, start + scores.shape[1])
        scores -= location[columns].astype(np.float32)
        cut[columns] = _cuts(scores / np.float32(scale))
    return Calibration(mean, centre, location, neutral * share, scale, cut, photos)


def standardise(
    vectors: NDArray[np.floating], labels: Labels, calibration: Calibration
) -> NDArray[np.float64]:
    """Return how far every label stands out on every photo, (n, L), in spreads."""
    units = _units(vectors, calibration.mean)
    scores = units.astype(np.float64) @ (labels.rows - calibration.centre).astype(np.float64).T
    pooled = np.maximum.reduceat(scores, labels.first, axis=1)
    result: NDArray[np.float64] = (pooled - calibration.location) / calibration.scale
    return result


def tag_blocks(
    blocks: Iterable[Block],
    labels: Labels,
    background: NDArray[np.floating],
    calibration: Calibration,
) -> Iterator[Tags]:
    """Yield the tags of a library as arrays: ids, labels and scores, in the order delivered.

    A block is ids, (b,), and vectors, (b, d) float16 or float32. A tag is given where its score
    reaches the label's threshold and the label stands out more than every neutral sentence. In
    an exclusive group it is the likeliest label, with the softmax over the group and "none of
    them"; ties go to the first label. Photos are gathered into blocks of a fixed size, so the
    tags do not depend on how they are delivered.
    """
    texts = np.concatenate([labels.rows, background]) - calibration.centre
    matrix = np.ascontiguousarray(texts.T, np.float32)
    # A share of a softmax is never above the sigmoid of the label alone: one cut serves both.
    starts = _starts(labels, calibration)
    with np.errstate(divide="ignore"):  # a threshold of 0 or 1 is infinitely far away
        needed = starts - np.log(1 / labels.thresholds - 1) / SEPARATION
    exclusive = {int(g): np.flatnonzero(labels.groups == g) for g in np.unique(labels.groups)}
    rows = {g: np.flatnonzero(labels.groups[labels.owner] == g) for g in exclusive}
    cuts = calibration.location + calibration.scale * (needed - _STEP) - _ROUNDING
    narrow = cuts[labels.owner].astype(np.float32)
    size = max(64, min(4096, _CELLS // matrix.shape[1]))
    for ids, vectors, count in _regular(blocks, size, len(matrix)):
        units = _units(vectors, calibration.mean)
        scores = units @ matrix
        heard = (scores[:, len(narrow) :] - calibration.background).max(axis=1)
        photo, row = np.divmod(
            np.flatnonzero(scores[:count, : len(narrow)] >= narrow).astype(np.int64), len(narrow)
        )
        group = labels.groups[labels.owner[row]]
        alone = group < 0
        found = [_independent(units, photo[alone], row[alone], labels, calibration)]
        order = np.argsort(group, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(group[order], prepend=-1)))[1:]:
            g = int(group[part[0]])
            photos = photo[part][np.diff(photo[part], prepend=-1) > 0]
            close = scores[photos[:, None], rows[g]]
            found.append(_exclusive(close, photos, exclusive[g], starts, labels, calibration))
        photo, label, spreads, posterior = map(np.concatenate, zip(*found, strict=True))
        kept = posterior >= labels.thresholds[label]
        kept &= spreads * calibration.scale > heard[photo]
        order = np.flatnonzero(kept)
        order = order[np.lexsort((label[order], photo[order]))]
        yield ids[photo[order]], label[order], posterior[order].astype(np.float32)


def _independent(
    units: Vectors,
    photo: NDArray[np.int64],
    row: NDArray[np.int64],
    labels: Labels,
    calibration: Calibration,
) -> Found:
    """Sum the few scores beyond their cut again in float64, and take the best synonym."""
    exact: NDArray[np.float64] = np.empty(len(photo))
    for start in range(0, len(photo), 4096):
        part = slice(start, start + 4096)
        texts = (labels.rows[row[part]] - calibration.centre).astype(np.float64)
        exact[part] = np.einsum("ij,ij->i", units[photo[part]].astype(np.float64), texts)
    label = labels.owner[row]
    # Rows of one label are neighbours: the best synonym speaks for it.
    new = np.ones(len(photo), bool)
    new[1:] = (photo[1:] != photo[:-1]) | (label[1:] != label[:-1])
    first = np.flatnonzero(new)
    exact = np.maximum.reduceat(exact, first) if len(first) else exact
    photo, label = photo[first], label[first]
    spreads = (exact - calibration.location[label]) / calibration.scale
    posterior = 0.5 + 0.5 * np.tanh(SEPARATION / 2 * (spreads - calibration.cut[label]))
    return photo, label, spreads, posterior


def _exclusive(
    scores: Vectors,
    photo: NDArray[np.int64],
    members: NDArray[np.int64],
    starts: NDArray[np.float64],
    labels: Labels,
    calibration: Calibration,
) -> Found:
    """Take the likeliest label of a group, by the softmax over its labels and none of them.

    `scores` has a row for each photo and a column for each text of the group.
    """
    sizes = np.bincount(labels.owner)[members]
    pooled = np.maximum.reduceat(scores, np.cumsum(sizes) - sizes, axis=1)
    spreads = (pooled - calibration.location[members]) / calibration.scale
    spreads = np.round(spreads / _STEP) * _STEP  # equal labels tie, whatever the last bits
    logits = SEPARATION * (spreads - starts[members])
    best = logits.argmax(axis=1)
    each = np.arange(len(photo))
    top = logits[each, best]
    highest = np.maximum(top, 0)
    total = np.exp(-highest) + np.exp(logits - highest[:, None]).sum(axis=1)
    return photo, members[best], spreads[each, best], np.exp(top - highest) / total


def _starts(labels: Labels, calibration: Calibration) -> NDArray[np.float64]:
    """Return the standardised score at which each label is as likely as not, (L,).

    In an exclusive group half of the photos are taken to show none of its labels, and the other
    half each label alike: log odds of SEPARATION * z - SEPARATION**2 / 2 - log(labels).
    """
    _, group, counts = np.unique(labels.groups, return_inverse=True, return_counts=True)
    alike = SEPARATION / 2 + np.log(counts[group]) / SEPARATION
    return np.where(labels.groups >= 0, alike, calibration.cut)


def _cuts(spreads: Vectors) -> NDArray[np.float64]:
    """Return where each label starts to hold, (L,), from its standardised scores, (n, L).

    Chance is a normal distribution with the label's own spread below its mean, where no photo
    that shows the label disturbs it. What the error of counting explains moves no cut: in a small
    sample, having seen none is no proof that there are none.
    """
    photos, count = spreads.shape
    cuts = np.full(count, CUT)
    if not photos:
        return cuts
    below = np.minimum(spreads, 0)
    squares = np.einsum("ij,ij->j", below, below, dtype=np.float64)
    width = np.sqrt(squares / np.maximum((spreads < 0).sum(axis=0), 1))
    open_ = np.arange(count)
    while len(open_) and cuts[open_[0]] < _FARTHEST_CUT:
        cut = cuts[open_[0]]
        seen = (spreads[:, open_] > cut).sum(axis=0)
        tails = [math.erfc(cut / max(w, 1e-9) / math.sqrt(2)) / 2 for w in width[open_]]
        enough = _EXCESS * photos * np.array(tails)
        open_ = open_[seen < enough - _DOUBT * np.sqrt(enough)]
        cuts[open_] += 0.25
    return cuts


def _columns(units: Vectors, labels: Labels, centre: Vectors) -> Iterator[tuple[int, Vectors]]:
    """Yield pooled scores of all photos for a few labels at a time, with the first label."""
    step = max(1, _CELLS // max(1, len(units)))
    first = np.append(labels.first, len(labels.rows))
    for start in range(0, len(labels), step):
        stop = min(start + step, len(labels))
        rows = slice(first[start], first[stop])
        scores = units @ (labels.rows[rows] - centre).T
        yield start, np.maximum.reduceat(scores, first[start:stop] - first[start], axis=1)


def _units(vectors: NDArray[np.floating], mean: Vectors) -> Vectors:
    """Return the directions in which photos differ from the library's mean, (n, d) float32."""
    away: Vectors = np.subtract(vectors, mean, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", away, away))
    away /= np.maximum(length, np.float32(1e-6))[:, None]
    return away


def _regular(
    blocks: Iterable[Block], size: int, dimensions: int
) -> Iterator[tuple[NDArray[np.int64], Vectors, int]]:
    """Yield ids, vectors and their number in blocks of one size, the last padded with zeros.

    BLAS rounds by the shape of a product: one shape, one result.
    """
    ids = np.zeros(size, np.int64)
    vectors = np.zeros((size, dimensions), np.float32)
    filled = 0
    for new_ids, new_vectors in blocks:
        if new_vectors.shape != (len(new_ids), dimensions):
            raise ValueError(f"{len(new_ids)} photos with vectors of shape {new_vectors.shape}")
        taken = 0
        while taken < len(new_ids):
            part = min(size - filled, len(new_ids) - taken)
            ids[filled : filled + part] = new_ids[taken : taken + part]
            vectors[filled : filled + part] = new_vectors[taken : taken + part]
            taken += part
            filled += part
            if filled == size:
                yield ids, vectors, filled
                filled = 0
    if filled:
        vectors[filled:] = 0
        yield ids, vectors, filled
