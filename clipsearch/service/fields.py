"""What a request may hold: each field reads its own value and describes itself.

The same definition checks the request and writes the OpenAPI document, so the two agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clipsearch.service.errors import RequestError

Given = Mapping[str, Any]
"""The checked values of a request by name; fields that were not given have their default."""

Kind = Literal["text", "integer", "number", "flag", "choice", "ids", "texts"]

LONGEST_TEXT = 10_000
MOST_TEXTS = 2_000
MOST_IDS = 100
LARGEST_ID = 2**63 - 1

_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a request; make it with the functions below."""

    name: str
    kind: Kind
    about: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False


def text(
    name: str, about: str, *, most: int = LONGEST_TEXT, least: int = 0, required: bool = False
) -> Field:
    """Describe a string of `least` to `most` characters."""
    return Field(name, "text", about, least, most, required=required)


def integer(
    name: str,
    about: str,
    least: int,
    most: int,
    default: int | None = None,
    *,
    required: bool = False,
) -> Field:
    """Describe a whole number."""
    return Field(name, "integer", about, least, most, default=default, required=required)


def number(name: str, about: str, least: float, most: float) -> Field:
    """Describe a number."""
    return Field(name, "number", about, least, most)


def flag(name: str, about: str) -> Field:
    """Describe a yes or no, which is no unless given."""
    return Field(name, "flag", about, default=False)


def choice(
    name: str,
    about: str,
    choices: tuple[str, ...],
    default: str | None = None,
    *,
    required: bool = False,
) -> Field:
    """Describe one of a few words."""
    return Field(name, "choice", about, choices=choices, default=default, required=required)


def ids(name: str, about: str) -> Field:
    """Describe ids of photos: joined by commas in an address, an array in JSON."""
    return Field(name, "ids", about, 0, MOST_IDS, default=())


def texts(
    name: str, about: str, *, least: int = 0, most: int = MOST_TEXTS, required: bool = False
) -> Field:
    """Describe several strings: repeated in a form, an array in JSON."""
    return Field(name, "texts", about, least, most, default=(), required=required)


def from_texts(field: Field, values: list[str]) -> Any:
    """Read a field from an address or a form, where all values are strings.

    Raises: RequestError.
    """
    if field.kind == "texts":
        return from_json(field, values)
    if len(values) > 1:
        raise RequestError(f"{field.name} is given {len(values)} times; give it once")
    value = values[0]
    if field.kind in ("text", "choice"):
        return from_json(field, value)
    if field.kind == "flag":
        if value.lower() not in _FLAGS:
            raise RequestError(f"{field.name} is true or false, not {shown(value)}")
        return _FLAGS[value.lower()]
    if field.kind == "ids":
        parts = value.split(",") if value else []
        if not all(_INTEGER.fullmatch(part) for part in parts):
            raise RequestError(f"{field.name} is a list of ids with commas, such as 12,15")
        return from_json(field, [int(part) for part in parts])
    if field.kind == "integer":
        if _INTEGER.fullmatch(value) is None:
            raise RequestError(f"{field.name} is a whole number, not {shown(value)}")
        return from_json(field, int(value))
    try:
        found = float(value) if len(value) <= 40 and value.isascii() else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RequestError(f"{field.name} is a number, not {shown(value)}")
    return from_json(field, found)


def from_json(field: Field, value: Any) -> Any:
    """Check a field that was read from JSON.

    Raises: RequestError.
    """
    if value is None and not field.required:
        return field.default
    match field.kind:
        case "text":
            return _text(field, value)
        case "choice":
            if value not in field.choices or not isinstance(value, str):
                raise RequestError(f"{field.name} is {_or(field.choices)}, not {shown(value)}")
            return value
        case "flag":
            if not isinstance(value, bool):
                raise RequestError(f"{field.name} is true or false, not {shown(value)}")
            return value
        case "integer":
            # JSON does not tell 5.0 from 5.
            whole = isinstance(value, float) and value.is_integer()
            if isinstance(value, bool) or not (isinstance(value, int) or whole):
                raise RequestError(f"{field.name} is a whole number, not {shown(value)}")
            return int(_bounded(field, value))
        case "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise RequestError(f"{field.name} is a number, not {shown(value)}")
            return float(_bounded(field, value))
        case "ids":
            return _ids(field, value)
        case "texts":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise RequestError(f"{field.name} is a list of texts, not {shown(value)}")
            _count(field, value)
            return tuple(_text(field, each, most=LONGEST_TEXT) for each in value)


def schema(field: Field) -> dict[str, Any]:
    """Return the field as JSON Schema."""
    found: dict[str, Any] = {"description": field.about}
    match field.kind:
        case "text":
            found |= {"type": "string", "maxLength": field.most}
            if field.least:
                found["minLength"] = field.least
        case "choice":
            found |= {"type": "string", "enum": list(field.choices)}
        case "flag":
            found["type"] = "boolean"
        case "integer" | "number":
            found |= {"type": field.kind, "minimum": field.least, "maximum": field.most}
        case "ids":
            item = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
            found |= {"type": "array", "items": item, "maxItems": field.most}
        case "texts":
            item = {"type": "string", "maxLength": LONGEST_TEXT}
            found |= {"type": "array", "items": item, "maxItems": field.most}
            if field.least:
                found["minItems"] = field.least
    if field.default not in (None, ()):
        found["default"] = field.default
    return found


def shown(value: object) -> str:
    """Return a value for an error sentence: short, printable, quoted where it is text."""
    if isinstance(value, str):
        line = "".join(c if c.isprintable() else " " for c in value[:41])
        return f'"{line[:40]}..."' if len(value) > 40 else f'"{line}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6g}" if abs(value) < 1e300 else "so large a number"
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value), "that")


def _text(field: Field, value: Any, *, most: float | None = None) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{field.name} is a text, not {shown(value)}")
    most = field.most if most is None else most
    if most is not None and len(value) > most:
        raise RequestError(f"{field.name} is longer than {most:.0f} characters; shorten it")
    if field.kind == "text" and field.least and len(value) < field.least:
        raise RequestError(f"{field.name} is empty; give a text")
    if any("\ud800" <= c <= "\udfff" or c == "\0" for c in value):
        raise RequestError(f"{field.name} holds a character that is none (half of a pair, or NUL)")
    return value


def _bounded(field: Field, value: float) -> float:
    if field.least is None or field.most is None:
        return value
    if not field.least <= value <= field.most:
        raise RequestError(
            f"{field.name} is from {field.least:g} to {field.most:.15g}, not {shown(value)}"
        )
    return value


def _ids(field: Field, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(
        isinstance(each, bool) or not isinstance(each, int) for each in value
    ):
        raise RequestError(f"{field.name} is a list of ids of photos, not {shown(value)}")
    _count(field, value)
    if not all(1 <= each <= LARGEST_ID for each in value):
        raise RequestError(f"{field.name} holds a number that is no id of a photo")
    return tuple(value)


def _count(field: Field, value: list[Any]) -> None:
    if field.most is not None and len(value) > field.most:
        raise RequestError(f"{field.name} holds {len(value)}, more than {field.most:.0f}")
    if field.least and len(value) < field.least:
        raise RequestError(f"{field.name} holds {len(value)}, fewer than {field.least:.0f}")


def _or(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
