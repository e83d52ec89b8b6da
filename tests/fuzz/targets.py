"""What must hold of any bytes at all: one function a reader, which raises where it does not."""

from __future__ import annotations

import hashlib
import math
import unicodedata
import warnings
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from pathlib import Path

from PIL import Image

from clipsearch.errors import PhotoError, QueryError, SidecarError, VocabularyError
from clipsearch.photos import sidecars
from clipsearch.photos.decode import open_photo
from clipsearch.photos.formats import PREFIX_LENGTH, sniff
from clipsearch.photos.metadata import (
    FIRST_YEAR,
    LAST_YEAR,
    MAX_DESCRIPTION,
    MAX_KEYWORDS,
    MAX_NAME,
    read_facts,
)
from clipsearch.photos.sidecars.packet import decode as utf8_of
from clipsearch.photos.xmp import read_xmp
from clipsearch.query import parse
from clipsearch.records import Facts
from clipsearch.vocabularies import read as read_vocabulary
from clipsearch.vocabularies import to_toml
from tests.fuzz.growing import packet
from tests.fuzz.seeds import exif_photo, iptc_photo, xmp_photo

Target = Callable[[bytes, Path], None]
"""Gets the bytes and a folder that it may write to."""

MAX_PIXELS = 4_000_000
SIZE = 32
NEW_TAG, NEW_TEXT = "fuzzed/\u2603 & <leaf>", 'What "we" say: 1 < 2 & \u00fc'
OUR_PROPERTIES = (b"subject", b"TagsList", b"AltTextAccessibility", b"description", b"Subject")


class BrokenPromiseError(AssertionError):
    """A reader did what it says it never does."""


def decode(data: bytes, folder: Path) -> None:
    """Decode a file: a picture with credible facts, or a PhotoError with a reason."""
    # Only TGA has no first bytes of its own.
    path = folder / ("photo.jpg" if sniff(data[:PREFIX_LENGTH], ".jpg") else "photo.tga")
    path.write_bytes(data)
    try:
        decoded = open_photo(path, size=SIZE, max_pixels=MAX_PIXELS)
    except PhotoError as error:
        _require(error.reason.isprintable() and 0 < len(error.reason) < 300, error.reason)
        return
    image = decoded.image
    _require(image.mode == "RGB" and min(image.size) > 0, f"{image.mode} {image.size}")
    _require(image.width * image.height <= MAX_PIXELS, f"{image.size}")
    _require(len(image.tobytes()) == 3 * image.width * image.height, "pixels are missing")
    _require(decoded.content_hash == hashlib.sha256(data).digest(), "another file's hash")
    _require_credible(decoded.facts)


def metadata(data: bytes, _: Path) -> None:
    """Read EXIF, IPTC or XMP, by the first byte, out of a photo that is whole otherwise."""
    dress = (exif_photo, iptc_photo, xmp_photo)[data[0] % 3] if data else exif_photo
    with warnings.catch_warnings():
        # Pillow's remarks on what is damaged, which decoding silences as well.
        warnings.simplefilter("ignore", UserWarning)
        with Image.open(BytesIO(dress(data[1:60_000]))) as image:
            _require_credible(read_facts(image, image.size))


def xmp(data: bytes, _: Path) -> None:
    """Read a packet of any size: texts by known names, whatever is in it."""
    image = Image.new("RGB", (1, 1))
    image.info["xmp"] = data
    for name, values in read_xmp(image).items():
        _require(name.partition(":")[0] in ("dc", "exif", "photoshop", "xmp"), name)
        _require(all(value.strip() and "\0" not in value for value in values), f"{values}")
    _require_credible(read_facts(image, image.size))


def sidecar(data: bytes, _: Path) -> None:
    """Read a sidecar, merge into it and take that out again: what others wrote stays."""
    try:
        before = sidecars.extract(data)
    except SidecarError as error:
        _require(len(str(error)) < 500, "a long reason")
        return
    for tag in before.tags:
        _require(tag == sidecars.normalize_tag(tag) != "", f"{tag!r} is no tag")
    _require(before.rating in (None, -1, 0, 1, 2, 3, 4, 5), f"{before.rating}")
    try:
        merged = sidecars.merge(data, tags=[NEW_TAG], alt_text=NEW_TEXT)
    except SidecarError:
        return  # a property in a form that XMP does not know
    again = sidecars.merge(merged, tags=[NEW_TAG], alt_text=NEW_TEXT)
    _require(again == merged, "a second merge changes something")
    after = sidecars.extract(merged)
    _require({NEW_TAG, *before.tags} == set(after.tags), f"{before.tags} became {after.tags}")
    # No text of its own may also be one that nobody can read: a structure, which stays.
    for old_text, text in (
        (before.alt_text, after.alt_text),
        (before.description, after.description),
    ):
        _require(text == old_text or (old_text is None and text == NEW_TEXT), f"{text!r}")
    _require(after.rating == before.rating, "the rating changed")
    old, new = utf8_of(data)[0], utf8_of(merged)[0]
    if not any(name in old for name in OUR_PROPERTIES):
        _require(_is_within(old, new), "bytes of others are gone")
    without = sidecars.merge(
        merged, tags=[], alt_text=None, previous_tags=[NEW_TAG], previous_alt_text=NEW_TEXT
    )
    if NEW_TAG not in before.tags and NEW_TEXT not in (before.alt_text, before.description):
        _require(sidecars.extract(without) == before, "it cannot be taken out again")


def grown(data: bytes, folder: Path) -> None:
    """Hold a well-formed sidecar, grown out of the bytes, to the same promises."""
    sidecar(packet(data), folder)


def query(data: bytes, _: Path) -> None:
    """Parse a query: what is understood is understood the same when it is written out again."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        parsed = parse(text)
    except QueryError as error:
        _require(0 <= error.position <= len(text), f"position {error.position}")
        _require(all(c.isprintable() or c == "\n" for c in str(error)), "an unprintable error")
        return
    _require(parse(str(parsed)) == parsed, f"{parsed} is understood otherwise")


def vocabulary(data: bytes, folder: Path) -> None:
    """Read a vocabulary, as text and as TOML: written out it is the same one."""
    for suffix in (".txt", ".toml"):
        path = folder / f"labels{suffix}"
        path.write_bytes(data)
        try:
            found = read_vocabulary(path)
        except VocabularyError:
            continue
        copy = folder / "copy" / "labels.toml"
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(to_toml(found), encoding="utf-8")
        _require(read_vocabulary(copy) == found, "it is another one when it is written out")


TARGETS: dict[str, Target] = {
    "decode": decode,
    "grown": grown,
    "metadata": metadata,
    "query": query,
    "sidecar": sidecar,
    "vocabulary": vocabulary,
    "xmp": xmp,
}


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenPromiseError(otherwise)


def _require_credible(facts: Facts) -> None:
    _require(facts.orientation in range(1, 9), f"orientation {facts.orientation}")
    _require(facts.rating in (None, -1, 0, 1, 2, 3, 4, 5), f"rating {facts.rating}")
    if facts.taken_at is not None:
        year = datetime.fromisoformat(facts.taken_at).year
        _require(FIRST_YEAR <= year <= LAST_YEAR, facts.taken_at)
    _require((facts.latitude is None) == (facts.longitude is None), "half a place")
    bounds = (
        (facts.latitude, 90.0),
        (facts.longitude, 180.0),
        (facts.altitude, 100_000.0),
    )
    for value, limit in bounds:
        _require(value is None or (math.isfinite(value) and abs(value) <= limit), f"{value}")
    texts = [(text, MAX_NAME) for text in (facts.camera_make, facts.camera_model, facts.lens)]
    texts += [(facts.description, MAX_DESCRIPTION), *((word, MAX_NAME) for word in facts.keywords)]
    for text, limit in texts:
        _require(text is None or _is_clean(text, limit), f"{text!r}")
    words = facts.keywords
    _require(len(words) == len(set(words)) <= MAX_KEYWORDS, f"{len(words)} keywords")


def _is_clean(text: str, limit: int) -> bool:
    controls = any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text)
    return 0 < len(text) <= limit and text == text.strip() and not controls


def _is_within(old: bytes, new: bytes) -> bool:
    """Say whether all bytes of `old` are in `new`, in their order, with others between them."""
    place = 0
    for byte in old:
        place = new.find(byte, place) + 1
        if not place:
            return False
    return True
