"""A catalogue of nasty facts, and a second opinion on what searches of it should answer.

The second opinion is plain Python over dicts of facts, written from the manual of the search
language: it shares no code with the package.
"""

from __future__ import annotations

import itertools
import os
import random
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlite_utils import Database

from clipsearch import Library
from clipsearch.catalog import Catalog, archive, captions, photos, runs, tags, vectors
from clipsearch.errors import QueryError
from clipsearch.records import Facts

DIMENSIONS = 16
PHOTOS = 300
DISTINCT = 45  # vectors: many photos tie

Vector = NDArray[np.float32]

NAMES = (
    *("100%_done.jpg", "100x_done.jpg", "100%xdone.jpg", "a[1].jpg", "a1.jpg", "star*.jpg"),
    *("what?.jpg", "whatx.jpg", "it's.png", 'say "hi".png', "Straße.jpg", "STRASSE.JPG"),
    *("İstanbul.jpg", "istanbul.jpg", "Café.jpg", "cafe\N{COMBINING ACUTE ACCENT}.JPG"),
    *(".hidden", ".hidden.jpg", "noext", "two words.jpg", "a..b.jpg", "a..", "x.", "\u212a.jpg"),
    *("k.png", "back\\slash.png", "drop;--table.png", "comma,name.png", "東京.heic", "🏖️.jpg"),
    *("IMG_2041 lisbon tram.jpg", "img_2042.JPG", "IMG-2043.jpeg", "Lisbon.jpg", "trams.png"),
    *("ÀÉÎ.tif", "àéî.tif", "^NEAR(a OR b).jpg", "-minus.jpg", "img_2041.jpg.jpg", "IMG_2041"),
)
FOLDERS: tuple[bytes, ...] = (
    *(b"", b"trips", b"trips/lisbon", b"trips/2019 Lisbon", b"trips/2019 Lisbon/day 1", b"a/b/a/c"),
    *(b"a/b", b"A/B", b"100%", b"100x", b"x_y", b"xzy", b"[ab]", b"a", b"caf\xe9", b"caf\xe9/in"),
    *("Café".encode(), "Cafe\N{COMBINING ACUTE ACCENT}/im Garten".encode(), "Straße".encode()),
    *("İzmir/Über".encode(), b"beach", b"beaches/white", b'q"uote', b"star*/what?"),
)
ROOTS = ("photos/Pictures", "archive/trips")  # "trips" is a root here, a folder there
CAMERAS = (
    *((None, None), ("Canon", "Canon EOS 5D"), ("CANON", "canon eos r5"), ("NIKON", "D850")),
    *(("Léica", "M 10"), ("LE\N{COMBINING ACUTE ACCENT}ICA", None), (None, "Pixel 7_a")),
    *(("Apple", "iPhone [XS]"), ("Фед", "5В"), ("Hasselblad", "100%")),
)
LENSES = (None, "EF 50mm f/1.8", "50MM", "Élmar 5cm", "24-70mm", "f_2", "ZEISS *T", "Straße 50")
FORMATS = ("JPEG", "PNG", "HEIF", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000", "PPM")
DATES = (
    *(None, "2018-12-31T23:59:59", "2019-01-01T00:00:00", "2019-12-31T23:59:59"),
    *("2020-01-01T00:00:00", "2019-06-01T00:00:00", "2019-05-31T23:59:59", "2020-02-29T12:00:00"),
    *("2019-06-01T12:30:00", "2019-06-01T12:30:00+02:00", "2019-06-01T12:30:00-05:30"),
    *("2019-06-01T12:29:59+00:00", "2019-06-01T10:30:00+00:00", "2020-01-01T00:30:00+14:00"),
    *("2019-12-31T23:30:00-12:00", "2020-01-01T05:45:00+05:45", "1826-01-01T00:00:00"),
    *("2099-12-31T23:59:59", "2019-06-15T08:00:00", "2019-06-15T08:00:01", "2019-07-01T00:00:00"),
)
PLACES = (
    *((None, None), (90.0, 0.0), (90.0, 123.0), (-90.0, -7.0), (0.0, 180.0), (0.0, -180.0)),
    *((0.1, 179.99), (-0.1, -179.99), (43.3, -1.98), (43.31, -1.97), (38.72, -9.14), (0.0, 0.0)),
    *((89.9, 10.0), (89.9, -170.0), (-43.3, 178.02), (51.5, -0.001), (51.5, 0.001)),
)
SHAPES = ((640, 480), (480, 640), (500, 500))
LABELS = (
    *("animal", "animal/dog", "Animal/Dog/puppy", "zoo/animal", "animals", "dog", "holiday"),
    *("Été", "e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}/plage", "100%", "a_b", "axb"),
    *("it's", "[x]", "x", "straße", "red, white", "Kraków/rynek", "İ", "lisbon", "beach/white"),
)
TEXTS = (None, None, "A yellow tram in Lisbon.", "two trams", "the beach", "Ein Café", "a -- b")


@dataclass(slots=True)
class Row:
    """What the second opinion knows of a photo."""

    id: int
    root: str
    folder: bytes
    name: str
    facts: Facts
    content: int
    vector: NDArray[np.float16]
    alt: str | None
    tags: set[str] = field(default_factory=set)
    proposed: set[str] = field(default_factory=set)  # tags that only a run gave

    @property
    def folder_shown(self) -> str:
        top = self.root.rpartition("/")[2]
        return "/".join([top, self.folder.decode("utf-8", "replace")] if self.folder else [top])

    @property
    def camera(self) -> str | None:
        make, model = self.facts.camera_make, self.facts.camera_model
        if make and model:
            return model if model.lower().startswith(make.lower()) else f"{make} {model}"
        return make or model

    @property
    def written(self) -> str:
        """All that people and files say of the photo, without its root."""
        sure = self.tags - self.proposed
        said = [self.name, self.folder.decode("utf-8", "replace"), self.alt or "", *sure]
        return "\n".join(said)


class HashEmbedder:
    """Gives each text a direction of its own, always the same; it has never seen an image."""

    name = "hashes"
    fingerprint = "1"
    image_size = 8
    batch_size = 1
    logit_scale = 10.0
    logit_bias: float | None = None

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def images(self, images: Sequence[Image.Image]) -> Vector:
        raise NotImplementedError("vectors of photos are put into the catalogue directly")

    def texts(self, texts: Sequence[str]) -> Vector:
        return directions([zlib.crc32(text.encode()) for text in texts], self.dimensions)


def directions(seeds: Sequence[int], dimensions: int) -> Vector:
    """Return a random unit vector for each seed, (n, dimensions)."""
    rows = [np.random.default_rng(seed).standard_normal(dimensions) for seed in seeds]
    table = np.array(rows).reshape(len(seeds), dimensions)
    unit: Vector = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)
    return unit


def build(folder: Path, seed: int = 0) -> list[Row]:
    """Make a library in `folder` with photos of nasty facts; return what is known of them."""
    dice = random.Random(seed)
    pool = directions(range(DISTINCT), DIMENSIONS).astype(np.float16)
    rows: list[Row] = []
    folder.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(folder / "catalog.db")
    with catalog.write() as db:
        model = archive.ensure_model(
            db, "hashes", "1", dimensions=DIMENSIONS, logit_scale=10.0, logit_bias=None
        )
        archive.use_model(db, model.id)
        roots = {name: archive.add_root(db, f"/{name}", 1).id for name in ROOTS}
        places = list(itertools.product(ROOTS, FOLDERS, NAMES))
        for number, (root, inner, name) in enumerate(dice.sample(places, PHOTOS)):
            twin = dice.choice(rows) if rows and dice.random() < 0.2 else None
            alt = dice.choice(TEXTS)
            keywords = tuple(dict.fromkeys(dice.choices(LABELS, k=dice.choice((0, 0, 1, 2)))))
            drawn = _facts(dice)
            base = twin.facts if twin else drawn
            facts = replace(base, description=alt, keywords=keywords)
            content = twin.content if twin else number
            vector = twin.vector if twin else pool[dice.randrange(DISTINCT)]
            path = os.fsdecode(b"/".join(part for part in (inner, name.encode()) if part))
            file = photos.File(roots[root], path, 1, 1, content.to_bytes(32, "big"))
            photo_id = photos.add(db, file, facts)
            vectors.put(db, photo_id, model.id, vector.astype(np.float32))
            row = Row(photo_id, root, inner, name, facts, content, vector, alt, set(keywords))
            rows.append(row)
        _tag(db, model, rows, dice)
        for row in rows[::17]:  # a hand's text in place of the file's
            row.alt = "lisbon by hand"
            captions.decide(db, row.id, row.alt, "edited")
    catalog.close()
    return rows


def _facts(dice: random.Random) -> Facts:
    make, model = dice.choice(CAMERAS)
    latitude, longitude = dice.choice(PLACES)
    width, height = dice.choice(SHAPES)
    return Facts(
        format=dice.choice(FORMATS),
        width=width,
        height=height,
        orientation=dice.randint(1, 8),
        taken_at=dice.choice(DATES),
        camera_make=make,
        camera_model=model,
        lens=dice.choice(LENSES),
        latitude=latitude,
        longitude=longitude,
        rating=dice.choice((None, -1, 0, 1, 2, 3, 4, 5)),
    )


def _tag(db: Database, model: archive.Model, rows: list[Row], dice: random.Random) -> None:
    """Let runs and hands tag: a run that holds, one that is undone, hands that overrule both."""
    for undone in (False, True):
        given = [(row, dice.choice(LABELS)) for row in rows if dice.random() < 0.3]
        run = runs.begin(
            db,
            "tag",
            model,
            source="words",
            source_hash=str(undone),
            settings={},
            photos=[row.id for row in rows],
        )
        scored = [(row.id, label, 0.5) for row, label in given]
        # The second run looks at labels of its own, so that nothing of the first is covered.
        labels = [*LABELS] if not undone else [f"{label} undone" for label in LABELS]
        suffix = " undone" if undone else ""
        tags.put_run(
            db, run, labels, [(id_, label + suffix, score) for id_, label, score in scored]
        )
        if undone:
            runs.set_undone(db, run)
            tags.withdraw_run(db, run)
        else:
            for row, label in given:
                row.tags.add(label)
                row.proposed.add(label)
    for row in rows:
        for label, holds in ((dice.choice(LABELS), True), (dice.choice(LABELS), False)):
            if dice.random() < 0.2:
                tags.set_by_hand(db, row.id, label, holds)
                (row.tags.add if holds else row.tags.discard)(label)
                row.proposed.discard(label)


def folded(text: str) -> str:
    """Fold case and compose accents."""
    composed = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", composed.casefold())


def matches(pattern: str, text: str) -> bool:
    """Match a folded text whole: `*` is any characters, `?` is one."""
    reached = {0}
    for char in pattern:
        if char == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and char in ("?", text[at])}
    return len(text) in reached


def fits_name(pattern: str, name: str) -> bool:
    """Match the whole name, or the name without its last suffix."""
    wanted, whole = folded(pattern), folded(name)
    stem, dot, _ = whole.rpartition(".")
    return matches(wanted, whole) or (bool(dot) and matches(wanted, stem))


def fits_path(pattern: str, path: str) -> bool:
    """Match some parts of a path in a row."""
    wanted = [part for part in folded(pattern).split("/") if part]
    parts = folded(path).split("/")
    windows = zip(*(parts[start:] for start in range(len(wanted))), strict=False)
    return any(all(map(matches, wanted, window)) for window in windows)


def fits_part(pattern: str, name: str | None) -> bool:
    """Match a name that contains the pattern, or all of the name with `*` and `?`."""
    if name is None:
        return False
    wanted = folded(pattern)
    if "*" in wanted or "?" in wanted:
        return matches(wanted, folded(name))
    return wanted in folded(name)


def _holds(row: Row, words: set[str]) -> bool:
    return words <= plain_words(row.written)


def plain_words(text: str) -> set[str]:
    """Split into words without case and accents, English plurals without their endings."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in apart if not unicodedata.combining(char))
    words = "".join(char if char.isalnum() else " " for char in bare).split()
    endings = {"trams": "tram", "beaches": "beach"}
    return {endings.get(word, word) for word in words}


@dataclass(frozen=True, slots=True)
class Asked:
    """A search, and what it means: `terms` are (weight, text or photo id)."""

    text: str
    terms: tuple[tuple[float, str | int], ...]
    tests: tuple[Callable[[Row], bool], ...]
    keys: tuple[str, ...]
    all_copies: bool
    by_date: bool
    k: int
    offset: int

    def __repr__(self) -> str:
        return (
            f"{self.text!r} all_copies={self.all_copies} by_date={self.by_date} "
            f"k={self.k} offset={self.offset}"
        )


Answer = tuple[list[tuple[int, float | None]], int] | None
"""(id, score) of a page and how many photos answer; `None` where terms cancel each other out."""


class Nasty:
    """The library of nasty facts, and what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.rows = build(folder)
        self.library = Library(folder, HashEmbedder())

    def __enter__(self) -> Nasty:
        return self

    def __exit__(self, *_: object) -> None:
        self.library.close()

    def expected(self, wanted: Asked) -> Answer:
        return answer(self.rows, wanted)

    def found_by_library(self, wanted: Asked) -> Answer:
        try:
            found = self.library.search(
                wanted.text,
                k=wanted.k,
                offset=wanted.offset,
                min_relevance=0,
                sort="date" if wanted.by_date else "relevance",
                all_copies=wanted.all_copies,
            )
        except QueryError as error:
            if "cancel" in str(error):
                return None
            raise
        return [(hit.id, hit.score) for hit in found.hits], found.total


def answer(rows: Sequence[Row], asked: Asked) -> Answer:
    """Return the page that is asked for."""
    passing = [row for row in rows if all(test(row) for test in asked.tests)]
    scores: dict[int, float | None] = dict.fromkeys((row.id for row in rows), None)
    if asked.terms:
        query = _query_vector(rows, asked.terms)
        if query is None:
            return None
        for row in rows:
            exact = float(np.dot(row.vector.astype(np.float64), query.astype(np.float64)))
            scores[row.id] = min(float(np.float32(exact)), 1.0)
        passing.sort(key=lambda row: (-(scores[row.id] or 0.0), row.id))
        words: set[str] = set()
        if all(isinstance(term, str) and weight == 1 for weight, term in asked.terms):
            said = plain_words(" ".join(str(term) for _, term in asked.terms)) - {"a"}
            # What more than a third of the library holds tells nothing.
            words = {w for w in said if 3 * sum(_holds(row, {w}) for row in rows) <= len(rows)}
        if words and any(_holds(row, words) for row in passing):
            passing = _fused(passing, lambda row: _holds(row, words))
    else:
        passing = _latest_first(passing)
    if not asked.all_copies:
        seen: set[int] = set()
        passing = [row for row in passing if not (row.content in seen or seen.add(row.content))]  # type: ignore[func-returns-value]
    if asked.by_date:
        passing = _latest_first(passing)
    page = passing[asked.offset : asked.offset + asked.k]
    return [(row.id, scores[row.id]) for row in page], len(passing)


def _query_vector(rows: Sequence[Row], terms: Sequence[tuple[float, str | int]]) -> Vector | None:
    by_id = {row.id: row for row in rows}
    embedder = HashEmbedder()
    total = np.zeros(DIMENSIONS)
    for weight, term in terms:
        vector = (
            embedder.texts([term])[0]
            if isinstance(term, str)
            else by_id[term].vector.astype(np.float32)
        )
        total += np.float32(weight) * vector
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        return None
    unit: Vector = (total / length).astype(np.float32)
    return unit


def _fused(ranked: Sequence[Row], named: Callable[[Row], bool]) -> list[Row]:
    """Merge by reciprocal rank fusion, 60 as its constant; ties stay as they were."""
    total = {row.id: 1 / (60 + rank) for rank, row in enumerate(ranked, 1)}
    for rank, row in enumerate(filter(named, ranked), 1):
        total[row.id] += 1 / (60 + rank)
    return sorted(ranked, key=lambda row: -total[row.id])


def _latest_first(rows: Sequence[Row]) -> list[Row]:
    """Order by the camera's clock as it is written; those without a date last, ties by id."""
    by_id = sorted(rows, key=lambda row: row.id)
    return sorted(by_id, key=lambda row: row.facts.taken_at or "", reverse=True)
