"""Open photos of every kind, and turn whatever is wrong with one into a PhotoError."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata as distributions
from io import BufferedReader
from math import ceil
from pathlib import Path
from typing import Protocol

import PIL
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clipsearch.errors import PhotoError
from clipsearch.photos.formats import (
    MAX_FILE_BYTES,
    PREFIX_LENGTH,
    RAW_SUFFIXES,
    refusal,
    sniff,
    suffix_of,
    too_large,
    what_else,
)
from clipsearch.photos.metadata import read_facts
from clipsearch.photos.picturehash import picture_hash
from clipsearch.photos.pixels import upright_rgb
from clipsearch.records import Facts

DEFAULT_MAX_PIXELS = 300_000_000

NO_MEMORY = "needs more memory than there is"
"""The reason that photos are refused for which no memory is left."""

_PIXEL_LIMITS = (300_000_000, 200_000_000, 100_000_000, 50_000_000, 25_000_000)

# The loaders themselves, called by name: Image.open would compare the size with
# Image.MAX_IMAGE_PIXELS, a setting that belongs to the program around us and that cannot be
# raised for one thread alone. It also keeps the rest of Pillow's formats out (EPS starts
# ghostscript) and leaves Pillow's list of formats as it is, without HEIF. The plain JPEG
# loader reads the first picture of an MPO file.
_LOADERS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "PSD": PsdImagePlugin.PsdImageFile,
    "TGA": TgaImagePlugin.TgaImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

# These two turn the pixels themselves: TIFF by its tag, HEIF by the container's irot box.
_TURNED_BY_LOADER = frozenset({"TIFF", "HEIF"})

# What loaders stumble over when a header has values of the wrong type or none at all.
_NONSENSE = (ArithmeticError, AssertionError, AttributeError, KeyError, TypeError)

# What Pillow says where its own words would help nobody.
_PLAIN_WORDS = {
    "not identified by this driver": "no pixels: the header has no usable size",
    "decoder error -2": "corrupt: the pixels cannot be decoded",
    "Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK": (
        "corrupt: its text unpacks to far too much, as in a decompression bomb"
    ),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A photo's pixels (8-bit RGB, upright), its facts and the SHA-256 of its file (32 bytes).

    `picture_hash` is that of `photos.picturehash`, where it was asked for.
    """

    image: Image.Image
    facts: Facts
    content_hash: bytes
    picture_hash: int | None = None


class OpenPhoto(Protocol):
    """What decodes photos: `open_photo` here, or that of `Workers`, with the same outcome."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        hashed: bool = False,
    ) -> Decoded: ...


def content_hash(path: str | os.PathLike[str]) -> bytes:
    """Return the SHA-256 of a file, 32 bytes.

    Raises:
        PhotoError: the file is no regular file, cannot be read or changed meanwhile.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def open_photo(
    path: str | os.PathLike[str],
    *,
    size: int,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    hashed: bool = False,
) -> Decoded:
    """Decode the first picture of a file, its shortest side at least `size` pixels if it has them.

    The picture may be larger: JPEG is decoded at the nearest eighth, quarter or half, other
    formats are reduced to no less than twice `size`. It never has more than `pixels.MOST_PIXELS`,
    which makes pictures smaller than that whose one side is a hundred times the other. `facts`
    speak of the full size. It runs in this process: a file that crashes a decoder ends it.

    Raises:
        PhotoError: whatever keeps this file from being decoded.
    """
    if size < 1 or max_pixels < 1:
        raise ValueError("size and max_pixels must be positive")
    with _opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0)
        _ignore_warnings_of_pillow()
        image = _identified(file, path)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise PhotoError(
                str(path),
                f"{ceil(pixels / 1e6)} megapixels is over the limit of {max_pixels / 1e6:g}; "
                "raise --max-pixels to index it",
            )
        picture, facts = _decoded(image, size)
        return Decoded(picture, facts, digest, picture_hash(picture) if hashed else None)


def fingerprint(max_pixels: int) -> str:
    """Describe the decoders; where this changes, files that failed deserve another attempt."""
    try:
        heif = distributions.version("pillow-heif")
    except distributions.PackageNotFoundError:
        heif = "absent"
    return f"pillow {PIL.__version__}, pillow-heif {heif}, {max_pixels / 1e6:g} megapixels"


def pixel_limit(available_bytes: int | None) -> int:
    """Choose the largest photo to decode, in pixels, for this much free memory.

    A picture at 4 bytes a pixel may take a quarter of it. The answer is one of a few round
    numbers, so that it does not change with every run; None stands for unknown.
    """
    if available_bytes is None:
        return DEFAULT_MAX_PIXELS
    affordable = available_bytes // 16
    return next((limit for limit in _PIXEL_LIMITS if limit <= affordable), _PIXEL_LIMITS[-1])


def limit_of(wanted: int | None) -> int:
    """Return the pixels of the largest photo to decode: as wanted, or by the memory there is."""
    return wanted or pixel_limit(available_memory())


def available_memory() -> int | None:
    """Return the bytes of memory that could be had without swapping, None if unknown."""
    try:
        # Linux: sysconf counts only idle pages here, and a file cache leaves few idle.
        text = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace")
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a regular file; inside, every exception but PhotoError becomes one."""
    name = str(path)
    try:
        _require_photo_file(name, Path(path).stat())
        # Not blocking, in case a pipe has taken the file's place since.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            _require_photo_file(name, before)
            try:
                yield file
            except Exception:
                # First of all causes: what else went wrong follows from it.
                _require_unchanged(name, before, os.fstat(descriptor))
                raise
            _require_unchanged(name, before, os.fstat(descriptor))
    except PhotoError:
        raise
    except Exception as error:
        reason, transient = _reason(error)
        raise PhotoError(name, reason, transient=transient) from error


def _require_photo_file(name: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError(name, "a folder, not a photo")
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(name, "not a regular file")
    if status.st_size == 0:
        raise PhotoError(name, "empty file")
    if status.st_size > MAX_FILE_BYTES:
        raise PhotoError(name, too_large(status.st_size))


def _require_unchanged(name: str, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise PhotoError(name, "changed while it was read", transient=True)


def _identified(file: BufferedReader, path: str | os.PathLike[str]) -> ImageFile.ImageFile:
    """Start the loader that the first bytes ask for; no pixel is decoded yet."""
    prefix = file.read(PREFIX_LENGTH)
    suffix = suffix_of(str(path))
    formats = sniff(prefix, suffix)
    if not formats:
        raise PhotoError(str(path), what_else(prefix))
    if formats == ("TIFF",) and suffix in RAW_SUFFIXES:
        # Raw files are TIFF on the outside, with a tiny preview as their first picture.
        raise PhotoError(str(path), refusal(suffix) or "raw camera format")
    for number, name in enumerate(formats, start=1):
        file.seek(0)
        try:
            return _loader(name)(file)
        except SyntaxError:
            if number == len(formats):
                raise
    raise PhotoError(str(path), "not an image")


def _loader(name: str) -> type[ImageFile.ImageFile]:
    if name == "HEIF":
        # Imported for those who have such photos only: it loads 20 MB of codecs.
        from pillow_heif import HeifImageFile

        loader: type[ImageFile.ImageFile] = HeifImageFile
        return loader
    return _LOADERS[name]


def _decoded(image: ImageFile.ImageFile, size: int) -> tuple[Image.Image, Facts]:
    if image.format == "PNG":
        # Its metadata may come after the pixels.
        image.load()
    facts = read_facts(image, image.size)
    full = image.size
    if image.format == "JPEG":
        image.draft(image.mode, (size, size))
        image.load()
    else:
        image.load()
        full = image.size
    orientation = 1 if image.format in _TURNED_BY_LOADER else facts.orientation
    width, height = full if orientation < 5 else full[::-1]
    picture = upright_rgb(image, orientation, size)
    return picture, replace(facts, width=width, height=height)


def _ignore_warnings_of_pillow() -> None:
    """Add one filter that silences Pillow's remarks on damaged metadata.

    Each photo's own outcome says what is wrong with it. `warnings.catch_warnings` is no way
    to do this: it swaps the filters of all threads and puts old ones back in any order.
    One filter that stays does no harm to others: it is limited to UserWarning from Pillow,
    which leaves DecompressionBombWarning and deprecations as they are.
    """
    wanted = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)
    if wanted not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _reason(error: Exception) -> tuple[str, bool]:
    """Say in a few words what an exception means for the photo, and whether it may pass."""
    if isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EOVERFLOW):
        # From a jump to an absurd offset: the file itself was read to its end before.
        return "corrupt: it points outside of itself", False
    if isinstance(error, ImportError):
        return f"cannot be decoded: {_one_line(error)}", False
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "no such file", True
        return (error.strerror or "cannot be read").lower(), True
    if isinstance(error, MemoryError):
        return NO_MEMORY, False
    if isinstance(error, Image.DecompressionBombError):
        return "corrupt: it unpacks to far more pixels than it claims", False
    text = _one_line(error)
    cause = error.__cause__ or error
    if "truncated" in text.lower() or isinstance(cause, struct.error | EOFError | IndexError):
        return "truncated: the file ends early", False
    if isinstance(cause, _NONSENSE) or text.startswith("invalid literal"):
        return "corrupt: its header makes no sense", False
    return _PLAIN_WORDS.get(text, f"corrupt: {text}"), False


def _one_line(error: Exception) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(error)).strip()
    return text[:120] or type(error).__name__
