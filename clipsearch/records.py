"""The values that clipsearch hands out: frozen, and named as in the JSON output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Caption:
    """A candidate sentence for a photo."""

    text: str
    cosine: float
    probability: float


@dataclass(frozen=True, slots=True)
class RankedCaptions(Sequence[Caption]):
    """Candidates in rank order, also a sequence of them.

    `fits` is false when the best does not beat neutral background sentences; `margin` is the
    distance of its cosine to the runner-up's, `None` where there is none.
    """

    photo: str
    model: str
    fits: bool
    margin: float | None
    captions: tuple[Caption, ...]

    @overload
    def __getitem__(self, index: int) -> Caption: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Caption, ...]: ...
    def __getitem__(self, index: int | slice) -> Caption | tuple[Caption, ...]:
        return self.captions[index]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label for one photo: `probability` is among the labels it was asked with."""

    label: str
    cosine: float
    probability: float


@dataclass(frozen=True, slots=True)
class Classification(Sequence[ScoredLabel]):
    """Labels in rank order, also a sequence of them; `fits` and `margin` as for captions."""

    photo: str
    model: str
    labels: tuple[ScoredLabel, ...]
    fits: bool
    margin: float | None

    @overload
    def __getitem__(self, index: int) -> ScoredLabel: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ScoredLabel, ...]: ...
    def __getitem__(self, index: int | slice) -> ScoredLabel | tuple[ScoredLabel, ...]:
        return self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Tag:
    """A label that holds for a photo; `score` and `model` are those of the run that gave it."""

    label: str
    origin: Literal["hand", "file", "run"]
    score: float | None
    run: int | None
    model: str | None


RunKind = Literal["tag", "caption", "export"]


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the library; `results` counts its tags, captions or files."""

    id: int
    kind: RunKind
    model: str
    source: str
    source_hash: str
    settings: Mapping[str, object]
    photos: int
    results: int
    made_at: str
    undone: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """The caption that a run proposes for a photo."""

    photo_id: int
    text: str
    cosine: float
    margin: float
    fits: bool


AltState = Literal["accepted", "edited", "file"]


@dataclass(frozen=True, slots=True)
class AltText:
    """The caption chosen for a photo, by a person or in the file itself."""

    text: str
    state: AltState


@dataclass(frozen=True, slots=True)
class TagReport:
    """What a tagging run did: `tags` were given to `photos` with `labels` in question."""

    run: int
    labels: int
    photos: int
    tags: int


@dataclass(frozen=True, slots=True)
class CaptionReport:
    """What a captioning run did: for `none_fits` photos nothing beat the background."""

    run: int
    photos: int
    proposed: int
    none_fits: int


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
class Backup:
    """A copy of a catalogue: `kind` is what it was made before, or `hand`; `size` in bytes."""

    path: str
    made_at: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: `kept` is the backup of what was there, `damaged` where it lies else."""

    source: str
    photos: int
    kept: str | None
    damaged: str | None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What could be read out of a damaged catalogue and was not in the backup."""

    roots: int = 0
    photos: int = 0
    tags: int = 0
    alt_texts: int = 0
    searches: int = 0
    unreadable: tuple[str, ...] = ()
    """Tables that could not be read to the end."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did: the backup it took, if there was one, and what it could add to it.

    `complete` where only indexes were damaged: nothing is lost, and no backup was needed.
    """

    backup: Backup | None
    photos: int
    damaged: str | None
    salvaged: Salvaged
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long job is: `done` of `total` units of `stage`."""

    stage: Literal["walk", "embed", "labels", "tag", "hash", "compare", "copy", "check", "learn"]
    done: int
    total: int | None = None


OnProgress = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Report nothing: the default of every `on_progress`."""
