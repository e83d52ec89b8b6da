"""Routes that are answered with photos: search, similar, facets, explain, saved searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from clipsearch.query import CHOICES, KEYS, Query, Term, parse
from clipsearch.records import Explanation, Facets, SearchResult
from clipsearch.service import fields, uploads
from clipsearch.service.context import Service
from clipsearch.service.contract import Route
from clipsearch.service.errors import RequestError
from clipsearch.service.fields import Given
from clipsearch.service.hits import ShownHit, shown

MOST_HITS = 1000
FARTHEST = 10_000_000
MOST_EXPLAINED = 50


@dataclass(frozen=True, slots=True)
class Found:
    """What a search answers; `explanations` of the hits, where they were asked for."""

    query: str
    model: str
    total: int
    cut: int
    calibration: str | None
    hits: tuple[ShownHit, ...]
    explanations: tuple[Explanation, ...] | None


@dataclass(frozen=True, slots=True)
class ReadTerm:
    """A summand of a query: `kind` is text or image, `text` how to write it."""

    kind: str
    value: str
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class ReadFilter:
    """A filter of a query; `text` is how to write it."""

    key: str
    negated: bool
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A query as it was understood; `query` is its standard form."""

    query: str
    terms: tuple[ReadTerm, ...]
    filters: tuple[ReadFilter, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the search language, what it does, and the values that it knows."""

    key: str
    help: str
    example: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What can stand in a query, with counts where the library has them."""

    keys: tuple[Key, ...]
    tags: tuple[Mapping[str, Any], ...]
    cameras: tuple[Mapping[str, Any], ...]
    folders: tuple[Mapping[str, Any], ...]


Q = fields.text("q", "A query in the search language.")
PAGE = (
    fields.integer("k", "How many hits at most.", 1, MOST_HITS, 20),
    fields.integer("offset", "How many hits to leave out: the next page.", 0, FARTHEST, 0),
)
RELEVANCE = fields.number("min_relevance", "Least relevance; automatic unless given.", 0, 1)
SORT = fields.choice("sort", "Order of the hits.", ("relevance", "date"), "relevance")
COPIES = fields.flag("all_copies", "Show photos with the same content each.")
FEEDBACK = (
    fields.ids("like", "Photos to move the query towards."),
    fields.ids("unlike", "Photos to move the query away from."),
)
EXPLAIN = fields.flag("explain", f"Say why of each hit, for {MOST_EXPLAINED} at most.")


def question(text: str | None) -> Query:
    """Read a query of a client, who can name no file of this machine.

    Raises: QueryError.
    """
    return parse(text or "")


def optional_question(text: str | None) -> str | None:
    """Return a query that was checked, or `None` where nothing is asked.

    Raises: QueryError.
    """
    if text is None or not text.strip():
        return None
    question(text)
    return text


def search(service: Service, given: Given) -> Found:
    """Answer a query."""
    return _found(service, question(given["q"]), given, given["q"])


def read(_: Service, given: Given) -> Reading:
    """Say how a query is understood."""
    asked = question(given["q"])
    return Reading(
        str(asked),
        tuple(ReadTerm(each.kind, each.value, each.weight, str(each)) for each in asked.terms),
        tuple(ReadFilter(each.key, each.negated, str(each)) for each in asked.filters),
    )


def search_by_image(service: Service, given: Given) -> Found:
    """Answer an uploaded picture, alone or with a query."""
    if given.get("image") is None:
        raise RequestError("there is no file named image in the form; add one")
    text = (given["q"] or "").strip()
    asked = question(text) if text else Query((), ())
    with uploads.kept(service, given["image"].stream) as path:
        query = Query((*asked.terms, Term("path", str(path), 1.0)), asked.filters)
        return _found(service, query, given, text)


def _found(service: Service, query: Query, given: Given, text: str) -> Found:
    options = {name: given.get(name, ()) for name in ("like", "unlike")}
    explained = given.get("explain", False)
    if explained and given["k"] > MOST_EXPLAINED:
        raise RequestError(f"explain is for {MOST_EXPLAINED} hits at most; ask with a smaller k")
    result, hits = _whole(
        service,
        partial(
            service.library.search,
            query,
            k=given["k"],
            offset=given["offset"],
            min_relevance=given["min_relevance"],
            sort=given["sort"],
            all_copies=given["all_copies"],
            **options,
        ),
    )
    why = None
    if explained:
        why = tuple(service.library.explain(query, hit.id, **options) for hit in hits)
    return _answer(result, hits, text, why)


def _whole(
    service: Service, ask: Callable[[], SearchResult]
) -> tuple[SearchResult, tuple[ShownHit, ...]]:
    """Ask; and once more where photos were dropped before anyone could look at them."""
    result = ask()
    hits = shown(service, result.hits)
    if len(hits) < len(result.hits):
        result = ask()
        hits = shown(service, result.hits)
    return result, hits


def _answer(
    result: SearchResult,
    hits: tuple[ShownHit, ...],
    text: str,
    why: tuple[Explanation, ...] | None = None,
) -> Found:
    return Found(text, result.model, result.total, result.cut, result.calibration, hits, why)


def similar(service: Service, given: Given) -> Found:
    """Find photos like one."""
    result, hits = _whole(
        service,
        partial(
            service.library.similar,
            given["id"],
            k=given["k"],
            offset=given["offset"],
            all_copies=given["all_copies"],
        ),
    )
    return _answer(result, hits, result.query)


def facets(service: Service, given: Given) -> Facets:
    """Count what answers a query, or all photos."""
    text = optional_question(given["q"])
    asked = None if text is None else question(text)
    return service.library.facets(asked, min_relevance=given["min_relevance"])


def explain(service: Service, given: Given) -> Explanation:
    """Say why a photo is where it is."""
    return service.library.explain(
        question(given["q"]), given["id"], like=given["like"], unlike=given["unlike"]
    )


def complete(service: Service, given: Given) -> Completion:
    """Offer what can stand in a query; `q` narrows values down to those that hold it."""
    counted = service.library.facets()
    part = (given["q"] or "").strip().casefold()
    keys = []
    for key, text in KEYS.items():
        meaning, _, example = text.rpartition(": ")
        keys.append(Key(key, meaning, example, CHOICES.get(key, ())))

    def narrowed(counts: tuple[Any, ...]) -> tuple[Mapping[str, Any], ...]:
        chosen = [each for each in counts if part in each.value.casefold()]
        return tuple({"value": each.value, "count": each.count} for each in chosen[: given["k"]])

    return Completion(
        tuple(keys), narrowed(counted.tags), narrowed(counted.cameras), narrowed(counted.folders)
    )


ROUTES = (
    Route(
        "GET",
        "/api/search",
        search,
        "Photos that answer a query.",
        Found,
        query=(Q, *PAGE, SORT, RELEVANCE, COPIES, *FEEDBACK, EXPLAIN),
        kept=True,
        others=(400, 404),
    ),
    Route(
        "POST",
        "/api/search",
        search_by_image,
        "Photos like an uploaded picture, alone or with a query.",
        Found,
        body=(Q, *PAGE, SORT, RELEVANCE, COPIES),
        image=True,
        others=(400, 404, 413, 415),
    ),
    Route(
        "GET",
        "/api/photos/<int(max=9223372036854775807):id>/similar",
        similar,
        "Photos like this one.",
        Found,
        query=(*PAGE, COPIES),
        kept=True,
        others=(400, 404),
    ),
    Route(
        "GET",
        "/api/facets",
        facets,
        "Photos that answer a query, or all, by year, month, camera, folder and tag.",
        Facets,
        query=(Q, RELEVANCE),
        kept=True,
        others=(400, 404),
    ),
    Route(
        "GET",
        "/api/explain",
        explain,
        "What each term, filter and piece of evidence makes of one photo.",
        Explanation,
        query=(
            Q,
            fields.integer("id", "The photo.", 1, fields.LARGEST_ID, required=True),
            *FEEDBACK,
        ),
        others=(400, 404),
    ),
    Route(
        "GET",
        "/api/complete",
        complete,
        "Keys of the search language, and tags, cameras and folders with counts.",
        Completion,
        query=(
            fields.text("q", "Only values that hold this text.", most=200),
            fields.integer("k", "How many values of each.", 1, MOST_HITS, 200),
        ),
        kept=True,
        others=(400,),
    ),
    Route(
        "GET", "/api/read", read, "How a query is understood.", Reading, query=(Q,), others=(400,)
    ),
)
