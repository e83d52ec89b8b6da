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
    """Photos that are read and decoded at a time, ahead of the model."""
    decode_memory: int = 2 << 30
    """Bytes of memory (address space) of each process that decodes photos."""
    decode_seconds: int = 60
    """Seconds that the decoding of one photo may compute; five times that, if a disk is slow."""
    backups: bool = True
    """Whether the catalogue is copied aside before something that loses data."""


def default_library() -> Path:
    """Return the library folder of this user: in the platform's folder for user data."""
    from platformdirs import user_data_path

    return user_data_path("clipsearch", appauthor=False) / "library"
