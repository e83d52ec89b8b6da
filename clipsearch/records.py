"""The values that clipsearch hands out: frozen, and named as in the JSON output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Band = Literal["strong", "likely", "weak"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a photo's own metadata says of it; `None` where it says nothing credible.

    `width` and `height` are of the upright picture. `taken_at` is the camera's local
    time in ISO 8601, with an offset (`+02:00`) only where the file states one.
    Latitude and longitude are degrees (WGS 84, north and east positive), altitude metres.
    `rating` is 0 to 5 stars, or -1 for rejected (XMP specification, part 1, section 8.4).
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    taken_at: str | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    rating: int | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of the library; `path` is absolute."""

    id: int
    path: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that answers a search: `score` is the cosine with the query."""

    id: int
    path: str
    score: float
    relevance: float | None
    band: Band | None
    taken_at: str | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits in rank order; `total` counts the photos that were ranked."""

    query: str
    model: str
    total: int
    took_ms: float
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not indexed, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What one run of the indexer did, counted in photos."""

    added: int
    updated: int
    moved: int
    unchanged: int
    removed: int
    skipped: tuple[Skipped, ...]
    seconds: float
    model: str
    embedded: int = 0
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What a library holds."""

    photos: int
    skipped: int
    roots: tuple[str, ...]
    model: str | None
    dimensions: int | None
    revision: int
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long job is: `done` of `total` units of `stage`."""

    stage: Literal["walk", "embed"]
    done: int
    total: int | None = None
    detail: str = field(default="")


OnProgress = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Report nothing: the default of every `on_progress`."""
