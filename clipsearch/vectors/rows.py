"""What all parts of an index agree on: rows of float16, and cosines that are exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STORED = np.dtype("<f2")
# Scores of FAISS are float32 sums in an order that depends on the processor. What it finds is
# therefore ranked again in float64; rows this close to a boundary are looked at as well.
ROUNDING = 1e-5
LOWEST = -2.0  # less than any cosine; float16 may make a vector longer than 1

Ids = NDArray[np.int64]
Cosines = NDArray[np.float32]
Mask = NDArray[np.bool_]

_MANY = 16  # to one that is wanted, ids from which on it is faster to look for each wanted one
_BLOCK = 4096  # rows that are widened at once: they stay in the processor's cache


class Part(Protocol):
    """Some of the photos of an index: rows, ascending by id.

    Where a `mask` (n,) is given, only rows that it marks take part.
    """

    @property
    def ids(self) -> Ids:
        """All ids, (n,) ascending."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    @property
    def slack(self) -> float:
        """How far the cosines of `near` may be from the exact ones."""

    def best(self, query: Cosines, wanted: int, mask: Mask | None) -> tuple[Ids, Cosines]:
        """Return ids and cosines of the `wanted` best rows, or some more, in no order."""

    def above(self, query: Cosines, lowest: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        """Return ids and cosines of the rows that reach `lowest`, in no order."""

    def near(self, query: Cosines, lowest: float, mask: Mask | None) -> tuple[Ids, Cosines]:
        """Return what `above` does, with cosines that are good to `slack`."""

    def stored(self, rows: Ids) -> NDArray[np.float16]:
        """Return vectors, (m, dimensions)."""


def places(ids: Ids, wanted: Ids) -> tuple[Ids, Mask]:
    """Return the rows at which `wanted` would stand in ascending `ids`, and which do, (m,) each."""
    rows = np.searchsorted(ids, wanted)
    held = rows < len(ids)
    held[held] = ids[rows[held]] == wanted[held]
    return rows, held


def marked(ids: Ids, wanted: Ids) -> Mask:
    """Mark which of ascending `ids` (n,) are among `wanted`, (n,)."""
    if len(wanted) * _MANY > len(ids):
        return np.isin(ids, wanted)
    rows, held = places(ids, wanted)
    mask = np.zeros(len(ids), bool)
    mask[rows[held]] = True
    return mask


def exact(vectors: NDArray[np.float16], query: Cosines, rows: Ids | None = None) -> Cosines:
    """Return cosines summed in float64 and rounded to float32: the same bits in any company.

    Of `vectors` (n, dimensions) only `rows` (m,), where given.
    """
    count = len(vectors) if rows is None else len(rows)
    scores = np.empty(count, np.float32)
    wide = query.astype(np.float64)
    for start in range(0, count, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = vectors[part] if rows is None else vectors[rows[part]]
        scores[part] = np.einsum("ij,j->i", block.astype(np.float64), wide)
    return np.minimum(scores, 1, out=scores)  # float16 may round a unit vector up


def ranked(ids: Ids, scores: Cosines, wanted: int | None = None) -> tuple[Ids, Cosines]:
    """Sort by (-score, id) and keep the first `wanted`."""
    if wanted is not None and wanted < len(ids):
        last = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
        ids, scores = ids[scores >= last], scores[scores >= last]
    order = np.lexsort((ids, -scores))[:wanted]
    return ids[order], scores[order]


def array(ids: Iterable[int] | Ids) -> Ids:
    """Return ids as an array."""
    return ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64)


def rotated(vectors: Cosines, rotation: Cosines) -> Cosines:
    """Return vectors (m, dimensions) in the directions of `rotation` (dimensions, kept)."""
    return np.ascontiguousarray(vectors @ rotation, np.float32)
