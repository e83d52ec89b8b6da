"""Rank the photos of a library: by a query vector, by words in their names, by date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipsearch import relevance
from clipsearch.errors import QueryError
from clipsearch.query import Query, Term
from clipsearch.records import Contribution
from clipsearch.relevance import Backdrop, Judge
from clipsearch.vectors import VectorIndex

Vector = NDArray[np.float32]
Ids = NDArray[np.int64]

LIKED, DISLIKED = 0.75, 0.15
"""Weights of feedback: the usual ones of Rocchio's formula (Manning, Raghavan and Schütze 2008,
"Introduction to Information Retrieval", section 9.1.1)."""

FEW = 100
"""Photos below which the general estimate of relevance leaves none out."""

FUSION = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009, SIGIR)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A summand of the query vector: `vector` is (dimensions,)."""

    text: str
    weight: float
    vector: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What photos are compared with: the sum of `parts`, divided by its `length`."""

    parts: tuple[Part, ...]
    vector: Vector
    length: float


@dataclass(frozen=True, slots=True, eq=False)
class Hubs:
    """How much nearer than others each photo is to neutral sentences.

    `tables` are ids ascending and their cosines with the background, the latest table first.
    """

    scene: Backdrop
    tables: tuple[tuple[Ids, Vector | NDArray[np.float64]], ...]

    def of(self, ids: Ids) -> NDArray[np.float64]:
        """Return the values of some photos, in their order.

        Raises: KeyError for a photo that is in no table.
        """
        found = np.empty(len(ids))
        missing = np.ones(len(ids), bool)
        for known, cosines in self.tables:
            rows = np.searchsorted(known, ids)
            held = missing & (rows < len(known))
            held[held] = known[rows[held]] == ids[held]
            found[held] = cosines[rows[held]]
            missing &= ~held
        if missing.any():
            raise KeyError(int(ids[missing][0]))
        return relevance.hubs_of(self.scene, found)


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What relevance is measured by: `vector` (dimensions,), of what is searched for."""

    vector: Vector
    judge: Judge
    hubs: Hubs

    @property
    def cut(self) -> float:
        """The least relevance of an answer where nobody asks for another.

        A model that was never fitted is believed only once it has seen some photos.
        """
        scene = self.judge.backdrop
        is_guess = scene.coefficients.general and len(scene.sample) < FEW
        return 0.0 if is_guess else relevance.WEAK

    def relevance(self, ids: Ids, cosines: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability that each photo answers, (n,), by its cosine with `vector`."""
        return relevance.relevance(self.judge, cosines.astype(np.float64), self.hubs.of(ids))


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """The photos that share their content with another: `ids` (c,) ascending, `groups` (c,)."""

    ids: Ids
    groups: Ids


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Photos in rank order: `ids` and `scores` are (m,), `relevance` too where it was judged.

    `named` marks the photos that hold the words of the query, `total` counts all that answer,
    `cut` those that are not relevant enough.
    """

    ids: Ids
    scores: Vector
    relevance: NDArray[np.float64] | None
    named: NDArray[np.bool_]
    total: int
    cut: int = 0

    def at(self, places: slice | Ids) -> Ranking:
        """Return the photos at some ranks, in the order of `places`."""
        judged = None if self.relevance is None else self.relevance[places]
        return Ranking(
            self.ids[places], self.scores[places], judged, self.named[places], self.total, self.cut
        )


def target(
    query: Query,
    *,
    texts: Callable[[Sequence[str]], Vector],
    image: Callable[[Term], Vector],
    like: Sequence[Vector] = (),
    unlike: Sequence[Vector] = (),
) -> Target | None:
    """Return the normalised weighted sum of a query's terms and of feedback, if it has any.

    `texts` embeds phrases as (n, dimensions), `image` a term of kind image or path. Photos that
    were liked or not move the sum towards or away from their mean (Rocchio).

    Raises: QueryError where the terms cancel out.
    """
    phrases = list(dict.fromkeys(term.value for term in query.terms if term.kind == "text"))
    vectors = dict(zip(phrases, texts(phrases), strict=True)) if phrases else {}
    parts = [
        Part(str(term), term.weight, vectors[term.value] if term.kind == "text" else image(term))
        for term in query.terms
    ]
    for name, weight, photos in (("liked", LIKED, like), ("disliked", -DISLIKED, unlike)):
        if photos:
            parts.append(Part(name, weight, np.mean(photos, axis=0, dtype=np.float32)))
    if not parts:
        return None
    total: NDArray[np.float64] = np.sum(
        [part.weight * part.vector for part in parts], axis=0, dtype=np.float64
    )
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise QueryError("the terms of the query cancel each other out", str(query), 0)
    return Target(tuple(parts), (total / length).astype(np.float32), length)


def contributions(target: Target, photo: Vector) -> tuple[Contribution, ...]:
    """Return what each term adds to the cosine with a photo, (dimensions,) of unit length."""
    wide = photo.astype(np.float64)
    found = []
    for part in target.parts:
        product = float(part.vector.astype(np.float64) @ wide)
        size = float(np.linalg.norm(part.vector)) or 1.0
        found.append(
            Contribution(
                part.text, part.weight, product / size, part.weight * product / target.length
            )
        )
    return tuple(found)


def nearest(
    index: VectorIndex,
    vector: Vector,
    *,
    k: int,
    offset: int = 0,
    among: Ids | None = None,
    without: Ids | None = None,
    copies: Copies | None = None,
    yardstick: Yardstick | None = None,
) -> Ranking:
    """Rank by cosine alone and return the photos from rank `offset` on, at most `k`.

    With `among`, only those photos take part, and never those of `without`; of `copies` one,
    that with the lowest id.
    """
    left_out = np.zeros(0, np.int64) if without is None else index.held(without)
    if among is not None:
        among = index.held(among)
        among = among[np.isin(among, left_out, invert=True)]
        if copies is not None and len(copies.ids):
            among = among[first_of_copies(among, copies)]
        total = len(among)
    else:
        if copies is not None and len(copies.ids):
            held = index.held(copies.ids)
            held = held[np.isin(held, left_out, invert=True)]
            left_out = np.union1d(left_out, held[~first_of_copies(held, copies)])
        total = len(index) - len(left_out)
    found = index.nearest(vector, k, among, without=left_out, offset=offset)
    ids = np.array([photo_id for photo_id, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float32)
    return judged(Ranking(ids, scores, None, np.zeros(len(ids), bool), total), index, yardstick)


def answering(
    index: VectorIndex,
    vector: Vector,
    *,
    least: float,
    named: Ids,
    among: Ids | None = None,
    copies: Copies | None = None,
    yardstick: Yardstick | None = None,
    is_strict: bool = False,
) -> Ranking:
    """Return all photos that answer, in rank order.

    Those are the photos whose relevance is `least` or more, and, unless `is_strict`, the `named`
    ones, which hold the words of the query; the two lists are merged by reciprocal rank fusion.
    A photo's own relevance is the same whatever `among` and `named` are; the ranking comes
    without it.
    """
    relevant = None
    if yardstick is None or least <= 0:
        ids, scores = index.cosines(vector, among)
    else:
        relevant, scores = _relevant(index, yardstick, least, among)
        ids = relevant
        if is_strict:
            named = np.intersect1d(named, relevant)
        if len(named) or not np.array_equal(vector, yardstick.vector):
            ids, scores = index.cosines(vector, np.union1d(relevant, named))
    is_named = np.isin(ids, named)
    is_relevant = np.ones(len(ids), bool) if relevant is None else np.isin(ids, relevant)
    places = fused(is_relevant, is_named) if len(named) else np.flatnonzero(is_relevant)
    looked_at = len(index) if among is None else len(index.held(among))
    cut = looked_at - len(places)
    if copies is not None and len(copies.ids):
        places = places[first_of_copies(ids[places], copies)]
    return Ranking(ids, scores, None, is_named, len(places), cut).at(places)


def _relevant(
    index: VectorIndex, yardstick: Yardstick, least: float, among: Ids | None
) -> tuple[Ids, Vector]:
    """Return the ids of photos of a relevance of `least` or more and their cosines, (m,) each.

    They come as an index ranks them.
    """
    lowest = relevance.lowest_cosine(yardstick.judge, least)
    near, roughly = index.near(yardstick.vector, among, above=lowest)
    maybe = yardstick.relevance(near, roughly + np.float32(index.slack)) >= least
    ids, cosines = index.cosines(yardstick.vector, near[maybe])
    keep = yardstick.relevance(ids, cosines) >= least
    return ids[keep], cosines[keep]


def judged(ranking: Ranking, index: VectorIndex, yardstick: Yardstick | None) -> Ranking:
    """Return the ranking with the relevance of its photos, where there is something to judge by."""
    if yardstick is None:
        return ranking
    ids, cosines = index.cosines(yardstick.vector, ranking.ids)
    values = dict(zip(ids.tolist(), yardstick.relevance(ids, cosines).tolist(), strict=True))
    # A photo that was dropped a moment ago has none; who looks for its path leaves it out.
    own = [values.get(photo, 0.0) for photo in ranking.ids.tolist()]
    return replace(ranking, relevance=np.array(own, np.float64))


def fused(relevant: NDArray[np.bool_], named: NDArray[np.bool_]) -> Ids:
    """Merge two lists by reciprocal rank fusion; photos come by descending cosine, as (n,) masks.

    A photo's score is the sum of 1 / (`FUSION` + rank) over the lists that it is in: the
    relevant photos and the named ones, both ranked by cosine. Returns positions in rank order,
    ties by cosine; photos of neither list are left out.
    """
    total = np.zeros(len(relevant))
    for members in (relevant, named):
        places = np.flatnonzero(members)
        total[places] += 1 / (FUSION + 1 + np.arange(len(places)))
    positions = np.flatnonzero(relevant | named)
    return positions[np.argsort(-total[positions], kind="stable")]


def first_of_copies(ids: Ids, copies: Copies) -> NDArray[np.bool_]:
    """Mark each photo, (n,), that no other of the same content comes before."""
    keep = np.ones(len(ids), bool)
    places = np.flatnonzero(np.isin(ids, copies.ids))
    groups = copies.groups[np.searchsorted(copies.ids, ids[places])]
    _, first = np.unique(groups, return_index=True)
    keep[places] = False
    keep[places[first]] = True
    return keep
