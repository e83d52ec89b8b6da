"""Rows as sketches of a few bits a dimension and codes of a byte: for large libraries.

A query looks at every sketch, at the codes of those that score well, and at the stored vectors of
the best of these, so that cosines and their order are exact; only which photos are among the best
is a matter of the sketches. Codes are mapped, not read, and compared with their checksums before
they answer anything.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import DamagedIndexError
from clipsearch.vectors import sketching
from clipsearch.vectors.rows import LOWEST, Cosines, Ids, Mask, exact
from clipsearch.vectors.sketchfile import BLOCK, Layout

Fetch = Callable[[Ids], tuple[Ids, NDArray[np.float16]]]
"""Returns those of ids (m,), ascending, that are stored, and their vectors (m, dimensions)."""

HEAD = 2000
"""Rows of one answer that are scored from the stored vectors; later ones keep the score of their
codes, which is good to `slack` and never above that of an exact one. 2,000 take 15 ms."""

PAGE = 128
"""Ranks for which as many sketches are looked at closer as was learned for the ten best."""

_DEEP = 6 * HEAD  # sketches that are looked at closer for later ranks
_FILTERED = 2  # times as many where photos are left out: the depth was learned with all
_MOST = 0.9  # of the photos, with which what was learned with all still holds
_FEW = 1024  # sketches that each share looks for alike
_UNEVEN = 1.2  # how many more of the best one share may have than another
_MANY = 16  # to one that a mask marks, rows of which it is faster to take the few than to scan all
_THREADS = 2  # that share the sketches: more of them wait for memory


class SketchedPart:
    """Sketches and codes in a file of `layout`; `fetch` gives the vectors they stand for."""

    def __init__(self, layout: Layout, fetch: Fetch) -> None:
        self._layout, self._fetch = layout, fetch
        self._ids = layout.ids
        self._verified = np.zeros(layout.head.blocks, bool)
        self._verifying = threading.Lock()
        self._codes = _searcher(layout)
        self._shares = _shares(layout)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sketches", initializer=_alone)
        self._turns = np.ascontiguousarray(layout.space.rotation.T)
        low, width = layout.space.ranges
        self._offset = layout.space.mean + low + width / 510  # a code stands for its middle
        self._step = width / 255

    @property
    def ids(self) -> Ids:
        return self._ids

    @property
    def path(self) -> Path:
        return self._layout.path

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def dimensions(self) -> int:
        return self._layout.head.dimensions

    @property
    def slack(self) -> float:
        """How far the score of a code may be from the cosine, but for rare photos: see `Head`."""
        return self._layout.head.slack

    def stored(self, rows: Ids) -> NDArray[np.float16]:
        """Return vectors, (m, dimensions).

        Raises: KeyError for a row that is not stored any more.
        """
        wanted = self._ids[rows]
        ids, vectors = self._fetch(np.unique(wanted))
        at = np.searchsorted(ids, wanted)
        found = at < len(ids)
        found[found] = ids[at[found]] == wanted[found]
        if not found.all():
            raise KeyError(int(wanted[~found][0]))
        result: NDArray[np.float16] = vectors[at]
        return result

    def present(self, ids: Ids) -> NDArray[np.float32]:
        """Return the vectors of those photos that are still there, (m, dimensions)."""
        return self._fetch(ids)[1].astype(np.float32)

    def best(self, query: Cosines, wanted: int, mask: Mask | None) -> tuple[Ids, Cosines]:
        if (few := self._few(mask)) is not None:
            return self._scored(query, few)
        if wanted > HEAD:
            return self.above(query, LOWEST, mask)
        # No more depends on what is wanted: the best 20 are those that come first of the best 50.
        rows, scores = self._promising(query, mask, is_deep=wanted > PAGE)
        return self._scored(query, rows[scores >= _kth(scores, wanted) - self.slack])

    def above(self, query: Cosines, lowest: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        if (few := self._few(mask)) is not None:
            ids, scores = self._scored(query, few)
        else:
            rows, rough = self._scan(query, lowest - self.slack, mask)
            if len(rows) <= HEAD:
                ids, scores = self._scored(query, rows)
            else:
                order = np.argpartition(-rough, HEAD)
                rows, rough = rows[order], rough[order]
                ids, scores = self._scored(query, rows[:HEAD])
                rest = np.minimum(rough[HEAD:], scores.min(initial=1.0))
                ids = np.concatenate([ids, self._ids[rows[HEAD:]]])
                scores = np.concatenate([scores, rest])
        keep = scores >= lowest
        return ids[keep], scores[keep]

    def near(self, query: Cosines, lowest: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        if self._few(mask) is not None:
            return self.above(query, lowest, mask)
        rows, scores = self._scan(query, lowest - self.slack, mask)
        return self._ids[rows], scores

    def rough(self, query: Cosines) -> Cosines:
        """Return the score of every row by its code, (n,)."""
        result = np.empty(len(self._ids), np.float32)
        if not len(result):
            return result
        rows, scores = self._scan(query, -np.inf, None)
        result[rows] = scores
        return result

    def verify(self) -> None:
        """Compare everything with its checksum.

        Raises: DamagedIndexError.
        """
        self._verify(np.arange(len(self._verified)))

    def check(self, number: int) -> None:
        """Compare a block with its checksum.

        Raises: DamagedIndexError.
        """
        self._verify(np.array([number]))

    def _few(self, mask: Mask | None) -> Ids | None:
        """Return the rows that take part, where all can be scored from the stored vectors."""
        if mask is None:
            return np.arange(len(self._ids)) if len(self._ids) <= HEAD else None
        return np.flatnonzero(mask) if np.count_nonzero(mask) <= HEAD else None

    def _scored(self, query: Cosines, rows: Ids) -> tuple[Ids, Cosines]:
        """Return ids and cosines from the stored vectors, without photos that are gone by now."""
        ids, vectors = self._fetch(np.sort(self._ids[rows]))
        return ids, exact(vectors, query)

    def _promising(
        self, query: Cosines, mask: Mask | None, *, is_deep: bool = False
    ) -> tuple[Ids, Cosines]:
        """Return rows whose sketches score well, with the scores of their codes."""
        is_filtered = mask is not None and np.count_nonzero(mask) < _MOST * len(mask)
        deep = (_DEEP if is_deep else self._layout.head.depth) * (_FILTERED if is_filtered else 1)
        # Shares have every other row, and so about as many of the best.
        each = deep if deep < _FEW else int(_UNEVEN * deep / len(self._shares))
        # Not a product of BLAS, whose threads would wake up and then wait for more beside these.
        turned = np.einsum("ij,j->i", self._turns, query)[None]

        def look(number: int) -> tuple[Ids, Cosines]:
            share = self._shares[number]
            mine = None if mask is None else mask[number :: len(self._shares)]
            near = _probing(share.nlist, mine)
            _, found = share.search(turned, min(each, share.ntotal), params=near)
            rows = np.sort(found[0][found[0] >= 0]) * len(self._shares) + number
            if not self._verified.all():
                self._verify(np.unique(rows // BLOCK))
            return rows, self._coded(query, rows)

        looking = [self._pool.submit(look, number) for number in range(len(self._shares))]
        wait(looking)  # where one finds damage, none is left at work
        rows, scores = zip(*(each.result() for each in looking), strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    def _coded(self, query: Cosines, rows: Ids) -> Cosines:
        """Return the scores of the codes of rows, (m,)."""
        scores: Cosines = np.einsum("ij,j->i", self._layout.codes(rows), self._step * query)
        return scores + np.float32(self._offset @ query)

    def _scan(self, query: Cosines, above: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        """Return the rows whose codes score more than `above`, and these scores."""
        if mask is not None and np.count_nonzero(mask) * _MANY < len(self._ids):
            rows = np.flatnonzero(mask)
            self._verify(np.unique(rows // BLOCK))
            parts = np.array_split(rows, _THREADS)
            scores = np.concatenate(list(self._pool.map(partial(self._coded, query), parts)))
            return rows[scores > above], scores[scores > above]
        self.verify()
        _, scores, rows = self._codes.range_search(
            query[None], max(above, -3.0), params=_probing(self._layout.head.blocks, mask)
        )
        return rows, scores

    def _verify(self, blocks: Ids) -> None:
        if self._verified[blocks].all():
            return
        with self._verifying, ThreadPoolExecutor(_THREADS) as pool:
            numbers = blocks[~self._verified[blocks]].tolist()
            sums = pool.map(lambda number: zlib.crc32(self._layout.block(number).data), numbers)
            for number, checksum in zip(numbers, sums, strict=True):
                if checksum != self._layout.checksums[number]:
                    raise DamagedIndexError(f"{self._layout.path}: the index file is damaged")
                self._verified[number] = True


def _probing(lists: int, mask: Mask | None) -> Any:
    """Return how FAISS searches: so many lists, and of their rows those that `mask` marks."""
    import faiss

    if mask is None:
        return faiss.SearchParametersIVF(nprobe=lists)  # type: ignore[call-arg]
    selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg,arg-type]
    return faiss.SearchParametersIVF(sel=selector, nprobe=lists)  # type: ignore[call-arg]


def _alone() -> None:
    """Keep FAISS from sharing the work of this thread with others, which would wait for more."""
    import faiss

    faiss.omp_set_num_threads(1)


def _searcher(layout: Layout) -> Any:
    """Return what FAISS scans the mapped codes with: blocks are lists, which threads share."""
    import faiss

    head = layout.head
    quantizer = faiss.IndexFlatIP(head.dimensions)
    quantizer.add(np.tile(layout.space.mean, (head.blocks, 1)))
    made: Any = faiss.IndexIVFScalarQuantizer(
        quantizer,
        head.dimensions,
        head.blocks,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        True,
    )
    faiss.copy_array_to_vector(
        np.ascontiguousarray(layout.space.ranges).reshape(-1), made.sq.trained
    )
    made.is_trained = True
    made.parallel_mode = 1
    made.ntotal = head.count
    made.replace_invlists(layout.lists, False)
    return made


def _shares(layout: Layout) -> list[Any]:
    """Return what FAISS scans the sketches with: every other one of them for each thread."""
    return [
        sketching.packed(
            layout.space, layout.centres[number::_THREADS], layout.sketches[number::_THREADS]
        )
        for number in range(min(_THREADS, max(1, layout.head.count)))
    ]


def _kth(scores: Cosines, wanted: int) -> float:
    """Return the score of that rank; where there are fewer, less than any."""
    if len(scores) < wanted:
        return LOWEST
    return float(np.partition(scores, len(scores) - wanted)[len(scores) - wanted])
