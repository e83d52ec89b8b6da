"""What counts as a photo: by the name for a walk, by the first bytes for a decoder."""

from __future__ import annotations

import os

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        *(".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif", ".hif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".psd", ".tga"),
        *(".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
"""Suffixes of files that are worth opening, lower case.

Icons (.ico) are left out: they are no photos, and Pillow unpacks them before anyone can
ask how large they claim to be.
"""

RAW_SUFFIXES = frozenset(
    {
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr"),
        *(".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef"),
        *(".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    }
)

MAX_FILE_BYTES = 1 << 30

PREFIX_LENGTH = 256
"""How many bytes of a file `sniff` wants to see."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"8BPS", "PSD"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
)
_HEVC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_CONTAINER_BRANDS = frozenset({b"mif1", b"msf1", b"mif2"})
_TGA_SUFFIXES = frozenset({".tga"})


def suffix_of(name: str) -> str:
    """Return the lower-case suffix of a file name with its dot, or `''`."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - names may hold any byte, Path adds nothing
    return "" if suffix == "." else suffix


def refusal(suffix: str) -> str | None:
    """Say why no file with this suffix is opened, or return None if it is worth opening.

    A file without a suffix is worth opening: its content decides.
    """
    if not suffix or suffix in SUFFIXES:
        return None
    if suffix in RAW_SUFFIXES:
        return f"raw camera format ({suffix}) is not supported yet"
    if suffix == ".jxl":
        return "JPEG XL (.jxl) is not supported yet"
    shown = os.fsencode(suffix).decode("utf-8", "replace")
    if len(shown) > 16 or not shown.isprintable():
        return "not a photo format"
    return f"not a photo format ({shown})"


def too_large(size: int) -> str:
    """Say that a file of `size` bytes is over the limit."""
    return f"{size / 2**30:.1f} GiB is over the limit of 1 GiB for one photo"


def sniff(prefix: bytes, suffix: str) -> tuple[str, ...]:
    """Name the formats that a file with these first bytes may have, the likeliest first.

    The suffix is only asked where a format has no signature of its own (TGA).
    """
    for magic, name in _MAGIC:
        if prefix.startswith(magic):
            return (name,)
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"WEBP":
        return ("WEBP",)
    if prefix[4:8] == b"ftyp":
        return _sniff_container(prefix)
    if prefix[:1] == b"P" and prefix[1:2] in b"123456" and prefix[2:3].isspace():
        return ("PPM",)
    if suffix in _TGA_SUFFIXES:
        return ("TGA",)
    return ()


def what_else(prefix: bytes) -> str:
    """Say what a file is that is no image, as far as its first bytes tell."""
    if prefix.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")):
        return "JPEG XL is not supported yet"
    if prefix.startswith(b"version https://git-lfs"):
        return "not an image: a git-lfs pointer to one; fetch it with git lfs pull"
    if not prefix.strip(b"\x00"):
        return "not an image: it begins with zeros only, as after a failed copy"
    if prefix.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "not an image: a web page"
    return "not an image"


def _sniff_container(prefix: bytes) -> tuple[str, ...]:
    end = min(int.from_bytes(prefix[:4], "big"), len(prefix))
    major = prefix[8:12]
    brands = {prefix[at : at + 4] for at in range(16, end - 3, 4)}
    if major in _AVIF_BRANDS:
        return ("AVIF",)
    if major in _HEVC_BRANDS:
        return ("HEIF",)
    if major in _CONTAINER_BRANDS:
        # Which codec is inside only shows in the list of compatible brands, if anywhere.
        return ("AVIF", "HEIF") if brands & _AVIF_BRANDS else ("HEIF", "AVIF")
    return ()
