"""Small WebP copies of photos, made when somebody first asks and kept in the library."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from clipsearch.errors import LibraryError, PhotoError
from clipsearch.photos import decode
from clipsearch.photos.decode import DEFAULT_MAX_PIXELS, OpenPhoto

DEFAULT_SIZE = 360
QUALITY = 80

_KEY = re.compile(r"[0-9a-f]{4,128}")


def thumbnail_path(folder: Path, key: str, size: int = DEFAULT_SIZE) -> Path:
    """Return where the thumbnail of the content with this hash lies, made or not.

    `key` is the content hash in hexadecimal: names of photos may be too long or not UTF-8.
    """
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"a thumbnail's key is a hexadecimal hash, not {key!r}")
    return folder / key[:2] / f"{key}-{size}.webp"


def thumbnail(
    path: str | Path,
    folder: Path,
    *,
    key: str,
    size: int = DEFAULT_SIZE,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    open_photo: OpenPhoto = decode.open_photo,
) -> Path:
    """Return the thumbnail of a photo, at most `size` pixels wide and high; make it if need be.

    It shows the photo upright, is never larger than the photo and carries no metadata: no
    place and no name leaves the house with it. Where the thumbnail exists, the photo is not opened.

    Raises:
        PhotoError: the photo cannot be decoded.
        LibraryError: the thumbnail cannot be written.
    """
    target = thumbnail_path(folder, key, size)
    if target.is_file():
        return target
    decoded = open_photo(path, size=size, max_pixels=max_pixels)
    if decoded.content_hash.hex() != key:
        # Filed under the old content it would be shown for every photo that has that.
        raise PhotoError(str(path), "it changed since it was indexed", transient=True)
    image = decoded.image
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    try:
        _write(image, target)
    except OSError as error:
        raise LibraryError(
            f"{target}: the thumbnail cannot be written: {error.strerror or error}"
        ) from error
    return target


def _write(image: Image.Image, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Aside and renamed, so that no reader and no second writer ever sees half a file.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".making-", suffix=".webp")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            image.info.clear()
            image.save(file, "WEBP", quality=QUALITY)
        aside.chmod(0o644)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def damaged(folder: Path) -> Iterator[Path]:
    """Yield the thumbnails in a folder that cannot be decoded."""
    for path in sorted(folder.glob("*/*.webp")):
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, ValueError, SyntaxError):
            yield path
