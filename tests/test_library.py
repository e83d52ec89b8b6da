from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clipsearch import Library, searching
from clipsearch.catalog import Catalog
from clipsearch.catalog import photos as catalog_photos
from clipsearch.errors import LibraryError, PhotoError, PhotoNotFoundError, QueryError
from clipsearch.records import SearchResult
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEmbedder


@pytest.fixture
def colours(library: Library, photos: Path, paint: Paint) -> Library:
    """A library with one photo of each colour."""
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    library.index(photos)
    return library


def names(library: Library, query: str, k: int = 3) -> list[str]:
    return [Path(hit.path).stem for hit in library.search(query, k=k, min_relevance=0).hits]


def test_a_phrase_finds_the_right_photo(colours: Library) -> None:
    for colour in COLOURS:
        assert names(colours, colour, 1) == [colour]


def test_terms_add_subtract_and_weigh(colours: Library) -> None:
    assert names(colours, "+red +yellow", 1) == ["orange"]
    assert names(colours, "white -green", 1) == ["magenta"]
    assert names(colours, '5:"red" yellow', 1) == ["red"]
    assert names(colours, '"red" 5:yellow', 1) == ["yellow"]
    red = next(hit.id for hit in colours.search("red", k=1).hits)
    assert names(colours, f"image:{red} +yellow", 1) == ["orange"]


def test_a_file_is_a_term_and_a_photo_of_the_library_is_found_by_its_path(
    colours: Library, tmp_path: Path, photos: Path
) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (9, 9), "red").save(outside)
    assert names(colours, f"{outside} +yellow", 1) == ["orange"]
    assert [Path(h.path).stem for h in colours.similar(outside, k=1).hits] == ["red"]
    inside = colours.similar(photos / "red.png", k=20)
    assert "red" not in [Path(hit.path).stem for hit in inside.hits]
    assert inside.total == len(COLOURS) - 1


def test_the_result_says_what_was_ranked(colours: Library) -> None:
    result = colours.search("red", k=4, min_relevance=0)
    assert (result.query, result.model, result.total) == ("red", "colours", len(COLOURS))
    assert result.took_ms > 0
    scores = [hit.score or 0 for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert all(0 < hit.relevance < 1 for hit in result.hits if hit.relevance is not None)
    assert result.hits[0].relevance == max(hit.relevance or 0 for hit in result.hits)
    assert (result.cut, result.calibration) == (0, "general")


@pytest.mark.parametrize("way", ["search", "similar"])
def test_photos_that_others_drop_meanwhile_make_room_for_the_next(
    colours: Library, photos: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def answer() -> SearchResult:
        if way == "search":
            return colours.search("2:red", k=3, min_relevance=0)  # a weight: no words to look for
        return colours.similar(photos / "black.png", k=3)

    expected = [hit.id for hit in answer().hits]
    rank = searching.nearest
    calls: list[object] = []

    def nearest(*args: Any, **options: Any) -> searching.Ranking:
        calls.append(options)
        found = rank(*args, **options)
        if len(calls) == 1:
            with Catalog(colours.folder / "catalog.db").write() as db:
                catalog_photos.remove(db, [expected[0]])
        return found

    monkeypatch.setattr(searching, "nearest", nearest)
    hits = answer().hits
    assert len(calls) == 2
    assert len(hits) == 3
    assert [hit.id for hit in hits][:2] == expected[1:]


def test_pages_follow_each_other(colours: Library) -> None:
    whole = colours.search("red", k=10).hits
    assert colours.search("red", k=4, offset=3).hits == whole[3:7]
    assert colours.search("red", k=4, offset=100).hits == ()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("red -red", QueryError),
        ("", QueryError),
        ("image:9999", PhotoNotFoundError),
        ("./nowhere.png", PhotoError),
    ],
)
def test_a_question_without_an_answer_says_why(
    colours: Library, query: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        colours.search(query)


def test_wrong_pages_and_photos_are_refused(colours: Library) -> None:
    with pytest.raises(QueryError):
        colours.search("red", k=0)
    with pytest.raises(PhotoNotFoundError):
        colours.similar(9999)
    with pytest.raises(PhotoNotFoundError):
        colours.photo(9999)


def test_an_empty_library_says_what_to_do(library: Library) -> None:
    with pytest.raises(LibraryError, match="clipsearch index"):
        library.search("red")


def test_what_another_process_indexed_is_seen_without_reopening(
    colours: Library, paint: Paint, photos: Path
) -> None:
    assert colours.search("red").total == len(COLOURS)
    paint("new.png", (250, 5, 5), size=40)
    program = (
        "import sys\n"
        "from clipsearch import Library\n"
        "from tests.fakes import ColourEmbedder\n"
        "with Library(sys.argv[1], ColourEmbedder()) as library: library.index()\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(colours.folder)],
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert colours.search("red").total == len(COLOURS) + 1
    assert set(names(colours, "red", 2)) == {"red", "new"}
    (photos / "new.png").unlink()
    colours.index()
    assert "new" not in names(colours, "red", 20)


def test_the_index_file_is_derived_and_rebuilt(colours: Library) -> None:
    expected = colours.search("red").hits
    (file,) = (colours.folder / "vectors").iterdir()
    for damage in (b"", b"nonsense", file.read_bytes()[:-1]):
        file.write_bytes(damage)
        with Library(colours.folder, ColourEmbedder()) as again:
            assert again.search("red").hits == expected
    file.unlink()
    with Library(colours.folder, ColourEmbedder()) as again:
        assert again.search("red").hits == expected
    assert file.exists()


def test_many_threads_may_ask_at_once(colours: Library, paint: Paint) -> None:
    wrong: list[object] = []

    def ask(colour: str) -> None:
        for _ in range(10):
            found = names(colours, colour, 1)
            if found != [colour]:
                wrong.append((colour, found))

    threads = [threading.Thread(target=ask, args=[colour]) for colour in COLOURS]
    for thread in threads:
        thread.start()
    for number in range(3):
        paint(f"more{number}.png", (90 + number, 90, 60), size=30)
        colours.index()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forgotten_root_leaves_its_files(colours: Library, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="does not follow"):
        colours.forget(tmp_path)
    assert colours.forget(photos) == len(COLOURS)
    assert colours.status().photos == 0
    assert len(list(photos.iterdir())) == len(COLOURS)


def test_a_thumbnail_is_made_on_demand(colours: Library) -> None:
    red = colours.search("red", k=1).hits[0].id
    with Image.open(colours.thumbnail(red)) as image:
        assert image.format == "WEBP"
        pixel = image.convert("RGB").getpixel((5, 5))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > 60 > pixel[1]


def test_facts_are_kept(library: Library, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", "EOS R5"
    exif.get_ifd(0x8769)[0x9003] = "2019:06:01 12:30:00"
    Image.new("RGB", (40, 20), "red").save(photos / "a.jpg", exif=exif)
    library.index(photos)
    hit = library.search("red").hits[0]
    assert hit.taken_at == "2019-06-01T12:30:00"
    facts = library.photo(hit.id).facts
    assert (facts.camera_make, facts.camera_model) == ("Canon", "EOS R5")
    assert (facts.format, facts.width, facts.height) == ("JPEG", 40, 20)


def test_names_that_are_no_utf8_come_back_as_they_are(library: Library, photos: Path) -> None:
    raw = os.fsencode(photos) + b"/caf\xe9.png"
    Image.new("RGB", (9, 9), "red").save(os.fsdecode(raw))
    report = library.index(photos)
    assert report.added == 1
    path = library.search("red").hits[0].path
    assert os.fsencode(path) == raw
    assert library.similar(path, k=1).total == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LibraryError, match="cannot be made"):
        Library(tmp_path / "file" / "library", ColourEmbedder())


def test_every_public_name_can_be_imported() -> None:
    import clipsearch

    for name in clipsearch.__all__:
        assert getattr(clipsearch, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = clipsearch.nonsense


def test_captions_and_labels_for_any_photo(colours: Library, tmp_path: Path, photos: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (9, 9), "red").save(outside)
    for photo in (outside, photos / "red.png", colours.search("red")[0].id):
        best = colours.captions(photo, ["a blue sky", "a red wall", "a green field"])
        assert best[0].text == "a red wall"
        assert best.fits
        assert best.margin is not None
        assert best.margin == pytest.approx(best[0].cosine - best[1].cosine)
        assert sum(caption.probability for caption in best) == pytest.approx(1)
    found = colours.classify(outside, ["red", "blue", "something else"], template="{}")
    assert found[0].label == "red"
    sharp = colours.classify(outside, ["red", "blue"], template="{}", temperature=0.01)
    assert sharp[0].probability > found[0].probability


def test_captions_need_no_library(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (9, 9), "red").save(outside)
    with Library(tmp_path / "empty", ColourEmbedder()) as empty:
        assert empty.captions(outside, ["blue", "red"])[0].text == "red"
        with pytest.raises(PhotoNotFoundError):
            empty.captions(7, ["blue", "red"])


def test_tags_narrowed_by_a_query_leave_other_photos_alone(colours: Library) -> None:
    report = colours.tag(None, "red", k=2)
    assert report.photos == 2
    assert colours.runs()[0].photos == 2


@pytest.mark.parametrize("query", ["red", "name:*.png"])
def test_a_photo_that_goes_during_a_search_leaves_no_gap(
    library: Library,
    photos: Path,
    paint: Paint,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    for number in range(12):
        paint(f"{number}.png", (255, number, 0))
    library.index(photos)
    looks: list[int] = []

    def hits(*given: Any, **options: Any) -> Any:
        looks.append(1)
        if len(looks) == 1:
            (photos / "0.png").unlink()
            with Library(library.folder, ColourEmbedder()) as beside:
                assert beside.index().removed == 1
        return found(*given, **options)

    found = library._hits
    monkeypatch.setattr(library, "_hits", hits)
    result = library.search(query, k=11, min_relevance=None if ":" in query else 0)
    assert len(result.hits) == result.total == 11
    assert len(looks) == 2
