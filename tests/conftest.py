"""Fixtures that every test may use; each test has a home folder of its own and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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
