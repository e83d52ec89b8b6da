"""Names, tags and texts that somebody chose to do harm: each is found, shown and exported as is."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from flask.testing import FlaskClient
from PIL import Image

from clipsearch import exporting
from clipsearch.exporting import SidecarReport
from clipsearch.exporting.tables import unguarded
from clipsearch.library.serving import ServedLibrary
from clipsearch.photos import sidecars
from clipsearch.photos.metadata import MAX_NAME
from clipsearch.service import create_app
from tests.fakes import ColourEmbedder
from tests.fuzz.seeds import exif_photo, iptc_block, iptc_photo, xmp_photo

NAMES = {
    "markup": b"<img src=x onerror=alert(1)>",
    "end of script": b"<script>alert(1)<script>",
    "entities": b"&lt;b&gt;&amp;&#x41;",
    "quotes": b"\"double\" 'single' `tick`",
    "template": b"{{7*7}} ${7*7} %s%n {0}",
    "newline": b"two\nlines",
    "forged line": b"a\nclipsearch: 0 skipped",
    "return": b"over\rwritten",
    "tab": b"with\ttab",
    "title escape": b"\x1b]0;owned\x07\x1b[31mred",
    "other controls": b"bell\x07back\x08\x7fdelete",
    "c1 controls": "c1\u009b31mred\u0085next".encode(),
    "not utf-8": b"caf\xe9 \xff\xfe",
    "surrogate bytes": b"half \xed\xa0\x80 pair",
    "244 bytes": b"n" * 240,
    "255 bytes": "ü".encode() * 125 + b"x",
    "dash": b"-rf",
    "option": b"--help",
    "dots inside": b"a...b..c",
    "url": b"what#is?this%20",
    "percent": b"%2e%2e%2f100%",
    "emoji": "dog \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f415".encode(),
    "rtl override": "safe\u202egnp.exe".encode(),
    "rtl marks": "\u200f\u05e9\u05dc\u05d5\u05dd\u200e \u2066x\u2069".encode(),
    "composed": "caf\u00e9 cr\u00e8me".encode(),
    "decomposed": "cafe\u0301 cre\u0300me".encode(),
    "blanks": b"  blanks  ",
    "odd blanks": "no\u00a0break\u2028line\u2029paragraph".encode(),
    "backslash": b"C:\\new\\x41.txt",
    "formula": b"=cmd()|' -C calc'!A0",
    "at": b"@SUM(1+1)",
    "plus": b"+1",
    "minus": b"-1+1",
    "quoted formula": b"'=1+1",
    "second cell": b"a;=1+1,=2+2",
    "fullwidth formula": "\uff1d1+1".encode(),
    "device": b"CON",
    "shell": b"$(touch owned) `id` ; rm -rf ~ | x & y > z",
    "glob": b"[a-z]*?.{x,y}",
    "sql": b"'); drop table photo; --",
    "query": b"tag:dog -name:x",
    "number": b"1234567",
}
MARKS = tuple(NAMES)

TEXTS = {mark: os.fsdecode(name) for mark, name in NAMES.items()} | {
    "end of script": "</script></style></textarea>--><script>alert(1)</script>",
    "end of xml": "]]></rdf:li></rdf:Bag>&quot;<!DOCTYPE x [<!ENTITY y 'z'>]>&y;",
    "levels": "//a|..//b|/",
}
# What a text can be that came out of a file of UTF-8.
TEXTS = {mark: text for mark, text in TEXTS.items() if not re.search("[\ud800-\udfff]", text)}
UNSAFE_ON_A_TERMINAL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True)
class Archive:
    """A library of a photo for each name in a folder of the same name, and a copy above it."""

    library: ServedLibrary
    client: FlaskClient
    root: bytes
    ids: dict[str, int]
    copies: dict[str, int]

    def path(self, mark: str) -> str:
        return os.fsdecode(self.root + b"/" + inner(mark))


def inner(mark: str) -> bytes:
    return NAMES[mark] + b"/" + file_name(mark)


def file_name(mark: str) -> bytes:
    return NAMES[mark] + (b".png" if len(NAMES[mark]) < 250 else b".tif")


def pattern(name: bytes) -> str:
    """Return a glob of the search language: what cannot stand in quotes becomes a `?`."""
    shown = name.decode("utf-8", "replace")
    return "".join(
        "?" if c.isspace() or c in '"\ufffd' or not c.isprintable() else c for c in shown
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    base = tmp_path_factory.mktemp("hostile")
    root = os.fsencode(base) + b"/<b>ro\not</b> #?%\xff"
    for number, mark in enumerate(MARKS):
        os.makedirs(root + b"/" + NAMES[mark])  # noqa: PTH103 - a path of bytes
        # Noise of its own each: near-identical are only the two of a name.
        noise = Image.effect_noise((40, 40), 90 + number)
        picture = io.BytesIO()
        Image.merge("RGB", [noise.rotate(90 * turn) for turn in range(3)]).save(picture, "PNG")
        for path in (root + b"/" + inner(mark), root + b"/copy " + str(number).encode() + b".png"):
            with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
                file.write(picture.getvalue())
    with ServedLibrary(base / "library", ColourEmbedder()) as library:
        report = library.index(os.fsdecode(root))
        assert [skip.path for skip in report.skipped] == []
        found = library.search("name:*", k=1000, all_copies=True)
        by_path = {os.fsencode(hit.path): hit.id for hit in found}
        ids = {mark: by_path[root + b"/" + inner(mark)] for mark in MARKS}
        copies = {
            mark: by_path[root + b"/copy " + str(number).encode() + b".png"]
            for number, mark in enumerate(MARKS)
        }
        app = create_app(library)
        yield Archive(library, app.test_client(), root, ids, copies)
        app.extensions["clipsearch"].close()


@pytest.fixture(scope="module")
def texts(archive: Archive) -> dict[str, int]:
    """Photos that hold a hostile text each as tag and as alt text, set by hand."""
    chosen = dict(zip(TEXTS, archive.copies.values(), strict=False))
    for mark, photo_id in chosen.items():
        archive.library.edit_tags(photo_id, add=[TEXTS[mark]])
        archive.library.accept_alt_text(photo_id, TEXTS[mark])
    return chosen


@pytest.fixture(scope="module")
def written(archive: Archive, texts: dict[str, int]) -> SidecarReport:
    """Sidecars of all photos, each of which has a tag of its own."""
    for photo_id in archive.ids.values():
        archive.library.edit_tags(photo_id, add=[f"zoo/animal {photo_id}"])
    return archive.library.export_sidecars()


@pytest.fixture(scope="module")
def descriptions(archive: Archive, texts: dict[str, int], written: SidecarReport) -> dict[str, str]:
    """What exiftool reads as description beside the photos with a text."""
    paths = [os.fsencode(archive.library.photo(each).path) + b".xmp" for each in texts.values()]
    return {
        mark: str(read["Description"])
        for mark, read in zip(texts, read_by_exiftool(paths), strict=True)
    }


def read_by_exiftool(paths: list[bytes]) -> list[dict[str, object]]:
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool")
    command: list[str | bytes] = ["exiftool", "-j", "-XMP:all", *paths]
    done = subprocess.run(command, capture_output=True, check=False)
    found: list[dict[str, object]] = json.loads(done.stdout.decode("utf-8", "replace"))
    return found


def ids_of(archive: Archive, query: str) -> set[int]:
    return {hit.id for hit in archive.library.search(query, k=1000, all_copies=True)}


@pytest.mark.parametrize("mark", MARKS)
def test_a_photo_is_found(archive: Archive, mark: str) -> None:
    photo_id, path = archive.ids[mark], archive.path(mark)
    assert archive.library.photo(photo_id).path == path
    assert photo_id in ids_of(archive, f'name:"{pattern(file_name(mark))}"')
    assert photo_id in ids_of(archive, f'folder:"{pattern(NAMES[mark])}"')
    similar = archive.library.similar(path, k=1000, all_copies=True)
    assert archive.copies[mark] in {hit.id for hit in similar}
    phrase = archive.library.search("grey", k=1000, min_relevance=0, all_copies=True)
    assert path in {hit.path for hit in phrase}
    words = re.findall(r"[^\W_]{4,}", unicodedata.normalize("NFC", pattern(NAMES[mark])))
    for word in sorted(set(words) - {"with"})[-1:]:
        hits = archive.library.search(word, k=1000, all_copies=True)
        assert photo_id in {hit.id for hit in hits if hit.named}, word


def test_composed_and_decomposed_names_are_two_photos_for_one_word(archive: Archive) -> None:
    both = {archive.ids["composed"], archive.ids["decomposed"]}
    assert len(both) == 2
    for spelling in ("caf\u00e9", "cafe\u0301"):
        assert both <= ids_of(archive, f'folder:"{spelling}*"')
        assert both <= {h.id for h in archive.library.search(spelling, k=99, all_copies=True)}


def test_each_is_a_duplicate_of_its_copy_alone(archive: Archive) -> None:
    groups = archive.library.duplicates(identical=True).groups
    assert {frozenset(each.id for each in group) for group in groups} == {
        frozenset((archive.ids[mark], archive.copies[mark])) for mark in MARKS
    }
    assert {each.path for group in groups for each in group} >= set(map(archive.path, MARKS))


@pytest.mark.parametrize("mark", MARKS)
def test_a_photo_is_served(archive: Archive, mark: str) -> None:
    photo_id = archive.ids[mark]
    answer = archive.client.get(f"/api/photos/{photo_id}")
    assert answer.status_code == 200
    assert b"<" not in answer.data or answer.mimetype == "application/json"
    document = json.loads(answer.data)
    assert os.fsencode(document["path"]) == os.fsencode(archive.path(mark))
    thumbnail = archive.client.get(f"/api/photos/{photo_id}/thumbnail")
    assert thumbnail.status_code == 200
    assert thumbnail.mimetype == "image/webp"
    thumbnail.close()
    original = archive.client.get(f"/api/photos/{photo_id}/original")
    assert original.data == Path(archive.path(mark)).read_bytes()
    original.close()
    header = original.headers["Content-Disposition"]
    assert header.isascii()
    assert header.isprintable()
    encoded = header.partition("filename*=UTF-8''")[2]
    shown = file_name(mark).decode("utf-8", "replace")
    assert squeezed(unquote_to_bytes(encoded).decode()) == squeezed(shown)
    found = archive.client.get("/api/search", query_string={"q": f"id:{photo_id}"})
    assert [hit["id"] for hit in json.loads(found.data)["hits"]] == [photo_id]


def described(archive: Archive) -> list[exporting.Described]:
    return archive.library.described()


@pytest.mark.parametrize("mark", MARKS)
def test_a_path_is_exported_whole(archive: Archive, mark: str) -> None:
    [row] = [row for row in described(archive) if row.id == archive.ids[mark]]
    table = io.StringIO(newline="")
    exporting.write_csv(table, [row])
    [cells] = csv.DictReader(io.StringIO(table.getvalue(), newline=""))
    assert exporting.unescape_path(unguarded(cells["path"])) == archive.path(mark)
    assert len(cells["path"].splitlines()) == 1  # nothing that some reader takes for a line end
    assert not UNSAFE_ON_A_TERMINAL.search(cells["path"])
    document = io.StringIO()
    exporting.write_json(document, [row])
    assert json.loads(document.getvalue())[0]["path"] == archive.path(mark)
    page = io.StringIO()
    exporting.write_html(page, [row], lambda _: b"")
    shown = Text(page.getvalue())
    name = archive.path(mark).encode("utf-8", "replace").decode()
    assert squeezed(name) in squeezed(shown.text)


class Text(HTMLParser):
    """The text of a page, and the tags in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def squeezed(text: str) -> str:
    """Return a text without what a page cannot hold, and what it shows in its place."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ufffd?]", "", text)


@pytest.mark.parametrize("mark", list(TEXTS))
def test_a_text_is_exported_whole(archive: Archive, texts: dict[str, int], mark: str) -> None:
    text, photo_id = TEXTS[mark], texts[mark]
    [row] = [row for row in described(archive) if row.id == photo_id]
    assert row.alt_text == text
    table = io.StringIO(newline="")
    exporting.write_csv(table, [row])
    [cells] = csv.DictReader(io.StringIO(table.getvalue(), newline=""))
    assert unguarded(cells["alt_text"]) == text
    assert exporting.unescape_path(unguarded(cells["tags"])) == row.tags[0].name
    for cell in cells.values():
        assert not re.match(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", cell), cell
    page = io.StringIO()
    exporting.write_html(page, [row], lambda _: b"")
    shown = Text(page.getvalue())
    assert squeezed(text) in squeezed(shown.text)
    assert not shown.tags & {"script", "img", "b"}
    answer = archive.client.get(f"/api/photos/{photo_id}")
    assert json.loads(answer.data)["alt_text"]["text"] == text


def test_sidecars_are_beside_their_photos_and_exiftool_reads_them(
    archive: Archive, written: SidecarReport
) -> None:
    refused = {skip.path: skip.reason for skip in written.skipped}
    # One name has no room for four letters more; that is said of it, and of no other.
    assert set(refused) == {archive.path("255 bytes") + ".xmp"}
    assert all("too long" in reason for reason in refused.values())
    marks = [mark for mark in MARKS if mark != "255 bytes"]
    paths = [os.fsencode(archive.path(mark)) + b".xmp" for mark in marks]
    for mark, path in zip(marks, paths, strict=True):
        own = sidecars.read(os.fsdecode(path))
        assert own.tags == (f"zoo/animal {archive.ids[mark]}",)
    assert [each["Subject"] for each in read_by_exiftool(paths)] == [
        f"animal {archive.ids[m]}" for m in marks
    ]


@pytest.mark.parametrize("mark", list(TEXTS))
def test_a_text_goes_into_a_sidecar_and_comes_back(
    archive: Archive, texts: dict[str, int], descriptions: dict[str, str], mark: str
) -> None:
    path = archive.library.photo(texts[mark]).path + ".xmp"
    own = sidecars.read(path)
    # XML has no controls but these three; all others are left out.
    kept = "".join(c for c in TEXTS[mark] if c >= " " or c in "\t\n\r")
    assert own.alt_text == own.description == kept
    assert own.tags == (sidecars.normalize_tag(TEXTS[mark]),)
    assert squeezed(descriptions[mark]) == squeezed(kept)


def test_a_folder_a_label_holds_every_photo(
    archive: Archive, texts: dict[str, int], tmp_path: Path
) -> None:
    rows = [row for row in described(archive) if row.id in texts.values()]
    report = exporting.export_folders(tmp_path / "out", rows)
    assert report.skipped == ()
    assert report.files == report.photos == len(texts)
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    by_id = {row.id: row for row in rows}
    assert len(table) == len(texts)
    for line in table:
        row = by_id[int(line["photo_id"])]
        assert not UNSAFE_ON_A_TERMINAL.search(line["file"])
        assert os.path.realpath(tmp_path / "out" / line["file"]) == os.path.realpath(row.path)
        assert exporting.unescape_path(unguarded(line["label"])) == row.tags[0].name
        assert not line["label"].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    # Once more over the first one: what it made is known again, whatever the names.
    exporting.export_folders(tmp_path / "out", rows, mode="copy")


# Runs commands one after another with the model that sees colours, as `clipsearch` would.
COMMANDS = """
import json, os, sys
from clipsearch.models import registry
from tests.fakes import ColourEmbedder
registry.load = lambda name, **_: ColourEmbedder(name)
import clipsearch.cli
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["clipsearch", *arguments]
    try:
        clipsearch.cli.main()
    except SystemExit:
        pass
    sys.stdout.flush()
"""


def on_a_terminal(library: Path, commands: list[list[str]]) -> str:
    """Run commands with a terminal as stdout and stderr, and return what it was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", COMMANDS],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"CLIPSEARCH_LIBRARY": str(library), "TERM": "dumb"},
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(json.dumps(commands).encode())
        process.stdin.close()
        sent = b""
        # The end of a terminal is an error, EIO, where the end of a pipe is nothing.
        with suppress(OSError):
            while part := os.read(ours, 1 << 16):
                sent += part
    os.close(ours)
    return sent.decode()


def test_nothing_that_steers_a_terminal_reaches_it(
    archive: Archive, texts: dict[str, int], tmp_path: Path
) -> None:
    first = archive.path("title escape")
    vocabulary = tmp_path / "labels \x1b[31m.txt"
    vocabulary.write_text("red\n", encoding="utf-8")
    broken = tmp_path / "broken \x1b]0;x\x07 \udcff"
    broken.mkdir()
    (broken / "a\x1b[2J\r\u202e.png").write_bytes(b"nothing")
    (broken / "b\x1b[2J.cr\x1b2").write_bytes(b"nothing")
    (broken / "c\x1b[2J.jpg").symlink_to("nowhere")
    commands = [
        ["index", str(broken), "--quiet"],
        ["search", "-k", "500", "--min-relevance", "0", "--all-copies", "--explain", "grey"],
        ["search", "-k", "500", "--paths", "--all-copies", "name:*"],
        ["search", "--json", "--all-copies", "-k", "500", "name:*"],
        ["search", "--facets", "name:*"],
        ["search", "-k", "5", "image:1", 'name:"\x1b[31m"', "bad\x1b:x"],
        ["similar", first],
        ["similar", "/no/such\x1b[31m\nclipsearch: fine.jpg"],
        ["duplicates", "--identical"],
        ["duplicates", "--identical", "--paths"],
        ["classify", first, "red\x1b[31m", "green"],
        ["captions", first, "red\x1b[31m\nfine", "green"],
        ["tags"],
        ["tags", str(texts["title escape"])],
        ["tags", "--json"],
        ["vocabulary", "show", str(vocabulary)],
        ["alt-text", "accept", str(archive.ids["tab"]), "--text", "a\x1b[31m\nclipsearch: b"],
        ["alt-text", "review"],
        ["runs"],
        ["export", "--to", "csv", "-o", "-"],
        ["export", "--to", "json", "-o", "-"],
        ["export", "--to", "csv", "-o", str(tmp_path / "out\x1b[31m.csv")],
        ["export", "--to", "csv", "-o", str(tmp_path / "no\x1b[31m" / "out.csv")],
        ["export", "--to", "xmp", "--dry-run"],
        ["export", "--to", "folders", "-o", str(tmp_path / "folders\x1b[31m")],
        ["vocabulary", "check", str(tmp_path / "no\x1b[31m.txt")],
        ["saved", "add", "bad\x1b[31mname", "grey"],
        ["status"],
        ["status", "--skipped"],
        ["status", "--skipped", "--json"],
        ["doctor"],
        ["forget", "/no/such\x1b[31m"],
        ["--bad\x1b[31m"],
        ["index", "/no/such\x1b[31m\nclipsearch: 9 added"],
        ["forget", str(broken), "--yes"],
    ]
    sent = on_a_terminal(archive.library.folder, commands)
    assert "Traceback" not in sent
    lines = sent.split("\r\n")
    assert not [line for line in lines if UNSAFE_ON_A_TERMINAL.search(line) or "\r" in line]
    forged = ("clipsearch: 0 skipped", "clipsearch: 0 skipped.png", "clipsearch: fine.jpg")
    assert not {*forged, "fine", "clipsearch: b", "clipsearch: 9 added"} & set(lines)
    for shown in (r"\x1b]0;owned\x07\x1b[31mred.png", r"caf\xe9 \xff\xfe.png", r"two\nlines.png"):
        assert any(line.endswith(shown) for line in lines), shown
    # Nothing is hidden either: a family of emoji is joined as it was.
    assert any("\U0001f468\u200d\U0001f469\u200d\U0001f467" in line for line in lines)


def test_a_pipe_gets_the_names_as_they_are(archive: Archive) -> None:
    def piped(*arguments: str) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS],
            input=json.dumps([arguments]).encode(),
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"CLIPSEARCH_LIBRARY": str(archive.library.folder)},
        )
        return done.stdout

    wanted = {archive.root + b"/" + inner(mark) for mark in MARKS}
    query = ("name:*", "-k", "500", "--all-copies")
    assert wanted <= set(piped("search", "--print0", *query).split(b"\0"))
    document = json.loads(piped("search", "--json", *query))
    assert wanted <= {os.fsencode(hit["path"]) for hit in document["hits"]}


def test_metadata_of_strangers_is_text(tmp_path: Path) -> None:
    """EXIF, IPTC and XMP with hostile texts, from the photo into every way out."""
    root = tmp_path / "photos"
    root.mkdir()
    marks = [mark for mark in TEXTS if mark not in ("dash", "levels")]
    for number, mark in enumerate(marks):
        text = TEXTS[mark]
        exif = Image.Exif()
        exif.update({0x010E: text, 0x010F: text, 0x0110: text})
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        keywords = iptc_block((25, text.encode()), (120, text.encode()))
        packet = sidecars.merge(None, tags=[text], alt_text=text)
        for dress, data in ((exif_photo, block), (iptc_photo, keywords), (xmp_photo, packet)):
            (root / f"{number} {dress.__name__}.jpg").write_bytes(dress(data))
    with ServedLibrary(tmp_path / "library", ColourEmbedder()) as library:
        report = library.index(root)
        assert report.added == 3 * len(marks)
        rows = library.described()
        table, page = io.StringIO(newline=""), io.StringIO()
        exporting.write_csv(table, rows)
        exporting.write_html(page, rows, lambda photo_id: library.thumbnail(photo_id).read_bytes())
        sheet = Text(page.getvalue())
        assert not sheet.tags & {"script", "b"}
        for cells in csv.DictReader(io.StringIO(table.getvalue(), newline="")):
            for cell in cells.values():
                assert not re.match(r"[=+\-@\t\r\n\uff1d]", cell), cell
        tags = {tag.name for row in rows for tag in row.tags}
        for mark in marks:
            words = re.findall(r"\w{3,}", unicodedata.normalize("NFC", TEXTS[mark]))
            assert all(any(word[:MAX_NAME] in tag for tag in tags) for word in words), mark
        assert not any(
            unicodedata.category(c) == "Cc" for tag in tags for c in tag if c not in "\n\t"
        )
        exporting.export_folders(tmp_path / "out", rows)
        assert library.export_sidecars().skipped == ()
        assert library.facets("name:*").photos == len(rows)
