"""Random searches of the catalogue in `filter_oracle`, each with what it means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from tests import filter_oracle as oracle
from tests.filter_oracle import Asked, Row

Test = Callable[[Row], bool]
Filter = tuple[str, Test]  # as it is typed, and what it means

KINDS = {
    "JPEG": ("jpeg", "JPG", ".jpe", "jfif", "mpo"),
    "PNG": ("png", "apng"),
    "HEIF": ("heif", "HEIC", "hif"),
    "WEBP": ("webp",),
    "AVIF": ("avif",),
    "TIFF": ("tif", "Tiff"),
    "GIF": (".gif",),
    "BMP": ("bmp", "dib"),
    "JPEG2000": ("jpeg2000", "jp2", "j2k"),
    "PPM": ("ppm", "pgm", "pnm"),
}
HAS: dict[str, Test] = {
    "gps": lambda row: row.facts.latitude is not None,
    "alt": lambda row: row.alt is not None,
    "tags": lambda row: bool(row.tags),
    "date": lambda row: row.facts.taken_at is not None,
    "camera": lambda row: row.camera is not None,
    "lens": lambda row: row.facts.lens is not None,
    "rating": lambda row: row.facts.rating is not None,
    "description": lambda row: row.facts.description is not None,
}
SHAPES: dict[str, Test] = {
    "portrait": lambda row: row.facts.height > row.facts.width,
    "landscape": lambda row: row.facts.width > row.facts.height,
    "square": lambda row: row.facts.width == row.facts.height,
}
WORDS = ("lisbon", "tram", "Trams", "beach", "café", "CAFE", "vista", "red ball", "a quiet hill")
FULL = "%Y-%m-%dT%H:%M:%S"
PRECISIONS = (4, 7, 10, 13, 16, 19)


def one_of_them(tests: Sequence[Test]) -> Test:
    return lambda row: any(test(row) for test in tests)


def opposite(test: Test) -> Test:
    return lambda row: not test(row)


@st.composite
def patterns(draw: st.DrawFn, seeds: Sequence[str]) -> str:
    """Something close to a text that occurs: part of it, in other case, with wildcards."""
    text = draw(st.sampled_from(seeds)).replace('"', "?")
    match draw(st.integers(0, 9)):
        case 0:
            text = text.upper()
        case 1:
            text = text.swapcase()
        case 2:
            at = draw(st.integers(0, len(text)))
            text = text[:at] + "*"
        case 3:
            at = draw(st.integers(0, len(text)))
            text = "*" + text[at:]
        case 4 if text:
            at = draw(st.integers(0, len(text) - 1))
            text = text[:at] + draw(st.sampled_from("?*_%")) + text[at + 1 :]
        case 5:
            first, last = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
            text = text[first:last]
        case 6:
            text = draw(st.text("a*?%_[]/.\\é", min_size=1, max_size=4))
    return " ".join(text.split()) or "*"


@st.composite
def texts(draw: st.DrawFn, key: str) -> Filter:
    """A filter that compares names."""
    seeds: Sequence[str]
    fits: Callable[[str, Row], bool]
    match key:
        case "name":
            seeds = [name for each in oracle.NAMES for name in (each, each.rpartition(".")[0])]
            fits = lambda wanted, row: oracle.fits_name(wanted, row.name)  # noqa: E731
        case "folder":
            inner = [folder.decode("utf-8", "replace") for folder in oracle.FOLDERS]
            seeds = [*inner, *(f"Pictures/{each}" for each in inner), "trips/trips", "archive"]
            fits = lambda wanted, row: oracle.fits_path(wanted, row.folder_shown)  # noqa: E731
        case "tag":
            seeds = oracle.LABELS
            fits = lambda wanted, row: any(  # noqa: E731
                oracle.fits_path(wanted, label) for label in row.tags
            )
        case "camera":
            seeds = [
                name
                for pair in oracle.CAMERAS
                for name in (*pair, " ".join(filter(None, pair)))
                if name
            ]
            fits = lambda wanted, row: oracle.fits_part(wanted, row.camera)  # noqa: E731
        case _:
            seeds = [lens for lens in oracle.LENSES if lens]
            fits = lambda wanted, row: oracle.fits_part(wanted, row.facts.lens)  # noqa: E731
    values = draw(st.lists(patterns([each for each in seeds if each]), min_size=1, max_size=3))

    def test(row: Row) -> bool:
        return any(fits(value, row) for value in values)

    return f"{key}:" + ",".join(f'"{value}"' for value in values), test


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, str, datetime, datetime, int | None]:
    """A partial date: as typed, its zone, its beginning and end, and the zone in seconds."""
    dates = [date[:19] for date in oracle.DATES if date and "1000" < date[:4] < "2100"]
    near = datetime.fromisoformat(draw(st.sampled_from(dates)))
    near += timedelta(seconds=draw(st.sampled_from((0, 0, 0, 1, -1, 7200, -86400, 86400 * 31))))
    width = draw(st.sampled_from(PRECISIONS))
    text = near.isoformat()[:width]
    start = datetime.fromisoformat(text + "0001-01-01T00:00:00"[width:])
    units = {10: 86400, 13: 3600, 16: 60, 19: 1}
    if width == 4:
        end = start.replace(year=start.year + 1)
    elif width == 7:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        end = start + timedelta(seconds=units[width])
    zones = {"": None, "Z": 0, "+02:00": 7200, "-0530": -19800, "+14": 50400, "-12:00": -43200}
    zone = draw(st.sampled_from(sorted(zones))) if width >= 13 else ""
    return text, zone, start, end, zones[zone]


def taken(row: Row, offset: int | None) -> datetime | None:
    """When a photo was taken: by its camera's clock, or as an instant if a zone was typed."""
    if row.facts.taken_at is None:
        return None
    found = datetime.fromisoformat(row.facts.taken_at)
    if offset is None:
        return found.replace(tzinfo=None)
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone(timedelta(seconds=offset)))
    return found.astimezone(UTC)


def within(start: datetime | None, end: datetime | None, offset: int | None) -> Test:
    zone = None if offset is None else timezone(timedelta(seconds=offset))
    first = start and start.replace(tzinfo=zone)
    stop = end and end.replace(tzinfo=zone)

    def test(row: Row) -> bool:
        when = taken(row, offset)
        if when is None:
            return False
        return (first is None or when >= first) and (stop is None or when < stop)

    return test


@st.composite
def dates(draw: st.DrawFn) -> Filter:
    key = draw(st.sampled_from(("before", "after", "on", "on")))
    values: list[str] = []
    tests: list[Test] = []
    for text, zone, start, end, offset in draw(st.lists(moments(), min_size=1, max_size=2)):
        if key == "before":
            values.append(text + zone)
            tests.append(within(None, start, offset))
        elif key == "after":
            values.append(text + zone)
            tests.append(within(start, None, offset))
        else:
            form = draw(st.sampled_from(("{0}{1}", "{0}{1}..", "..{0}{1}", "{0}{1}..{0}{1}")))
            values.append(form.format(text, zone))
            is_open_before, is_open_behind = form.startswith(".."), form.endswith("..")
            first, stop = (None if is_open_before else start), (None if is_open_behind else end)
            tests.append(within(first, stop, offset))
    return f"{key}:" + ",".join(values), one_of_them(tests)


@st.composite
def numbers(draw: st.DrawFn, key: str) -> Filter:
    def of(row: Row) -> int | None:
        return row.facts.rating if key == "rating" else row.id

    lowest, highest = (-1, 5) if key == "rating" else (1, oracle.PHOTOS + 5)
    values: list[str] = []
    tests: list[Test] = []
    for _ in range(draw(st.integers(1, 3))):
        low, high = sorted(draw(st.tuples(*[st.integers(lowest, highest)] * 2)))
        form, first, last = draw(
            st.sampled_from(
                (
                    (f"{low}", low, low),
                    (f"{low}..{high}", low, high),
                    (f"{low}..", low, None),
                    (f"..{high}", None, high),
                    (f">={low}", low, None),
                    (f"<={high}", None, high),
                )
            )
        )
        values.append(form)
        tests.append(between(of, first, last))
    return f"{key}:" + ",".join(values), one_of_them(tests)


def between(of: Callable[[Row], int | None], low: int | None, high: int | None) -> Test:
    def test(row: Row) -> bool:
        value = of(row)
        if value is None:
            return False
        return (low is None or value >= low) and (high is None or value <= high)

    return test


@st.composite
def areas(draw: st.DrawFn) -> Filter:
    latitude, longitude = draw(
        st.sampled_from([(a, b) for a, b in oracle.PLACES if a is not None and b is not None])
    )
    latitude = max(-90.0, min(90.0, latitude + draw(st.sampled_from((0.0, 0.013, -1.7)))))
    longitude = max(-180.0, min(180.0, longitude + draw(st.sampled_from((0.0, 0.021, -3.1)))))
    radius = draw(st.sampled_from((0.001, 0.7, 3.0, 25.0, 312.0, 5001.0, 10007.0, 20040.0)))
    text = f"near:{latitude:.4f},{longitude:.4f},{radius}km"
    north, east = float(f"{latitude:.4f}"), float(f"{longitude:.4f}")
    centre = on_sphere(north, east)

    def test(row: Row) -> bool:
        if row.facts.latitude is None or row.facts.longitude is None:
            return False
        there = on_sphere(row.facts.latitude, row.facts.longitude)
        across = math.hypot(
            centre[1] * there[2] - centre[2] * there[1],
            centre[2] * there[0] - centre[0] * there[2],
            centre[0] * there[1] - centre[1] * there[0],
        )
        along = math.fsum(a * b for a, b in zip(centre, there, strict=True))
        return 6371.0088 * math.atan2(across, along) <= radius

    return text, test


def on_sphere(latitude: float, longitude: float) -> tuple[float, float, float]:
    north, east = math.radians(latitude), math.radians(longitude)
    return (
        math.cos(north) * math.cos(east),
        math.cos(north) * math.sin(east),
        math.sin(north),
    )


@st.composite
def choices(draw: st.DrawFn, key: str) -> Filter:
    """A filter of a key that knows all its values."""
    if key == "type":
        kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
        values = [draw(st.sampled_from(KINDS[kind])) for kind in kinds]
        return "type:" + ",".join(values), lambda row: row.facts.format in kinds
    known = HAS if key == "has" else SHAPES
    values = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3))
    return f"{key}:" + ",".join(values), one_of_them([known[value] for value in values])


FILTERS = st.one_of(
    *(texts(key) for key in ("name", "name", "folder", "tag", "camera", "lens")),
    *(dates(), dates(), areas(), numbers("rating"), numbers("id")),
    *(choices(key) for key in ("type", "has", "orientation")),
)


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    """A search with up to three terms and up to three filters, each perhaps negated."""
    written: list[str] = []
    terms: list[tuple[float, str | int]] = []
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3)))):
        sign = draw(st.sampled_from(("", "", "", "+", "-")))
        weight, prefix = draw(st.sampled_from(((1.0, ""), (1.0, ""), (2.0, "2:"), (0.3, "0.3:"))))
        if draw(st.integers(0, 4)) == 0:
            photo = draw(st.integers(1, oracle.PHOTOS))
            written.append(f"{sign}{prefix}image:{photo}")
            terms.append((-weight if sign == "-" else weight, photo))
        else:
            phrase = draw(st.sampled_from(WORDS))
            written.append(f'{sign}{prefix}"{phrase}"')
            terms.append((-weight if sign == "-" else weight, phrase))
    filters = draw(st.lists(FILTERS, min_size=0 if terms else 1, max_size=3))
    tests: list[Test] = []
    for text, test in filters:
        negated = draw(st.integers(0, 3)) == 0
        written.insert(draw(st.integers(0, len(written))) if terms else 0, "-" * negated + text)
        tests.append(opposite(test) if negated else test)
    wanted = [term for weight, term in terms if weight > 0]
    phrases_only = bool(wanted) and all(isinstance(term, str) for term in wanted)
    return Asked(
        " ".join(written),
        tuple(terms),
        tuple(tests),
        tuple(text.partition(":")[0] for text, _ in filters),
        all_copies=draw(st.booleans()),
        by_date=draw(st.integers(0, 3)) == 0 and (phrases_only or not terms),
        k=draw(st.sampled_from((1, 3, 20, 1000))),
        offset=draw(st.sampled_from((0, 0, 0, 1, 7, 60))),
    )
