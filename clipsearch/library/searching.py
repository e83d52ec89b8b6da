"""Ask a library for photos, and why they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipsearch import relevance, searching
from clipsearch.catalog import facets, filters, photos, vectors
from clipsearch.errors import PhotoNotFoundError, QueryError
from clipsearch.library.again import DroppedError, settled, undamaged
from clipsearch.library.asking import Asking, Question
from clipsearch.query import Query
from clipsearch.records import (
    Evidence,
    Explanation,
    Facets,
    FilterMatch,
    Hit,
    SearchResult,
    Sort,
)
from clipsearch.searching import Copies, Ranking
from clipsearch.space import AnyPhoto

Ids = NDArray[np.int64]


class Searching(Asking):
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
            gone = PhotoNotFoundError(
                f"photo {photo_id} has no vector of {asked.model.name} (any more); "
                "run `clipsearch index`"
            )
            if place is None or vector is None or photo_id not in asked.index:
                raise gone
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
            if not len(ids):
                raise gone
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

    def _answers(self, asked: Question, copies: Copies | None) -> Ranking:
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

    def _passing(self, asked: Question, copies: Copies | None) -> Ids:
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


def _same(known: int, copies: Copies | None) -> Ids:
    """Return a photo, and its copies where those are not shown."""
    if copies is not None and known in copies.ids:
        group = copies.groups[np.searchsorted(copies.ids, known)]
        same: Ids = copies.ids[copies.groups == group]
        return same
    return np.array([known], np.int64)
