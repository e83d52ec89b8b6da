"""What jobs report, while they run and at their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

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
