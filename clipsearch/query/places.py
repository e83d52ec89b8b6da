"""Circles on the earth: `43.3,-1.98,20km`, or around a place by name: `"San Sebastian",10km`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from clipsearch.query.piece import Piece, shown

DEFAULT_KILOMETRES = 10.0
MAX_KILOMETRES = 20_040.0  # half of the equator, 40,075 km: every other point is within it

_UNITS = {"km": 1.0, "m": 0.001, "mi": 1.609344, "": 1.0}  # the international mile, in km
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_LIKE_A_NUMBER = re.compile(r"[+-]?\.?[0-9]")


def read_area(pieces: Sequence[Piece]) -> tuple[float, float, float] | tuple[str, float]:
    """Read latitude, longitude (degrees) and radius (km), or the name of a place and a radius.

    Raises: QueryError.
    """
    first = pieces[0]
    if first.quoted or not _LIKE_A_NUMBER.match(first.text):
        return _named(pieces)
    latitude = _degrees(first, "latitude", 90)
    if len(pieces) == 1:
        raise first.error(
            "a longitude must follow the latitude, as in near:43.3,-1.98,20km", len(first.text)
        )
    longitude = _degrees(pieces[1], "longitude", 180)
    if len(pieces) > 3:
        raise pieces[3].error("near: takes one area; write near: once more for another condition")
    return latitude, longitude, _radius(pieces[2]) if len(pieces) == 3 else DEFAULT_KILOMETRES


def _named(pieces: Sequence[Piece]) -> tuple[str, float]:
    name = " ".join(pieces[0].text.split())
    if not any(char.isalpha() for char in name):
        raise pieces[0].error(
            f"{shown(name)} is no place; coordinates stand without quotes or blanks, "
            "as in near:43.3,-1.98,20km"
        )
    if len(pieces) == 1:
        return name, DEFAULT_KILOMETRES
    if len(pieces) > 2 or not _LIKE_A_NUMBER.match(pieces[1].text):
        wrong = pieces[1] if not _LIKE_A_NUMBER.match(pieces[1].text) else pieces[2]
        raise wrong.error(
            "only a radius such as 10km can follow the name of a place; quote a name that has "
            'commas, as in near:"Valencia, VE",10km'
        )
    return name, _radius(pieces[1])


def _degrees(piece: Piece, name: str, limit: int) -> float:
    number = _NUMBER.match(piece.text)
    if number is None or number.end() < len(piece.text):
        raise piece.error(
            f"a {name} is written in decimal degrees, such as -1.98; "
            "quote a place that begins with a digit",
            number.end() if number else 0,
        )
    degrees = float(number.group())
    if not -limit <= degrees <= limit:
        raise piece.error(f"a {name} goes from -{limit} to {limit}")
    return degrees + 0.0  # no negative zero


def _radius(piece: Piece) -> float:
    number = _NUMBER.match(piece.text)
    if number is None:
        raise piece.error("a radius is a number with km, m or mi, such as 20km")
    unit = piece.text[number.end() :].strip()
    if unit.lower() not in _UNITS:
        raise piece.error(
            f"{shown(unit)} is no unit; a radius is written in km, m or mi, such as 20km",
            piece.text.index(unit, number.end()),
        )
    kilometres = float(number.group()) * _UNITS[unit.lower()]
    if not math.isfinite(kilometres) or not 0 < kilometres <= MAX_KILOMETRES:
        raise piece.error(f"a radius is more than 0 and at most {MAX_KILOMETRES:.0f} km")
    return kilometres
