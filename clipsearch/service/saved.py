"""Routes for searches with a name."""

from __future__ import annotations

from dataclasses import dataclass

from clipsearch.errors import ClipsearchError
from clipsearch.records import SavedSearch, Sort
from clipsearch.service import fields
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given
from clipsearch.service.hits import ShownHit, shown
from clipsearch.service.search import MOST_HITS, RELEVANCE, SORT, question


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved search, and how many photos are new in it; `None` where it cannot be answered."""

    name: str
    query: str
    min_relevance: float | None
    sort: str
    saved_at: str
    looked_at: str | None
    new: int | None


@dataclass(frozen=True, slots=True)
class SavedList:
    """All saved searches."""

    saved: tuple[Saved, ...]


@dataclass(frozen=True, slots=True)
class NewHits:
    """What a saved search finds and has not shown yet."""

    name: str
    hits: tuple[ShownHit, ...]


def saved(service: Service, _: Given) -> SavedList:
    """List the saved searches."""
    found = []
    for each in service.library.saved_searches():
        try:
            new: int | None = len(service.library.new_hits(each.name, keep=True))
        except ClipsearchError:  # a filter or a photo of it is gone: it can still be removed
            new = None
        found.append(_saved(each, new))
    return SavedList(tuple(found))


def save(service: Service, given: Given) -> Saved:
    """Keep a query by name."""
    sort: Sort = given["sort"]
    question(given["query"])
    kept = service.library.save_search(
        given["name"], given["query"], min_relevance=given["min_relevance"], sort=sort
    )
    return _saved(kept, 0)


def forget(service: Service, given: Given) -> Saved:
    """Forget a saved search."""
    _there(service, given["name"])
    return _saved(service.library.forget_search(given["name"]), None)


def peek(service: Service, given: Given) -> NewHits:
    """Show what is new in a saved search, and leave it new."""
    _there(service, given["name"])
    hits = service.library.new_hits(given["name"], keep=True)
    return NewHits(given["name"], shown(service, hits[:MOST_HITS]))


def mark_seen(service: Service, given: Given) -> NewHits:
    """Show what is new in a saved search; then it counts as seen."""
    _there(service, given["name"])
    hits = service.library.new_hits(given["name"])
    return NewHits(given["name"], shown(service, hits[:MOST_HITS]))


def _there(service: Service, name: str) -> None:
    known = {each.name.casefold() for each in service.library.saved_searches()}
    if " ".join(name.split()).casefold() not in known:
        raise RequestError("no search is saved by this name; /api/saved lists them", 404)


def _saved(each: SavedSearch, new: int | None) -> Saved:
    return Saved(
        each.name, each.query, each.min_relevance, each.sort, each.saved_at, each.looked_at, new
    )


ROUTES = (
    Route("GET", "/api/saved", saved, "Saved searches, with the number of new photos.", SavedList),
    Route(
        "POST",
        "/api/saved",
        save,
        "Keep a query by name; what it finds now counts as seen.",
        Saved,
        body=(
            fields.text("name", "A name of your choice.", most=200, least=1, required=True),
            fields.text("query", "The query.", least=1, required=True),
            RELEVANCE,
            SORT,
        ),
        status=201,
        others=(400, 404, 415),
    ),
    Route("DELETE", "/api/saved/<name>", forget, "Forget a saved search.", Saved, others=(404,)),
    Route(
        "GET",
        "/api/saved/<name>/new",
        peek,
        "What a saved search has not shown yet; it stays new.",
        NewHits,
        others=(400, 404),
    ),
    Route(
        "POST",
        "/api/saved/<name>/new",
        mark_seen,
        "The same; then it counts as seen.",
        NewHits,
        others=(400, 404),
    ),
)
