"""What is known of a photo, and what a search answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

Band = Literal["strong", "likely", "weak"]
Sort = Literal["relevance", "date"]
Calibration = Literal["fitted", "general"]


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
    """A photo that answers a search.

    `score` is the cosine with the query, `relevance` the probability that the photo answers it,
    `band` that probability in words; all are `None` where only filters were asked for, the
    latter two also where nothing is known to judge by, and `band` below the automatic cut.
    `named` says that its name, folder, tags or alt text hold the words of the query.
    """

    id: int
    path: str
    score: float | None
    relevance: float | None
    band: Band | None
    taken_at: str | None
    named: bool = False


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """Hits in rank order, also a sequence of them.

    `total` counts the photos that answer, `cut` those that were looked at and are not relevant
    enough. `calibration` says where relevance comes from: `fitted` to this model, a `general`
    estimate for models that were not, or `None` where nothing was judged.
    """

    query: str
    model: str
    total: int
    took_ms: float
    hits: tuple[Hit, ...]
    cut: int = 0
    calibration: Calibration | None = None

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one term of a query adds to the score of a photo; the parts sum to the score.

    `cosine` is that of the term alone, `contribution` what is left of it in the weighted sum.
    """

    term: str
    weight: float
    cosine: float
    contribution: float


@dataclass(frozen=True, slots=True)
class FilterMatch:
    """A filter of a query, what the photo has of what it asks for, and whether it passes."""

    filter: str
    facts: tuple[str, ...]
    passes: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """A part of a photo's relevance: `logit` is what it adds to the log-odds."""

    name: str
    value: float
    logit: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a photo is where it is in the answer to a query.

    The contributions of `terms` sum to `score`, the logits of `evidence` to the log-odds of
    `relevance`. `words` are those of the query that were looked for in names, folders, tags and
    alt text; `named` tells whether the photo holds them all.
    """

    id: int
    path: str
    query: str
    score: float | None
    relevance: float | None
    band: Band | None
    terms: tuple[Contribution, ...]
    filters: tuple[FilterMatch, ...]
    evidence: tuple[Evidence, ...]
    words: tuple[str, ...]
    named: bool
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many photos share a value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """How photos spread over years and months (latest first), cameras, folders and tags."""

    photos: int
    years: tuple[FacetCount, ...]
    months: tuple[FacetCount, ...]
    cameras: tuple[FacetCount, ...]
    folders: tuple[FacetCount, ...]
    tags: tuple[FacetCount, ...]


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """A query with a name; `min_relevance` of `None` is the automatic cut."""

    name: str
    query: str
    min_relevance: float | None
    sort: Sort
    saved_at: str
    looked_at: str | None
