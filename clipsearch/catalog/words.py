"""Words of file names, folders, tags and alt text: full-text search with SQLite's FTS5."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from clipsearch.catalog.filters import ascending, ids_of

MOST_WORDS = 16
COMMON = 1 / 3  # the share of photos from which on a word tells nothing
FEW = 10  # photos that a word may name in any library

# Words that say nothing about which photo is meant.
_IDLE = frozenset(
    re.findall(
        r"\w+",
        """
        a an the this that these those my our some any of on in at to by for from with without
        and or is are was were be as it its image images photo photos photograph photographs
        picture pictures pic pics jpg jpeg png
        """,
    )
)

_HOLDING = """
  select rowid as id from photo_words where photo_words match ?1
  union all select rowid from alt_words where alt_words match ?1
  union all select photo_id from tag where origin <> 'run' and label in (
    select label.name from label_words join label on label.id = label_words.rowid
    where label_words match ?1
  )
"""


def telling(phrases: Sequence[str]) -> list[str]:
    """Return the words of phrases that can tell photos apart, each once."""
    # Composed first: to a regular expression, an accent of its own ends a word.
    text = unicodedata.normalize("NFC", " ".join(phrases))
    words = [word.lower() for word in re.findall(r"[^\W_]+", text)]
    return [word for word in dict.fromkeys(words) if word not in _IDLE][:MOST_WORDS]


def holding(db: Database, words: Sequence[str]) -> NDArray[np.int64]:
    """Return the ids of photos in which every word occurs, (n,) ascending.

    A word may stand in the name, the folder, a tag or the alt text; English endings and
    accents do not matter. Tags of runs are left out: they come from the same vectors as the
    ranking, and would count its mistakes twice. A word that more than a third of the photos hold,
    as "camera" in DCIM/Camera, hardly tells them apart and is passed over.
    """
    found: NDArray[np.int64] | None = None
    photos = db.execute("select count(*) from photo").fetchone()[0]
    most = max(FEW, photos * COMMON)
    for word in words:
        # In double quotes FTS5 takes nothing for syntax; there is no quote in a word.
        these = ascending(ids_of(db, _HOLDING, [f'"{word}"']))
        if len(these) > most:
            continue
        found = these if found is None else found[np.isin(found, these)]
        if not len(found):
            break
    return np.zeros(0, np.int64) if found is None else found
