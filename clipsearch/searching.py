"""Rank the photos of a library by a query vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, photos
from clipsearch.errors import QueryError
from clipsearch.query import Query, Term
from clipsearch.records import Hit
from clipsearch.vectors import VectorIndex

Vector = NDArray[np.float32]


def query_vector(
    query: Query,
    *,
    texts: Callable[[Sequence[str]], Vector],
    image: Callable[[Term], Vector],
) -> Vector:
    """Return the normalised weighted sum of the query's terms, (dimensions,) of unit length.

    `texts` embeds phrases as (n, dimensions), `image` a term of kind image or path.

    Raises: QueryError where the terms cancel out.
    """
    phrases = list(dict.fromkeys(term.value for term in query.terms if term.kind == "text"))
    vectors = dict(zip(phrases, texts(phrases), strict=True)) if phrases else {}
    total: NDArray[np.float64] = np.sum(
        [
            term.weight * (vectors[term.value] if term.kind == "text" else image(term))
            for term in query.terms
        ],
        axis=0,
        dtype=np.float64,
    )
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise QueryError("the terms of the query cancel each other out", str(query), 0)
    unit: Vector = (total / length).astype(np.float32)
    return unit


def rank(
    catalog: Catalog,
    index: VectorIndex,
    vector: Vector,
    *,
    k: int,
    offset: int = 0,
    without: int | None = None,
) -> tuple[Hit, ...]:
    """Return the hits from rank `offset` on, at most `k`; the photo `without` is left out."""
    nearest = index.nearest(vector, k + offset + (without is not None))
    ranked = [(photo_id, score) for photo_id, score in nearest if photo_id != without]
    chosen = dict(ranked[offset : offset + k])
    with catalog.read() as db:
        found = photos.photos(db, list(chosen))
    return tuple(
        Hit(photo.id, photo.path, chosen[photo.id], None, None, photo.facts.taken_at)
        for photo in found
    )
