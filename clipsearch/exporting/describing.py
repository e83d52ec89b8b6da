"""Gather what the catalogue says of photos, for export."""

from __future__ import annotations

from collections.abc import Sequence

from clipsearch.catalog import Catalog, captions, photos, tags
from clipsearch.exporting.described import Described, TagScore


def describe(catalog: Catalog, photo_ids: Sequence[int]) -> list[Described]:
    """Return photos with their tags and alt text."""
    described: list[Described] = []
    with catalog.read() as db:
        for photo in photos.photos(db, photo_ids):
            chosen = captions.alt_text(db, photo.id)
            proposed = captions.proposal(db, photo.id)
            described.append(
                Described(
                    photo.id,
                    photo.path,
                    photo.facts.taken_at,
                    photo.facts.width,
                    photo.facts.height,
                    tuple(TagScore(tag.label, tag.score) for tag in tags.of_photo(db, photo.id)),
                    chosen.text if chosen else None,
                    proposed.cosine
                    if proposed and chosen and chosen.text == proposed.text
                    else None,
                )
            )
    return described
