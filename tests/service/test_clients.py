"""Programs that already exist: their own clients, unchanged, against a real server."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipsearch.library.batching import BatchingEmbedder
from clipsearch.library.serving import ServedLibrary
from clipsearch.service.server import Server
from tests.fakes import COLOURS, ColourEmbedder
from tests.service.conftest import TOKEN, Start

Roboflow = Callable[..., Any]


@pytest.fixture
def roboflow(start: Start, monkeypatch: pytest.MonkeyPatch) -> Roboflow:
    """Connect the client of Roboflow Inference: `roboflow(token=...)`."""
    monkeypatch.setenv("ROBOFLOW_DISABLE_METRICS", "1")
    sdk = pytest.importorskip("inference_sdk", exc_type=ImportError)

    def connect(key: str = "unused", transport: str = "legacy", **options: object) -> Any:
        url = start(**options).url.rstrip("/")
        client = sdk.InferenceHTTPClient(api_url=url, api_key=key)
        return client.configure(sdk.InferenceConfiguration(api_key_transport=transport))

    return connect


@pytest.fixture
def openai(start: Start) -> Iterator[Callable[..., Any]]:
    """Connect OpenAI's client: `openai(token=...)`."""
    module = pytest.importorskip("openai", exc_type=ImportError)
    opened: list[Any] = []

    def connect(key: str = "unused", **options: object) -> Any:
        url = f"{start(**options).url}v1"
        client = module.OpenAI(base_url=url, api_key=key, max_retries=0)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


def colour(name: str) -> Image.Image:
    return Image.new("RGB", (30, 20), COLOURS[name])


def data_uri(name: str) -> str:
    buffer = io.BytesIO()
    colour(name).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_roboflow_embeds_texts_as_the_library_does(
    roboflow: Roboflow, embedder: ColourEmbedder
) -> None:
    client = roboflow()
    one = client.get_clip_text_embeddings("red")
    assert np.array_equal(np.array(one["embeddings"], np.float32), embedder.texts(["red"]))
    many = client.get_clip_text_embeddings(["red", "blue"], clip_version="ViT-B-16")
    assert np.allclose(many["embeddings"], embedder.texts(["red", "blue"]))
    assert many["time"] > 0


def test_roboflow_embeds_images_as_the_library_does(
    roboflow: Roboflow, embedder: ColourEmbedder, photos: Path, ids: dict[str, int]
) -> None:
    client = roboflow()
    one = client.get_clip_image_embeddings(str(photos / "holiday" / "red.png"))
    assert np.allclose(one["embeddings"], embedder.images([colour("red")]), atol=2e-2)
    many = client.get_clip_image_embeddings([colour("red"), colour("blue")])
    assert len(many) == 2
    assert np.allclose(many[1]["embeddings"], embedder.images([colour("blue")]), atol=2e-2)


def test_roboflow_compares_a_picture_with_more_texts_than_eight(roboflow: Roboflow) -> None:
    names = list(COLOURS)
    found = roboflow().clip_compare(subject=colour("blue"), prompt=names)
    assert len(found["similarity"]) == len(names) > 8
    assert names[int(np.argmax(found["similarity"]))] == "blue"
    single = roboflow().clip_compare(subject=colour("blue"), prompt="blue")
    assert single["similarity"] == [pytest.approx(max(found["similarity"]))]


def test_roboflow_compares_texts_and_pictures_either_way(roboflow: Roboflow) -> None:
    client = roboflow()
    pictures = [colour("red"), colour("green"), colour("blue")]
    by_text = client.clip_compare(
        subject="green", prompt=pictures, subject_type="text", prompt_type="image"
    )
    assert int(np.argmax(by_text["similarity"])) == 1
    by_picture = client.clip_compare(
        subject=colour("red"), prompt=colour("red"), prompt_type="image"
    )
    assert by_picture["similarity"] == [pytest.approx(1, abs=1e-4)]
    words = client.clip_compare(subject="red", prompt=["red", "cyan"], subject_type="text")
    assert words["similarity"][0] == pytest.approx(1, abs=1e-5)
    assert words["similarity"][1] < 0


def test_roboflow_answers_named_prompts_by_name(roboflow: Roboflow) -> None:
    found = roboflow().clip_compare(
        subject=colour("blue"), prompt={"sea": "blue", "type": "red", "value": "green"}
    )
    assert max(found["similarity"], key=found["similarity"].__getitem__) == "sea"
    assert set(found["similarity"]) == {"sea", "type", "value"}


def test_roboflow_shows_its_key(roboflow: Roboflow) -> None:
    errors = pytest.importorskip("inference_sdk.http.errors", exc_type=ImportError)
    for transport, version in (("legacy", 1), ("legacy", 0), ("header", 1)):
        client = roboflow(token=TOKEN, key=TOKEN, transport=transport)
        if version == 0:
            client.select_api_v0()
        assert client.get_clip_text_embeddings("red")["embeddings"]
        assert client.get_clip_image_embeddings(colour("red"))["embeddings"]
        assert client.clip_compare(subject=colour("red"), prompt="red")["similarity"]
    stranger = roboflow(token=TOKEN, key="wrong")
    with pytest.raises(errors.HTTPCallErrorError) as caught:
        stranger.get_clip_text_embeddings("red")
    assert caught.value.status_code == 401


def post(server: Server, path: str, body: object) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - the address is that of our own server
        server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_addresses_of_pictures_are_never_fetched(start: Start) -> None:
    server = start()
    asked: list[bytes] = []

    class Trap(threading.Thread):
        def __init__(self) -> None:
            import socket

            super().__init__(daemon=True)
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.socket.settimeout(0.3)

        def run(self) -> None:
            with suppress(TimeoutError):
                asked.append(self.socket.accept()[0].recv(10))
            self.socket.close()

    trap = Trap()
    url = f"http://127.0.0.1:{trap.socket.getsockname()[1]}/x.png"
    trap.start()
    image = {"type": "url", "value": url}
    for path, body in (
        ("clip/embed_image", {"image": image}),
        ("clip/compare", {"subject": image, "prompt": "red"}),
        (
            "clip/compare",
            {"subject": "red", "subject_type": "text", "prompt": image, "prompt_type": "image"},
        ),
    ):
        status, found = post(server, path, body)
        assert status == 400
        assert "fetches nothing" in found["error"]
    post(server, "v1/embeddings", {"model": "x", "input": url})
    trap.join()
    assert asked == []


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("clip/embed_text", {}, "text is a list of texts, not null"),
        ("clip/embed_text", {"text": [1]}, "text is a list of texts"),
        ("clip/embed_text", {"text": []}, "text holds 0, fewer than 1"),
        ("clip/embed_image", {"image": "x"}, "image is a picture"),
        ("clip/embed_image", {"image": {"type": "base64", "value": "?"}}, "not base64"),
        ("clip/embed_image", {"image": {"type": "base64", "value": ""}}, "the picture is empty"),
        ("clip/embed_image", {"image": {"type": "base64", "value": "AAAA"}}, "not an image"),
        ("clip/embed_image", {"image": []}, "image holds 0 pictures"),
        ("clip/compare", {"subject": "a", "subject_type": "x"}, "subject_type is image or text"),
        ("clip/compare", {"subject": ["a"], "subject_type": "text"}, "subject is one picture"),
        ("v1/embeddings", {"model": "x"}, "input is a text"),
        ("v1/embeddings", {"input": "a"}, "model is missing"),
        ("v1/embeddings", {"model": "x", "input": []}, "1 to 2048"),
        ("v1/embeddings", {"model": "x", "input": [1, 2]}, "holds tokens"),
        ("v1/embeddings", {"model": "x", "input": [[1, 2]]}, "holds tokens"),
        ("v1/embeddings", {"model": "x", "input": ""}, "an empty text"),
        ("v1/embeddings", {"model": "x", "input": "a", "dimensions": 3}, "4 dimensions"),
        (
            "v1/embeddings",
            {"model": "x", "input": "a", "encoding_format": "hex"},
            "float or base64",
        ),
        ("v1/embeddings", {"model": "x", "input": "data:image/png,xx"}, "data: address"),
        ("v1/embeddings", {"model": "x", "input": "data:image/png;base64,AAAA"}, "not an image"),
    ],
)
def test_wrong_requests_in_foreign_formats_are_explained(
    client: Any, path: str, body: object, sentence: str
) -> None:
    answer = client.post(f"/{path}", json=body)
    assert answer.status_code == 400
    assert sentence in answer.get_json()["error"]


def test_openai_embeds_texts_as_the_library_does(
    openai: Callable[..., Any], embedder: ColourEmbedder
) -> None:
    client = openai()
    wanted = embedder.texts(["red", "blue"])
    usual = client.embeddings.create(model="anything", input=["red", "blue"])  # in base64
    plain = client.embeddings.create(model="x", input=["red", "blue"], encoding_format="float")
    for found in (usual, plain):
        assert [each.index for each in found.data] == [0, 1]
        assert np.array_equal(np.array([each.embedding for each in found.data], np.float32), wanted)
    assert usual.model == "colours"
    assert usual.usage.total_tokens == 2
    single = client.embeddings.create(model="x", input="red", dimensions=4)
    assert len(single.data) == 1


def test_openai_embeds_pictures_beside_texts(
    openai: Callable[..., Any], embedder: ColourEmbedder
) -> None:
    found = openai().embeddings.create(model="x", input=[data_uri("red"), "red", data_uri("blue")])
    rows = np.array([each.embedding for each in found.data])
    assert np.allclose(rows[[0, 2]], embedder.images([colour("red"), colour("blue")]), atol=1e-6)
    assert np.allclose(rows[1], embedder.texts(["red"])[0])


def test_small_request_need_not_wait_for_the_end_of_a_large_one() -> None:
    begun = threading.Event()

    class Slow(ColourEmbedder):
        def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
            begun.set()
            time.sleep(0.02)
            return super().texts(texts)

    model = BatchingEmbedder(Slow())
    many = [f"red {number}" for number in range(3000)]
    found: dict[str, NDArray[np.float32]] = {}

    def ask(name: str, texts: list[str]) -> None:
        found[name] = model.texts(texts)  # a dict keeps the order of what came first

    large = threading.Thread(target=ask, args=("large", many))
    large.start()
    assert begun.wait(10)
    ask("small", ["blue"])
    large.join(30)
    assert list(found) == ["small", "large"]
    assert np.array_equal(found["small"], ColourEmbedder().texts(["blue"]))
    assert np.array_equal(found["large"], ColourEmbedder().texts(many))
    assert all(len(key) == 16 for key in model._known)


def test_openai_lists_models_and_understands_errors(openai: Callable[..., Any]) -> None:
    package = pytest.importorskip("openai", exc_type=ImportError)
    client = openai()
    assert [model.id for model in client.models.list()] == ["colours"]
    with pytest.raises(package.BadRequestError) as tokens:
        client.embeddings.create(model="x", input=[1, 2, 3])
    assert "holds tokens" in str(tokens.value.body)
    with pytest.raises(package.AuthenticationError) as stranger:
        openai(token=TOKEN).models.list()
    assert "needs its token" in str(stranger.value.body)
    assert openai(token=TOKEN, key=TOKEN).models.list().data


@contextmanager
def stream(server: Server) -> Iterator[Iterator[tuple[str, Any]]]:
    """Listen to events as browsers do."""
    with urllib.request.urlopen(server.url + "api/events", timeout=20) as answer:  # noqa: S310
        assert answer.headers["Content-Type"].startswith("text/event-stream")

        def events() -> Iterator[tuple[str, Any]]:
            kind = ""
            for line in answer:
                name, _, value = line.decode().strip().partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

        yield events()


def test_events_tell_of_jobs_and_of_the_library(start: Start, paint: Any, photos: Path) -> None:
    server = start()
    with stream(server) as events:
        kind, before = next(events)
        assert kind == "library"
        paint("late/orange.png", "orange")
        status, job = post(server, "api/index", {})
        assert status == 202
        states, revision = [], before["revision"]
        for kind, data in events:
            if kind == "job":
                states.append((data["id"], data["state"]))
            else:
                revision = data["revision"]
            if (job["id"], "done") in states and revision > before["revision"]:
                break
    assert states[-1] == (job["id"], "done")


def test_streams_are_few_and_their_places_come_back(start: Start) -> None:
    from clipsearch.service.events import MOST_STREAMS

    server = start()
    for _ in range(2):
        opened = [urllib.request.urlopen(server.url + "api/events") for _ in range(MOST_STREAMS)]  # noqa: S310
        for each in opened:
            each.readline()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.url + "api/events")  # noqa: S310
        with caught.value:
            assert caught.value.code == 503
        # Streams have threads of their own: other requests are answered meanwhile.
        with urllib.request.urlopen(server.url + "health") as answer:  # noqa: S310
            assert json.load(answer)["ok"]
        for each in opened:
            each.close()
        for _ in range(200):
            if not len(server.service.events):
                break
            threading.Event().wait(0.1)
        assert len(server.service.events) == 0


def test_library_says_where_its_server_is(start: Start, served: ServedLibrary) -> None:
    note = served.folder / "server.json"
    assert not note.exists()
    server = start()
    assert json.loads(note.read_text())["url"] == server.url
    server.stop()
    server.close()
    assert not note.exists()
