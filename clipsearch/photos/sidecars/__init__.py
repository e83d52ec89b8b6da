"""XMP sidecars: keywords and alt text where Lightroom, digiKam and darktable read them.

A tag `animal/dog` stands in three properties: the word `dog` in dc:subject, `animal|dog` in
lr:hierarchicalSubject and `animal/dog` in digiKam:TagsList. Alt text stands in
Iptc4xmpCore:AltTextAccessibility (IPTC Photo Metadata Standard 2021.1) and dc:description.
Photos themselves are never written.
"""

from clipsearch.errors import SidecarError
from clipsearch.photos.sidecars.files import (
    Change,
    difference,
    find,
    plan,
    read,
    revert,
    sidecar_path,
    write,
)
from clipsearch.photos.sidecars.merging import Sidecar, extract, merge, normalize_tag

__all__ = [
    "Change",
    "Sidecar",
    "SidecarError",
    "difference",
    "extract",
    "find",
    "merge",
    "normalize_tag",
    "plan",
    "read",
    "revert",
    "sidecar_path",
    "write",
]
