"""Make a clustered index from stored vectors, in one pass and without a second copy of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.vectors import clusterfile
from clipsearch.vectors.clusterfile import Codes, Head, Layout
from clipsearch.vectors.rows import Cosines, Ids, Mask

Block = tuple[Ids, NDArray[np.float16]]

RECALL = 0.995
"""The share of the ten best photos of held-out queries, of each kind, that lies in the clusters
probed: with codes and re-ranking, recall@10 stays above 0.99."""

_SEED = 12
_ROUNDS = 6  # of k-means
_POINTS = 32  # vectors for each cluster that it learns from
_TRIALS = 96  # held-out queries of a kind
_BEST = 10
_SPREAD = 0.15  # of their range, by which codes reach beyond the residuals of the sample


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Clusters and codes: `centroids` (c, dimensions), `ranges` (2, dimensions), `spreads` (c,)."""

    centroids: Cosines
    ranges: Cosines
    spreads: Cosines

    def encode(self, vectors: Cosines) -> tuple[Ids, Codes]:
        """Return the clusters (m,) and codes (m, dimensions) of vectors (m, dimensions)."""
        import faiss

        if len(self.centroids) == 1:
            nearest = np.zeros(len(vectors), np.int64)
        else:
            flat = faiss.IndexFlatL2(vectors.shape[1])
            flat.add(self.centroids)
            nearest = flat.search(vectors, 1)[1][:, 0]
        residuals = vectors - self.centroids[nearest]
        return nearest, np.asarray(self._quantizer().compute_codes(residuals), np.uint8)

    def decode(self, clusters: Ids, codes: Codes) -> Cosines:
        """Return the vectors (m, dimensions) that codes stand for."""
        found: Cosines = self._quantizer().decode(codes) + self.centroids[clusters]
        return found

    def _quantizer(self) -> Any:
        import faiss

        made = faiss.ScalarQuantizer(self.ranges.shape[1], faiss.ScalarQuantizer.QT_8bit)
        faiss.copy_array_to_vector(np.ascontiguousarray(self.ranges).reshape(-1), made.trained)
        return made


def clusters_for(count: int) -> int:
    """Return how many clusters serve so many photos: a power of two near twice the root."""
    return 1 << max(0, round(float(np.log2(2 * max(1, count) ** 0.5))))


def learn(sample: Cosines, clusters: int, pause: Callable[[], None]) -> Learned:
    """Find clusters and the ranges of codes for a sample (m, dimensions) of vectors.

    `pause` is called now and then; what it raises ends the work.
    """
    import faiss

    centroids = sample.mean(axis=0, dtype=np.float64).astype(np.float32)[None]
    clusters = min(clusters, max(1, len(sample)))
    nearest = np.zeros(len(sample), np.int64)
    if clusters > 1:
        chosen = np.random.default_rng(_SEED).permutation(len(sample))[:clusters]
        centroids = sample[np.sort(chosen)]
        for _ in range(_ROUNDS):
            pause()
            rounds = faiss.Kmeans(
                sample.shape[1],
                clusters,
                niter=1,
                seed=_SEED,
                min_points_per_centroid=1,
                max_points_per_centroid=1 << 20,
            )
            rounds.train(sample, init_centroids=centroids)
            centroids = rounds.centroids
        flat = faiss.IndexFlatL2(sample.shape[1])
        flat.add(centroids)
        nearest = flat.search(sample, 1)[1][:, 0]
    residuals = sample - centroids[nearest]
    low, high = residuals.min(axis=0), residuals.max(axis=0)
    wider = _SPREAD * (high - low) + 1e-6
    ranges = np.stack([low - wider, high - low + 2 * wider]).astype(np.float32)
    squares = np.einsum("ij,ij->i", residuals, residuals)
    members = np.bincount(nearest, minlength=len(centroids))
    spreads = np.sqrt(np.bincount(nearest, squares, len(centroids)) / np.maximum(members, 1))
    usual = float(np.sqrt(squares.mean(dtype=np.float64)))
    spreads = np.where(members > 1, spreads, usual)  # one photo says nothing of the next
    return Learned(np.ascontiguousarray(centroids, np.float32), ranges, spreads.astype(np.float32))


def trials(sample: Cosines, texts: Cosines) -> list[Cosines]:
    """Return kinds of held-out queries, (q, dimensions) each of unit length.

    Photos seen a little otherwise; texts, where some are known; and directions as far from all
    photos as texts are, which lean to some photo: `texts` (t, dimensions) may be few or none.
    """
    dice = np.random.default_rng(_SEED)
    count = min(_TRIALS, len(sample))

    def drawn() -> Cosines:
        return sample[dice.integers(len(sample), size=count)]

    aside = drawn() - drawn()  # a direction in which photos differ
    around = _unit(drawn() + 0.5 * _unit(aside + 1e-3 * dice.standard_normal(aside.shape)))
    mean = sample.mean(axis=0, dtype=np.float64)
    away = dice.standard_normal(sample.shape[1])
    away -= (away @ mean) * mean / max(float(mean @ mean), 1e-9)
    lean = _unit(drawn() - mean) + 0.7 * _unit(drawn() - drawn() + 1e-6)
    leaning = _unit(0.9 * _unit(away) + 0.25 * mean + 0.35 * _unit(lean))
    kinds = [around, leaning]
    return [*kinds, _unit(texts[:_TRIALS])] if len(texts) else kinds


def build(
    path: Path,
    dimensions: int,
    sample: Cosines,
    blocks: Iterable[Block],
    *,
    clusters: int,
    texts: Cosines,
    pause: Callable[[], None],
) -> None:
    """Write the index of all vectors in `blocks`, ascending by id, to a file.

    The same vectors make the same file, on one kind of processor. Of memory it takes a byte a
    dimension for each vector, and the sample.
    """
    learned = learn(sample, clusters, pause)
    kinds = trials(sample, texts) if len(sample) else []
    asked = np.concatenate(kinds) if kinds else np.zeros((0, dimensions), np.float32)
    best = np.full((len(asked), _BEST), -2.0, np.float32)
    homes = np.zeros((len(asked), _BEST), np.int64)  # the clusters of the best so far
    slack, ids, assigned, codes = 0.0, [], [], []
    for found, stored in blocks:
        pause()
        vectors = stored.astype(np.float32)
        nearest, octets = learned.encode(vectors)
        ids.append(found)
        assigned.append(nearest.astype(np.int32))
        codes.append(octets)
        if len(asked):
            scores = asked @ vectors.T
            few = slice(None, None, 16)
            rough = asked @ learned.decode(nearest[few], octets[few]).T
            slack = max(slack, float(np.abs(rough - scores[:, few]).max(initial=0)))
            together = np.concatenate([best, scores], axis=1)
            where = np.concatenate([homes, np.tile(nearest, (len(asked), 1))], axis=1)
            top = np.argpartition(-together, _BEST - 1, axis=1)[:, :_BEST]
            best = np.take_along_axis(together, top, 1)
            homes = np.take_along_axis(where, top, 1)
    total = sum(len(each) for each in ids)
    head = Head(
        count=total,
        dimensions=dimensions,
        clusters=len(learned.centroids),
        reaches=_reaches(learned, kinds, best, homes) if total >= _BEST else [[0.0, 1.0]],
        slack=1.25 * slack + 1e-4,
        learned=total,
    )
    clusterfile.write(
        path,
        head,
        np.concatenate([np.zeros(0, np.int64), *ids]),
        learned.centroids,
        learned.ranges,
        learned.spreads,
        _gathered(head, assigned, codes),
    )


def merge(
    path: Path, layout: Layout, gone: Mask | None, tail: Block, check: Callable[[int], None]
) -> None:
    """Write a file with the photos of another and of `tail`, without rows that are `gone`.

    Clusters stay as they are; `check` is called with each before it is read.
    """
    learned = Learned(layout.centroids, layout.ranges, layout.spreads)
    kept = np.ones(len(layout.ids), bool) if gone is None else ~gone
    tail_ids, tail_vectors = tail
    nearest, octets = learned.encode(tail_vectors.astype(np.float32))
    ids = np.concatenate([layout.ids[kept], tail_ids])
    order = np.argsort(ids, kind="stable")
    new_rows = np.empty(len(ids), np.int64)
    new_rows[order] = np.arange(len(ids))
    of_base = np.full(len(layout.ids), -1, np.int64)
    of_base[kept] = new_rows[: len(ids) - len(tail_ids)]
    of_tail = new_rows[len(ids) - len(tail_ids) :]

    def clusters() -> Iterator[tuple[Codes, Ids]]:
        for number in range(layout.head.clusters):
            check(number)
            codes, rows = layout.members(number)
            there = of_base[rows] >= 0
            mine = nearest == number
            yield (
                np.concatenate([codes[there], octets[mine]]),
                np.concatenate([of_base[rows[there]], of_tail[mine]]),
            )

    head = Head(
        count=len(ids),
        dimensions=layout.head.dimensions,
        clusters=layout.head.clusters,
        reaches=layout.head.reaches,
        slack=layout.head.slack,
        learned=layout.head.learned,
    )
    clusterfile.write(
        path, head, ids[order], layout.centroids, layout.ranges, layout.spreads, clusters()
    )


def sample_size(clusters: int) -> int:
    """Return how many vectors `learn` wants for so many clusters."""
    return max(4096, _POINTS * clusters)


def _gathered(
    head: Head, assigned: list[NDArray[np.int32]], codes: list[Codes]
) -> Iterator[tuple[Codes, Ids]]:
    """Yield codes and rows of each cluster in turn."""
    homes = np.concatenate([np.zeros(0, np.int32), *assigned])
    rows = np.argsort(homes, kind="stable")
    ends = np.searchsorted(homes[rows], np.arange(head.clusters), side="right")
    size = len(codes[0]) if codes else 1
    start = 0
    for end in ends.tolist():
        mine = rows[start:end]
        start = end
        picked = np.empty((len(mine), head.dimensions), np.uint8)
        block = mine // size
        for number in np.unique(block).tolist():
            here = block == number
            picked[here] = codes[number][mine[here] - number * size]
        yield picked, mine


def _reaches(
    learned: Learned, kinds: list[Cosines], best: Cosines, homes: Ids
) -> list[list[float]]:
    """Return for each kind of query the cosine of its tenth photo and how far clusters reach."""
    found, start = [], 0
    for asked in kinds:
        mine = homes[start : start + len(asked)]
        last = best[start : start + len(asked)].min(axis=1)
        start += len(asked)
        near = np.take_along_axis(asked @ learned.centroids.T, mine, 1)
        needed = (last[:, None] - near) / np.maximum(learned.spreads[mine], 1e-6)
        reach = float(np.quantile(needed, RECALL, method="higher"))
        found.append([float(np.median(last)), max(reach, 0.0)])
    return found


def _unit(rows: NDArray[np.floating]) -> Cosines:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Cosines = (rows / np.maximum(length, 1e-9)).astype(np.float32)
    return unit
