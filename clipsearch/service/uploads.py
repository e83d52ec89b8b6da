"""Pictures that clients send: checked, made small, and gone when the request ends."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipsearch.errors import PhotoError
from clipsearch.photos import decode
from clipsearch.service.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

    from clipsearch.service.context import Service

TOGETHER = 4
"""The pictures of one request may have this many times the pixels of the largest one allowed."""

_BLOCK = 1 << 20


@contextmanager
def kept(service: Service, file: IO[bytes]) -> Iterator[Path]:
    """Give the path of a picture that a client sent, decoded, upright and small.

    What the library opens is a file of our own making: a hostile one is refused before.

    Raises: RequestError for what is no picture, too large, or broken.
    """
    with tempfile.TemporaryDirectory(prefix="clipsearch-") as folder:
        sent = Path(folder) / "sent"
        with sent.open("wb") as target:
            while block := file.read(_BLOCK):
                target.write(block)
        image = _decoded(service, sent).image
        made = Path(folder) / "upload.bmp"
        image.save(made, "BMP")  # nothing is lost, and nothing is faster
        yield made


class Pictures:
    """The pictures of one request, decoded one by one, with an end to their pixels."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most = TOGETHER * _limit(service)
        self._pixels = 0

    def decoded(self, data: bytes) -> Image.Image:
        """Decode a picture that came as bytes.

        Raises: RequestError for what is no picture, too large, or broken, and with 413 where it
            and those before it have too many pixels.
        """
        with tempfile.TemporaryDirectory(prefix="clipsearch-") as folder:
            sent = Path(folder) / "sent"
            sent.write_bytes(data)
            found = _decoded(self._service, sent)
        self._pixels += found.facts.width * found.facts.height
        if self._pixels > self._most:
            raise RequestError(
                f"the pictures have more than {self._most / 1e6:g} megapixels together; "
                "send fewer at a time, or smaller ones",
                413,
            )
        return found.image


def from_base64(text: str) -> bytes:
    """Read base64, or a `data:` address of it; blanks and missing padding are forgiven.

    Raises: RequestError.
    """
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise RequestError("a data: address of a picture is data:image/...;base64,...")
    packed = "".join(text.split())
    try:
        data = packed.encode("ascii")
        found = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("the picture is not base64; encode its bytes") from None
    if not found:
        raise RequestError("the picture is empty; send its bytes in base64")
    return found


def _limit(service: Service) -> int:
    """Return the pixels of the largest picture that a client may send."""
    return min(service.max_pixels, decode.limit_of(service.library.settings.max_pixels))


def _decoded(service: Service, path: Path) -> decode.Decoded:
    # Loading the model first: it says how small a picture may be.
    size = service.library.embedder.image_size
    try:
        with service.decoding():
            return service.library.workers.open_photo(path, size=size, max_pixels=_limit(service))
    except PhotoError as error:
        reason = error.reason.partition("; raise --max-pixels")[0]
        # A decoder that was killed says nothing about the picture.
        status = 503 if error.transient else 400
        raise RequestError(f"the picture that was sent: {reason}", status) from error
