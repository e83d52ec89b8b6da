"""Partial dates: `2019`, `2019-06`, `2019-06-01T12:30+02:00`, and stretches between two.

The forms are those of ISO 8601 (calendar dates, extended format) from the year to the second.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import Literal

from clipsearch.query.piece import Piece, shown

Stretch = tuple[str | None, str | None, int | None]
"""Start, end (not included) and offset, as in `Moments`."""

_FIRST_YEAR, _LAST_YEAR = 1000, 9999  # so that dates sort as text
_FIELDS = (
    ("year", "", 4, _FIRST_YEAR, _LAST_YEAR),
    ("month", "-", 2, 1, 12),
    ("day", "-", 2, 1, 31),
    ("hour", "Tt ", 2, 0, 23),
    ("minute", ":", 2, 0, 59),
    ("second", ":", 2, 0, 59),
)
_PADDING = "1000-01-01T00:00:00"
_STEPS = {
    10: timedelta(days=1),
    13: timedelta(hours=1),
    16: timedelta(minutes=1),
    19: timedelta(seconds=1),
}
_ZONE = re.compile(r"[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?")
_EARLIEST_OFFSET, _LATEST_OFFSET = -12 * 3600, 14 * 3600


def read_before(piece: Piece) -> Stretch:
    """Read the time before a date begins. Raises: QueryError."""
    moment, offset = _one_date(piece, "before")
    return None, moment, offset


def read_after(piece: Piece) -> Stretch:
    """Read the time from the beginning of a date on. Raises: QueryError."""
    moment, offset = _one_date(piece, "after")
    return moment, None, offset


def read_on(piece: Piece) -> Stretch:
    """Read the time that a date, or a range of dates with both its ends, covers.

    Raises: QueryError.
    """
    first, dots, last = piece.text.partition("..")
    if not dots:
        moment, offset = _moment(piece)
        return moment, _neighbour(moment, 1), offset
    if not first.strip() and not last.strip():
        raise piece.error("a range of dates needs at least one end, such as 2019..2021")
    begin, end = piece.part(0, len(first)), piece.part(len(first) + len(dots))
    if not begin.text:
        moment, offset = _moment(end)
        stop = _neighbour(moment, 1)
        return None, stop, None if stop is None else offset
    start, offset = _moment(begin)
    if not end.text:
        return start, None, offset
    moment, other = _moment(end)
    if other != offset:
        raise end.error("both ends of a range of dates need the same zone, or none")
    stop = _neighbour(moment, 1)
    if stop is not None and _padded(stop) <= _padded(start):
        raise end.error(f"this range of dates ends before it begins in {start}")
    return start, stop, offset


def written(key: str, start: str | None, end: str | None, offset: int | None) -> str:
    """Write a stretch as `key` reads it."""
    zone = "" if offset is None else _zone_text(offset)
    if key == "before":
        return f"{end}{zone}"
    if key == "after":
        return f"{start}{zone}"
    if start is None and end is None:
        return f"..{_LAST_YEAR}"
    if start is not None and _neighbour(start, 1) == end is not None:
        return start + zone
    last = None if end is None else _neighbour(end, -1)
    return "..".join("" if moment is None else moment + zone for moment in (start, last))


def _one_date(piece: Piece, key: str) -> tuple[str, int | None]:
    at = piece.text.find("..")
    if at >= 0:
        raise piece.error(f"{key}: wants one date; ranges belong to on:, as in on:2018..2019", at)
    return _moment(piece)


def _moment(piece: Piece) -> tuple[str, int | None]:
    """Return a partial date in its plain form, and its offset."""
    text = piece.text
    if text[:1].isalpha():
        raise piece.error(
            f"{shown(text)} is no date; dates are written in numbers, such as 2019-06-01, "
            "so that a query means the same tomorrow"
        )
    numbers: list[int] = []
    plain, at = "", 0
    for name, separators, width, low, high in _FIELDS:
        if numbers:
            if at == len(text) or text[at] not in separators:
                break
            plain += separators[0]
            at += 1
        number = _number(piece, at, name, width)
        if not low <= number <= high:
            raise piece.error(f"there is no {name} {text[at : at + width]}", at)
        numbers.append(number)
        if name == "day" and number > (days := monthrange(*numbers[:2])[1]):
            raise piece.error(f"{plain[:-1]} has only {days} days", at)
        plain += text[at : at + width]
        at += width
    if at == len(text):
        return plain, None
    if text[at] in "Zz+-":
        if len(numbers) < 4:
            raise piece.error("a zone can only follow a time, such as 2019-06-01T12Z", at)
        return plain, _zone(piece, at)
    raise piece.error(_what_is_wrong(text[at], _FIELDS[len(numbers) - 1][0]), at)


def _number(piece: Piece, at: int, name: str, width: int) -> int:
    digits = _digits(piece.text, at, width + 1)
    if digits != width:
        wanted = "four digits" if width == 4 else "two digits"
        example = {"year": "2019", "month": "2019-06", "day": "2019-06-01"}
        raise piece.error(
            f"the {name} needs {wanted}, as in {example.get(name, '2019-06-01T12:30:15')}", at
        )
    return int(piece.text[at : at + width])


def _digits(text: str, start: int, most: int) -> int:
    """Count the ASCII digits from `start` on, up to `most`."""
    end = start
    while end < min(len(text), start + most) and text[end] in "0123456789":
        end += 1
    return end - start


def _what_is_wrong(char: str, last: str) -> str:
    if char in "/." and last in ("year", "month"):
        return "year, month and day are joined by hyphens, as in 2019-06-01"
    if char in ".," and last == "second":
        return "a time ends with whole seconds, as in 2019-06-01T12:30:15"
    return f"after the {last} the date should end; dates are written like 2019-06-01T12:30:15"


def _zone(piece: Piece, at: int) -> int:
    """Return the offset in seconds that `Z`, `+02`, `-0530` or `+02:00` stands for."""
    zone = _ZONE.match(piece.text, at)
    if zone is None:
        raise piece.error("a zone is written Z, +02:00, -0530 or +02", at)
    if zone.end() < len(piece.text):
        raise piece.error("the date should end after its zone", zone.end())
    hours, minutes = int(zone["hours"] or 0), int(zone["minutes"] or 0)
    if minutes > 59:
        raise piece.error(f"there is no minute {minutes}", zone.start("minutes"))
    seconds = (hours * 60 + minutes) * (-60 if zone["sign"] == "-" else 60)
    if not _EARLIEST_OFFSET <= seconds <= _LATEST_OFFSET:
        raise piece.error("zones go from -12:00 to +14:00", at)
    return seconds


def _zone_text(offset: int) -> str:
    if offset == 0:
        return "Z"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def _padded(moment: str) -> str:
    return moment + _PADDING[len(moment) :]


def _neighbour(moment: str, step: Literal[1, -1]) -> str | None:
    """Return the next or last unit of the same precision, or `None` beyond the known years."""
    if len(moment) == 4:
        year, month = int(moment) + step, 1
    elif len(moment) == 7:
        months = int(moment[:4]) * 12 + int(moment[5:]) - 1 + step
        year, month = months // 12, months % 12 + 1
    else:
        try:
            there = datetime.fromisoformat(_padded(moment)) + step * _STEPS[len(moment)]
        except OverflowError:
            return None
        return there.isoformat()[: len(moment)] if there.year >= _FIRST_YEAR else None
    return f"{year}-{month:02}"[: len(moment)] if _FIRST_YEAR <= year <= _LAST_YEAR else None
