"""What a photo says of itself is read where it is credible, and nothing it says can hurt."""

from __future__ import annotations

import json
import math
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from clipsearch.photos.decode import open_photo
from clipsearch.photos.metadata import clean, parse_date, read_facts
from clipsearch.photos.xmp import MAX_PACKET_BYTES
from clipsearch.records import Facts

DATA = Path(__file__).parents[2].parent / "shared" / "data"
EXIF_FILES: list[dict[str, Any]] = (
    [
        json.loads(line)
        for line in (DATA / "exif" / "exif.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    if DATA.exists()
    else []
)

needs_data = pytest.mark.skipif(not EXIF_FILES, reason="needs ../shared/data beside the project")

Tags = dict[int, Any]

IMAGE_DESCRIPTION, MAKE, MODEL, RATING = 0x010E, 0x010F, 0x0110, 0x4746
ORIGINAL, DIGITIZED, MODIFIED, LENS = 0x9003, 0x9004, 0x0132, 0xA434
OFFSET, OFFSET_ORIGINAL = 0x9010, 0x9011


def photo(
    main: Tags | None = None,
    detail: Tags | None = None,
    gps: Tags | None = None,
    *,
    xmp: str | None = None,
    iptc: bytes | None = None,
    suffix: str = "JPEG",
) -> Facts:
    """Write a photo with this metadata and read it back."""
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(0x8769).update(detail or {})
    exif.get_ifd(0x8825).update(gps or {})
    options: dict[str, Any] = {"exif": exif}
    if xmp is not None:
        options["xmp"] = packet(xmp)
    buffer = BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, suffix, **options)
    content = buffer.getvalue()
    if iptc is not None:
        resource = (
            b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
        )
        segment = b"Photoshop 3.0\0" + resource
        content = (
            content[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
        )
    with Image.open(BytesIO(content)) as image:
        return read_facts(image, image.size)


def packet(body: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">'
        f'{body}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def described(body: str = "", attributes: str = "") -> str:
    return f'<rdf:Description rdf:about="" {attributes}>{body}</rdf:Description>'


def dataset(number: int, value: bytes) -> bytes:
    return bytes([0x1C, 2, number]) + struct.pack(">H", len(value)) + value


def rational(numerator: int, denominator: int = 1) -> TiffImagePlugin.IFDRational:
    return TiffImagePlugin.IFDRational(numerator, denominator)


def place(
    latitude: tuple[Any, ...], longitude: tuple[Any, ...], north: str = "N", east: str = "E"
) -> Tags:
    return {1: north, 2: latitude, 3: east, 4: longitude}


# --- dates ---


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ("2019:06:01 12:34:56", None, "2019-06-01T12:34:56"),
        ("2019:06:01 12:34:56", "+02:00", "2019-06-01T12:34:56+02:00"),
        ("2019:06:01 12:34:56", "-0330", "2019-06-01T12:34:56-03:30"),
        ("2019:06:01 12:34:56", "Z", "2019-06-01T12:34:56+00:00"),
        ("2019:06:01 12:34:56", "+99:00", "2019-06-01T12:34:56"),
        ("2019:06:01 12:34:56", "home", "2019-06-01T12:34:56"),
        ("2019-06-01T12:34:56.789+02:00", None, "2019-06-01T12:34:56+02:00"),
        ("2019-06-01T12:34Z", None, "2019-06-01T12:34:00+00:00"),
        ("2019-06-01", None, "2019-06-01T00:00:00"),
        ("1943:01:31 00:00:00", None, "1943-01-31T00:00:00"),
        ("0000:00:00 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("2019:02:30 12:00:00", None, None),
        ("2019:13:01 12:00:00", None, None),
        ("2019:06:01 25:00:00", None, None),
        ("2999:01:01 00:00:00", None, None),
        ("1601:01:01 00:00:00", None, None),
        ("2019", None, None),
        ("last summer", None, None),
        ("", None, None),
        (None, "+02:00", None),
    ],
)
def test_dates(text: str | None, offset: str | None, expected: str | None) -> None:
    assert parse_date(text, offset) == expected


def test_the_moment_of_exposure_comes_first() -> None:
    detail = {
        ORIGINAL: "2001:01:01 00:00:00",
        DIGITIZED: "2002:01:01 00:00:00",
        OFFSET_ORIGINAL: "+01:00",
    }
    xmp = described(attributes='exif:DateTimeOriginal="2003-01-01T00:00:00"')
    assert photo(None, detail, xmp=xmp).taken_at == "2001-01-01T00:00:00+01:00"
    detail[ORIGINAL] = "0000:00:00 00:00:00"
    assert photo(None, detail, xmp=xmp).taken_at == "2002-01-01T00:00:00"
    assert photo(xmp=xmp).taken_at == "2003-01-01T00:00:00"


def test_the_date_of_a_change_says_nothing_of_the_photo() -> None:
    xmp = described(attributes='xmp:ModifyDate="2003-01-01T00:00:00"')
    main = {MODIFIED: "2001:01:01 00:00:00"}
    assert photo(main, {OFFSET: "+01:00"}, xmp=xmp).taken_at is None


@pytest.mark.parametrize(
    "name", ["exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"]
)
def test_dates_in_xmp(name: str) -> None:
    element = described(f"<{name}>2003-01-01T00:00:00+05:30</{name}>")
    attribute = described(attributes=f'{name}="2003-01-01T00:00:00+05:30"')
    for xmp in (element, attribute):
        assert photo(xmp=xmp).taken_at == "2003-01-01T00:00:00+05:30"


# --- names ---


def test_camera_and_lens_are_cleaned() -> None:
    facts = photo({MAKE: "Acme  \0", MODEL: " A\x01\x02 1\x7f\0junk"}, {LENS: "50mm f/1.8   "})
    assert (facts.camera_make, facts.camera_model, facts.lens) == ("Acme", "A 1", "50mm f/1.8")
    assert photo({MAKE: "   ", MODEL: "\0\0"}).camera_make is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("Ã©tÃ©", "été"),
        ("\xe9t\xe9", "été"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        ("cafe\u0301 \u4e2d", "café 中"),
        (("first", "second"), "first"),
        ((), None),
        (7, None),
        (None, None),
        ("\0\0", None),
        ("two\nlines\x0b", "two\nlines"),
        ("x" * 999, "x" * 200),
    ],
)
def test_text_is_cleaned(value: object, expected: str | None) -> None:
    assert clean(value, 200) == expected


@given(st.text() | st.binary() | st.none() | st.integers())
def test_cleaned_text_can_be_stored_anywhere(value: object) -> None:
    text = clean(value, 50)
    assert text is None or (0 < len(text) <= 50 and "\0" not in text and text.encode())


# --- places ---


def test_a_place_in_each_hemisphere() -> None:
    south = place((10.0, 30.0, 0.0), (20.0, 0.0, 36.0), "S", "W")
    facts = photo(gps={**south, 5: b"\x01", 6: 12.5})
    assert (facts.latitude, facts.longitude, facts.altitude) == (-10.5, -20.01, -12.5)
    north = place((10.5, 0.0, 0.0), (20.0, 30.0, 0.0))
    facts = photo(gps={**north, 6: 12.5})
    assert (facts.latitude, facts.longitude, facts.altitude) == (10.5, 20.5, 12.5)


@pytest.mark.parametrize(
    "gps",
    [
        place((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        place((999.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        place((1.0, 0.0, 0.0), (181.0, 0.0, 0.0)),
        place((rational(1, 0), 0.0, 0.0), (1.0, 0.0, 0.0)),
        place((1.0, 0.0, 0.0), (1.0, rational(0, 0), 0.0)),
        place((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), ""),
        place((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), "N", "X"),
        {1: "N", 2: (1.0, 0.0, 0.0)},
        {6: 100.0},
    ],
)
def test_a_place_that_cannot_be_is_unknown(gps: Tags) -> None:
    facts = photo(gps=gps)
    assert (facts.latitude, facts.longitude, facts.altitude) == (None, None, None)


def test_an_impossible_altitude_loses_only_itself() -> None:
    facts = photo(gps={**place((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)), 6: rational(1, 0)})
    assert (facts.latitude, facts.longitude, facts.altitude) == (1.0, 2.0, None)


# --- words ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("5", 5),
        ("-1", -1),
        ("3.0", 3),
        ("6", None),
        ("2.5", None),
        ("x", None),
        ("nan", None),
    ],
)
def test_rating_from_xmp(text: str, expected: int | None) -> None:
    assert photo(xmp=described(attributes=f'xmp:Rating="{text}"')).rating == expected
    assert photo(xmp=described(f"<xmp:Rating>{text}</xmp:Rating>")).rating == expected


def test_rating_from_exif_where_xmp_has_none() -> None:
    assert photo({RATING: 4}).rating == 4
    assert photo({RATING: 4}, xmp=described(attributes='xmp:Rating="2"')).rating == 2
    assert photo({RATING: 99}).rating is None


def test_keywords_are_joined_in_order() -> None:
    xmp = described(
        "<dc:subject><rdf:Bag><rdf:li>dog</rdf:li><rdf:li> été </rdf:li><rdf:li/>"
        "<rdf:li>dog</rdf:li></rdf:Bag></dc:subject>"
    )
    iptc = dataset(25, b"beach") + dataset(25, "été".encode()) + dataset(25, b"No\xebl")
    assert photo(xmp=xmp, iptc=iptc).keywords == ("dog", "été", "beach", "Noël")
    assert photo(iptc=dataset(25, b"one")).keywords == ("one",)


def test_description_from_the_best_source() -> None:
    xmp = described(
        '<dc:description><rdf:Alt><rdf:li xml:lang="de">Hund</rdf:li>'
        '<rdf:li xml:lang="x-default">A &amp; B</rdf:li></rdf:Alt></dc:description>'
    )
    main = {IMAGE_DESCRIPTION: "from EXIF"}
    iptc = dataset(120, b"from IPTC")
    assert photo(main, xmp=xmp, iptc=iptc).description == "A & B"
    assert photo(main, iptc=iptc).description == "from IPTC"
    assert photo(main).description == "from EXIF"


@pytest.mark.parametrize(
    "junk",
    ["OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "DCIM\\100MEDIA\\DJI_0001.JPG", "hdr", "---"],
)
def test_a_camera_describes_nothing(junk: str) -> None:
    assert photo({IMAGE_DESCRIPTION: junk}).description is None


def test_long_text_is_cut() -> None:
    description = photo({IMAGE_DESCRIPTION: "A" * 60_000}).description
    assert description == "A" * 10_000


# --- XMP as an attack ---


def test_entities_are_not_expanded_and_nothing_is_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    body = packet(described("<dc:description>&x;</dc:description>", 'xmp:Rating="3"'))
    attack = f'<!DOCTYPE x [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'.encode() + body
    image = Image.new("RGB", (9, 9))
    image.info["xmp"] = attack
    assert "secret" not in repr(read_facts(image, image.size))


def test_a_billion_laughs_stay_quiet() -> None:
    entities = '<!ENTITY a "haha">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">'
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    image = Image.new("RGB", (9, 9))
    body = packet(described("<dc:description>&i;</dc:description>"))
    image.info["xmp"] = f"<!DOCTYPE x [{entities}]>".encode() + body
    facts = read_facts(image, image.size)
    assert len(facts.description or "") < 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        b"<",
        b"no xml",
        b"<x:xmpmeta",
        packet("<rdf:Description>")[:-30],
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<a>" * 5000,
        b" " * MAX_PACKET_BYTES
        + packet(described(attributes='xmp:Rating="3"'))
        + b"x" * MAX_PACKET_BYTES,
        "text instead of bytes",
        7,
    ],
)
def test_a_broken_packet_has_no_properties(content: object) -> None:
    image = Image.new("RGB", (9, 9))
    image.info["xmp"] = content
    assert read_facts(image, image.size) == Facts(format="", width=9, height=9)


def test_padding_around_a_packet_is_ignored() -> None:
    image = Image.new("RGB", (9, 9))
    image.info["xmp"] = packet(described(attributes='xmp:Rating="3"')) + b"\n" * 2000 + b"\0"
    assert read_facts(image, image.size).rating == 3


def test_only_the_photo_itself_speaks() -> None:
    history = (
        "<photoshop:History><rdf:Seq><rdf:li><rdf:Description "
        'xmp:CreateDate="1999-01-01T00:00:00" xmp:Rating="5"/>'
        "</rdf:li></rdf:Seq></photoshop:History>"
    )
    facts = photo(xmp=described(history))
    assert (facts.taken_at, facts.rating) == (None, None)


# --- every format ---


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_of_each_format(suffix: str) -> None:
    facts = photo(
        {MAKE: "Acme"},
        {ORIGINAL: "2020:01:02 03:04:05"},
        place((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)),
        xmp=described(attributes='xmp:Rating="4"') if suffix != "PNG" else None,
        suffix=suffix,
    )
    assert facts.format == suffix
    assert (facts.camera_make, facts.taken_at) == ("Acme", "2020-01-02T03:04:05")
    assert (facts.latitude, facts.longitude) == (1.0, 2.0)
    assert facts.rating == (4 if suffix != "PNG" else None)


def test_metadata_of_tiff(tmp_path: Path) -> None:
    source = Image.Exif()
    source[MAKE] = "Acme"
    source[0x0112] = 6
    source.get_ifd(0x8769)[ORIGINAL] = "2020:01:02 03:04:05"
    exif = Image.Exif()
    exif.load(source.tobytes())
    Image.new("RGB", (30, 20)).save(tmp_path / "a.tif", exif=exif)
    facts = open_photo(tmp_path / "a.tif", size=9).facts
    assert (facts.camera_make, facts.taken_at) == ("Acme", "2020-01-02T03:04:05")
    assert (facts.width, facts.height, facts.orientation) == (20, 30, 6)


def test_xmp_of_png(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet(described(attributes='xmp:Rating="4"')).decode())
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png", pnginfo=info)
    assert open_photo(tmp_path / "a.png", size=9).facts.rating == 4


# --- real photos ---


def expected_date(text: str | None) -> str | None:
    return text and text.replace(":", "-", 2).replace(" ", "T")


@needs_data
@pytest.mark.parametrize("entry", EXIF_FILES, ids=lambda entry: Path(entry["file"]).stem)
def test_agrees_with_exiftool(entry: dict[str, Any]) -> None:
    facts = open_photo(DATA / "exif" / entry["file"], size=224).facts
    assert [facts.width, facts.height] == entry["display_size"]
    assert facts.orientation == (entry["orientation"] or 1)
    assert facts.camera_make == entry["make"]
    assert facts.camera_model == entry["model"]
    assert facts.rating == entry["rating"]
    for ours, theirs in (
        (facts.latitude, entry["lat"]),
        (facts.longitude, entry["lon"]),
        (facts.altitude, entry["alt"]),
    ):
        assert ours == (pytest.approx(theirs, abs=1e-7) if theirs not in (None, "") else None)
    date = expected_date(entry["date_original"] or entry["create_date"])
    if date is not None:
        assert facts.taken_at == date + (entry["offset"] or "")
    else:
        # The list holds EXIF dates only; of these files one has a date in XMP.
        found = {"thompson-springs": "2022-01-10T15:15:44"}
        assert facts.taken_at == found.get(Path(entry["file"]).stem.rpartition("__")[2])


@needs_data
def test_eight_orientations_show_one_picture() -> None:
    pictures = [
        np.asarray(
            open_photo(DATA / "exif" / "img" / f"recurser__Landscape_{n}.jpg", size=224).image
        )
        for n in range(1, 9)
    ]
    for picture in pictures[1:]:
        assert picture.shape == pictures[0].shape
        assert np.abs(picture.astype(int) - pictures[0]).mean() < 6


@needs_data
@pytest.mark.parametrize(
    ("name", "taken_at"),
    [
        ("exif_date_zero", None),
        ("exif_date_impossible", None),
        ("exif_date_text", None),
        ("exif_date_future", None),
    ],
)
def test_odd_dates(name: str, taken_at: str | None) -> None:
    facts = open_photo(DATA / "odd" / "files" / f"{name}.jpg", size=224).facts
    assert facts.taken_at == taken_at


@needs_data
def test_every_number_is_finite_and_every_text_clean() -> None:
    for entry in (DATA / "odd" / "files").glob("exif_*.jpg"):
        facts = open_photo(entry, size=224).facts
        for number in (facts.latitude, facts.longitude, facts.altitude):
            assert number is None or math.isfinite(number), entry.name
        for text in (facts.camera_make, facts.camera_model, facts.description):
            assert text is None or text.isprintable(), entry.name
        if "gps" in entry.name:
            assert facts.latitude is None, entry.name
