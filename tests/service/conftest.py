"""A served library of coloured pictures, asked by Flask's client and over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import create_app
from clipsearch.service.server import Server
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

TOKEN = "correct-horse-battery"  # noqa: S105 - of this test
COLOURS = ("red", "green", "blue", "yellow", "white", "black")


@pytest.fixture
def served(
    tmp_path: Path, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> Iterator[ServedLibrary]:
    """Six pictures of one colour each; red and green lie in the folder holiday."""
    for number, colour in enumerate(COLOURS):
        folder = "holiday" if number < 2 else "home"
        paint(f"{folder}/{colour}.png", colour, size=24 + number)
    with ServedLibrary(tmp_path / "library", embedder) as library:
        assert library.index(photos).added == len(COLOURS)
        yield library


@pytest.fixture
def ids(served: ServedLibrary) -> dict[str, int]:
    """The id of the photo of each colour."""
    hits = served.search("name:*", k=10).hits
    return {Path(hit.path).stem: hit.id for hit in hits}


@pytest.fixture
def app(served: ServedLibrary) -> Iterator[Flask]:
    app = create_app(served)
    yield app
    app.extensions["clipsearch"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def locked(served: ServedLibrary) -> Iterator[FlaskClient]:
    """A client of a server that wants `TOKEN` and is known as photos.example, too."""
    app = create_app(served, token=TOKEN, hosts=["photos.example"])
    yield app.test_client()
    app.extensions["clipsearch"].close()


Start = Callable[..., Server]


@pytest.fixture
def start(served: ServedLibrary) -> Iterator[Start]:
    """Start a real server on a free port: `start(token=...).url`."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(**options: object) -> Server:
        server = Server(served, threads=4, **options).__enter__()  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.stop()
        thread.join(10)
        server.close()
        assert not thread.is_alive()
