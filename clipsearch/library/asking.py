"""What a query asks of a library: its model and index, a target, a yardstick, filters, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from clipsearch import places, relevance, searching
from clipsearch.catalog import filters, words
from clipsearch.catalog.archive import Model
from clipsearch.errors import QueryError
from clipsearch.library.looking import Looking
from clipsearch.query import Query, parse
from clipsearch.records import Calibration, Sort
from clipsearch.searching import Target, Yardstick
from clipsearch.vectors import VectorIndex

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
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


class Asking(Looking):
    """Queries, made ready to be answered."""

    def _ask(
        self,
        query: str | Query,
        min_relevance: float | None,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
        *,
        sort: Sort = "relevance",
    ) -> Question:
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
        asked = Question(
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

    def _require_yardstick(self, asked: Question, what: str) -> None:
        if asked.yardstick is None:
            raise QueryError(
                f"{what} needs a phrase to find: relevance is judged for phrases, not for images "
                "and feedback",
                str(asked.query),
                0,
            )


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
