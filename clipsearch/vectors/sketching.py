"""Make a large index from stored vectors, in one pass and without a second copy of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.vectors import sketchfile
from clipsearch.vectors.rows import Cosines, Ids, Mask, rotated
from clipsearch.vectors.sketchfile import BLOCK, Codes, Head, Layout, Space

Block = tuple[Ids, NDArray[np.float16]]

SAMPLE = 30_000
"""Vectors that the codes are learned from: 96 dimensions keep all of their directions."""

RECALL = 0.999
"""The share of the ten best photos of held-out queries, of each kind, that the sketches keep."""

BEST = 10
"""Photos of a query that recall, margin and depth are about: see `sketchfile.Head`."""

_SEED = 12
_KEPT = 3 / 4  # of the dimensions, those in which photos differ most
_TRIALS = 96  # held-out queries of a kind
_WORDS = 16  # of a codebook
_SPREAD = 0.15  # of their range, by which codes reach beyond the residuals of the sample
_DEPTHS = (512, 8192)  # the fewest and the most sketches of a query that are looked at closer


@dataclass(frozen=True, slots=True, eq=False)
class Coder:
    """What turns vectors into codes and sketches, and codes into vectors again."""

    space: Space

    def codes(self, vectors: Cosines) -> Codes:
        """Return codes (m, dimensions) of vectors (m, dimensions)."""
        return np.asarray(self._scalar().compute_codes(vectors - self.space.mean), np.uint8)

    def sketches(self, vectors: Cosines) -> Codes:
        """Return sketches (m, bytes) of vectors (m, dimensions)."""
        turned = np.ascontiguousarray((vectors - self.space.mean) @ self.space.rotation)
        return np.asarray(product(self.space).pq.compute_codes(turned), np.uint8)

    def decoded(self, codes: Codes) -> Cosines:
        """Return the vectors (m, dimensions) that codes stand for."""
        found: Cosines = self._scalar().decode(codes) + self.space.mean
        return found

    def _scalar(self) -> Any:
        import faiss

        made = faiss.ScalarQuantizer(len(self.space.mean), faiss.ScalarQuantizer.QT_8bit)
        faiss.copy_array_to_vector(
            np.ascontiguousarray(self.space.ranges).reshape(-1), made.trained
        )
        return made


def product(space: Space) -> Any:
    """Return FAISS's index of sketches, empty."""
    import faiss

    kept = space.rotation.shape[1]
    made: Any = faiss.IndexPQ(kept, kept // 2, 4, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.ascontiguousarray(space.codebooks).reshape(-1), made.pq.centroids)
    made.is_trained = True
    return made


def packed(space: Space, sketches: Codes) -> Any:
    """Return FAISS's index of sketches (m, bytes), laid out for a fast scan."""
    import faiss

    made = product(space)
    faiss.copy_array_to_vector(np.ascontiguousarray(sketches).reshape(-1), made.codes)
    made.ntotal = len(sketches)
    return faiss.IndexPQFastScan(made)


def learn(sample: Cosines, pause: Callable[[], None]) -> Space:
    """Find the directions and ranges of a sample (m, dimensions) of vectors.

    Sketches keep the principal directions, two of them to a code of four bits, so that those in
    which photos differ much are coded with those in which they differ little (Ge et al. 2013,
    "Optimized Product Quantization", section 3.2.1). `pause` is called now and then; what it
    raises ends the work.
    """
    import faiss

    dimensions = sample.shape[1]
    kept = max(4, int(_KEPT * dimensions) // 4 * 4)
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    residuals = sample - mean
    pause()
    _, directions = np.linalg.eigh((residuals.T @ residuals).astype(np.float64))
    best = directions[:, ::-1][:, :kept]
    # Pairs: the first with the last, so that their products are alike.
    order = np.stack([np.arange(kept // 2), np.arange(kept - 1, kept // 2 - 1, -1)], 1).reshape(-1)
    rotation = np.ascontiguousarray(best[:, order], np.float32)
    pause()
    made: Any = faiss.IndexPQ(kept, kept // 2, 4, faiss.METRIC_INNER_PRODUCT)
    made.pq.cp.seed = _SEED
    made.pq.cp.min_points_per_centroid = 1
    # FAISS wants as many points as a codebook has words.
    points = np.resize(residuals, (max(len(residuals), _WORDS), dimensions))
    made.train(rotated(points, rotation))
    codebooks = faiss.vector_to_array(made.pq.centroids).reshape(kept // 2, _WORDS, 2)
    low, high = residuals.min(axis=0), residuals.max(axis=0)
    wider = _SPREAD * (high - low) + 1e-6
    ranges = np.stack([low - wider, high - low + 2 * wider]).astype(np.float32)
    return Space(mean, ranges, rotation, codebooks)


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
    texts: Cosines,
    pause: Callable[[], None],
) -> None:
    """Write the index of all vectors in `blocks`, ascending by id, to a file.

    The same vectors make the same file, on one kind of processor. Of memory it takes a byte and
    a half a dimension for each vector, and the sample.
    """
    coder = Coder(learn(sample, pause))
    kinds = trials(sample, texts)
    asked = np.concatenate(kinds)
    best: Cosines = np.full((len(asked), BEST), -2.0, np.float32)
    homes: Ids = np.zeros((len(asked), BEST), np.int64)  # the rows of the best so far
    slack, done = 0.0, 0
    ids: list[Ids] = [np.zeros(0, np.int64)]
    sketches: list[Codes] = [np.zeros((0, coder.space.rotation.shape[1] // 4), np.uint8)]
    codes: list[Codes] = []
    for found, stored in blocks:
        pause()
        vectors = stored.astype(np.float32)
        ids.append(found)
        codes.append(coder.codes(vectors))
        sketches.append(coder.sketches(vectors))
        scores = asked @ vectors.T
        few = slice(None, None, 16)
        rough = asked @ coder.decoded(codes[-1][few]).T
        slack = max(slack, float(np.abs(rough - scores[:, few]).max(initial=0)))
        together = np.concatenate([best, scores], axis=1)
        rows = np.arange(done, done + len(vectors))
        where = np.concatenate([homes, np.tile(rows, (len(asked), 1))], axis=1)
        top = np.argpartition(-together, BEST - 1, axis=1)[:, :BEST]
        best = np.take_along_axis(together, top, 1)
        homes = np.take_along_axis(where, top, 1)
        done += len(vectors)
    every = np.concatenate(sketches)
    margin, depth = _reach(coder.space, every, asked, homes, kinds)
    head = Head(
        count=done,
        dimensions=dimensions,
        kept=coder.space.rotation.shape[1],
        margin=margin,
        depth=depth,
        slack=1.25 * slack + 1e-4,
        learned=done,
    )
    sketchfile.write(path, head, np.concatenate(ids), coder.space, every, codes)


def merge(
    path: Path, layout: Layout, gone: Mask | None, tail: Block, check: Callable[[int], None]
) -> None:
    """Write a file with the photos of another and of `tail`, without rows that are `gone`.

    `check` is called with the number of each block before it is read.
    """
    coder = Coder(layout.space)
    tail_ids, stored = tail
    vectors = stored.astype(np.float32)
    kept = np.arange(len(layout.ids)) if gone is None else np.flatnonzero(~gone)
    ids = np.concatenate([layout.ids[kept], tail_ids])
    order = np.argsort(ids, kind="stable")
    new = coder.codes(vectors)
    for number in range(layout.head.blocks):
        check(number)

    def codes() -> Iterable[Codes]:
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            old = part < len(kept)
            piece = np.empty((len(part), layout.head.dimensions), np.uint8)
            piece[old] = layout.codes(kept[part[old]])
            piece[~old] = new[part[~old] - len(kept)]
            yield piece

    sketches = np.concatenate([layout.sketches[kept], coder.sketches(vectors)])[order]
    head = replace(layout.head, count=len(ids))
    sketchfile.write(path, head, ids[order], layout.space, sketches, codes())


def _reach(
    space: Space, sketches: Codes, asked: Cosines, homes: Ids, kinds: list[Cosines]
) -> tuple[float, int]:
    """Return margin and depth, see `Head`, for queries whose ten best rows are `homes`."""
    most = min(_DEPTHS[1], len(sketches))
    if most <= _DEPTHS[0]:
        return 0.0, _DEPTHS[0]
    found = packed(space, sketches)
    scores, rows = found.search(rotated(asked, space.rotation), most)
    last = scores[:, [BEST - 1]]
    start, margin = 0, 0.0
    for kind in kinds:
        mine = slice(start, start + len(kind))
        start += len(kind)
        lacking = np.full((len(kind), BEST), np.inf)  # of those beyond the deepest
        for query, (names, scored) in enumerate(zip(rows[mine], scores[mine], strict=True)):
            order = np.argsort(names)
            at = np.minimum(np.searchsorted(names, homes[mine][query], sorter=order), most - 1)
            there = names[order[at]] == homes[mine][query]
            lacking[query][there] = last[mine][query, 0] - scored[order[at[there]]]
        deep = float(np.quantile(lacking, RECALL, method="higher"))
        widest = float((last[mine, 0] - scores[mine, -1]).max())
        margin = max(margin, min(deep, widest))
    reached = (scores >= last - margin).sum(axis=1)
    return margin, int(np.clip(1.5 * reached.max(), *_DEPTHS))


def _unit(rows: NDArray[np.floating]) -> Cosines:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Cosines = (rows / np.maximum(length, 1e-9)).astype(np.float32)
    return unit
