"""Several servers, their restarts, and libraries that are put back under a running server."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from clipsearch.cli import remote
from clipsearch.library import Library
from clipsearch.library.serving import ServedLibrary
from clipsearch.records import SearchResult
from clipsearch.service import server as servers
from tests.conftest import Paint
from tests.fakes import ColourEmbedder
from tests.service.conftest import TOKEN, Start
from tests.service.test_connections import wait_for
from tests.service.test_serving import ASKED


def fetched(url: str, **headers: str) -> Any:
    """Return the object at an address."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310
        return json.load(answer)


def test_second_server_takes_the_note_over_when_the_first_ends(
    start: Start, served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "AGAIN", 0.1)
    note = served.folder / "server.json"
    first, second = start(), start()
    assert json.loads(note.read_text())["url"] == first.url
    first.stop()
    first.close()
    wait_for(lambda: note.exists() and json.loads(note.read_text())["url"] == second.url)
    assert remote.search(served.folder, "red", **ASKED) is not None
    second.stop()
    second.close()
    assert not note.exists()


def test_note_that_was_lost_is_left_again(
    start: Start, served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "AGAIN", 0.1)
    note = served.folder / "server.json"
    server = start()
    for lost in (note.unlink, lambda: note.write_text("{"), lambda: note.write_text('{"pid": 1}')):
        lost()
        wait_for(lambda: note.exists() and '"url"' in note.read_text())
        assert json.loads(note.read_text())["url"] == server.url


def test_cookie_outlives_a_restart_and_not_a_new_token(start: Start) -> None:
    jar = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(jar)
    first = start(token=TOKEN)
    browser.open(f"{first.url}login", f"token={TOKEN}".encode()).read()
    assert browser.open(f"{first.url}api/status").status == 200
    cookie = next(iter(jar.cookiejar)).value
    first.stop()
    first.close()
    again = start(token=TOKEN)
    assert fetched(f"{again.url}api/status", Cookie=f"clipsearch={cookie}")["photos"] == 6
    other = start(token=TOKEN + "-new")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetched(f"{other.url}api/status", Cookie=f"clipsearch={cookie}")


def test_restored_library_answers_at_once(
    start: Start,
    served: ServedLibrary,
    ids: dict[str, int],
    paint: Paint,
    tmp_path: Path,
    embedder: ColourEmbedder,
) -> None:
    server = start()
    address = f"{server.url}api/search?q=red&k=9&min_relevance=0"
    backup = tmp_path / "before.db"
    with Library(served.folder, embedder) as other:
        other.edit_tags(ids["red"], add=["before"])
        other.backup(backup)
    before = [hit["name"] for hit in fetched(address)["hits"]]
    with Library(served.folder, embedder) as other:
        other.edit_tags(ids["red"], add=["after"], remove=["before"])
        paint("late/red.png", "red", size=77)
        other.index()
    assert len(fetched(address)["hits"]) == 7
    assert "after" in str(fetched(f"{server.url}api/photos/{ids['red']}")["tags"])
    with Library(served.folder, embedder) as other:
        other.restore(backup)
    assert [hit["name"] for hit in fetched(address)["hits"]] == before
    tags = {each["label"] for each in fetched(f"{server.url}api/photos/{ids['red']}")["tags"]}
    assert "before" in tags
    assert "after" not in tags
    health = fetched(f"{server.url}health")
    assert health["library"] == served.identity().library
    # What is written now is written to the restored catalogue.
    request = urllib.request.Request(  # noqa: S310
        f"{server.url}api/photos/{ids['blue']}/tags",
        b'{"add": ["written later"]}',
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()  # noqa: S310
    with Library(served.folder, embedder) as other:
        assert "written later" in {tag.label for tag in other.tags(ids["blue"])}
        assert other.index().added == 1
    assert len(fetched(address)["hits"]) == 7


def test_answers_are_old_or_new_while_a_library_is_restored(
    start: Start, served: ServedLibrary, ids: dict[str, int], tmp_path: Path
) -> None:
    server = start()
    backup = tmp_path / "before.db"
    with Library(served.folder, ColourEmbedder()) as other:
        other.edit_tags(ids["red"], add=["before"])
        other.backup(backup)
    seen: set[tuple[str, ...]] = set()
    ended = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            try:
                found = fetched(f"{server.url}api/photos/{ids['red']}")
                seen.add(tuple(sorted(tag["label"] for tag in found["tags"])))
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    wrong.append(f"{error.code} {error.read()[:200]!r}")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        with Library(served.folder, ColourEmbedder()) as other:
            other.edit_tags(ids["red"], add=["after"], remove=["before"])
            other.restore(backup)
    ended.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert seen <= {("before",), ("after",)}


@pytest.mark.parametrize("question", ["similar", "captions", "classify", "explain", "described"])
def test_every_question_follows_a_switch_of_the_model(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    paint("red.png", "red")
    paint("dark.png", (200, 0, 0))
    first, second = ColourEmbedder("one"), ColourEmbedder("one", "2")
    known = [first]
    monkeypatch.setattr("clipsearch.models.registry.load", lambda *_, **__: known[-1])
    with Library(tmp_path / "library", first) as library:
        library.index(photos)
        ids = [hit.id for hit in library.search("name:*").hits]
    with ServedLibrary(tmp_path / "library") as served:
        questions = {
            "similar": lambda: served.similar(ids[0]).total,
            "captions": lambda: len(served.captions(ids[0], ["red", "blue"]).captions),
            "classify": lambda: len(served.classify(ids[0], ["red", "blue"]).labels),
            "explain": lambda: len(served.explain("red and blue", ids[0]).terms),
            "described": lambda: len(served.described("red and green")),
        }
        wanted = questions[question]()
        served.search("red")
        space = served._space
        name = "subject" if question in ("captions", "classify") else "model_in_use"
        begun = getattr(space, name)

        def switch(*arguments: Any) -> Any:
            model = begun(*arguments)
            monkeypatch.setattr(space, name, begun)
            known.append(second)
            with Library(tmp_path / "library", second) as other:
                other.index(photos)
            return model

        monkeypatch.setattr(space, name, switch)
        assert questions[question]() == wanted
        assert len(known) == 2
        assert served.embedder.fingerprint == "2"


def test_photo_that_goes_during_a_search_leaves_no_gap(
    client: FlaskClient,
    served: ServedLibrary,
    embedder: ColourEmbedder,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search, gone = served.search, photos / "holiday" / "red.png"

    def slowly(*asked: Any, **options: Any) -> SearchResult:
        found = search(*asked, **options)
        if gone.exists():
            gone.unlink()
            with Library(served.folder, embedder) as beside:
                assert beside.index().removed == 1
        return found

    monkeypatch.setattr(served, "search", slowly)
    found = client.get("/api/search?q=red&k=5&explain=true").get_json()
    assert found["total"] == len(found["hits"]) == 5
    assert [each["id"] for each in found["explanations"]] == [hit["id"] for hit in found["hits"]]
