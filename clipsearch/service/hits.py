"""Hits as a page wants them: with the shape of the picture and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipsearch.records import Band, Hit
from clipsearch.service.context import Service


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit, and what its place on a page needs: `width` and `height` of the upright photo."""

    id: int
    path: str
    name: str
    score: float | None
    relevance: float | None
    band: Band | None
    taken_at: str | None
    named: bool
    width: int
    height: int
    alt_text: str | None


def shown(service: Service, hits: Sequence[Hit]) -> tuple[ShownHit, ...]:
    """Add to hits what a page needs; those that are gone meanwhile are left out."""
    known = service.library.looks([hit.id for hit in hits])
    found = []
    for hit in hits:
        if hit.id in known:
            photo, text = known[hit.id]
            found.append(
                ShownHit(
                    hit.id,
                    hit.path,
                    Path(hit.path).name,
                    hit.score,
                    hit.relevance,
                    hit.band,
                    hit.taken_at,
                    hit.named,
                    photo.facts.width,
                    photo.facts.height,
                    text,
                )
            )
    return tuple(found)
