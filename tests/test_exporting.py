"""Exports: CSV, JSON, the contact sheet and folders, read back as their readers would."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import PhotoError
from clipsearch.exporting import (
    Described,
    ExportError,
    TagScore,
    escape_path,
    export_folders,
    folders,
    replacing,
    swapping,
    unescape_path,
    write_csv,
    write_html,
    write_json,
)
from clipsearch.exporting.names import MAX_NAME_BYTES, folder_names, safe_name, unique_names

JPEG = b"\xff\xd8\xff\xe0picture"


def photo(number: int = 1, path: str = "/photos/a.jpg", *tags: str, **rest: object) -> Described:
    scored = tuple(TagScore(tag, 0.25) for tag in tags)
    return Described(number, path, "2020-05-01T10:00:00", 4, 3, scored, **rest)  # type: ignore[arg-type]


def as_csv(*rows: Described) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    write_csv(file, rows)
    file.seek(0)
    return list(csv.DictReader(file))


def as_json(*rows: Described) -> list[dict[str, object]]:
    file = io.StringIO()
    write_json(file, rows)
    loaded: list[dict[str, object]] = json.loads(file.getvalue())
    return loaded


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text without styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def as_page(*rows: Described, thumbnail: bytes = JPEG) -> Page:
    file = io.StringIO()
    write_html(file, rows, lambda _: thumbnail)
    return Page(file.getvalue())


def test_csv_is_read_back_by_the_csv_module() -> None:
    row = photo(
        7, "/p/größe, 1.jpg", "animal/dog", "a;b", alt_text='A "dog",\nhappy', caption_score=0.3
    )
    [read] = as_csv(row)
    assert read == {
        "id": "7",
        "path": "/p/größe, 1.jpg",
        "taken_at": "2020-05-01T10:00:00",
        "width": "4",
        "height": "3",
        "tags": r"animal/dog; a\x3bb",
        "tag_scores": "0.2500; 0.2500",
        "alt_text": 'A "dog",\nhappy',
        "caption_score": "0.3000",
    }


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_no_text_cell_is_a_formula(text: str) -> None:
    [read] = as_csv(photo(1, text, text, alt_text=text, caption_score=-0.5))
    for column in ("path", "tags", "alt_text"):
        assert read[column][0] in "'\\", column
    assert read["caption_score"] == "-0.5000"


def test_a_path_that_is_not_utf8_comes_back_from_csv_and_json() -> None:
    path = os.fsdecode(b"/photos/\xff\\x41.jpg")
    assert unescape_path(as_csv(photo(1, path))[0]["path"]) == path
    assert as_json(photo(1, path))[0]["path"] == path


@given(st.binary(max_size=40))
def test_every_path_survives_escaping(raw: bytes) -> None:
    path = os.fsdecode(raw)
    escaped = escape_path(path)
    escaped.encode("utf-8")
    assert unescape_path(escaped) == path


def test_json_is_an_array_of_objects() -> None:
    assert as_json() == []
    first, second = as_json(
        photo(1, "/a.jpg", "dog", alt_text="Dog"), photo(2, "/b.jpg", caption_score=float("nan"))
    )
    assert first["tags"] == [{"name": "dog", "score": 0.25}]
    assert first["alt_text"] == "Dog"
    assert second["caption_score"] is None


def test_a_failed_export_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(0o640)
    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        write_csv(file, (photo(1 // number) for number in (1, 0)))
    assert target.read_text() == "old"
    with replacing(target) as file:
        write_csv(file, [photo()])
    assert target.read_bytes().startswith(b"id,path,")
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no file"), replacing(tmp_path):
        pass
    with pytest.raises(ExportError, match="cannot be written"), replacing(tmp_path / "no/x.csv"):
        pass


@pytest.mark.parametrize("begin", [b"SQLite format 3\0", b"\0\0\0\x18ftypmp42", b"II*\0"])
def test_what_is_no_text_is_not_written_over(tmp_path: Path, begin: bytes) -> None:
    target = tmp_path / "catalog.db"
    target.write_bytes(begin)
    with pytest.raises(ExportError, match="written over"), replacing(target):
        pass
    assert target.read_bytes() == begin
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.db"]


def test_the_contact_sheet_shows_what_is_known() -> None:
    page = as_page(
        photo(1, "/p/a.jpg", "animal/dog", alt_text="A dog & a ball", caption_score=0.31), photo(2)
    )
    text = " ".join(page.words)
    for shown in ("A dog & a ball", "0.310", "animal/dog", "0.250", "/p/a.jpg", "No alt text"):
        assert shown in text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["A dog & a ball", "a.jpg"]
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in images)


def test_the_contact_sheet_holds_all_it_needs_and_forbids_the_rest() -> None:
    page = as_page(photo())
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    [policy] = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert ("name", "viewport") in [item for _, a in page.tags for item in a.items()]


@given(st.text(max_size=60))
def test_markup_in_names_and_texts_stays_text(text: str) -> None:
    plain = [tag for tag, _ in as_page(photo(1, "/a", "t", alt_text="x")).tags]
    hostile = f'"><script>alert(1)</script>{text}<img src=x onerror=alert(1)>'
    page = as_page(photo(1, hostile, hostile, alt_text=hostile))
    assert [tag for tag, _ in page.tags] == plain
    assert not any(key.startswith("on") for _, a in page.tags for key in a)
    assert "<script>alert(1)</script>" in "".join(page.words)


def test_a_photo_without_thumbnail_is_still_listed() -> None:
    def missing(_: int) -> bytes:
        raise PhotoError("/photos/a.jpg", "damaged")

    file = io.StringIO()
    write_html(file, [photo()], missing)
    assert "No picture" in file.getvalue()
    assert "<img" not in file.getvalue()
    assert "No picture" in " ".join(as_page(photo(), thumbnail=b"<svg onload=x>").words)


@given(st.lists(st.text(max_size=300), max_size=8))
def test_names_are_safe_and_differ(names: list[str]) -> None:
    unique = unique_names(names)
    assert len({name.casefold() for name in unique}) == len(names)
    for name in unique:
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert not set(name) & set('<>:"/\\|?*\0\n')
        assert name not in (".", "..")
        assert name == name.rstrip(". ")


def test_names_of_folders() -> None:
    labels = ["dog", "Dog", "animal/dog", "CON", ".hidden", "a?b", "a:b", "-x", "..", "scores.csv"]
    assert folder_names(labels, taken=["scores.csv"]) == {
        "-x": "_-x",
        "..": "_",
        ".hidden": "_.hidden",
        "CON": "_CON",
        "Dog": "Dog",
        "a:b": "a_b",
        "a?b": "a_b (2)",
        "animal/dog": "animal - dog",
        "dog": "dog (2)",
        "scores.csv": "scores (2).csv",
    }
    assert folder_names(reversed(labels)) == folder_names(labels)
    assert safe_name("ü" * 300 + ".jpeg").endswith("ü.jpeg")


@pytest.fixture
def rows(photos: Path) -> list[Described]:
    """Two photos of one name and one that is gone."""
    for folder in ("one", "two"):
        (photos / folder).mkdir()
        (photos / folder / "a.jpg").write_text(folder)
    return [
        photo(2, str(photos / "two/a.jpg"), "animal/dog", "beach"),
        photo(1, str(photos / "one/a.jpg"), "animal/dog"),
        photo(3, str(photos / "gone.jpg"), "beach"),
        photo(4, str(photos / "one/a.jpg")),
    ]


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != folders.MARKER
    }


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_one_folder_a_label(tmp_path: Path, rows: list[Described], mode: folders.Mode) -> None:
    target = tmp_path / "out"
    report = export_folders(target, rows, mode=mode)
    assert (report.labels, report.photos, report.files) == (2, 2, 3)
    assert [Path(skipped.path).name for skipped in report.skipped] == ["gone.jpg"]
    found = tree(target)
    scores = found.pop("scores.csv")
    assert found == {
        "animal - dog/a.jpg": "one",
        "animal - dog/a (2).jpg": "two",
        "beach/a.jpg": "two",
    }
    assert list(csv.reader(io.StringIO(scores))) == [
        ["file", "label", "photo_id", "score"],
        ["animal - dog/a.jpg", "animal/dog", "1", "0.2500"],
        ["animal - dog/a (2).jpg", "animal/dog", "2", "0.2500"],
        ["beach/a.jpg", "beach", "2", "0.2500"],
    ]
    assert all(path.is_symlink() == (mode == "link") for path in target.rglob("*.jpg"))


def test_an_earlier_export_is_replaced(tmp_path: Path, rows: list[Described]) -> None:
    target = tmp_path / "out"
    export_folders(target, rows, mode="copy")
    export_folders(target, rows[1:2])
    assert set(tree(target)) == {"animal - dog/a.jpg", "scores.csv"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]
    assert Path(rows[0].path).read_text() == "two"


def test_an_empty_folder_is_used(tmp_path: Path, rows: list[Described]) -> None:
    (tmp_path / "out").mkdir()
    export_folders(tmp_path / "out", rows)
    assert (tmp_path / "out/beach/a.jpg").is_symlink()


def test_a_folder_that_no_export_made_is_refused(tmp_path: Path, rows: list[Described]) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="not empty and no earlier export"):
        export_folders(target, rows)
    assert tree(target) == {"mine.txt": "mine"}
    for name in ("link", "file"):
        path = tmp_path / name
        path.symlink_to(target) if name == "link" else path.write_text("x")
        with pytest.raises(ExportError, match="no folder"):
            export_folders(path, rows)


@pytest.mark.parametrize("where", ["model.pt", "beach/mine.jpg", "beach/a.jpg", "beach/sub/x"])
def test_what_somebody_put_into_an_export_is_never_deleted(
    tmp_path: Path, rows: list[Described], where: str
) -> None:
    target = tmp_path / "out"
    export_folders(target, rows, mode="copy")
    (target / where).parent.mkdir(exist_ok=True)
    (target / where).write_text("precious")
    before = tree(target)
    with pytest.raises(ExportError, match="none made it or it was changed"):
        export_folders(target, rows)
    assert tree(target) == before


def test_a_second_export_beside_a_running_one_is_refused(
    tmp_path: Path, rows: list[Described]
) -> None:
    with swapping.locked(tmp_path), pytest.raises(ExportError, match="another export"):
        export_folders(tmp_path / "out", rows)


def test_without_exchange_there_are_two_renames(
    tmp_path: Path, rows: list[Described], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapping, "_exchanged", lambda *_: False)
    target = tmp_path / "out"
    export_folders(target, rows)
    export_folders(target, rows[1:2])
    assert set(tree(target)) == {"animal - dog/a.jpg", "scores.csv"}
    # A kill between the renames: the earlier export lies aside, and the next one finds it.
    target.rename(tmp_path / ".clipsearch-out.old")
    export_folders(target, rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


KILLED = """
import os, signal, sys
from clipsearch.exporting import Described, TagScore, export_folders, folders
calls = 0
real = folders._place
def place(*arguments):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
folders._place = place
swap = folders.exchange
def exchange(*arguments):
    if sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    swap(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] in ("before", "after"):
    folders._place, folders.exchange = real, exchange
rows = [Described(1, sys.argv[2], None, 1, 1, (TagScore("new", 1.0), TagScore("newer", 1.0)))]
export_folders(sys.argv[1], rows, mode="copy")
"""


@pytest.mark.parametrize("moment", ["1", "2", "before", "after"])
def test_a_kill_leaves_the_earlier_export_or_the_new_one(
    tmp_path: Path, rows: list[Described], moment: str
) -> None:
    target = tmp_path / "out"
    export_folders(target, rows, mode="copy")
    before = tree(target)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(target), rows[0].path, moment], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    if moment == "after":
        assert "new/a.jpg" in tree(target)
    else:
        assert tree(target) == before
    export_folders(target, rows[1:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]
