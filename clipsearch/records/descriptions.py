"""Words for photos: captions, labels, tags, alt texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload


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
