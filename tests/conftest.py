"""Fixtures that every test may use; each test has a home folder of its own and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipsearch import Library
from tests.fakes import COLOURS, ColourEmbedder

SHARED = (Path(__file__).resolve().parents[1].parent / "shared" / "data").resolve()

Paint = Callable[..., Path]


@pytest.fixture(autouse=True)
def _private_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME", "CLIPSEARCH_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def shared() -> Path:
    """The photos for development; tests that need them are skipped where they are not."""
    if not SHARED.is_dir():
        pytest.skip("needs the photos of ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def unseen() -> NDArray[np.float32]:
    """Vectors of the captioned photos by the starter, each by a head that has not seen it.

    The heads are trained here, which takes a minute.
    """
    from clipsearch.models.starter import StarterEmbedder
    from tests.benchmarks.starter_retrieval import embed_unseen

    folder = SHARED / "captions"
    if not folder.is_dir():
        pytest.skip("needs the photos of ../shared/data")
    return embed_unseen(StarterEmbedder("cpu"), folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An empty folder for photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def paint(photos: Path) -> Paint:
    """Write a picture of one colour: `paint("a/red.png", "red")`."""

    def paint(name: str, colour: str | tuple[int, int, int], size: int = 24) -> Path:
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), COLOURS.get(str(colour), colour)).save(path)
        return path

    return paint


@pytest.fixture
def embedder() -> ColourEmbedder:
    return ColourEmbedder()


@pytest.fixture
def library(tmp_path: Path, embedder: ColourEmbedder) -> Iterator[Library]:
    """An empty library whose model sees colours."""
    with Library(tmp_path / "library", embedder) as library:
        yield library
