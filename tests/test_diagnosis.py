from __future__ import annotations

from pathlib import Path

import pytest

from clipsearch import Library
from clipsearch.diagnosis import Finding, examine
from tests.conftest import Paint
from tests.fakes import ColourEmbedder


@pytest.fixture
def filled(library: Library, photos: Path, paint: Paint) -> Library:
    for colour in ("red", "green", "blue"):
        paint(f"{colour}.png", colour)
    library.index(photos)
    library.search("red")  # writes the index file
    return library


def wrong(library: Library) -> list[str]:
    """Return what doctor says is wrong with a library."""
    library.close()
    findings: list[Finding] = list(examine(lambda: Library(library.folder, ColourEmbedder())))
    return [finding.detail for finding in findings if not finding.ok]


def test_a_whole_library_has_no_fault(filled: Library) -> None:
    assert list(filled.faults()) == []
    assert filled.mend() == []
    assert wrong(filled) == []


@pytest.mark.parametrize(
    "vector",
    [b"\0\0", b"\0" * 8, b"\xff\x7f" * 4, b"\0\x3c" * 4],
    ids=["short", "zero", "not a number", "too long"],
)
def test_vectors_that_are_none_are_found_dropped_and_embedded_again(
    filled: Library, embedder: ColourEmbedder, vector: bytes
) -> None:
    with filled._catalog.write() as db:
        db.execute("update vector set vector = ? where photo_id = 2", [vector])
    assert [fault.split(";")[0] for fault in filled.faults()] == ["1 vectors are damaged"]
    assert len(wrong(filled)) == 1
    with Library(filled.folder, embedder) as library:
        (done,) = library.mend()
        assert "1 vectors dropped" in done
        assert list(library.faults()) == []
        before = embedder.embedded
        library.index()
        assert embedder.embedded == before + 1
        assert library.search("red", min_relevance=0).total == 3


@pytest.mark.parametrize(
    "statement",
    [
        "delete from photo_words where rowid = 2",
        "update photo_words set name = 'another' where rowid = 2",
        "insert into photo_words (rowid, name, folder) values (99, 'none', '')",
        "update photo_words_data set block = x'00' where id > 10",
        "delete from photo_words_data",
    ],
)
def test_words_that_do_not_fit_are_found_and_made_anew(filled: Library, statement: str) -> None:
    with filled._catalog.write() as db:
        db.execute(statement)
    assert [fault.split(";")[0] for fault in filled.faults()] == [
        "the words of photo_words are damaged"
    ]
    assert filled.mend() == ["the words of photo_words made anew"]
    assert list(filled.faults()) == []
    assert filled.fault() is None
    named = [hit.id for hit in filled.search("green", min_relevance=0) if hit.named]
    assert [Path(filled.photo(each).path).name for each in named] == ["green.png"]


def test_a_damaged_index_file_is_found_and_dropped(filled: Library) -> None:
    (file,) = (filled.folder / "vectors").glob("*.index")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (fault,) = filled.faults()
    assert "the index file is damaged" in fault
    (done,) = filled.mend()
    assert "the next search makes it anew" in done
    assert list(filled.faults()) == []


def test_a_damaged_file_of_sketches_is_found_and_dropped(filled: Library) -> None:
    for file in (filled.folder / "vectors").glob("*.index"):
        file.unlink()
    with Library(filled.folder, ColourEmbedder()) as library:
        library._space._upkeep._exact = 1  # as if the library were large
        library.index()  # makes what searches need
    (file,) = (filled.folder / "vectors").glob("*.sketches")
    assert list(filled.faults()) == []
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (fault,) = filled.faults()
    assert "the index file is damaged" in fault
    assert len(filled.mend()) == 1
    assert list(filled.faults()) == []


def test_damaged_thumbnails_are_dropped(filled: Library) -> None:
    whole, cut = filled.thumbnail(1), filled.thumbnail(2)
    cut.write_bytes(cut.read_bytes()[:20])
    (done,) = filled.mend()
    assert done.startswith("1 thumbnails")
    assert whole.exists()
    assert not cut.exists()
    assert filled.thumbnail(2).stat().st_size > 20


def test_a_library_that_cannot_be_opened_is_a_finding(filled: Library) -> None:
    filled.close()
    with (filled.folder / "catalog.db").open("r+b") as file:
        file.write(bytes(100))
    (detail,) = wrong(filled)
    assert "doctor --repair" in detail
