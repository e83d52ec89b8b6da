"""Settings of a library and where it lives by default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIBRARY_MARKER = "clipsearch-library"
"""A file of this name marks a folder as a library: photos are never looked for inside."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be tuned. `None` means: chosen by what the machine has."""

    max_pixels: int | None = None
    """Pixels of the largest photo that is decoded."""
    threads: int | None = None
    """Threads that read and decode photos ahead of the model."""


def default_library() -> Path:
    """Return the library folder of this user: in the platform's folder for user data."""
    from platformdirs import user_data_path

    return user_data_path("clipsearch", appauthor=False) / "library"
