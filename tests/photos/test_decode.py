"""Whatever a file holds, it becomes an upright RGB picture or a PhotoError, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from clipsearch.errors import PhotoError
from clipsearch.photos import decode
from clipsearch.photos.decode import Decoded, content_hash, open_photo
from clipsearch.photos.metadata import read_facts
from clipsearch.photos.walk import walk

ODD = Path(__file__).parents[2].parent / "shared" / "data" / "odd"
ODD_FILES: list[dict[str, Any]] = (
    [json.loads(line) for line in (ODD / "odd.jsonl").read_text(encoding="utf-8").splitlines()]
    if ODD.exists()
    else []
)

needs_odd = pytest.mark.skipif(not ODD_FILES, reason="needs ../shared/data beside the project")

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def corner_picture(size: tuple[int, int] = (120, 80)) -> Image.Image:
    """White with a red top left corner, so that every turn of it looks different."""
    image = Image.new("RGB", size, WHITE)
    image.paste(RED, (0, 0, size[0] // 2, size[1] // 4))
    return image


def colour(decoded: Decoded, x: float, y: float) -> tuple[int, ...]:
    image = decoded.image
    value = image.getpixel((int(x * (image.width - 1)), int(y * (image.height - 1))))
    assert isinstance(value, tuple)
    return value


def near(one: tuple[int, ...], other: tuple[int, ...], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance


def spread(decoded: Decoded) -> float:
    return float(np.asarray(decoded.image).std())


def opened_or_refused(path: Path, **options: Any) -> Decoded | PhotoError:
    try:
        return open_photo(path, size=224, **options)
    except PhotoError as error:
        return error


def refused(path: Path, **options: Any) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        open_photo(path, size=224, **options)
    assert caught.value.path == str(path)
    assert str(path.parent) not in caught.value.reason
    return caught.value


# --- what comes out ---


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("a.jpg", mode) for mode in ("L", "RGB", "CMYK")),
        *(("a.png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("a.tif", mode) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "LAB", "I;16", "F")),
        *((f"a.{suffix}", "RGB") for suffix in ("bmp", "ppm", "webp", "avif", "jp2", "tga", "gif")),
    ],
)
def test_every_kind_becomes_rgb(tmp_path: Path, name: str, mode: str) -> None:
    picture = corner_picture()
    if mode in ("I;16", "F"):
        grey = np.asarray(picture.convert("L"), dtype=np.float32) * 200
        array = grey.astype(np.uint16) if mode == "I;16" else grey
        source = Image.fromarray(array)
    elif mode == "LAB":
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        converted = ImageCms.applyTransform(picture, to_lab)
        assert converted is not None
        source = converted
    else:
        source = picture.convert(mode)
    source.save(tmp_path / name)
    decoded = open_photo(tmp_path / name, size=80)
    assert decoded.image.mode == "RGB"
    assert decoded.image.size == (120, 80)
    assert (decoded.facts.width, decoded.facts.height) == (120, 80)
    assert near(colour(decoded, 0.9, 0.9), WHITE)
    if mode in ("RGB", "RGBA", "CMYK", "LAB", "P"):
        assert near(colour(decoded, 0.1, 0.1), RED, 40)
    else:
        assert sum(colour(decoded, 0.1, 0.1)) < 400


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(corner_picture()).save(tmp_path / "a.heic", quality=90)
    decoded = open_photo(tmp_path / "a.heic", size=80)
    assert decoded.facts.format == "HEIF"
    assert near(colour(decoded, 0.1, 0.1), RED, 40)
    # Nobody else's Image.open changes by that.
    assert "HEIF" not in Image.OPEN


def test_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    corner_picture().save(tmp_path / "a.jpg", "PNG")
    assert open_photo(tmp_path / "a.jpg", size=80).facts.format == "PNG"
    corner_picture().save(tmp_path / "bare", "JPEG")
    assert open_photo(str(tmp_path / "bare"), size=80).facts.format == "JPEG"


def test_hash_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    corner_picture().save(path)
    expected = hashlib.sha256(path.read_bytes()).digest()
    assert open_photo(path, size=80).content_hash == content_hash(path) == expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_orientation_is_applied_exactly_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = corner_picture()
    if suffix == "heic":
        pillow_heif = pytest.importorskip("pillow_heif")
        container = pillow_heif.from_pillow(picture)
        container.info["exif"] = exif.tobytes()
        container.save(path, quality=90)
    else:
        picture.save(path, exif=exif)
    tagged = picture.copy()
    tagged.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(tagged)
    decoded = open_photo(path, size=80)
    assert decoded.image.size == upright.size == (decoded.facts.width, decoded.facts.height)
    difference = np.asarray(decoded.image, dtype=int) - np.asarray(upright, dtype=int)
    assert np.abs(difference).mean() < 4
    # A second transposition by a caller must find nothing left to do.
    assert ImageOps.exif_transpose(decoded.image).size == decoded.image.size


def test_orientation_in_xmp_counts_where_exif_has_none(tmp_path: Path) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    corner_picture().save(tmp_path / "a.jpg", xmp=xmp)
    assert open_photo(tmp_path / "a.jpg", size=80).image.size == (80, 120)
    # In AVIF the container has the say, and this one says upright.
    corner_picture().save(tmp_path / "a.avif", xmp=xmp)
    assert open_photo(tmp_path / "a.avif", size=80).image.size == (120, 80)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(1, 50), (50, 50), (51, 100), (100, 100), (199, 200), (201, 400), (400, 400), (999, 400)],
)
def test_jpeg_is_decoded_at_the_nearest_scale(tmp_path: Path, wanted: int, expected: int) -> None:
    corner_picture((600, 400)).save(tmp_path / "a.jpg")
    decoded = open_photo(tmp_path / "a.jpg", size=max(wanted, 25))
    assert min(decoded.image.size) == expected
    assert (decoded.facts.width, decoded.facts.height) == (600, 400)


@pytest.mark.parametrize(("wanted", "expected"), [(100, 200), (101, 400), (250, 400), (60, 133)])
def test_other_formats_keep_twice_the_size(tmp_path: Path, wanted: int, expected: int) -> None:
    corner_picture((600, 400)).save(tmp_path / "a.png")
    decoded = open_photo(tmp_path / "a.png", size=wanted)
    assert min(decoded.image.size) in (expected, expected + 1)
    assert min(decoded.image.size) >= min(2 * wanted, 400)
    assert (decoded.facts.width, decoded.facts.height) == (600, 400)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_bands_give_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    array = np.random.default_rng(1).integers(0, 255, (301, 203), dtype=np.uint8)
    image = Image.fromarray(array)
    if mode == "I;16":
        image = Image.fromarray(array.astype(np.uint16) * 100)
    else:
        image = image.convert("RGB").convert(mode)
    image.save(tmp_path / "a.png")
    whole = open_photo(tmp_path / "a.png", size=25)
    monkeypatch.setattr("clipsearch.photos.pixels.BAND_PIXELS", 2000)
    banded = open_photo(tmp_path / "a.png", size=25)
    assert np.array_equal(np.asarray(whole.image), np.asarray(banded.image))


# --- colours ---


@pytest.mark.parametrize(
    ("low", "high"), [(0, 65535), (0, 4095), (30000, 31000)], ids=["16 bit", "12 bit", "narrow"]
)
def test_deep_grey_is_scaled_and_not_clipped(tmp_path: Path, low: int, high: int) -> None:
    ramp = np.linspace(low, high, 256).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (64, 1))).save(tmp_path / "a.png")
    row = np.asarray(open_photo(tmp_path / "a.png", size=64).image)[0, :, 0].astype(int)
    assert np.abs(row - np.arange(256)).max() <= 1


def test_floats_are_scaled_whatever_they_hold(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(-1, 1, 128, dtype=np.float32), (64, 1))
    ramp[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    decoded = open_photo(tmp_path / "a.tif", size=64)
    assert near(colour(decoded, 0, 1), BLACK)
    assert near(colour(decoded, 1, 1), WHITE)
    assert near(colour(decoded, 0.5, 1), (127, 127, 127))


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, 3e38])
def test_an_empty_float_picture_is_no_error(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((9, 9), value, dtype=np.float32)).save(tmp_path / "a.tif")
    assert open_photo(tmp_path / "a.tif", size=9).image.size == (9, 9)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    layer.paste((0, 0, 255, 255), (0, 0, 20, 40))
    flat = Image.new("P", (40, 40), 1)
    flat.putpalette([0, 0, 255, 0, 0, 0])
    flat.paste(0, (0, 0, 20, 40))
    layer.save(tmp_path / "rgba.png")
    layer.save(tmp_path / "rgba.webp", lossless=True)
    layer.save(tmp_path / "rgba.gif")
    flat.save(tmp_path / "palette.png", transparency=1)
    for path in sorted(tmp_path.iterdir()):
        decoded = open_photo(path, size=40)
        assert near(colour(decoded, 1, 0.5), WHITE), path.name
        assert near(colour(decoded, 0, 0.5), (0, 0, 255)), path.name


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_transparent_colour_becomes_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (40, 40), 0)
    image.paste(WHITE if mode == "RGB" else 255, (0, 0, 20, 40))
    image.save(tmp_path / "a.png", transparency=BLACK if mode == "RGB" else 0)
    assert near(colour(open_photo(tmp_path / "a.png", size=40), 1, 0.5), WHITE)


def test_a_wide_profile_is_brought_to_srgb(tmp_path: Path) -> None:
    # The primaries of Adobe RGB (1998), as a profile made here.
    profile = wide_profile()
    Image.new("RGB", (64, 64), (200, 60, 60)).save(tmp_path / "a.png", icc_profile=profile)
    Image.new("RGB", (64, 64), (200, 60, 60)).save(tmp_path / "b.png", icc_profile=b"damaged")
    red, green, _ = colour(open_photo(tmp_path / "a.png", size=64), 0.5, 0.5)
    assert red > 215
    assert green < 60
    assert colour(open_photo(tmp_path / "b.png", size=64), 0.5, 0.5) == (200, 60, 60)


def wide_profile() -> bytes:
    """Return a matrix profile (ICC.1:2001) with the primaries of Adobe RGB (1998)."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78
    tags = {
        b"desc": text + b"\0" * (-len(text) % 4),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    length = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", length, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


# --- what is refused ---


ENDS_EARLY = "truncated: the file ends early"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"x", "not an image"),
        (b"\xff\xd8\xff\xe0", "truncated: the file ends early"),
        # Pillow 13 finds no size in it, Pillow 12 the end of the file.
        (b"\xff\xd8\xff", f"no pixels: the header has no usable size|{ENDS_EARLY}"),
        (b"P5 9 x9 255 ", "corrupt: its header makes no sense"),
        (bytes(4096), "not an image: it begins with zeros only, as after a failed copy"),
        (b"<!DOCTYPE html><title>404</title>", "not an image: a web page"),
        (b"\xff\x0a" + bytes(90), "JPEG XL is not supported yet"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    error = refused(path)
    assert error.reason in reason.split("|")
    assert not error.transient


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "bmp", "ppm", "avif"])
def test_half_a_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(2).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refused(path).reason.startswith(("truncated", "corrupt"))


def test_a_truncated_jpeg_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((256, 256), 90).save(path)
    os.truncate(path, path.stat().st_size // 2)
    assert refused(path).reason == "truncated: the file ends early"


def png_claiming(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", b"x\x9c")
        + chunk(b"IEND", b"")
    )


def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_claiming(30_000, 30_000))
    assert refused(path).reason == (
        "900 megapixels is over the limit of 300; raise --max-pixels to index it"
    )
    assert refused(path, max_pixels=2_500_000).reason.startswith(
        "900 megapixels is over the limit of 2.5;"
    )
    # Above the limit of Pillow's own, which is none of ours.
    assert refused(path, max_pixels=10**9).reason.startswith(("truncated", "corrupt"))


def test_the_limit_is_not_rounded_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_claiming(1000, 1001))
    assert refused(path, max_pixels=1_000_000).reason.startswith(
        "2 megapixels is over the limit of 1;"
    )


def test_raw_files_do_not_pass_as_their_preview(tmp_path: Path) -> None:
    corner_picture().save(tmp_path / "a.nef", "TIFF")
    assert refused(tmp_path / "a.nef").reason == "raw camera format (.nef) is not supported yet"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "big.jpg").touch()
    os.truncate(tmp_path / "big.jpg", 10 << 30)
    assert refused(tmp_path / "pipe.jpg").reason == "not a regular file"
    assert refused(tmp_path / "zero.jpg").reason == "not a regular file"
    assert refused(tmp_path).reason == "a folder, not a photo"
    assert (
        refused(tmp_path / "big.jpg").reason == "10.0 GiB is over the limit of 1 GiB for one photo"
    )
    assert refused(tmp_path / "a\0b.jpg").reason.startswith("corrupt")


def test_what_may_pass_is_marked_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    missing = refused(path)
    assert (missing.reason, missing.transient) == ("no such file", True)
    corner_picture().save(path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        denied = refused(path)
    assert (denied.reason, denied.transient) == ("permission denied", True)
    with pytest.raises(PhotoError, match="no such file"):
        content_hash(tmp_path / "b.jpg")


def test_a_file_that_grows_meanwhile_is_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    corner_picture().save(path)

    def meanwhile(image: Image.Image, size: tuple[int, int]) -> object:
        with path.open("ab") as file:
            file.write(b"more")
        return read_facts(image, size)

    monkeypatch.setattr(decode, "read_facts", meanwhile)
    error = refused(path)
    assert (error.reason, error.transient) == ("changed while it was read", True)


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), SystemError("tile"), ZeroDivisionError("by 0")]
)
def test_no_other_exception_gets_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> object:
        raise error

    corner_picture().save(tmp_path / "a.png")
    monkeypatch.setattr(decode, "upright_rgb", fail)
    assert not refused(tmp_path / "a.png").transient


def test_an_interrupt_gets_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    corner_picture().save(tmp_path / "a.png")
    monkeypatch.setattr(decode, "upright_rgb", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_photo(tmp_path / "a.png", size=80)


# --- the program around it ---


def test_settings_of_pillow_stay_as_they_are(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    corner_picture().save(tmp_path / "a.jpg")
    open_photo(tmp_path / "a.jpg", size=80)
    assert limit == Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        open_photo(tmp_path / "a.jpg", size=80)
        warnings.warn("mine", UserWarning, stacklevel=1)
        warnings.warn_explicit("bomb", Image.DecompressionBombWarning, "x", 1, module="PIL.Image")
    assert [str(warning.message) for warning in seen] == ["mine", "bomb"]


@needs_odd
def test_threads_agree_and_no_warning_leaks() -> None:
    files = [ODD / entry["file"] for entry in ODD_FILES if entry["bytes"] < 200_000]

    def told(path: Path) -> str:
        outcome = opened_or_refused(path)
        if isinstance(outcome, PhotoError):
            return outcome.reason
        return hashlib.sha256(outcome.image.tobytes()).hexdigest() + repr(outcome.facts)

    alone = [told(path) for path in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(told, files * 2)) == alone * 2


def test_fingerprint_names_what_decides() -> None:
    text = decode.fingerprint(300_000_000)
    assert text.startswith("pillow ")
    assert text.endswith(", 300 megapixels")
    assert "pillow-heif" in text


@pytest.mark.parametrize(
    ("available", "limit"),
    [
        (None, 300_000_000),
        (64 << 30, 300_000_000),
        (4 << 30, 200_000_000),
        (1 << 30, 50_000_000),
        (0, 25_000_000),
    ],
)
def test_small_machines_decode_smaller_photos(available: int | None, limit: int) -> None:
    assert decode.pixel_limit(available) == limit


def test_memory_is_known_or_not() -> None:
    available = decode.available_memory()
    assert available is None or available > 1 << 20


# --- odd files ---


@needs_odd
@pytest.mark.parametrize("entry", ODD_FILES, ids=lambda entry: entry["file"][6:60])
def test_odd_files(entry: dict[str, Any]) -> None:
    outcome = opened_or_refused(ODD / entry["file"])
    if isinstance(outcome, PhotoError):
        assert entry["expect"] in ("skip", "either"), outcome.reason
        assert not outcome.transient
        assert outcome.reason.isprintable()
    else:
        assert entry["expect"] in ("index", "either")
        assert outcome.image.mode == "RGB"
        assert "pixel_check" not in entry or spread(outcome) > 10


@needs_odd
def test_a_walk_of_the_odd_files_offers_all_that_should_be_indexed() -> None:
    offered = {file.path for file in walk(ODD / "files").files}
    wanted = {entry["file"][6:] for entry in ODD_FILES if entry["expect"] == "index"}
    assert wanted <= offered
    assert not {"._IMG_0001.jpg", "pillow__test-ole-file.doc", "immich__2000.xmp"} & offered


@needs_odd
@pytest.mark.parametrize("name", ["pil_sample_cmyk.jpg", "tiff_strip_cmyk_jpeg.tif"])
def test_cmyk_is_not_inverted(name: str) -> None:
    decoded = open_photo(ODD / "files" / f"pillow__{name}", size=100)
    assert near(colour(decoded, 0.02, 0.02), (237, 28, 36), 30)
    assert near(colour(decoded, 0.9, 0.9), BLACK, 30)


@needs_odd
def test_lab_looks_like_the_rgb_of_the_same_picture() -> None:
    lab = open_photo(ODD / "files" / "pillow__hopper.Lab.tif", size=128)
    rgb = open_photo(ODD / "files" / "pillow__hopper.psd", size=128)
    difference = np.asarray(lab.image, dtype=int) - np.asarray(rgb.image, dtype=int)
    assert np.abs(difference).mean() < 12


@needs_odd
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_all_odd_files_together_need_little_memory() -> None:
    program = (
        "import pathlib, sys\n"
        "from clipsearch.errors import PhotoError\n"
        "from clipsearch.photos.decode import open_photo\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        open_photo(path, size=224)\n"
        "    except PhotoError:\n"
        "        pass\n"
        "sys.stdout.write(pathlib.Path('/proc/self/status').read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(ODD / "files")],
        check=True,
        capture_output=True,
        timeout=300,
    )
    # Not ru_maxrss, which a program inherits from the one that starts it.
    peak = re.search(rb"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak is not None
    assert int(peak[1]) < 512 << 10


# --- any bytes at all ---


def make_samples() -> list[bytes]:
    samples = []
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    for name, options in (
        ("JPEG", {"exif": exif}),
        ("PNG", {"exif": exif}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"exif": exif}),
        ("GIF", {}),
        ("WEBP", {"exif": exif}),
    ):
        buffer = BytesIO()
        corner_picture((24, 16)).save(buffer, name, **options)
        samples.append(buffer.getvalue())
    return samples


SAMPLES = make_samples()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid small file with some bytes changed, cut out or repeated."""
    content = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["change", "cut", "end", "repeat"])):
            case "change":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + draw(st.integers(1, 8))]
            case "end":
                del content[max(at, 8) :]
            case _:
                content[at:at] = content[at : at + draw(st.integers(1, 40))]
    return bytes(content)


@given(content=st.binary(max_size=200) | damaged())
@example(content=b"II*\x00\xff\xff\xff\xff")
@example(content=b"P5 9 9 70000 ")
@example(content=b"II+\x00\x08\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_bytes_decode_or_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tga"
    path.write_bytes(content)
    outcome = opened_or_refused(path, max_pixels=1_000_000)
    if isinstance(outcome, PhotoError):
        assert outcome.reason
        assert not outcome.transient
    else:
        assert outcome.image.mode == "RGB"
