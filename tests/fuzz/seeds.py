"""The inputs that mutation begins with, all made here: pictures, blocks of metadata, texts."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image, TiffImagePlugin

from clipsearch.photos import sidecars

IMAGE_DESCRIPTION, MAKE, MODEL, ORIENTATION, RATING = 0x010E, 0x010F, 0x0110, 0x0112, 0x4746
EXIF, GPS = 0x8769, 0x8825
ORIGINAL, OFFSET_ORIGINAL, LENS = 0x9003, 0x9011, 0xA434

_MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "P", "I;16", "LA", "1"),
    "GIF": ("P", "L"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB",),
    "TIFF": ("RGB", "L", "I;16", "F", "CMYK", "1"),
    "BMP": ("RGB", "P", "1"),
    "TGA": ("RGB", "L", "RGBA"),
    "PPM": ("RGB", "L", "1"),
    "JPEG2000": ("RGB", "L"),
}


def photos() -> Iterator[bytes]:
    """Yield small pictures in all formats and most of their modes, with metadata."""
    exif = b"Exif\0\0" + exif_block()
    ramp = Image.linear_gradient("L").resize((48, 40))
    for name, modes in _MODES.items():
        for mode in modes:
            picture = Image.new(mode, (48, 40)) if mode in ("I;16", "F") else ramp.convert(mode)
            options: dict[str, Any] = {}
            if name in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
                options["exif"] = exif
            yield _saved(picture, name, **options)
    picture = ramp.convert("RGB")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
        drawn = picture.convert("1") if compression == "group4" else picture
        yield _saved(drawn, "TIFF", compression=compression)
    yield _saved(picture, "JPEG", progressive=True, quality=30)
    yield _saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)])
    yield _saved(picture, "WEBP", lossless=True)
    heif = pillow_heif.from_pillow(picture)
    buffer = BytesIO()
    heif.save(buffer, format="HEIF", quality=20)
    yield buffer.getvalue()
    yield _psd(16, 12)
    yield _saved(picture, "TGA", compression="tga_rle")


def blocks() -> Iterator[bytes]:
    """Yield blocks of metadata after the byte that says which kind they are."""
    yield b"\0" + exif_block()
    yield b"\0" + exif_block(endian="<")
    yield b"\1" + iptc_block((5, b"title"), (25, b"dog"), (25, b"\xff\xfe"), (120, b"Ein Hund"))
    for each in packets():
        yield b"\2" + each


def packets() -> Iterator[bytes]:
    """Yield XMP packets as several programs write them."""
    packet = sidecars.merge(None, tags=["animal/dog", "beach"], alt_text="A dog on a beach")
    yield packet
    yield sidecars.merge(None, tags=[], alt_text="Nothing else")
    yield "\ufeff".encode("utf-16-le") + packet.decode().encode("utf-16-le")
    yield "\ufeff".encode("utf-16-be") + packet.decode().encode("utf-16-be")
    namespaces = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:lr="http://ns.adobe.com/lightroom/1.0/" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    )
    bodies = (
        '<rdf:Description rdf:about="" dc:subject="one" xmp:Rating="3"/>',
        '<rdf:Description rdf:about="" xmp:Rating="-1" photoshop:DateCreated="2019-06-01">'
        "<dc:subject><rdf:Bag><rdf:li>one</rdf:li><rdf:li/></rdf:Bag></dc:subject>"
        '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">a &amp; b</rdf:li>'
        '<rdf:li xml:lang="de">c</rdf:li></rdf:Alt></dc:description></rdf:Description>',
        '<rdf:Description rdf:about="">\n  <lr:hierarchicalSubject>\r\n <rdf:Bag>\n'
        "   <rdf:li>animal|dog</rdf:li><!-- x -->\n  </rdf:Bag></lr:hierarchicalSubject>\n"
        "  <exif:DateTimeOriginal>2019-06-01T12:00:00Z</exif:DateTimeOriginal>"
        "</rdf:Description>",
        '<rdf:Description><dc:subject rdf:parseType="Resource"><rdf:value>x</rdf:value>'
        "</dc:subject></rdf:Description>",
        "",
    )
    for body in bodies:
        yield f"<x:x xmlns:x='adobe:ns:meta/'><rdf:RDF {namespaces}>{body}</rdf:RDF></x:x>".encode()


def queries() -> Iterator[bytes]:
    """Yield queries that use every part of the language."""
    yield b'dog on a beach tag:holiday -people after:2019-06 near:43.3,-1.98,20km 2:"red ball"'
    yield b'-camera:iphone,"canon eos" +snow 0.5:grass name:*.jpg image:12 rating:>=3'
    yield b'"quoted \\" words" -"a b" before:2020-01-31 on:2019 folder:"a, b" has:gps id:1,2'
    yield "type:jpeg orientation:portrait lens:50mm größe \U0001f415".encode()


def vocabularies() -> Iterator[bytes]:
    """Yield vocabularies in both forms."""
    yield "animal/dog = puppy, hound\nbeach\n# a remark\nschöne Aussicht\n".encode()
    yield (
        b'name = "mine"\ntemplates = ["a photo of a {}."]\n[group.animals]\nchoose = "any"\n'
        b'labels = ["dog", { name = "animal/cat", synonyms = ["kitten"], threshold = 0.6 }]\n'
        b'[group.weather]\nchoose = "one"\nbackground = ["a room"]\nlabels = ["sunny"]\n'
    )


def choices() -> Iterator[bytes]:
    """Yield bytes that `growing` takes its choices from."""
    for seed in range(40):
        yield random.Random(seed).randbytes(20 + 4 * seed)


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "decode": photos,
    "grown": choices,
    "metadata": blocks,
    "query": queries,
    "sidecar": packets,
    "vocabulary": vocabularies,
    "xmp": packets,
}


def exif_photo(block: bytes) -> bytes:
    """Return a JPEG with this EXIF block."""
    return _with_segment(0xE1, b"Exif\0\0" + block)


def iptc_photo(datasets: bytes) -> bytes:
    """Return a JPEG with these IPTC data sets."""
    size = struct.pack(">I", len(datasets))
    padding = b"\0" * (len(datasets) % 2)
    return _with_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + size + datasets + padding)


def xmp_photo(packet: bytes) -> bytes:
    """Return a JPEG with this XMP packet."""
    return _with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def exif_block(endian: str = ">") -> bytes:
    """Return EXIF that says all that clipsearch asks for, without the mark before it."""
    exif = Image.Exif()
    exif.endian = endian
    exif.update(
        {IMAGE_DESCRIPTION: "A dog", MAKE: "Maker", MODEL: "Model", ORIENTATION: 6, RATING: 4}
    )
    exif.get_ifd(EXIF).update(
        {ORIGINAL: "2019:06:01 12:00:00", OFFSET_ORIGINAL: "+02:00", LENS: "50 mm"}
    )
    angle = tuple(TiffImagePlugin.IFDRational(part, 1) for part in (43, 18, 30))
    exif.get_ifd(GPS).update(
        {1: "N", 2: angle, 3: "W", 4: angle, 5: b"\1", 6: TiffImagePlugin.IFDRational(7, 2)}
    )
    return exif.tobytes().removeprefix(b"Exif\0\0")


def iptc_block(*datasets: tuple[int, bytes]) -> bytes:
    """Return data sets of the application record (IPTC IIM 4.2, chapter 1)."""
    return b"".join(
        bytes([0x1C, 2, number]) + struct.pack(">H", len(value)) + value
        for number, value in datasets
    )


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _with_segment(marker: int, content: bytes) -> bytes:
    plain = _saved(Image.new("RGB", (8, 8)), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return plain[:2] + segment + plain[2:]


def _psd(width: int, height: int) -> bytes:
    """Return a Photoshop file without layers (Adobe Photoshop File Formats Specification)."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3)
    return head + struct.pack(">III", 0, 0, 0) + b"\0\0" + bytes(range(256))[: width * height] * 3
