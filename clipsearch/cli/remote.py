"""A search by way of the server that has the library open: its model is loaded already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from clipsearch.errors import QueryError
from clipsearch.library import note
from clipsearch.query import parse
from clipsearch.records import (
    Contribution,
    Evidence,
    Explanation,
    FilterMatch,
    Hit,
    SearchResult,
)

SLOWEST = 120.0  # seconds for a search, which may load the model
MOST_HITS, MOST_EXPLAINED = 1000, 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: the same records that the library itself gives."""

    result: SearchResult
    reasons: tuple[Explanation, ...]


def search(
    folder: Path,
    query: str,
    *,
    k: int,
    offset: int,
    min_relevance: float | None,
    sort: str,
    all_copies: bool,
    like: Sequence[int],
    unlike: Sequence[int],
    explain: bool,
) -> Answer | None:
    """Ask the running server of a library, if there is one and it can answer this.

    Returns None where the library itself has to be asked: no server, another library's, one that
    cannot prove that it is the one of the note, one that was started with another model, one that
    wants a token which is not in CLIPSEARCH_TOKEN, a query that names a file of this machine, or
    any error, which the library then tells in its own words.
    """
    if k > (MOST_EXPLAINED if explain else MOST_HITS) or not _has_no_file(query):
        return None
    server = note.owner(folder)
    if server is None or server.model != server.active:
        return None
    asked: dict[str, Any] = {"q": query, "k": k, "offset": offset, "sort": sort}
    asked["min_relevance"] = min_relevance
    asked |= {"all_copies": int(all_copies), "explain": int(explain)}
    asked |= {"like": ",".join(map(str, like)), "unlike": ",".join(map(str, unlike))}
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    token = os.environ.get("CLIPSEARCH_TOKEN", "").strip()
    path = f"/api/search?{urlencode(given)}"
    document = note.get(server.host, server.port, path, SLOWEST, token=token)
    if document is None:
        return None
    try:
        return _read(document)
    except (KeyError, TypeError):  # a server of another version
        return None


def _has_no_file(query: str) -> bool:
    try:
        parse(query)
    except QueryError:  # also what is wrong: the library says so, with the caret
        return False
    return True


def _read(document: dict[str, Any]) -> Answer:
    hits = tuple(_record(Hit, each) for each in document["hits"])
    result = SearchResult(
        query=document["query"],
        model=document["model"],
        total=document["total"],
        took_ms=document["took_ms"],
        hits=hits,
        cut=document["cut"],
        calibration=document["calibration"],
    )
    return Answer(result, tuple(map(_explanation, document["explanations"] or ())))


def _explanation(found: dict[str, Any]) -> Explanation:
    explanation: Explanation = _record(
        Explanation,
        {
            **found,
            "terms": tuple(_record(Contribution, each) for each in found["terms"]),
            "filters": tuple(
                _record(FilterMatch, {**each, "facts": tuple(each["facts"])})
                for each in found["filters"]
            ),
            "evidence": tuple(_record(Evidence, each) for each in found["evidence"]),
            "words": tuple(found["words"]),
        },
    )
    return explanation


def _record(kind: Any, found: dict[str, Any]) -> Any:
    """Make a record from an object that may hold more."""
    return kind(**{each.name: found[each.name] for each in fields(kind)})
