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

RECALL = 0.995
"""The share of the ten best photos of held-out queries, of each kind, that the sketches keep."""

_BEST = 10  # photos of a query that recall and depth are about: see `sketchfile.Head`
_SEED = 12
_KEPT = 3 / 4  # of many dimensions, those in which photos differ most
_ALL = 384  # dimensions that are kept in any case
_TRIALS = 96  # held-out queries of a kind
_WORDS = 16  # of a codebook
_CENTRES = 64  # that sketches are relative to
_LONGEST = 2.0  # times its length that a residual may be sketched with
_SPREAD = 0.15  # of their range, by which codes reach beyond the residuals of the sample
_DEPTHS = (1024, 8192)  # the fewest and the most sketches of a query that are looked at closer


@dataclass(frozen=True, slots=True, eq=False)
class Coder:
    """What turns vectors into codes and sketches, and codes into vectors again."""

    space: Space

    def codes(self, vectors: Cosines) -> Codes:
        """Return codes (m, dimensions) of vectors (m, dimensions)."""
        return np.asarray(self._scalar().compute_codes(vectors - self.space.mean), np.uint8)

    def sketches(self, vectors: Cosines) -> tuple[Codes, Codes]:
        """Return centres (m,) and sketches (m, bytes) of vectors (m, dimensions)."""
        centres, residuals, turned, near = self._plain(vectors)
        # What a sketch stands for is shorter than its residual, the more the less they agree, and
        # a query for just this photo would score it too low: a longer residual makes up for it.
        along = np.einsum("ij,ij->i", near, turned)
        longer = np.einsum("ij,ij->i", residuals, residuals) / np.maximum(along, 1e-6)
        turned *= np.clip(longer, 1, _LONGEST)[:, None].astype(np.float32)
        return centres, np.asarray(_quantizer(self.space).compute_codes(turned), np.uint8)

    def error(self, vectors: Cosines) -> float:
        """Return the mean square of how far sketches are from what they stand for."""
        _, residuals, turned, near = self._plain(vectors)
        squares = [
            np.square(each).sum(dtype=np.float64) for each in (residuals, turned, turned - near)
        ]
        return float(squares[0] - squares[1] + squares[2]) / max(1, len(vectors))

    def decoded(self, codes: Codes) -> Cosines:
        """Return the vectors (m, dimensions) that codes stand for."""
        found: Cosines = self._scalar().decode(codes) + self.space.mean
        return found

    def _plain(self, vectors: Cosines) -> tuple[Codes, Cosines, Cosines, Cosines]:
        """Return centres, residuals, these turned, and what sketches of just these stand for."""
        centres = nearest(self.space.centres, vectors)
        residuals = vectors - self.space.centres[centres]
        turned = rotated(residuals, self.space.rotation)
        quantizer = _quantizer(self.space)
        near: Cosines = quantizer.decode(quantizer.compute_codes(turned))
        return centres, residuals, turned, near

    def _scalar(self) -> Any:
        import faiss

        made = faiss.ScalarQuantizer(len(self.space.mean), faiss.ScalarQuantizer.QT_8bit)
        faiss.copy_array_to_vector(
            np.ascontiguousarray(self.space.ranges).reshape(-1), made.trained
        )
        return made


def nearest(centres: Cosines, vectors: Cosines) -> Codes:
    """Return the centre nearest to each of vectors (m, dimensions), (m,)."""
    scores = vectors @ centres.T - np.einsum("ij,ij->i", centres, centres) / 2
    found: Codes = np.argmax(scores, axis=1).astype(np.uint8)
    return found


def packed(space: Space, centres: Codes, sketches: Codes) -> Any:
    """Return FAISS's index of sketches (m, bytes) by their centres (m,), for a fast scan of all."""
    import faiss

    kept = space.rotation.shape[1]
    coarse = faiss.IndexFlatIP(kept)
    coarse.add(rotated(space.centres, space.rotation))
    made: Any = faiss.IndexIVFPQ(
        coarse, kept, len(space.centres), kept // 2, 4, faiss.METRIC_INNER_PRODUCT
    )
    made.pq = _quantizer(space)
    made.is_trained = True
    order = np.argsort(centres, kind="stable")
    ends = np.cumsum(np.bincount(centres, minlength=len(space.centres)))
    for number, rows in enumerate(np.split(order, ends[:-1])):
        codes = np.ascontiguousarray(sketches[rows])
        pointers = faiss.swig_ptr(rows), faiss.swig_ptr(codes)
        made.invlists.add_entries(number, len(rows), *pointers)
    made.ntotal = len(sketches)
    scanned: Any = faiss.IndexIVFPQFastScan(made)
    scanned.nprobe = len(space.centres)
    scanned.referenced_objects = [coarse]  # not `made`, whose lists were copied
    return scanned


def learn(sample: Cosines, pause: Callable[[], None]) -> Space:
    """Find the centres, directions and ranges of a sample (m, dimensions) of vectors.

    Sketches keep the principal directions, two of them to a code of four bits, so that those in
    which photos differ much are coded with those in which they differ little (Ge et al. 2013,
    "Optimized Product Quantization", section 3.2.1). `pause` is called now and then; what it
    raises ends the work.
    """
    import faiss

    dimensions = sample.shape[1]
    kept = max(4, min(dimensions, _ALL), int(_KEPT * dimensions)) // 4 * 4
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    found: Any = faiss.Kmeans(
        dimensions,
        min(_CENTRES, len(sample)),
        niter=8,
        seed=_SEED,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    found.train(sample)
    centres = np.asarray(found.centroids, np.float32)
    residuals = sample - centres[nearest(centres, sample)]
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
    low, high = (sample - mean).min(axis=0), (sample - mean).max(axis=0)
    wider = _SPREAD * (high - low) + 1e-6
    ranges = np.stack([low - wider, high - low + 2 * wider]).astype(np.float32)
    return Space(mean, ranges, centres, rotation, codebooks)


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

    The same vectors make the same file, on one kind of processor. Of memory it takes several
    times the sketches, and the sample.
    """
    coder = Coder(learn(sample, pause))
    kinds = trials(sample, texts)
    asked = np.concatenate(kinds)
    best: Cosines = np.full((len(asked), _BEST), -2.0, np.float32)
    homes: Ids = np.zeros((len(asked), _BEST), np.int64)  # the rows of the best so far
    slack, done = 0.0, 0
    ids: list[Ids] = [np.zeros(0, np.int64)]
    centres: list[Codes] = [np.zeros(0, np.uint8)]
    sketches: list[Codes] = [np.zeros((0, coder.space.rotation.shape[1] // 4), np.uint8)]
    with sketchfile.writing(path, dimensions) as file:
        for found, stored in blocks:
            pause()
            vectors = stored.astype(np.float32)
            codes = coder.codes(vectors)
            file.add(codes)
            ids.append(found)
            for pieces, piece in zip((centres, sketches), coder.sketches(vectors), strict=True):
                pieces.append(piece)
            scores = asked @ vectors.T
            few = slice(None, None, 16)
            rough = asked @ coder.decoded(codes[few]).T
            slack = max(slack, float(np.abs(rough - scores[:, few]).max(initial=0)))
            together = np.concatenate([best, scores], axis=1)
            rows = np.arange(done, done + len(vectors))
            where = np.concatenate([homes, np.tile(rows, (len(asked), 1))], axis=1)
            top = np.argpartition(-together, _BEST - 1, axis=1)[:, :_BEST]
            best = np.take_along_axis(together, top, 1)
            homes = np.take_along_axis(where, top, 1)
            done += len(vectors)
        every = np.concatenate(centres), np.concatenate(sketches)
        sketches.clear()  # a tenth of a gigabyte a million
        head = Head(
            count=done,
            dimensions=dimensions,
            kept=coder.space.rotation.shape[1],
            centres=len(coder.space.centres),
            depth=_depth(coder.space, *every, asked, homes, kinds),
            error=coder.error(sample),
            slack=1.25 * slack + 1e-4,
            learned=done,
        )
        file.finish(head, np.concatenate(ids), coder.space, *every)


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

    tail_centres, tail_sketches = coder.sketches(vectors)
    centres = np.concatenate([layout.centres[kept], tail_centres])[order]
    sketches = np.concatenate([layout.sketches[kept], tail_sketches])[order]
    with sketchfile.writing(path, layout.head.dimensions) as file:
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            old = part < len(kept)
            piece = np.empty((len(part), layout.head.dimensions), np.uint8)
            piece[old] = layout.codes(kept[part[old]])
            piece[~old] = new[part[~old] - len(kept)]
            file.add(piece)
        head = replace(layout.head, count=len(ids))
        file.finish(head, ids[order], layout.space, centres, sketches)


def _quantizer(space: Space) -> Any:
    """Return what FAISS makes sketches with.

    It is not that of an index, which would take it along when it is freed.
    """
    import faiss

    kept = space.rotation.shape[1]
    made: Any = faiss.ProductQuantizer(kept, kept // 2, 4)
    faiss.copy_array_to_vector(np.ascontiguousarray(space.codebooks).reshape(-1), made.centroids)
    return made


def _depth(
    space: Space,
    centres: Codes,
    sketches: Codes,
    asked: Cosines,
    homes: Ids,
    kinds: list[Cosines],
) -> int:
    """Return the depth, see `Head`, for queries whose ten best rows are `homes`."""
    most = min(_DEPTHS[1], len(sketches))
    if most <= _DEPTHS[0]:
        return _DEPTHS[0]
    _, rows = packed(space, centres, sketches).search(rotated(asked, space.rotation), most)
    ranks = np.full(homes.shape, most)
    for query, found in enumerate(rows):
        order = np.argsort(found)
        at = np.minimum(np.searchsorted(found, homes[query], sorter=order), most - 1)
        there = found[order[at]] == homes[query]
        ranks[query, there] = order[at[there]]
    ends = np.cumsum([len(kind) for kind in kinds])[:-1]
    deep = max(np.quantile(each, RECALL, method="higher") for each in np.split(ranks, ends))
    return int(np.clip(deep + 1, *_DEPTHS))


def _unit(rows: NDArray[np.floating]) -> Cosines:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Cosines = (rows / np.maximum(length, 1e-9)).astype(np.float32)
    return unit
