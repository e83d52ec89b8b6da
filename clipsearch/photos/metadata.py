"""Read what a photo says of itself: EXIF, XMP and IPTC, none of which is to be trusted.

Tag numbers and formats: Exif 3.0 (CIPA DC-008), IPTC IIM 4.2, and XMP as in `xmp.py`.
Every fact is read on its own, so that a broken block loses that fact and no other.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from clipsearch.photos.xmp import Properties, read_xmp
from clipsearch.records import Facts

MAX_NAME = 200
MAX_DESCRIPTION = 10_000
MAX_KEYWORDS = 500

# The first photograph was taken in 1826 or 1827. The other end is fixed, not "today": the
# same file has the same facts on every day and every machine, also where a clock is wrong.
FIRST_YEAR, LAST_YEAR = 1826, 2099

# What cameras write into ImageDescription when nobody described anything.
_CAMERA_JUNK = re.compile(
    r"(olympus|minolta|konica minolta|samsung|sony|kodak|vivitar)? *digital (still )?camera"
    r"|samsung camera pictures|exif_jpeg_picture|sony dsc|dcim\\.*|default|untitled|ascii"
    r"|dav|edf|hdr|hdrpl|cof|sdr|rhdr|rbt|mde|ptr|nor|oznor\w*|ozedf|burst|smart|dig|binary comment"
    r"|<?(kenox|digimax) .*|charset=\"?ascii\"?.*|jpeg|image|\W*",
    re.IGNORECASE,
)
_EXIF_RATING = 0x4746  # Microsoft's, which no standard lists
_DATE = re.compile(
    r"(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})"
    r"(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d*)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?",
)
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")

_Tags = Mapping[int, Any]
_Datasets = Mapping[tuple[int, int], bytes | list[bytes]]
_Position = tuple[float | None, float | None, float | None]
_Value = TypeVar("_Value")


def read_facts(image: Image.Image, size: tuple[int, int]) -> Facts:
    """Read the facts of an opened image whose full stored size is `size` (width, height) pixels.

    Never raises: what cannot be read is left out.
    """
    main, photo, gps = _exif(image)
    no_properties: Properties = {}
    no_datasets: _Datasets = {}
    nowhere: _Position = (None, None, None)
    xmp = _or_else(no_properties, read_xmp, image)
    iptc = _or_else(no_datasets, _iptc, image)
    orientation = _or_else(1, read_orientation, image)
    width, height = size if orientation < 5 else size[::-1]
    latitude, longitude, altitude = _or_else(nowhere, _position, gps)
    return Facts(
        format=image.format or "",
        width=width,
        height=height,
        orientation=orientation,
        taken_at=_or_else(None, _taken_at, photo, xmp),
        camera_make=_or_else(None, clean, main.get(ExifTags.Base.Make), MAX_NAME),
        camera_model=_or_else(None, clean, main.get(ExifTags.Base.Model), MAX_NAME),
        lens=_or_else(None, clean, photo.get(ExifTags.Base.LensModel), MAX_NAME),
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        rating=_or_else(None, _rating, main, xmp),
        description=_or_else(None, _description, main, xmp, iptc),
        keywords=_or_else((), _keywords, xmp, iptc),
    )


def read_orientation(image: Image.Image) -> int:
    """Return how the stored pixels lie, as an EXIF orientation from 1 (upright) to 8.

    HEIF is always 1, because its loader has turned the pixels, and for AVIF only the
    container counts (ISO/IEC 23000-22): its XMP may repeat what a converter has applied.
    """
    if image.format == "HEIF":
        return 1
    if image.format == "AVIF":
        tags = Image.Exif()
        tags.load(image.info.get("exif", b""))
        value = tags.get(ExifTags.Base.Orientation, 1)
    else:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    if isinstance(value, tuple) and value:
        value = value[0]
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def clean(value: object, limit: int) -> str | None:
    """Return a metadata value as text of at most `limit` characters, None if nothing is left.

    Text ends at a NUL, as C programs that wrote it meant. Control characters are dropped
    except line breaks and tabs, spaces at both ends too, and letters are composed (NFC).
    """
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if isinstance(value, str):
        # Pillow reads EXIF text as Latin-1; most programs of today write UTF-8.
        with suppress(UnicodeError):
            value = value.encode("latin-1")
    if isinstance(value, bytes):
        value = _decoded(value)
    if not isinstance(value, str):
        return None
    text = value.lstrip("\0").partition("\0")[0][: 4 * limit]
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return unicodedata.normalize("NFC", text).strip()[:limit].rstrip() or None


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _or_else(otherwise: _Value, read: Callable[..., _Value], *arguments: object) -> _Value:
    # Damaged blocks raise whatever the parser happens to stumble over, from struct.error to
    # ZeroDivisionError; none of them is a reason to lose the photo.
    try:
        return read(*arguments)
    except Exception:
        return otherwise


def _exif(image: Image.Image) -> tuple[_Tags, _Tags, _Tags]:
    """Return the tags of the main, the photo and the GPS directory."""
    nothing: _Tags = {}
    tags = _or_else(None, image.getexif)
    if tags is None:
        return nothing, nothing, nothing
    return (
        _or_else(nothing, dict, tags),
        _or_else(nothing, tags.get_ifd, ExifTags.IFD.Exif),
        _or_else(nothing, tags.get_ifd, ExifTags.IFD.GPSInfo),
    )


def _iptc(image: Image.Image) -> _Datasets:
    if not isinstance(image, ImageFile.ImageFile):
        return {}
    return IptcImagePlugin.getiptcinfo(image) or {}


def _taken_at(photo: _Tags, xmp: Properties) -> str | None:
    original = ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal
    digitized = ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized
    for date, offset in (original, digitized):
        found = parse_date(clean(photo.get(date), 40), clean(photo.get(offset), 10))
        if found:
            return found
    for name in ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"):
        for value in xmp.get(name, []):
            found = parse_date(value)
            if found:
                return found
    return None


def parse_date(text: str | None, offset: str | None = None) -> str | None:
    """Turn an EXIF or XMP date into ISO 8601 (`2019-06-01T12:00:00+02:00`).

    A date without a time becomes midnight. None for what is no date, for zeros and for
    years outside 1826 to 2099, which only a camera with a wrong clock writes.
    """
    match = _DATE.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(group or 0) for group in match.groups()[:6])
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return moment.isoformat(timespec="seconds") + _parse_offset(match[7] or offset)


def _parse_offset(text: str | None) -> str:
    if text is None:
        return ""
    if text.strip() == "Z":
        return "+00:00"
    match = _OFFSET.fullmatch(text.strip())
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return ""
    return f"{match[1]}{match[2]}:{match[3]}"


def _position(gps: _Tags) -> _Position:
    """Return latitude and longitude in degrees and altitude in metres.

    0° N 0° E is open sea; in photos it is what a receiver without a fix writes, so it
    counts as unknown. Without a hemisphere a number says nothing either.
    """
    latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", 90)
    longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None, None
    return latitude, longitude, _or_else(None, _altitude, gps)


def _degrees(gps: _Tags, value: int, reference: int, signs: str, limit: int) -> float | None:
    parts = gps.get(value)
    sign = (clean(gps.get(reference), 10) or "").upper()[:1]
    if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 3 or sign not in signs:
        return None
    numbers = [float(part) for part in parts]
    degrees = sum(number / 60.0**power for power, number in enumerate(numbers))
    if not sign or not math.isfinite(degrees) or min(numbers) < 0 or degrees > limit:
        return None
    return round(-degrees if sign == signs[1] else degrees, 9) + 0.0


def _altitude(gps: _Tags) -> float | None:
    metres = float(gps[ExifTags.GPS.GPSAltitude])
    reference = gps.get(ExifTags.GPS.GPSAltitudeRef, 0)
    if reference in (1, b"\x01"):
        metres = -metres
    # From the bottom of the sea to the edge of space.
    return metres if -12_000 <= metres <= 100_000 else None


def _rating(main: _Tags, xmp: Properties) -> int | None:
    candidates: list[Any] = [*xmp.get("xmp:Rating", []), main.get(_EXIF_RATING)]
    for value in candidates:
        with suppress(TypeError, ValueError, OverflowError):
            stars = float(value)
            if stars in (-1, 0, 1, 2, 3, 4, 5):
                return int(stars)
    return None


def _description(main: _Tags, xmp: Properties, iptc: _Datasets) -> str | None:
    candidates: Iterable[object] = (
        *(value.encode() for value in xmp.get("dc:description", [])[:1]),
        *_datasets(iptc, 120)[:1],
        main.get(ExifTags.Base.ImageDescription),
    )
    for candidate in candidates:
        text = clean(candidate, MAX_DESCRIPTION)
        if text and not _CAMERA_JUNK.fullmatch(text):
            return text
    return None


def _keywords(xmp: Properties, iptc: _Datasets) -> tuple[str, ...]:
    values = [*(value.encode() for value in xmp.get("dc:subject", [])), *_datasets(iptc, 25)]
    words = (clean(value, MAX_NAME) for value in values)
    return tuple(dict.fromkeys(word for word in words if word))[:MAX_KEYWORDS]


def _datasets(iptc: _Datasets, number: int) -> list[bytes]:
    """Return the values of one dataset of the IPTC application record."""
    values = iptc.get((2, number), [])
    return values if isinstance(values, list) else [values]
