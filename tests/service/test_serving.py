"""The library behind a server, and the commands around it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from clipsearch.catalog import photos as photo_records
from clipsearch.cli import remote
from clipsearch.errors import ClipsearchError, LibraryError
from clipsearch.library import Library
from clipsearch.library.batching import REMEMBERED, BatchingEmbedder
from clipsearch.library.serving import ServedLibrary
from clipsearch.service.server import Server
from tests.conftest import Paint
from tests.fakes import ColourEmbedder
from tests.service.conftest import TOKEN, Start

ASKED: dict[str, Any] = {
    "k": 3,
    "offset": 0,
    "min_relevance": 0.0,
    "sort": "relevance",
    "all_copies": False,
    "like": (),
    "unlike": (),
    "explain": False,
}


class SlowEmbedder(ColourEmbedder):
    """Takes a moment for each batch of texts, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        if "bad" in texts:
            raise ValueError("a bad text")
        time.sleep(0.1)
        return super().texts(texts)


def together(work: list[Any]) -> list[Any]:
    """Do all at a time; returns results and errors in order."""
    results: list[Any] = [None] * len(work)

    def run(place: int) -> None:
        try:
            results[place] = work[place]()
        except ValueError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_texts_of_many_callers_go_through_the_model_together() -> None:
    slow = SlowEmbedder()
    model = BatchingEmbedder(slow)
    texts = [f"{colour} {number}" for number in range(8) for colour in ("red", "blue")]
    found = together([lambda text=text: model.texts([text, "green"]) for text in texts])
    for text, rows in zip(texts, found, strict=True):
        assert np.array_equal(rows, ColourEmbedder().texts([text, "green"]))
    assert len(slow.batches) <= 4
    assert sorted({text for batch in slow.batches for text in batch}) == sorted({*texts, "green"})


def test_bad_text_of_one_caller_is_not_the_fault_of_others() -> None:
    model = BatchingEmbedder(SlowEmbedder())
    texts = ["red", "bad", "blue", "green", "white"]
    found = together([lambda text=text: model.texts([text]) for text in texts])
    assert isinstance(found[1], ValueError)
    for place in (0, 2, 3, 4):
        assert np.array_equal(found[place], ColourEmbedder().texts([texts[place]]))


def test_texts_are_remembered_and_the_oldest_forgotten() -> None:
    slow = SlowEmbedder()
    model = BatchingEmbedder(slow)
    model.texts(["red", "blue"])
    assert np.array_equal(model.texts(["blue", "red", "blue"]), slow.texts(["blue", "red", "blue"]))
    assert len(slow.batches) == 2
    model.texts([f"text {number}" for number in range(REMEMBERED)])
    model.texts(["red"])
    assert slow.batches[-1] == ["red"]
    assert model.texts([]).shape == (0, 4)


def test_server_follows_when_the_library_changes_its_model(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    first, second = ColourEmbedder("first"), ColourEmbedder("second")
    known = {"first": first, "second": second}
    monkeypatch.setattr("clipsearch.models.registry.load", lambda name, **_: known[name])
    with Library(tmp_path / "library", first) as library:
        library.index(photos)
    with ServedLibrary(tmp_path / "library") as served:
        assert served.search("red").model == "first"
        report = served.use_model("second")
        assert (report.embedded, report.model) == (1, "second")
        assert served.search("blue").model == "second"
        assert served.captions(1, ["red", "blue"]).model == "second"


def test_new_photos_of_another_process_appear(
    start: Start, served: ServedLibrary, paint: Paint, embedder: ColourEmbedder
) -> None:
    server = start()
    paint("late/orange.png", "orange")
    with Library(served.folder, embedder) as other:
        other.index()
    with urllib.request.urlopen(f"{server.url}api/search?q=orange&k=1") as answer:  # noqa: S310
        assert json.load(answer)["hits"][0]["name"] == "orange.png"


def test_command_line_gets_the_same_answer_from_the_server(
    start: Start, served: ServedLibrary
) -> None:
    assert remote.search(served.folder, "red", **ASKED) is None
    start()
    found = remote.search(served.folder, "red -blue", **{**ASKED, "explain": True})
    assert found is not None
    own = served.search("red -blue", k=3, min_relevance=0.0)
    assert found.result.hits == own.hits
    assert (found.result.total, found.result.query) == (own.total, own.query)
    assert [each.terms for each in found.reasons] == [
        served.explain("red -blue", hit.id).terms for hit in own.hits
    ]


def test_command_line_asks_the_library_where_the_server_cannot_help(
    start: Start, served: ServedLibrary, photos: Path, tmp_path: Path
) -> None:
    start()
    folder = served.folder
    assert remote.search(folder, str(photos / "holiday" / "red.png"), **ASKED) is None
    assert remote.search(folder, "nosuch:key", **ASKED) is None
    assert remote.search(folder, "red", **{**ASKED, "k": 5000}) is None
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "server.json").write_bytes((folder / "server.json").read_bytes())
    assert remote.search(copy, "red", **ASKED) is None
    for note in ("", "[]", "{}", '{"url": "ftp://x", "folder": [1, 2], "library": "x"}'):
        (copy / "server.json").write_text(note)
        assert remote.search(copy, "red", **ASKED) is None


def test_note_of_a_server_that_died_is_ignored(start: Start, served: ServedLibrary) -> None:
    server = start()
    note = (served.folder / "server.json").read_bytes()
    server.stop()
    server.close()
    (served.folder / "server.json").write_bytes(note)
    assert remote.search(served.folder, "red", **ASKED) is None


def test_command_line_shows_the_token(
    start: Start, served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(token=TOKEN)
    assert remote.search(served.folder, "red", **ASKED) is None
    monkeypatch.setenv("CLIPSEARCH_TOKEN", TOKEN)
    assert remote.search(served.folder, "red", **ASKED) is not None


def test_port_that_is_taken_is_a_sentence(start: Start, served: ServedLibrary) -> None:
    server = start()
    with pytest.raises(ClipsearchError, match="cannot listen there"):
        Server(served, port=server.port)


def test_number_of_hits_makes_no_new_statements(served: ServedLibrary, ids: dict[str, int]) -> None:
    # Each thread keeps the last 128 of them: 8 MiB, where they differ and are long.
    asked: set[str] = set()
    with served._catalog.read() as db, db.tracer(lambda sql, _: asked.add(sql)):
        counts = []
        for number in (1, 2, 6):
            assert len(photo_records.photos(db, list(ids.values())[:number])) == number
            counts.append(len(asked))
    assert counts == [2, 2, 2]


def test_health_and_metrics_tell_what_happens(start: Start) -> None:
    server = start()
    with urllib.request.urlopen(f"{server.url}api/search?q=red") as answer:  # noqa: S310
        answer.read()
    with urllib.request.urlopen(f"{server.url}health") as answer:  # noqa: S310
        assert json.load(answer)["ok"] is True
    with urllib.request.urlopen(f"{server.url}metrics") as answer:  # noqa: S310
        text = answer.read().decode()
    assert 'clipsearch_requests_total{method="GET",route="/api/search",status="200"} 1' in text
    assert "clipsearch_photos 6" in text
    assert "clipsearch_vectors 6" in text
    assert 'clipsearch_request_seconds_bucket{route="/api/search",le="+Inf"} 1' in text
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


@contextmanager
def command(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "clipsearch", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_and_stops_cleanly(served: ServedLibrary, number: signal.Signals) -> None:
    with command("--library", str(served.folder), "--port", "0") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = line.split()[1]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}health") as answer:  # noqa: S310
            assert json.load(answer)["library"] == served.identity().library
        assert (served.folder / "server.json").exists()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert out == ""
    assert "Traceback" not in err
    assert not (served.folder / "server.json").exists()


def test_command_makes_no_library_of_a_name_that_was_mistyped(tmp_path: Path, photos: Path) -> None:
    (photos / "red.txt").write_text("not empty")
    for folder in (tmp_path / "libary", photos):
        with command("--library", str(folder), "--port", "0") as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "there is no library here" in err
        assert not (folder / "catalog.db").exists()
    assert not (tmp_path / "libary").exists()
    waiting = tmp_path / "volume"
    waiting.mkdir()
    with command("--library", str(waiting), "--port", "0") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("clipsearch: http://")


def test_command_refuses_the_network_without_a_token(tmp_path: Path) -> None:
    with command("--library", str(tmp_path), "--host", "192.0.2.1") as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "a token is needed" in err
    weak = tmp_path / "token"
    weak.write_text("short\n")
    with command("--library", str(tmp_path), "--token-file", str(weak)) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "at least 16" in err


def test_job_stops_at_its_next_step_and_the_next_one_runs() -> None:
    from clipsearch.records import OnProgress, Progress
    from clipsearch.service.errors import RequestError
    from clipsearch.service.jobs import Jobs

    seen: list[tuple[int, str]] = []
    jobs = Jobs(lambda job: seen.append((job.id, job.state)))
    begun = threading.Event()

    def endless(on_progress: OnProgress) -> None:
        for step in range(1000):
            on_progress(Progress("walk", step))
            begun.set()
            time.sleep(0.01)

    first = jobs.start("endless", endless)
    second = jobs.start("short", lambda _: {"done": True})
    third = jobs.start("never", lambda _: {"done": True})
    assert begun.wait(10)
    jobs.stop(third.id)
    jobs.stop(first.id)
    for _ in range(500):
        if {jobs.get(job.id).state for job in (first, second, third)} <= {"done", "failed"}:
            break
        time.sleep(0.01)
    assert [jobs.get(job.id).state for job in (first, second, third)] == [
        "failed",
        "done",
        "failed",
    ]
    assert (jobs.get(first.id).error or "").startswith("stopped")
    assert (third.id, "running") not in seen
    with pytest.raises(RequestError, match="ended already"):
        jobs.stop(second.id)
    jobs.close()
    with pytest.raises(RequestError, match="stopping"):
        jobs.start("late", lambda _: None)


def test_line_of_jobs_has_an_end() -> None:
    from clipsearch.service.errors import RequestError
    from clipsearch.service.jobs import MOST_WAITING, Jobs

    jobs = Jobs()
    go = threading.Event()
    jobs.start("first", lambda _: go.wait(10))
    while sum(job.state == "waiting" for job in jobs.all()) < MOST_WAITING:
        jobs.start("next", lambda _: None)
    with pytest.raises(RequestError, match="too many jobs"):
        jobs.start("next", lambda _: None)
    go.set()
    jobs.close()


def test_kept_answers_are_those_of_the_library_as_it_is(
    client: FlaskClient, served: ServedLibrary, paint: Paint, embedder: ColourEmbedder
) -> None:
    address = "/api/search?q=red&k=6&min_relevance=0"

    def hits() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(address).get_json()["hits"]
        return found

    first = hits()
    assert hits() == first
    photo = first[0]["id"]
    client.post(f"/api/photos/{photo}/alt-text", json={"text": "A wall"})
    assert hits()[0]["alt_text"] == "A wall"
    client.post(f"/api/photos/{first[1]['id']}/tags", json={"add": ["red"]})
    assert hits()[1]["named"]
    with Library(served.folder, embedder) as other:
        other.edit_tags(photo, add=["red"])
        other.edit_tags(first[1]["id"], remove=["red"])
        assert not hits()[1]["named"]
        paint("late/red.png", "red", size=99)
        other.index()
    assert len(hits()) == 6
    assert "late/red.png" in " ".join(hit["path"] for hit in hits())


def test_kept_answers_have_an_end_in_time_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from clipsearch.service import answers

    kept = answers.Answers()
    kept.keep("a", 1, "x" * 10)
    assert kept.get("a", 1) == "x" * 10
    assert kept.get("a", 2) is None
    monkeypatch.setattr(answers, "MOST_BYTES", 25)
    kept.keep("b", 1, "y" * 10)
    assert kept.get("a", 1)
    kept.keep("c", 1, "z" * 10)
    assert kept.get("b", 1) is None
    assert kept.get("a", 1)
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    assert kept.get("a", 1) is None


def test_switch_of_the_model_in_the_middle_of_a_search_is_followed(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    first, second = ColourEmbedder("one"), ColourEmbedder("one", "2")
    known = [first]
    monkeypatch.setattr("clipsearch.models.registry.load", lambda *_, **__: known[-1])
    with Library(tmp_path / "library", first) as library:
        library.index(photos)

    with ServedLibrary(tmp_path / "library") as served:
        assert served.search("red").total == 1
        space = served._space
        begun = space.model_in_use

        def switch() -> Any:
            model = begun()
            monkeypatch.setattr(space, "model_in_use", begun)
            known.append(second)
            with Library(tmp_path / "library", second) as other:
                other.index(photos)
            return model

        monkeypatch.setattr(space, "model_in_use", switch)
        assert served.search("blue and green", min_relevance=0.0).total == 1
        assert served.embedder.fingerprint == "2"
        # Other weights on the disk are an error that is told, and they are not loaded for ever.
        known.append(ColourEmbedder("one", "3"))
        assert served.embedder.fingerprint == "2"


def test_weights_that_nobody_indexed_are_loaded_once(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    loaded: list[str] = []

    def load(name: str, **_: object) -> ColourEmbedder:
        loaded.append(name)
        return ColourEmbedder(name, "of another file")

    monkeypatch.setattr("clipsearch.models.registry.load", load)
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(photos)
    with ServedLibrary(tmp_path / "library") as served:
        for _ in range(4):
            with pytest.raises(LibraryError, match="weights of colours are not those"):
                served.search("blue and green")
    assert len(loaded) <= 2


def test_note_can_be_read_by_its_owner_alone(start: Start, served: ServedLibrary) -> None:
    start()
    assert (served.folder / "server.json").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in served.folder.glob("*.partial")] == []


def test_second_server_leaves_the_note_of_the_first_alone(
    start: Start, served: ServedLibrary
) -> None:
    first = start()
    second = start()
    note = served.folder / "server.json"
    assert json.loads(note.read_text())["url"] == first.url
    second.stop()
    second.close()
    assert json.loads(note.read_text())["url"] == first.url
    first.stop()
    first.close()
    assert not note.exists()


def test_server_replaces_the_note_of_one_that_died(start: Start, served: ServedLibrary) -> None:
    first = start()
    note = served.folder / "server.json"
    left = note.read_bytes()
    first.stop()
    first.close()
    note.write_bytes(left)
    assert json.loads(left)["url"] != (second := start()).url
    assert json.loads(note.read_text())["url"] == second.url


@contextmanager
def stranger(answer: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A program that took the port of a server: its address, and what it was sent."""
    seen: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", seen
        finally:
            server.shutdown()
            thread.join(10)


def test_stranger_at_the_address_of_the_note_learns_nothing(
    start: Start, served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSEARCH_TOKEN", TOKEN)
    start(token=TOKEN)
    note = served.folder / "server.json"
    true = json.loads(note.read_text())
    library = served.identity().library
    health = {"library": library, "proof": "0" * 64, "model": "x", "active_model": "x"}
    with stranger(health) as (url, seen):
        note.write_text(json.dumps({**true, "url": url}))
        assert remote.search(served.folder, "secret", **ASKED) is None
        assert [path.partition("=")[0] for path, _ in seen] == ["/health?challenge"]
        assert [token for _, token in seen] == [None]
        seen.clear()
        for wrong in (
            {"url": url.replace("127.0.0.1", "localhost")},
            {"url": url.replace("http:", "https:")},
            {"url": url.replace("127.0.0.1", "192.0.2.1")},
            {"url": url, "pid": 2**22 + 1},
            {"url": url, "pid": -1},
            {"url": url, "nonce": ""},
        ):
            note.write_text(json.dumps({**true, **wrong}))
            assert remote.search(served.folder, "secret", **ASKED) is None
        assert seen == []
    note.write_text(json.dumps(true))
    assert remote.search(served.folder, "red", **ASKED) is not None


def test_server_with_another_model_is_not_asked(
    start: Start, served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    assert remote.search(served.folder, "red", **ASKED) is not None
    monkeypatch.setattr(served, "model_name", lambda: "another")
    assert remote.search(served.folder, "red", **ASKED) is None


def test_name_of_the_model_is_known_without_loading_it(served: ServedLibrary) -> None:
    with ServedLibrary(served.folder) as own, ServedLibrary(served.folder, "starter") as other:
        assert (own.model_name(), other.model_name()) == ("colours", "starter")
    assert served.model_name() == "colours"
