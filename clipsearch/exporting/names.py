"""Names for folders and files that every file system takes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

MAX_NAME_BYTES = 200

_UNSAFE = re.compile(
    r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffd]'
)
_LEADING = ".-=+@~'\uff0b\uff0d\uff1d\uff20"
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def folder_names(labels: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return a folder name for each label; which label gets which does not hang on their order.

    A hierarchy `animal/dog` becomes `animal - dog`. Labels whose names come out the same, also
    where case does not count, are numbered: `Dog`, `dog (2)`. Names that are `taken` go to none.
    """
    ordered = sorted(set(labels))
    flat = [" - ".join(part.strip() for part in label.split("/")) for label in ordered]
    names = unique_names(flat, taken=taken)
    return dict(zip(ordered, names, strict=True))


def unique_names(names: Sequence[str], *, taken: Iterable[str] = ()) -> list[str]:
    """Return a safe name for each name, no two the same; the suffix stays at the end."""
    used = set(map(_folded, taken))
    result = []
    for name in map(safe_name, names):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
        unique, number = name, 2
        while _folded(unique) in used:
            ending = f" ({number}){suffix}"
            unique = _shortened(stem, MAX_NAME_BYTES - len(ending.encode())) + ending
            number += 1
        used.add(_folded(unique))
        result.append(unique)
    return result


def safe_name(name: str) -> str:
    """Return a name without what Linux, macOS or Windows refuse, of at most 200 bytes.

    It begins with nothing that a shell, a spreadsheet or a hidden file begins with.
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    text = _UNSAFE.sub("_", text).strip(" ").rstrip(". ")
    if not text or text[0] in _LEADING or _RESERVED.fullmatch(text):
        text = f"_{text}"
    if len(text.encode()) <= MAX_NAME_BYTES:
        return text
    stem, suffix = os.path.splitext(text)  # noqa: PTH122 - a name, not a path
    if len(suffix.encode()) > 16:
        stem, suffix = text, ""
    return _shortened(stem, MAX_NAME_BYTES - len(suffix.encode())) + suffix


def _shortened(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore").rstrip(". ") or "_"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKD", name).casefold()
