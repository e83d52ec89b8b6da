"""Rows in clusters, as codes of a byte a dimension: most of a large library is never looked at.

What the codes find is scored again from the stored vectors, so that cosines and their order are
exact. Codes are mapped, not read: a cluster comes from the disk when a query first probes it, and
is compared with its checksum before it answers anything.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import DamagedIndexError
from clipsearch.vectors.clusterfile import Layout
from clipsearch.vectors.rows import LOWEST, Cosines, Ids, Mask, exact

Fetch = Callable[[Ids], tuple[Ids, NDArray[np.float16]]]
"""Returns those of ids (m,), ascending, that are stored, and their vectors (m, dimensions)."""

HEAD = 2000
"""Rows of one answer that are scored from the stored vectors; later ones keep the score of their
codes, which is good to `slack` and never above that of an exact one. 2,000 take 15 ms."""

_SPARE = 64  # ranks of the codes looked at beyond those wanted
_BROAD = 0.9  # the share of rows from which on a mask is passed by nearly all of every cluster
_FIRST = 16  # clusters that are probed before it is known how near the answers are
_FIRST_REACH = 0.3  # spreads by which they are chosen; the usual ones, see `Head.reaches`
_BEST = 10
_MANY = 256  # clusters from which on a second thread is worth its start


class ClusteredPart:
    """Clusters in a file of `layout`; `fetch` gives the vectors that codes stand for."""

    def __init__(self, layout: Layout, fetch: Fetch) -> None:
        self._layout, self._fetch = layout, fetch
        self._ids = layout.ids
        self._verified = np.zeros(len(layout.sizes), bool)
        self._verifying = threading.Lock()
        self._alone = _searcher(layout, 0)  # a few clusters: threads would only wait
        self._shared = _searcher(layout, 1)  # all clusters, shared among the threads

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
        count = len(self._ids) if mask is None else int(np.count_nonzero(mask))
        if mask is not None and count <= HEAD:
            return self._scored(query, np.flatnonzero(mask))
        wanted = min(wanted, count)
        if wanted > HEAD:
            return self.above(query, LOWEST, mask)
        asked = min(wanted + wanted // 2 + _SPARE, count)
        near = self._layout.centroids @ query
        if count < _BROAD * len(self._ids):  # what passes a filter may be anywhere
            rows, scores = self._search(query, asked, near, np.arange(len(near)), mask)
        else:
            order = np.argsort(-(near + _FIRST_REACH * self._layout.spreads))
            rows, scores = self._search(query, asked, near, order[:_FIRST], mask)
            reach = near + self._reach(scores, wanted) * self._layout.spreads
            last = _kth(scores, wanted) - 2 * self.slack
            others = order[_FIRST:][reach[order[_FIRST:]] >= last]
            if len(others):
                more = self._search(query, asked, near, others, mask)
                rows, scores = np.concatenate([rows, more[0]]), np.concatenate([scores, more[1]])
        return self._scored(query, rows[scores >= _kth(scores, wanted) - 2 * self.slack])

    def _reach(self, scores: Cosines, wanted: int) -> float:
        """Return how many spreads above its centre a cluster may hold an answer.

        Photos like a photo reach farther than those like a text; the cosine of the tenth tells
        which kind a query is.
        """
        tenth = _kth(scores, min(_BEST, wanted))
        return min(self._layout.head.reaches, key=lambda kind: abs(kind[0] - tenth))[1]

    def above(self, query: Cosines, lowest: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        if mask is not None and np.count_nonzero(mask) <= HEAD:
            ids, scores = self._scored(query, np.flatnonzero(mask))
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
        if mask is not None and np.count_nonzero(mask) <= HEAD:
            return self.above(query, lowest, mask)
        rows, scores = self._scan(query, lowest - self.slack, mask)
        return self._ids[rows], scores

    def rough(self, query: Cosines) -> Cosines:
        """Return the score of every row by its code, (n,)."""
        rows, scores = self._scan(query, -np.inf, None)
        result = np.empty(len(self._ids), np.float32)
        result[rows] = scores
        return result

    def verify(self) -> None:
        """Compare everything with its checksum.

        Raises: DamagedIndexError.
        """
        self._verify(np.arange(len(self._verified)))

    def check(self, number: int) -> None:
        """Compare a cluster with its checksum.

        Raises: DamagedIndexError.
        """
        self._verify(np.array([number]))

    def _scored(self, query: Cosines, rows: Ids) -> tuple[Ids, Cosines]:
        """Return ids and cosines from the stored vectors, without photos that are gone by now."""
        ids, vectors = self._fetch(np.sort(self._ids[rows]))
        return ids, exact(vectors, query)

    def _search(
        self, query: Cosines, wanted: int, near: Cosines, clusters: Ids, mask: Mask | None
    ) -> tuple[Ids, Cosines]:
        """Return rows and scores of the `wanted` best codes in some clusters."""
        import faiss

        self._verify(clusters)
        lists = np.ascontiguousarray(clusters, np.int64)[None]
        centres = np.ascontiguousarray(near[clusters], np.float32)[None]
        scores = np.empty((1, wanted), np.float32)
        rows = np.empty((1, wanted), np.int64)
        searcher = self._alone if len(clusters) < _MANY else self._shared
        searcher.search_preassigned_c(
            1,
            faiss.swig_ptr(query[None]),
            wanted,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(centres),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(rows),
            False,
            _parameters(mask, len(clusters)),
        )
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def _scan(self, query: Cosines, above: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        self.verify()
        _, scores, rows = self._shared.range_search(
            query[None], max(above, -3.0), params=_parameters(mask, len(self._layout.sizes))
        )
        return rows, scores

    def _verify(self, lists: Ids) -> None:
        if self._verified[lists].all():
            return
        with self._verifying:
            for number in lists[~self._verified[lists]].tolist():
                if zlib.crc32(self._layout.cluster(number).data) != self._layout.checksums[number]:
                    raise DamagedIndexError(f"{self._layout.path}: the index file is damaged")
                self._verified[number] = True


def _searcher(layout: Layout, parallel_mode: int) -> Any:
    """Return what FAISS searches the mapped clusters with."""
    import faiss

    head = layout.head
    quantizer = faiss.IndexFlatIP(head.dimensions)
    quantizer.add(layout.centroids)
    made: Any = faiss.IndexIVFScalarQuantizer(
        quantizer,
        head.dimensions,
        head.clusters,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        True,
    )
    faiss.copy_array_to_vector(np.ascontiguousarray(layout.ranges).reshape(-1), made.sq.trained)
    made.is_trained = True
    made.parallel_mode = parallel_mode
    made.ntotal = head.count
    made.replace_invlists(layout.lists, False)
    return made


def _kth(scores: Cosines, wanted: int) -> float:
    """Return the score of that rank; where there are fewer, less than any."""
    if len(scores) < wanted:
        return LOWEST
    return float(np.partition(scores, len(scores) - wanted)[len(scores) - wanted])


def _parameters(mask: Mask | None, probes: int):  # type: ignore[no-untyped-def] # no types
    import faiss

    if mask is None:
        return faiss.SearchParametersIVF(nprobe=probes)  # type: ignore[call-arg]
    packed = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(packed)  # type: ignore[call-arg,arg-type]
    return faiss.SearchParametersIVF(sel=selector, nprobe=probes)  # type: ignore[call-arg]
