"""What passes between a worker and the process that asks it: JSON and pixels, nothing that runs.

A frame is the length of a JSON object and that of the bytes after it (4 bytes each, big-endian),
then both. A file may have taken the worker over: whatever it answers is checked before it is
believed, and no answer is longer than what a photo can have to say.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, fields
from typing import Any

from PIL import Image

from clipsearch.errors import PhotoError
from clipsearch.photos.decode import Decoded
from clipsearch.photos.metadata import MAX_DESCRIPTION, MAX_KEYWORDS, MAX_NAME
from clipsearch.photos.pixels import MOST_PIXELS
from clipsearch.records import Facts

HELLO = b"decoder1"
"""The first bytes of a worker that is ready."""

LENGTHS = struct.Struct(">II")
MOST_JSON = 2 << 20  # 500 keywords of 200 characters, each written as \uXXXX twice

_LONGEST_REASON = 300
_LARGEST_SIDE = 1 << 31
_TEXTS = {
    "format": 16,
    "taken_at": 40,
    "camera_make": MAX_NAME,
    "camera_model": MAX_NAME,
    "lens": MAX_NAME,
    "description": MAX_DESCRIPTION,
}
_NUMBERS = {"latitude": 90.0, "longitude": 180.0, "altitude": 1e6}


class NonsenseError(Exception):
    """An answer is none that a worker would give."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to decode, and how: see `decode.open_photo`. `path` is absolute, in bytes."""

    number: int
    path: bytes
    size: int
    max_pixels: int
    hashed: bool


def pack_request(request: Request) -> bytes:
    """Return the frame of a request."""
    return _frame({**asdict(request), "path": request.path.hex()})


def unpack_request(text: bytes) -> Request:
    """Read the JSON of a request, which comes from a process that is trusted."""
    found = json.loads(text)
    return Request(**{**found, "path": bytes.fromhex(found["path"])})


def pack_photo(number: int, decoded: Decoded) -> list[bytes]:
    """Return the frame of a decoded photo, in parts."""
    pixels = decoded.image.tobytes()
    answer = {
        "number": number,
        "size": decoded.image.size,
        "facts": asdict(decoded.facts),
        "content_hash": decoded.content_hash.hex(),
        "picture_hash": decoded.picture_hash,
    }
    return [_frame(answer, len(pixels)), pixels]


def pack_error(number: int, error: PhotoError) -> list[bytes]:
    """Return the frame that says why a photo cannot be decoded, in parts."""
    reason = error.reason[:_LONGEST_REASON]
    return [_frame({"number": number, "reason": reason, "transient": error.transient})]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of a photo before its pixels come; the picture's size in pixels."""

    size: tuple[int, int]
    facts: Facts
    content_hash: bytes
    picture_hash: int | None

    def decoded(self, pixels: bytearray) -> Decoded:
        """Put the pixels in their place: 3 bytes each, as many as `size` says."""
        image = Image.frombytes("RGB", self.size, pixels)
        return Decoded(image, self.facts, self.content_hash, self.picture_hash)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a worker says of a file that cannot be decoded."""

    reason: str
    transient: bool


def unpack_answer(text: bytes, length: int, request: Request) -> Answer | Refusal:
    """Read the JSON of an answer that `length` bytes of pixels follow.

    Raises: NonsenseError.
    """
    try:
        found = json.loads(text, parse_constant=_no_constant)
        if type(found) is not dict or _integer(found["number"], 0, request.number) != (
            request.number
        ):
            raise NonsenseError("an answer to something else")
        if "reason" in found:
            return _refusal(found, length)
        width, height = (_integer(side, 1, MOST_PIXELS) for side in found["size"])
        if width * height > MOST_PIXELS or length != 3 * width * height:
            raise NonsenseError("another number of pixels than was said")
        content_hash = bytes.fromhex(_text(found["content_hash"], 64))
        picture_hash = found["picture_hash"]
        if len(content_hash) != 32 or (picture_hash is not None) != request.hashed:
            raise NonsenseError("no hash, or too much of one")
        if picture_hash is not None:
            picture_hash = _integer(picture_hash, 0, (1 << 64) - 1)
        return Answer((width, height), _facts(found["facts"]), content_hash, picture_hash)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NonsenseError(f"{type(error).__name__}: {error}") from error


def _refusal(found: dict[str, Any], length: int) -> Refusal:
    reason = _text(found["reason"], _LONGEST_REASON)
    if length or not reason or not reason.isprintable() or type(found["transient"]) is not bool:
        raise NonsenseError("no reason")
    return Refusal(reason, found["transient"])


def _facts(found: dict[str, Any]) -> Facts:
    if type(found) is not dict or found.keys() != {field.name for field in fields(Facts)}:
        raise NonsenseError("other facts than photos have")
    for name, longest in _TEXTS.items():
        if name == "format" or found[name] is not None:
            _text(found[name], longest)
    for name, most in _NUMBERS.items():
        number = found[name]
        if number is not None and not (type(number) is float and abs(number) <= most):
            raise NonsenseError(f"{name} out of range")
    if (rating := found["rating"]) is not None:
        _integer(rating, -1, 5)
    _integer(found["orientation"], 1, 8)
    for side in ("width", "height"):
        _integer(found[side], 1, _LARGEST_SIDE)
    keywords = found["keywords"]
    if type(keywords) is not list or len(keywords) > MAX_KEYWORDS:
        raise NonsenseError("too many keywords")
    return Facts(**{**found, "keywords": tuple(_text(word, MAX_NAME) for word in keywords)})


def _text(value: object, longest: int) -> str:
    if type(value) is not str or len(value) > longest:
        raise NonsenseError("no text, or too long a one")
    value.encode()  # a lone surrogate is a ValueError: no database takes it
    return value


def _integer(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise NonsenseError("no number, or out of range")
    return value


def _no_constant(name: str) -> float:
    raise NonsenseError(f"{name} is no number")


def _frame(document: dict[str, Any], length: int = 0) -> bytes:
    text = json.dumps(document).encode("ascii")
    return LENGTHS.pack(len(text), length) + text
