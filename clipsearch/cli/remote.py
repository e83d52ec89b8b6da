"""A search by way of the server that has the library open: its model is loaded already."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from clipsearch.errors import QueryError
from clipsearch.query import parse
from clipsearch.records import (
    Contribution,
    Evidence,
    Explanation,
    FilterMatch,
    Hit,
    SearchResult,
)

NOTE = "server.json"
PATIENCE = 2.0  # seconds for the first answer; a server that is slower than that does not help
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
    wants a token which is not in CLIPSEARCH_TOKEN, a query that names a file of this machine, or
    any error, which the library then tells in its own words.
    """
    if k > (MOST_EXPLAINED if explain else MOST_HITS) or not _has_no_file(query):
        return None
    address = _server(folder)
    if address is None:
        return None
    asked: dict[str, Any] = {"q": query, "k": k, "offset": offset, "sort": sort}
    asked["min_relevance"] = min_relevance
    asked |= {"all_copies": int(all_copies), "explain": int(explain)}
    asked |= {"like": ",".join(map(str, like)), "unlike": ",".join(map(str, unlike))}
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    document = _get(address, f"/api/search?{urlencode(given)}", SLOWEST)
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


def _server(folder: Path) -> str | None:
    """Return host and port of the server that has this very folder open."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        parts = urlsplit(note["url"])
        status = folder.stat()
        is_here = note["folder"] == [status.st_dev, status.st_ino]
        library = note["library"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not is_here or parts.scheme != "http" or not parts.netloc:
        return None
    health = _get(parts.netloc, "/health", PATIENCE)
    return parts.netloc if health is not None and health.get("library") == library else None


def _get(address: str, path: str, timeout: float) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(address, timeout=timeout)
    token = os.environ.get("CLIPSEARCH_TOKEN")
    headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return document if answer.status == 200 and isinstance(document, dict) else None


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
