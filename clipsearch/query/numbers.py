"""Ranges of whole numbers: `4`, `3..5`, `3..`, `..3`, `>=3`, `>3`, `<=3`, `<3`."""

from __future__ import annotations

import re

from clipsearch.query.piece import Piece

_RANGE = re.compile(r"(?P<low>[^.]*)(?P<dots>\.\.)(?P<high>.*)", re.DOTALL)
_BOUND = re.compile(r"(?P<sign>[<>]=?)(?P<number>.*)", re.DOTALL)
_WHOLE = re.compile(r"-?[0-9]+")
_MOST_DIGITS = 18  # what a catalogue can count, and Python reads at once


def read_range(piece: Piece, key: str, lowest: int, highest: int) -> tuple[int | None, int | None]:
    """Read a closed range of numbers from `lowest` to `highest`; `None` is an open end.

    Raises: QueryError.
    """
    few = highest < 1000
    limits = f"from {lowest} to {highest}" if few else f"from {lowest} on, at most 18 digits"

    def number(part: Piece) -> int:
        if not _WHOLE.fullmatch(part.text):
            raise part.error(
                f"{key}: wants whole numbers {limits}, such as {key}:3, {key}:3..5 or {key}:>=3",
                _first_wrong(part.text),
            )
        if len(part.text) <= _MOST_DIGITS and lowest <= int(part.text) <= highest:
            return int(part.text)
        raise part.error(f"{key}: goes {limits}")

    if bound := _BOUND.fullmatch(piece.text):
        part = piece.part(bound.start("number"))
        value = number(part)
        match bound["sign"]:
            case ">=":
                return value, None
            case "<=":
                return None, value
            case ">" if value == highest:
                raise part.error(f"{key}: goes no higher than {highest}")
            case ">":
                return value + 1, None
            case _ if value == lowest:
                raise part.error(f"{key}: goes no lower than {lowest}")
            case _:
                return None, value - 1
    between = _RANGE.fullmatch(piece.text)
    if between is None:
        value = number(piece)
        return value, value
    ends = (piece.part(*between.span("low")), piece.part(*between.span("high")))
    low, high = (number(end) if end.text else None for end in ends)
    if low is None and high is None:
        raise piece.error(f"a range needs at least one end, such as {key}:3.. or {key}:..3")
    if low is not None and high is not None and low > high:
        raise ends[1].error(f"this range ends before it begins; write {key}:{high}..{low}")
    return low, high


def _first_wrong(text: str) -> int:
    """Return where `text` stops to be a whole number."""
    start = _WHOLE.match(text)
    return start.end() if start else 0
