"""The keys of the search language, and what may stand behind each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import cast

from clipsearch.query import dates, numbers, places
from clipsearch.query.piece import Piece, shown
from clipsearch.query.values import Area, Filter, Key, Moments, Numbers, Place, Value

KEYS: Mapping[Key, str] = {
    "tag": "tagged so, or with a tag below it: tag:animal",
    "folder": "in this folder or below it: folder:2019/*",
    "name": "file name, * and ? stand for anything: name:IMG_20*",
    "type": "file format: type:jpeg,heif",
    "camera": 'maker or model of the camera: camera:"Canon EOS"',
    "lens": "lens: lens:50mm",
    "before": "taken before a date begins: before:2019-06",
    "after": "taken from a date on: after:2019-06-01T12:30",
    "on": "taken on a day, in a month, in years: on:2019..2021",
    "near": "taken around a point or a place: near:43.3,-1.98,20km",
    "rating": "stars, -1 is rejected: rating:4..5",
    "orientation": "shape of the picture: orientation:portrait",
    "has": "has such a fact: has:gps",
    "id": "number of the photo: id:12,15",
}
"""One line of help for each key, with an example after the colon, in the order of the manual."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "jpeg": ("jpg", "jpe", "jfif", "mpo"),
    "png": ("apng",),
    "heif": ("heic", "hif"),
    "webp": (),
    "avif": (),
    "tiff": ("tif",),
    "gif": (),
    "bmp": ("dib",),
    "psd": (),
    "tga": (),
    "jpeg2000": ("jp2", "j2k", "jpx", "jpf", "jpc", "j2c"),
    "ppm": ("pgm", "pbm", "pnm"),
}
"""The formats, each the lower-case name of what a decoder calls it, with other names for it."""

CHOICES: Mapping[Key, tuple[str, ...]] = {
    "type": tuple(TYPES),
    "orientation": ("portrait", "landscape", "square"),
    "has": ("gps", "alt", "tags", "date", "camera", "lens", "rating", "description"),
}
"""What can stand behind keys that know all their values."""

MAX_VALUES = 500  # of one filter: SQLite cannot nest conditions deeper than 1,000

_OTHER_NAMES = {other: name for name, others in TYPES.items() for other in others}
_MOMENTS = {"before": dates.read_before, "after": dates.read_after, "on": dates.read_on}
_LIMITS = {"rating": (-1, 5), "id": (1, 10**18 - 1)}


def read_filter(key: Key, pieces: Sequence[Piece], *, negated: bool, text: str) -> Filter:
    """Read the values behind a key, of which there is at least one and none is empty.

    Raises: QueryError.
    """
    if len(pieces) > MAX_VALUES:
        raise pieces[MAX_VALUES].error(f"a filter takes at most {MAX_VALUES} values")
    values = [_near(pieces)] if key == "near" else [_value(key, piece) for piece in pieces]
    return Filter(key, tuple(dict.fromkeys(values)), negated, text)


def known_key(name: str) -> Key | None:
    """Return the key that is written so, in any case of letters."""
    lower = name.lower()
    return cast(Key, lower) if lower in KEYS else None


def unknown_key(name: str) -> str:
    """Say that there is no such key, and which were meant."""
    clipped = name.lower()[:30]
    near = difflib.get_close_matches(clipped, [*KEYS, "image"], n=1, cutoff=0.6)
    hint = f"write {near[0]}: or" if near else f"the keys are {', '.join(KEYS)} and image;"
    return f"unknown key {shown(name)}; {hint} quote the words to search for them"


def _value(key: Key, piece: Piece) -> Value:
    if key in _MOMENTS:
        return Moments(*_MOMENTS[key](piece))
    if key in _LIMITS:
        return Numbers(*numbers.read_range(piece, key, *_LIMITS[key]))
    if key in CHOICES:
        return _choice(key, piece)
    return " ".join(piece.text.split())


def _choice(key: Key, piece: Piece) -> str:
    word = piece.text.lower()
    if key == "type":
        word = word.removeprefix(".")
        word = _OTHER_NAMES.get(word, word)
    if word not in CHOICES[key]:
        *most, last = CHOICES[key]
        raise piece.error(
            f"{key}: does not know {shown(piece.text)}; it knows {', '.join(most)} and {last}"
        )
    return word


def _near(pieces: Sequence[Piece]) -> Area | Place:
    match places.read_area(pieces):
        case (str(name), kilometres):
            return Place(name, kilometres)
        case (latitude, longitude, kilometres):
            return Area(latitude, longitude, kilometres)
