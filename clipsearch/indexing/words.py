"""Keywords and texts that other programs wrote beside a photo."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from clipsearch.catalog import Catalog, runs
from clipsearch.photos import sidecars
from clipsearch.records import Facts


def with_sidecars(catalog: Catalog, photo_id: int | None, photo: str, facts: Facts) -> Facts:
    """Return the facts of a photo with the keywords and the text of its XMP sidecars.

    What clipsearch itself wrote there is left out: it is on record with its run, and would
    outlive an undo if it came back as somebody else's. `photo_id` is `None` for a new photo.

    Raises: SidecarError for a sidecar that is broken.
    """
    keywords = dict.fromkeys(facts.keywords)
    description = facts.description
    for path in sidecars.find(photo):
        with catalog.read() as db:
            last = runs.last_written(db, photo_id or 0, path)
        if last and hashlib.sha256(Path(path).read_bytes()).digest() == last.after_hash:
            keywords.update(dict.fromkeys(last.keywords))
            description = last.description
            continue
        found = sidecars.read(path)
        # Others changed it since: what was foreign before stays so, what was ours stays ours.
        ours = set(last.tags) - set(last.keywords) if last else set()
        keywords.update(dict.fromkeys(tag for tag in found.tags if tag not in ours))
        text = found.alt_text or found.description
        if text and not (last and text == last.alt_text):
            description = text
    return replace(facts, keywords=tuple(keywords), description=description)
