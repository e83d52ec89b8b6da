"""Ask a library for photos, and why they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from clipsearch import places, relevance, searching
from clipsearch.catalog import facets, filters, photos, vectors, words
from clipsearch.catalog.archive import Model
from clipsearch.errors import PhotoNotFoundError, QueryError
from clipsearch.library.again import DroppedError, settled, undamaged
from clipsearch.library.looking import Looking
from clipsearch.query import Query, parse
from clipsearch.records import (
    Calibration,
    Evidence,
    Explanation,
    Facets,
    FilterMatch,
    Hit,
    SearchResult,
    Sort,
)
from clipsearch.searching import Copies, Ranking, Target, Yardstick
from clipsearch.space import AnyPhoto
from clipsearch.vectors import VectorIndex

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A query with all that answers it: `among` (n,) pass its filters, `None` means all.

    `named` are the photos that hold its `words`; `least` is the lowest relevance of an answer.
    """

    query: Query
    model: Model
    index: VectorIndex
    target: Target | None
    yardstick: Yardstick | None
    among: Ids | None
    words: tuple[str, ...]
    named: Ids
    least: float
    is_strict: bool

    @property
    def calibration(self) -> Calibration | None:
        if self.yardstick is None:
            return None
        general = self.yardstick.judge.backdrop.coefficients.general
        return "general" if general else "fitted"


class Searching(Looking):
    """The questions that are answered with photos."""

    @undamaged
    def search(
        self,
        query: str | Query,
        *,
        k: int = 20,
        offset: int = 0,
        min_relevance: float | None = None,
        sort: Sort = "relevance",
        all_copies: bool = False,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
    ) -> SearchResult:
        """Return the photos that answer `query` from rank `offset` on, at most `k`.

        A phrase is answered by the photos whose relevance is `min_relevance` or more; `None` is
        the automatic cut, 0 takes all. They come best first, or with the latest first. Filters
        alone are answered by all photos that pass them, the latest first. Photos with the same
        content are shown once, unless `all_copies`. The ids of photos to `like` and `unlike`
        move the query towards and away from them; what is asked then is no phrase any more, and
        relevance is not judged.

        Raises: QueryError, ModelError, PhotoNotFoundError, PhotoError.
        """
        if k < 1 or offset < 0:
            raise QueryError(
                "k must be at least 1 and offset at least 0", f"k={k} offset={offset}", 0
            )
        return settled(
            lambda whole: self._searched(
                query, k, offset, min_relevance, sort, all_copies, like, unlike, whole
            )
        )

    def _searched(
        self,
        query: str | Query,
        k: int,
        offset: int,
        min_relevance: float | None,
        sort: Sort,
        all_copies: bool,
        like: Sequence[int],
        unlike: Sequence[int],
        whole: bool,
    ) -> SearchResult:
        started = time.perf_counter()
        asked = self._ask(query, min_relevance, like, unlike, sort=sort)
        copies = None if all_copies else self._space.copies()
        plain = asked.least == 0 and not len(asked.named) and sort == "relevance"
        if asked.target is None:
            ids = self._passing(asked, copies)
            ranking, hits = None, self._hits(self._latest(ids, offset + k)[offset:], whole=whole)
        elif plain:
            ranking = searching.nearest(
                asked.index,
                asked.target.vector,
                k=k,
                offset=offset,
                among=asked.among,
                copies=copies,
                yardstick=asked.yardstick,
            )
            hits = self._hits(ranking.ids, ranking, whole=whole)
        else:
            ranking = self._answers(asked, copies)
            if sort == "date":
                self._require_yardstick(asked, "sorting by date")
                ranking = ranking.at(self._dated(ranking.ids))
            page = ranking.at(slice(offset, offset + k))
            page = searching.judged(page, asked.index, asked.yardstick)
            hits = self._hits(page.ids, page, whole=whole)
        return SearchResult(
            query=str(query),
            model=asked.model.name,
            total=len(ids) if ranking is None else ranking.total,
            took_ms=round((time.perf_counter() - started) * 1000, 1),
            hits=hits,
            cut=0 if ranking is None else ranking.cut,
            calibration=asked.calibration,
        )

    @undamaged
    def similar(
        self, photo: AnyPhoto, *, k: int = 20, offset: int = 0, all_copies: bool = False
    ) -> SearchResult:
        """Rank all other photos by likeness to one: a photo's id, or the path of any image.

        Raises: PhotoNotFoundError, PhotoError, ModelError.
        """
        if k < 1 or offset < 0:
            raise QueryError(
                "k must be at least 1 and offset at least 0", f"k={k} offset={offset}", 0
            )
        return settled(lambda whole: self._alike(photo, k, offset, all_copies, whole))

    def _alike(
        self, photo: AnyPhoto, k: int, offset: int, all_copies: bool, whole: bool
    ) -> SearchResult:
        started = time.perf_counter()
        model = self._space.model_in_use()
        known, vector = self._space.vector(photo, model)
        index = self._space.index(model)
        copies = None if all_copies else self._space.copies()
        ranking = searching.nearest(
            index,
            vector,
            k=k,
            offset=offset,
            without=None if known is None else _same(known, copies),
            copies=copies,
        )
        return SearchResult(
            query=f"image:{known}" if known is not None else os.fspath(photo),  # type: ignore[arg-type]
            model=model.name,
            total=ranking.total,
            took_ms=round((time.perf_counter() - started) * 1000, 1),
            hits=self._hits(ranking.ids, ranking, whole=whole),
        )

    @undamaged
    def explain(
        self,
        query: str | Query,
        photo: AnyPhoto,
        *,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
    ) -> Explanation:
        """Say what each term, each filter and each piece of evidence makes of one photo.

        Raises: QueryError, ModelError, PhotoNotFoundError, PhotoError.
        """
        asked = self._ask(query, None, like, unlike)
        photo_id = self._space.id_of(photo)
        with self._catalog.read() as db:
            place = photos.places_of(db, [photo_id]).get(photo_id)
            vector = vectors.get(db, photo_id, asked.model.id)
            # Another process may have dropped the photo meanwhile, or added it since the index.
            if place is None or vector is None or photo_id not in asked.index:
                raise PhotoNotFoundError(
                    f"photo {photo_id} has no vector of {asked.model.name} (any more); "
                    "run `clipsearch index`"
                )
            matches = tuple(
                FilterMatch(
                    str(each),
                    tuple(filters.facts_behind(db, photo_id, each.key)),
                    photo_id in filters.passing(db, [each]),
                )
                for each in asked.query.filters
            )
        terms = searching.contributions(asked.target, vector) if asked.target else ()
        found = asked.index.nearest(asked.target.vector, 1, [photo_id]) if asked.target else []
        judged: float | None = None
        evidence: tuple[Evidence, ...] = ()
        if (yardstick := asked.yardstick) is not None:
            ids, cosines = asked.index.cosines(yardstick.vector, [photo_id])
            judged = float(yardstick.relevance(ids, cosines)[0])
            parts = relevance.explain(
                yardstick.judge, float(cosines[0]), float(yardstick.hubs.of(ids)[0])
            )
            evidence = tuple(Evidence(part.name, part.value, part.contribution) for part in parts)
        return Explanation(
            id=photo_id,
            path=place[0],
            query=str(query),
            score=found[0][1] if found else None,
            relevance=judged,
            band=None if judged is None else relevance.band(judged),
            terms=terms,
            filters=matches,
            evidence=evidence,
            words=asked.words,
            named=photo_id in asked.named,
            calibration=asked.calibration,
        )

    @undamaged
    def facets(
        self, query: str | Query | None = None, *, min_relevance: float | None = None
    ) -> Facets:
        """Count the photos that answer `query`, or all, by year, month, camera, folder and tag.

        Raises: QueryError, ModelError, PhotoNotFoundError, PhotoError.
        """
        ids = None if query is None else self._answering(query, min_relevance=min_relevance)
        return facets.count(self._space.columns(), ids)

    def _answering(
        self, query: str | Query, *, min_relevance: float | None = None, sort: Sort = "relevance"
    ) -> Ids:
        """Return the ids of all photos that answer a query, copies among them, in order."""
        asked = self._ask(query, min_relevance, sort=sort)
        if asked.target is None:
            return self._latest(self._passing(asked, None))
        if sort == "date":
            self._require_yardstick(asked, "sorting by date")
        found = self._answers(asked, None)
        return found.at(self._dated(found.ids)).ids if sort == "date" else found.ids

    def _chosen(self, query: str | None, k: int | None) -> list[int]:
        """Return the ids of all photos, or of those that answer a query, at most `k`."""
        if query:
            found: list[int] = self._answering(query)[:k].tolist()
            return found
        with self._catalog.read() as db:
            return photos.all_ids(db)

    def _ask(
        self,
        query: str | Query,
        min_relevance: float | None,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
        *,
        sort: Sort = "relevance",
    ) -> _Question:
        if sort not in get_args(Sort):
            raise QueryError(f"sort is {' or '.join(get_args(Sort))}", str(sort), 0)
        if min_relevance is not None and not 0 <= min_relevance <= 1:
            raise QueryError("the least relevance is from 0 to 1", f"{min_relevance}", 0)
        parsed = places.located(parse(query, paths=True) if isinstance(query, str) else query)
        model = self._space.model_in_use()
        index = self._space.index(model)
        target = searching.target(
            parsed,
            texts=lambda phrases: self._space.texts(model, phrases),
            image=lambda term: self._space.vector(
                int(term.value) if term.kind == "image" else term.value, model
            )[1],
            like=[self._space.vector(photo, model)[1] for photo in like],
            unlike=[self._space.vector(photo, model)[1] for photo in unlike],
        )
        yardstick = None if like or unlike else self._yardstick(parsed, model, index)
        spoken = _words(parsed, like or unlike)
        with self._catalog.read() as db:
            among = filters.passing(db, parsed.filters) if parsed.filters else None
            named = words.holding(db, spoken)
        if among is not None:
            named = named[np.isin(named, among)]
        asked = _Question(
            query=parsed,
            model=model,
            index=index,
            target=target,
            yardstick=yardstick,
            among=among,
            words=spoken,
            named=named,
            least=(yardstick.cut if yardstick else 0.0) if min_relevance is None else min_relevance,
            is_strict=bool(min_relevance),
        )
        if min_relevance:
            self._require_yardstick(asked, "a least relevance")
        return asked

    def _yardstick(self, query: Query, model: Model, index: VectorIndex) -> Yardstick | None:
        """Return what relevance is measured by: the phrases to find, if only phrases are.

        What is to be avoided orders the photos and does not make them less relevant.
        """
        wanted = tuple(term for term in query.terms if term.weight > 0)
        if not wanted or any(term.kind != "text" for term in wanted) or not len(index):
            return None
        found = searching.target(
            Query(wanted), texts=lambda phrases: self._space.texts(model, phrases), image=_no_image
        )
        assert found is not None  # noqa: S101 - it has terms
        scene, hubs = self._space.backdrop(model, index)
        return Yardstick(found.vector, relevance.judge(found.vector, scene), hubs)

    def _require_yardstick(self, asked: _Question, what: str) -> None:
        if asked.yardstick is None:
            raise QueryError(
                f"{what} needs a phrase to find: relevance is judged for phrases, not for images "
                "and feedback",
                str(asked.query),
                0,
            )

    def _answers(self, asked: _Question, copies: Copies | None) -> Ranking:
        assert asked.target is not None  # noqa: S101 - callers look
        return searching.answering(
            asked.index,
            asked.target.vector,
            least=asked.least,
            named=asked.named,
            among=asked.among,
            copies=copies,
            yardstick=asked.yardstick,
            is_strict=asked.is_strict,
        )

    def _passing(self, asked: _Question, copies: Copies | None) -> Ids:
        """Return the photos that pass the filters, in the order of their ids."""
        among = asked.index.ids if asked.among is None else asked.among
        return among if copies is None else among[searching.first_of_copies(among, copies)]

    def _latest(self, ids: Ids, stop: int | None = None) -> Ids:
        """Return the first photos of `ids`, the latest before the earlier ones."""
        with self._catalog.read() as db:
            return filters.latest_first(db, ids, stop)

    def _dated(self, ids: Ids) -> Ids:
        """Return the positions in `ids` from the latest photo to the earliest."""
        order = np.argsort(ids)
        places: Ids = order[np.searchsorted(ids, self._latest(ids), sorter=order)]
        return places

    def _hits(
        self, ids: Ids, ranking: Ranking | None = None, *, whole: bool = False
    ) -> tuple[Hit, ...]:
        """Return the hits of photos in rank order, without those that were dropped meanwhile.

        Raises: DroppedError, where the answer is to be `whole`.
        """
        with self._catalog.read() as db:
            known = photos.places_of(db, ids.tolist())
        if whole and len(known) < len(ids):
            raise DroppedError
        hits = []
        for position, photo_id in enumerate(ids.tolist()):
            if photo_id not in known:
                continue
            path, taken_at = known[photo_id]
            score = judged = None
            if ranking is not None:
                score = float(ranking.scores[position])
                if ranking.relevance is not None:
                    judged = float(ranking.relevance[position])
            band = None if judged is None else relevance.band(judged)
            named = ranking is not None and bool(ranking.named[position])
            hits.append(Hit(photo_id, path, score, judged, band, taken_at, named))
        return tuple(hits)


def _words(query: Query, feedback: Sequence[int]) -> tuple[str, ...]:
    """Return the words to look for in names: those of plain phrases.

    Who adds, subtracts and weighs asks for a direction in the space, not for words.
    """
    terms = query.terms
    if feedback or any(term.kind != "text" or term.weight != 1 for term in terms):
        return ()
    return tuple(words.telling([term.value for term in terms]))


def _no_image(term: object) -> NDArray[np.float32]:
    raise AssertionError(f"{term} is no phrase")


def _same(known: int, copies: Copies | None) -> Ids:
    """Return a photo, and its copies where those are not shown."""
    if copies is not None and known in copies.ids:
        group = copies.groups[np.searchsorted(copies.ids, known)]
        same: Ids = copies.ids[copies.groups == group]
        return same
    return np.array([known], np.int64)
