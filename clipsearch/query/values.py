"""What a query says: terms that make its vector, filters that photos must pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from clipsearch.query import dates

Kind = Literal["text", "image", "path"]
Key = Literal[
    "tag",
    "folder",
    "name",
    "type",
    "camera",
    "lens",
    "before",
    "after",
    "on",
    "near",
    "rating",
    "orientation",
    "has",
    "id",
]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the query vector: `weight` is negative for a term to avoid."""

    kind: Kind
    value: str
    weight: float = 1.0

    def __str__(self) -> str:
        sign = "-" if self.weight < 0 else ""
        size = abs(self.weight)
        weight = "" if size == 1 else f"{size:f}".rstrip("0").rstrip(".") + ":"
        match self.kind:
            case "image":
                return f"{sign}{weight}image:{self.value}"
            case "path":
                return f"{sign}{weight}{self.value}"
            case "text":
                return f'{sign}{weight}"{self.value}"'


@dataclass(frozen=True, slots=True)
class Moments:
    """A stretch of time, `start <= t < end`; `None` is open.

    Both are ISO 8601 without an offset, as precise as they were typed: `2019-06`,
    `2019-06-01T12:00`. `offset` is in seconds east of UTC where a zone was typed; without one
    the camera's own local time is meant.
    """

    start: str | None
    end: str | None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Whole numbers from `low` to `high`, both included; `None` is open."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Area:
    """A circle on the earth: degrees WGS 84, north and east positive."""

    latitude: float
    longitude: float
    kilometres: float


@dataclass(frozen=True, slots=True)
class Place:
    """A circle around a place that a gazetteer knows by name."""

    name: str
    kilometres: float


Value = str | Moments | Numbers | Area | Place


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on the facts of a photo: one of `values` holds, or none if `negated`.

    `text` is how it was written, for messages; `str` gives a text that parses to the same filter.
    """

    key: Key
    values: tuple[Value, ...]
    negated: bool = False
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        values = ",".join(_written(self.key, value) for value in self.values)
        return f"{'-' if self.negated else ''}{self.key}:{values}"


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; `str` gives a text that parses to the same query."""

    terms: tuple[Term, ...]
    filters: tuple[Filter, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, (*self.terms, *self.filters)))


def _written(key: Key, value: Value) -> str:
    match value:
        case Moments(start, end, offset):
            return dates.written(key, start, end, offset)
        case Numbers(low, high):
            if low == high and low is not None:
                return str(low)
            return f"{'' if low is None else low}..{'' if high is None else high}"
        case Area(latitude, longitude, kilometres):
            return f"{_plain(latitude)},{_plain(longitude)},{_plain(kilometres)}km"
        case Place(name, kilometres):
            return f'"{name}",{_plain(kilometres)}km'
        case str():
            return f'"{value}"' if "," in value or value.split() != [value] else value


def _plain(number: float) -> str:
    """Write the shortest decimal that reads back as the same float, without an exponent."""
    return f"{Decimal(repr(number)):f}".removesuffix(".0")
