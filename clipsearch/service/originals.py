"""Photos as they are on the disk: only those of the library, only under its roots."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from flask import Response
from werkzeug.http import parse_range_header
from werkzeug.wsgi import wrap_file

from clipsearch.photos.formats import PREFIX_LENGTH, sniff, suffix_of
from clipsearch.records import Photo
from clipsearch.service.errors import RequestError
from clipsearch.space import inside

TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "PSD": "image/vnd.adobe.photoshop",
    "JPEG2000": "image/jp2",
    "PPM": "image/x-portable-anymap",
    "TGA": "image/x-tga",
}
SHOWN = frozenset({"JPEG", "PNG", "GIF", "WEBP", "AVIF"})
"""The formats that browsers show; others are offered as a download."""


def kind(photo: Photo, roots: Sequence[str]) -> str:
    """Return the format of a photo's file, by its first bytes.

    Raises: RequestError where it is away, is no picture any more, or lies elsewhere.
    """
    with _opened(photo, roots) as file:
        return _kind(file, photo)


def send(photo: Photo, roots: Sequence[str], environ: dict[str, Any]) -> Response:
    """Return a photo's file as the answer to a request, or the range of it that is wanted.

    Raises: RequestError where it is away, is no picture any more, or lies elsewhere.
    """
    file = _opened(photo, roots)
    try:
        form = _kind(file, photo)
        status = os.fstat(file.fileno())
        response = Response(wrap_file(environ, file), mimetype=TYPES[form], direct_passthrough=True)
        response.content_length = status.st_size
        response.set_etag(f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}")
        response.last_modified = datetime.fromtimestamp(status.st_mtime, UTC)
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Content-Disposition"] = _disposition(photo, form in SHOWN)
        response.make_conditional(
            _ranged(environ), accept_ranges=True, complete_length=status.st_size
        )
        response.call_on_close(file.close)
    except BaseException:
        file.close()
        raise
    return response


def _ranged(environ: dict[str, Any]) -> dict[str, Any]:
    """Leave out a wish for several ranges, or one that makes no sense (RFC 9110, 14.2)."""
    wanted = parse_range_header(environ.get("HTTP_RANGE"))
    if wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1:
        return environ
    return {name: value for name, value in environ.items() if name != "HTTP_RANGE"}


def require_inside(photo: Photo, roots: Sequence[str]) -> str:
    """Return the path of a photo's file with all links resolved; it lies under a root.

    Raises: RequestError where it leads elsewhere.
    """
    path = os.path.realpath(photo.path)
    # A root is kept with its links resolved; it may have become one since.
    if not any(inside(path, os.path.realpath(root)) and inside(path, root) for root in roots):
        raise RequestError(
            f"photo {photo.id} is a link, and its file lies outside the folders of the library; "
            "index the folder that it lies in",
            404,
        )
    return path


def _opened(photo: Photo, roots: Sequence[str]) -> IO[bytes]:
    """Open a photo's file, sure that it lies under a root with all links resolved."""
    path = require_inside(photo, roots)
    try:
        # Not blocking, in case a pipe has taken the file's place.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise _away(photo) from None
    file = os.fdopen(descriptor, "rb")
    try:
        status = os.fstat(descriptor)
        # A folder above it may have become a link between the look and the opening.
        now = os.lstat(require_inside(photo, roots))
        if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, now):
            raise _away(photo)
    except OSError:
        file.close()
        raise _away(photo) from None
    except BaseException:
        file.close()
        raise
    return file


def _kind(file: IO[bytes], photo: Photo) -> str:
    prefix = file.read(PREFIX_LENGTH)
    file.seek(0)
    formats = sniff(prefix, suffix_of(photo.path))
    if not formats:
        raise RequestError(f"the file of photo {photo.id} is no picture any more", 404)
    return formats[0]


def _away(photo: Photo) -> RequestError:
    return RequestError(
        f"the file of photo {photo.id} is not in its folder any more; run `clipsearch index`", 404
    )


def _disposition(photo: Photo, shown: bool) -> str:
    """Offer the file's own name, for what can be said in a header (RFC 6266, RFC 8187)."""
    name = Path(photo.path).name.encode("utf-8", "replace").decode()
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    encoded = quote(name, safe="")
    way = "inline" if shown else "attachment"
    return f"{way}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
