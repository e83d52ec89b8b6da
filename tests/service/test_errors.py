"""Whatever goes wrong is told in one shape, in a sentence."""

from __future__ import annotations

import base64
import io
import json
import random
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from clipsearch.library.serving import ServedLibrary
from clipsearch.photos.workers.pool import Workers
from clipsearch.service import answers, context, create_app
from tests.fakes import ColourEmbedder
from tests.service.fuzzing import checked, requests
from tests.service.test_api import finished, get, picture, post


def refused(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert body["ok"] is False
    assert body["status"] == status
    error: str = body["error"]
    assert error
    assert "\n" not in error
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/api/search", "the query is empty"),
        ("/api/search?q=red&k=0", "k is from 1 to 1000, not 0"),
        ("/api/search?q=red&k=1001", "k is from 1 to 1000, not 1001"),
        ("/api/search?q=red&k=9999999999999999999999", "k is a whole number"),
        ("/api/search?q=red&k=ten", 'k is a whole number, not "ten"'),
        ("/api/search?q=red&k=%EF%BC%91", "k is a whole number"),
        ("/api/search?q=red&k=1&k=2", "k is given 2 times"),
        ("/api/search?q=red&offset=-1", "offset is from 0 to 10000000, not -1"),
        ("/api/search?q=red&min_relevance=nan", "min_relevance is a number"),
        ("/api/search?q=red&min_relevance=1.5", "min_relevance is from 0 to 1, not 1.5"),
        ("/api/search?q=red&sort=size", 'sort is relevance or date, not "size"'),
        ("/api/search?q=red&explain=maybe", "explain is true or false"),
        ("/api/search?q=red&explain=1&k=51", "explain is for 50 hits"),
        ("/api/search?q=red&like=1,x", "like is a list of ids with commas"),
        ("/api/search?q=red&like=0", "like holds a number that is no id"),
        ("/api/search?q=red&limit=5", 'there is no parameter "limit" here'),
        ("/api/search?q=%00", "q holds a character that is none"),
        ("/api/explain?q=red", "id is missing"),
        ("/api/export?to=xmp", "to is csv, json or html"),
        ("/api/photos/1/thumbnail?size=361", "size is 160, 360, 720 or 1440"),
        ("/api/status?x=1", 'there is no parameter "x" here'),
    ],
)
def test_wrong_parameters_are_named(client: FlaskClient, address: str, sentence: str) -> None:
    assert sentence in refused(client.get(address), 400)


def test_wrong_query_points_at_the_place(client: FlaskClient) -> None:
    answer = client.get("/api/search?q=red+nosuch:thing")
    assert "unknown key" in refused(answer, 400)
    assert answer.get_json()["position"] == 4


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "the body is not JSON"),
        ("{}", "labels is missing"),
        ("{", "the body is not JSON"),
        ("[1]", "the body is a list; send an object"),
        ("null", "the body is null; send an object"),
        ('"x"', 'the body is "x"; send an object'),
        ("NaN", "the body is not JSON"),
        ('{"labels": NaN}', "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ("1" * 10_000, "the body is not JSON"),
        ('{"labels": "dog"}', "labels is a list of texts"),
        ('{"labels": ["dog", 1]}', "labels is a list of texts"),
        ('{"labels": ["dog"]}', "labels holds 1, fewer than 2"),
        ('{"labels": null}', "labels is a list of texts, not null"),
        ('{"labels": ["a", "\\ud800"]}', "labels holds a character that is none"),
        ('{"labels": ["a", "b"], "photo": true}', "photo is a whole number, not true"),
        ('{"labels": ["a", "b"], "photo": 1.5}', "photo is a whole number, not 1.5"),
        ('{"labels": ["a", "b"], "photo": 1e400}', "photo is a whole number"),
        ('{"labels": ["a", "b"], "photo": -1}', "photo is from 1 to"),
        ('{"labels": ["a", "b"], "photo": 1, "temperature": "x"}', "temperature is a number"),
        ('{"labels": ["a", "b"], "photo": 1, "temperature": 0}', "temperature is from 0.0001"),
        ('{"labels": ["a", "b"], "photo": 1, "template": "x"}', "{} nowhere"),
        ('{"labels": ["a", "b"], "photo": 1, "path": "/etc/passwd"}', 'no field "path" here'),
        ('{"labels": ["a", "b"]}', "one of photo"),
    ],
)
def test_wrong_bodies_are_explained(client: FlaskClient, body: str, sentence: str) -> None:
    answer = client.post("/api/classify", data=body, content_type="application/json")
    assert sentence in refused(answer, 400)


def test_absent_things_are_404_in_the_same_shape(client: FlaskClient) -> None:
    huge = 10**30
    for address in (
        *("/nowhere", "/api", "/api/", "/api/photos/999", "/api/photos/0/thumbnail"),
        *("/api/photos/x", f"/api/photos/{huge}", "/api/photos/-1", "/static/none.js"),
        *("/api/jobs/7", "/api/saved/none/new", "/api/photos/999/original"),
        *("/api/photos/999/similar", "/api/explain?q=red&id=999", "/api/search?q=image:999"),
    ):
        refused(client.get(address), 404)
    refused(client.post("/api/classify", json={"photo": 999, "labels": ["a", "b"]}), 404)
    refused(client.post("/api/photos/999/tags", json={"add": ["x"]}), 404)


def test_other_methods_are_405_and_say_which_work(client: FlaskClient) -> None:
    answer = client.put("/api/search")
    refused(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}
    for address in ("/", "/api/status", "/health", "/static/app.js"):
        refused(client.delete(address), 405)
        refused(client.options(address), 405)


def test_too_large_a_request_is_413(served: ServedLibrary) -> None:
    client = create_app(served, max_upload=10_000).test_client()
    data = {"image": (io.BytesIO(b"\xff" * 20_000), "x.jpg")}
    refused(client.post("/api/search", data=data), 413)
    refused(client.post("/clip/embed_text", json={"text": "x" * 20_000}), 413)
    refused(client.post("/api/status", data=b"x" * 20_000), 405)


def test_too_many_pixels_are_refused(served: ServedLibrary) -> None:
    client = create_app(served, max_pixels=1000).test_client()
    buffer = io.BytesIO()
    Image.new("RGB", (100, 100)).save(buffer, "PNG")
    data = {"image": (io.BytesIO(buffer.getvalue()), "x.png")}
    sentence = refused(client.post("/api/search", data=data), 400)
    assert sentence.startswith("the picture that was sent:")
    assert "megapixels is over the limit" in sentence
    assert "--max-pixels" not in sentence


def test_pictures_of_one_request_have_an_end_together(served: ServedLibrary) -> None:
    client = create_app(served, max_pixels=1_000_000).test_client()
    buffer = io.BytesIO()
    Image.new("1", (1000, 1000)).save(buffer, "PNG")
    packed = base64.b64encode(buffer.getvalue()).decode()
    image = {"type": "base64", "value": packed}
    uri = f"data:image/png;base64,{packed}"

    def compared(prompts: int) -> Any:
        body = {"subject": image, "prompt": [image] * prompts, "prompt_type": "image"}
        return client.post("/clip/compare", json=body)

    def embedded(pictures: int) -> Any:
        return client.post("/v1/embeddings", json={"model": "x", "input": [uri] * pictures})

    assert client.post("/clip/embed_image", json={"image": [image] * 4}).status_code == 200
    assert compared(3).status_code == embedded(4).status_code == 200
    for answer in (
        client.post("/clip/embed_image", json={"image": [image] * 5}),
        compared(4),
        embedded(5),
    ):
        assert "more than 4 megapixels together" in refused(answer, 413)


def test_costly_vocabularies_are_refused_and_long_ones(client: FlaskClient) -> None:
    for text, said in (
        ("[a]\nx" + ".a" * 10_000 + " = 1", "the vocabulary, line 2: a key has more than 8 dots"),
        ("[a]\nx = " + "1" * 5000, "the vocabulary, line 2: a number has more than 200 digits"),
        ("a" * 200_001, "vocabulary"),
    ):
        for address in ("/api/tag", "/api/tag/preview"):
            assert said in refused(client.post(address, json={"vocabulary": text}), 400)


def test_decompression_bomb_is_refused(client: FlaskClient) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    side = (60_000).to_bytes(4, "big")
    head = chunk(b"IHDR", side + side + b"\x08\x02\x00\x00\x00")
    body = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    bomb = b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")
    answer = client.post("/api/search", data={"image": (io.BytesIO(bomb), "x.png")})
    assert "megapixels is over the limit" in refused(answer, 400)


def test_busy_library_is_409_and_jobs_say_so(client: FlaskClient, served: ServedLibrary) -> None:
    with FileLock(served.folder / "index.lock"):
        job = finished(client, client.post("/api/index", json={}).get_json())
    assert job["state"] == "failed"
    assert "another clipsearch is changing this library" in job["error"]


def test_job_that_waits_is_stopped_at_once(app: Flask, client: FlaskClient) -> None:
    go = threading.Event()
    jobs = app.extensions["clipsearch"].jobs
    first = jobs.start("long", lambda _: go.wait(30))
    done: list[str] = []
    jobs.start("stopped", lambda _: done.append("stopped"))
    last = jobs.start("last", lambda _: done.append("last"))
    stopped = post(client, f"/api/jobs/{first.id + 1}/stop", None)
    assert (stopped["state"], stopped["error"]) == ("failed", "stopped; start it again to go on")
    assert get(client, f"/api/jobs/{first.id + 1}")["state"] == "failed"
    assert "ended already" in post(client, f"/api/jobs/{first.id + 1}/stop", None, 409)["error"]
    go.set()
    assert finished(client, get(client, f"/api/jobs/{last.id}"))["state"] == "done"
    assert done == ["last"]


def test_answers_that_nobody_asks_for_again_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = answers.Answers()
    monkeypatch.setattr(answers, "MOST_ANSWERS", 3)
    for number in range(5):
        kept.keep(f"{number}" * 10_000, 0, "x")
    assert [kept.get(f"{number}" * 10_000, 0) for number in range(5)] == [None, None, "x", "x", "x"]
    assert all(len(key) == 16 for key in kept._kept)
    later = time.monotonic() + answers.LONGEST + 1
    monkeypatch.setattr("time.monotonic", lambda: later)
    kept.keep("new", 0, "yy")
    assert (len(kept._kept), kept._bytes) == (1, 2)


def test_empty_library_says_what_to_do(tmp_path: Path, embedder: ColourEmbedder) -> None:
    with ServedLibrary(tmp_path / "library", embedder) as library:
        client = create_app(library).test_client()
        assert "clipsearch index" in refused(client.get("/api/search?q=red"), 400)
        assert "clipsearch index" in refused(client.post("/api/index", json={}), 400)
        assert client.get("/api/status").get_json()["photos"] == 0
        assert client.get("/api/facets").get_json()["photos"] == 0
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/models").get_json()["data"][0]["id"] == "colours"


def test_failure_of_the_server_tells_nothing_of_its_inside(
    client: FlaskClient, served: ServedLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ColourEmbedder):
        def texts(self, texts: object) -> Any:
            raise RuntimeError("the secret inside")

    served._space._embedder = Broken()
    sentence = refused(client.get("/api/search?q=never+asked+before"), 500)
    assert "secret" not in sentence
    assert "the secret inside" in caplog.text


def test_decoder_that_does_not_start_is_the_servers_fault(
    client: FlaskClient, served: ServedLibrary, ids: dict[str, int]
) -> None:
    served._workers = Workers(1, command=["/nonexistent"])
    assert "does not start" in refused(client.get(f"/api/photos/{ids['red']}/thumbnail"), 503)


def test_thumbnail_that_was_made_before_waits_for_no_decoder(
    client: FlaskClient, app: Flask, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "PATIENCE", 0.1)
    address = f"/api/photos/{ids['red']}/thumbnail?size="
    assert client.get(f"{address}160").status_code == 200
    service = app.extensions["clipsearch"]
    with service.decoding(), service.decoding():
        assert client.get(f"{address}160").status_code == 200
        assert "try again soon" in refused(client.get(f"{address}360"), 503)


def test_decoder_that_is_killed_is_not_the_fault_of_who_sent_the_picture(
    client: FlaskClient, served: ServedLibrary, photos: Path
) -> None:
    dies = (
        "import os, sys; from clipsearch.photos.workers.messages import HELLO; "
        "sys.stdout.buffer.write(HELLO); sys.stdout.flush(); sys.stdin.buffer.read(1); "
        "os.kill(os.getpid(), 9)"
    )
    served.workers.close()
    served._workers = Workers(1, command=[sys.executable, "-c", dies])
    picture = (photos / "holiday" / "red.png").read_bytes()
    form = {"image": (io.BytesIO(picture), "red.png")}
    assert "was killed" in refused(client.post("/api/search", data=form), 503)


def hostile(shared: Path) -> Iterator[tuple[Path, bytes]]:
    folder = shared / "odd" / "files"
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.stat().st_size < 5_000_000:
            yield file, file.read_bytes()


def test_odd_files_are_answered_or_refused(client: FlaskClient, shared: Path) -> None:
    statuses = set()
    for file, data in hostile(shared):
        form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        answer = client.post(
            "/api/search",
            data=form + data + b"\r\n--b--\r\n",
            content_type="multipart/form-data; boundary=b",
        )
        statuses.add(answer.status_code)
        if answer.status_code != 200:
            sentence = refused(answer, 400)
            assert sentence.startswith("the picture that was sent:"), file
            assert "/tmp" not in sentence, file
    assert statuses == {200, 400}


def test_malformed_requests_are_refused_and_change_nothing(
    client: FlaskClient, served: ServedLibrary
) -> None:
    before = (served.identity(), served.runs(), served.tag_counts(), served.saved_searches())
    seen = set()
    for each in requests(random.Random(4), 600):
        seen.add(checked(client, each))
    assert {400, 403, 404, 405, 415} <= seen
    after = (served.identity(), served.runs(), served.tag_counts(), served.saved_searches())
    assert after == before
    assert client.get("/api/jobs").get_json()["jobs"] == []


def test_good_requests_still_work_after_bad_ones(client: FlaskClient) -> None:
    for each in requests(random.Random(5), 50):
        checked(client, each)
    assert client.post("/api/search", data={"image": (picture("red"), "x")}).status_code == 200
    assert json.loads(client.get("/api/search?q=red").data)["hits"]
