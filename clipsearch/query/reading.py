"""Read a query: split it where blanks, quotes and commas say so, and point at what is wrong."""

from __future__ import annotations

import re

from clipsearch.errors import QueryError
from clipsearch.query.filters import KEYS, known_key, read_filter, unknown_key
from clipsearch.query.piece import Piece
from clipsearch.query.values import Filter, Key, Query, Term

MAX_LENGTH = 10_000
MAX_TERMS = 100
MAX_FILTERS = 100

_BLANKS = re.compile(r"\s*")
_LONE_SIGNS = re.compile(r"[+-]++(?=\s|\Z)")
_SIGNS_TOO_MANY = re.compile(r'[+-]{2,}+(?:"|(?P<key>[A-Za-z]+):)')
_WEIGHT = re.compile(r'([0-9]{1,6}(?:\.[0-9]{1,6})?):(?=["./~]|[^\W\d])')
_KEY = re.compile(r"([A-Za-z][A-Za-z_]*+):")
_FOLLOWED = re.compile(r"(?!//)\S")
_WORD = re.compile(r'[^\s"]+')
_VALUE = re.compile(r'[^\s",]*')
_PATH = re.compile(r"(?:\.{1,2}|~)?/")
_DIGITS = re.compile(r"[0-9]*")


def parse(text: str, *, paths: bool = False) -> Query:
    """Read a query. `paths` admits files of this machine as terms: never for remote callers.

    Raises: QueryError with the position of what cannot be understood.
    """
    if len(text) > MAX_LENGTH:
        raise _too_much(f"the query is longer than {MAX_LENGTH} characters", text)
    terms: list[Term] = []
    filters: list[Filter] = []
    bare: list[str] = []
    place = 0  # where among the terms the phrase of bare words goes
    position = _after_blanks(text, 0)
    while position < len(text):
        part, end = _part(text, position, paths=paths)
        if isinstance(part, Term):
            terms.append(part)
        elif isinstance(part, Filter):
            if len(filters) == MAX_FILTERS:
                message = f"the query has more than {MAX_FILTERS} filters"
                raise QueryError(message, text, position)
            filters.append(part)
        else:
            place = place if bare else len(terms)
            bare.append(text[position:end])
        position = _after_blanks(text, end)
    if bare:
        terms.insert(place, Term("text", " ".join(bare)))
    if not terms and not filters:
        raise QueryError("the query is empty; say what to look for", text, 0)
    if len(terms) > MAX_TERMS:
        raise _too_much(f"the query has more than {MAX_TERMS} terms", text)
    query = Query(tuple(terms), tuple(filters))
    if len(str(query)) > MAX_LENGTH:  # what is printed can be longer than what was typed
        raise _too_much(f"the query is longer than {MAX_LENGTH} characters when written out", text)
    return query


def _part(text: str, start: int, *, paths: bool) -> tuple[Term | Filter | None, int]:
    """Return the term or filter at `start`, `None` for a bare word, and where it ends."""
    if signs := _LONE_SIGNS.match(text, start):
        return None, signs.end()
    signs = _SIGNS_TOO_MANY.match(text, start)
    if signs and (not signs["key"] or known_key(signs["key"])):
        raise QueryError("one sign before a term or filter is enough", text, start + 1)
    sign = text[start] if text[start] in "+-" else ""
    at = start + len(sign)
    weighted = _WEIGHT.match(text, at)
    weight = float(weighted[1]) if weighted else 1.0
    if weight == 0:
        raise QueryError("a weight of 0 has no effect; leave the term out", text, start)
    if weighted:
        at = weighted.end()
    signed = -weight if sign == "-" else weight
    if text.startswith('"', at):
        phrase, end = _quoted(text, at)
        return Term("text", " ".join(phrase.text.split()), signed), end
    end = _end_of(_WORD, text, at)
    word = text[at:end]
    if _PATH.match(word):
        if not paths:
            raise QueryError("files cannot be named here; use image:ID", text, at)
        if "\0" in word:
            raise QueryError("a path holds no NUL", text, text.index("\0", start))
        return Term("path", word, signed), end
    if colon := _KEY.match(text, at):
        name, behind = colon[1], colon.end()
        if name.lower() == "image":
            return Term("image", _image_id(text, behind, end), signed), end
        if key := known_key(name):
            if sign == "+":
                message = f"a filter is not added; write {key}: without the plus"
                raise QueryError(message, text, start)
            if weighted:
                message = f"a filter has no weight; write {key}: without it"
                raise QueryError(message, text, weighted.start())
            pieces, end = _values(text, behind, key)
            return read_filter(key, pieces, negated=sign == "-", text=text[start:end]), end
        # "note: dog" and links are words like others.
        if _FOLLOWED.match(text, behind):
            raise QueryError(unknown_key(name), text, at)
    return (Term("text", word, signed) if sign or weighted else None), end


def _values(text: str, at: int, key: Key) -> tuple[list[Piece], int]:
    """Return what stands between the commas behind a key, and where it ends."""
    if at == len(text) or text[at].isspace():
        example = KEYS[key].rpartition(": ")[2]
        message = f"{key}: wants a value right behind it, such as {example}"
        raise QueryError(message, text, at)
    pieces: list[Piece] = []
    while True:
        if text.startswith('"', at):
            piece, end = _quoted(text, at)
            if end < len(text) and text[end] != "," and not text[end].isspace():
                raise QueryError("a comma or a blank must follow the quotes", text, end)
        else:
            end = _end_of(_VALUE, text, at)
            piece = Piece(text, at, text[at:end])
            if not piece.text:
                message = "a value is missing here; commas join values without blanks around them"
                raise QueryError(message, text, at)
            if text.startswith('"', end):
                message = f'quotes must enclose the whole value, as in {key}:"one, two",three'
                raise QueryError(message, text, end)
        pieces.append(piece)
        if not text.startswith(",", end):
            return pieces, end
        at = end + 1


def _quoted(text: str, start: int) -> tuple[Piece, int]:
    """Return what stands between the quote at `start` and the next, and where that ends."""
    close = text.find('"', start + 1)
    if close < 0:
        raise QueryError("this quote is never closed", text, start)
    piece = Piece(text, start + 1, text[start + 1 : close], quoted=True).part(0)
    if not piece.text:
        raise QueryError("the quotes are empty", text, start)
    return piece, close + 1


def _image_id(text: str, start: int, end: int) -> str:
    digits = _end_of(_DIGITS, text, start)
    if digits < end or not 1 <= digits - start <= 18:
        at = digits if digits < end else start
        raise QueryError("image: wants the number of a photo, such as image:12", text, at)
    return str(int(text[start:end]))


def _after_blanks(text: str, at: int) -> int:
    return _end_of(_BLANKS, text, at)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _too_much(message: str, text: str) -> QueryError:
    """Show the beginning only: nobody wants to see ten thousand characters again."""
    return QueryError(message, text[:60] + "...", 60)
