"""Find photos by phrase in one CLIP embedding space, on your own machine.

The public interface is what `__all__` lists. Names are resolved when first used, so that
importing the package loads neither torch nor FAISS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clipsearch.config import Settings
    from clipsearch.duplicates import Duplicate, DuplicateReport
    from clipsearch.errors import ClipsearchError
    from clipsearch.library import Library
    from clipsearch.models.embedder import Embedder
    from clipsearch.records import (
        AltText,
        Backup,
        Caption,
        CaptionReport,
        Classification,
        Contribution,
        Evidence,
        Explanation,
        FacetCount,
        Facets,
        Facts,
        FilterMatch,
        Hit,
        IndexReport,
        Photo,
        Progress,
        Proposal,
        RankedCaptions,
        Restored,
        Run,
        SavedSearch,
        ScoredLabel,
        SearchResult,
        Skipped,
        Status,
        Tag,
        TagReport,
    )

__all__ = [
    "AltText",
    "Backup",
    "Caption",
    "CaptionReport",
    "Classification",
    "ClipsearchError",
    "Contribution",
    "Duplicate",
    "DuplicateReport",
    "Embedder",
    "Evidence",
    "Explanation",
    "FacetCount",
    "Facets",
    "Facts",
    "FilterMatch",
    "Hit",
    "IndexReport",
    "Library",
    "Photo",
    "Progress",
    "Proposal",
    "RankedCaptions",
    "Restored",
    "Run",
    "SavedSearch",
    "ScoredLabel",
    "SearchResult",
    "Settings",
    "Skipped",
    "Status",
    "Tag",
    "TagReport",
    "__version__",
]

_ROOMS = {
    "ClipsearchError": "clipsearch.errors",
    "Duplicate": "clipsearch.duplicates",
    "DuplicateReport": "clipsearch.duplicates",
    "Embedder": "clipsearch.models.embedder",
    "Library": "clipsearch.library",
    "Settings": "clipsearch.config",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS.get(name, "clipsearch.records")), name)
