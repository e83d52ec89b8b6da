"""The search language: text in, terms with weights out, and back.

Bare words make one phrase, `"quoted words"` a phrase of their own; `+` and `-` before a term
add and subtract its vector, `2:term` weights it; `image:ID` and, where the caller allows it, a
path (`./pool.jpg`) are terms too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from clipsearch.errors import QueryError

Kind = Literal["text", "image", "path"]

MAX_LENGTH = 10_000
MAX_TERMS = 100

_TOKEN = re.compile(
    r"""
    (?P<sign>[+-])?
    (?:(?P<weight>\d{1,6}(?:\.\d{1,6})?):(?=["./~]|[^\W\d]))?
    (?:"(?P<quoted>[^"]*)(?P<close>"?) | (?P<word>[^\s"]+))
    """,
    re.VERBOSE,
)
_KEY = re.compile(r"(?P<key>[A-Za-z][A-Za-z_]*):(?P<value>.+)")
_PATH = re.compile(r"(\.{1,2}|~)?/")
_LONE_SIGN = re.compile(r"[+-]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the query vector: `weight` is negative for a term to avoid."""

    kind: Kind
    value: str
    weight: float = 1.0

    def __str__(self) -> str:
        sign = "-" if self.weight < 0 else ""
        size = abs(self.weight)
        weight = "" if size == 1 else f"{_number(size)}:"
        match self.kind:
            case "image":
                return f"{sign}{weight}image:{self.value}"
            case "path":
                return f"{sign}{weight}{self.value}"
            case "text":
                return f'{sign}{weight}"{self.value}"'


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; `str` gives a text that parses to the same query."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " ".join(str(term) for term in self.terms)


def parse(text: str, *, paths: bool = False) -> Query:
    """Read a query. `paths` admits files of this machine as terms: never for remote callers.

    Raises: QueryError with the position of what cannot be understood.
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters", text[:60] + "...", 60)
    terms: list[Term] = []
    bare: list[str] = []
    place: int | None = None  # where among the terms the phrase of bare words goes
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        token = _TOKEN.match(text, position)
        if token is None:  # only a sign or weight with nothing behind it
            raise QueryError("a word or a quoted phrase must follow here", text, position)
        term = _term(token, text, paths=paths)
        if term is None:
            if place is None:
                place = len(terms)
            bare.append(token.group())
        else:
            terms.append(term)
        position = token.end()
    if bare:
        terms.insert(place or 0, Term("text", " ".join(bare)))
    if not terms:
        raise QueryError("the query is empty; say what to look for", text, 0)
    if len(terms) > MAX_TERMS:
        raise QueryError(f"the query has more than {MAX_TERMS} terms", text[:60] + "...", 60)
    return Query(tuple(terms))


def _term(token: re.Match[str], text: str, *, paths: bool) -> Term | None:
    """Return the term of a token, or `None` for a bare word of the phrase."""
    weight = float(token["weight"] or 1) * (-1 if token["sign"] == "-" else 1)
    start = token.start("quoted") if token["word"] is None else token.start("word")
    if weight == 0:
        raise QueryError("a weight of 0 has no effect; leave the term out", text, token.start())
    if token["word"] is None:
        if not token["close"]:
            raise QueryError("this quote is never closed", text, start - 1)
        phrase = " ".join(token["quoted"].split())
        if not phrase:
            raise QueryError("the quotes are empty", text, start - 1)
        return Term("text", phrase, weight)
    word = token["word"]
    if _LONE_SIGN.fullmatch(token.group()):
        return None
    if _PATH.match(word):
        if not paths:
            raise QueryError("files cannot be named here; use image:ID", text, start)
        return Term("path", word, weight)
    if key := _KEY.fullmatch(word):
        return Term("image", _image_id(key, text, start), weight)
    if token["sign"] or token["weight"]:
        return Term("text", word, weight)
    return None


def _image_id(key: re.Match[str], text: str, start: int) -> str:
    if key["key"] != "image":
        raise QueryError(
            f'unknown key "{key["key"]}"; the known key is image. '
            f"Quote the words to search for them",
            text,
            start,
        )
    if not re.fullmatch(r"[0-9]{1,18}", key["value"]):
        raise QueryError("image: wants the number of a photo", text, start + len("image:"))
    return str(int(key["value"]))


def _number(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".")
