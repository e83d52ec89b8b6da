"""What a command imports is what a person waits for: heavy packages only where they are needed.

Seconds would depend on the machine, so modules are named and counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clipsearch import Library

NETWORKS = {
    "torch",
    "torchvision",
    "open_clip",
    "timm",
    "transformers",
    "safetensors",
    "tokenizers",
}
SERVICE = {"flask", "werkzeug", "waitress"}
ELSEWHERE = {"lxml", "pillow_heif", "rich", "huggingface_hub", "sklearn", "skimage", "scipy"}

SCRIPT = """
import json, sys
before = set()
if sys.argv[1] == "torch":
    import torch
    before = set(sys.modules)
from clipsearch.cli import cli
try:
    cli.main(sys.argv[2:], prog_name="clipsearch", standalone_mode=False)
finally:
    print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""


def modules_of(*arguments: str, beyond: str = "nothing") -> tuple[set[str], int]:
    """Run a command in a new process; return the packages it imports, and how many modules."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, beyond, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    names = json.loads(done.stderr.splitlines()[-1])
    return {name.partition(".")[0] for name in names}, len(names)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the starter model that was asked for "known words" before."""
    folder = tmp_path_factory.mktemp("starter")
    photos = folder / "photos"
    photos.mkdir()
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (32, 32), colour).save(photos / f"{colour}.png")
    with Library(folder / "library", "starter") as opened:
        opened.index(photos)
        opened.search("known words")
    return folder / "library"


def test_help_needs_no_library() -> None:
    packages, count = modules_of("--help")
    assert not packages & (
        NETWORKS | SERVICE | ELSEWHERE | {"faiss", "numpy", "PIL", "sqlite_utils"}
    )
    assert count < 240


def test_a_repeated_search_loads_no_model(library: Path) -> None:
    packages, count = modules_of("search", "known words", "--library", str(library))
    assert "faiss" in packages  # it did search
    assert not packages & (NETWORKS | SERVICE | ELSEWHERE)
    assert count < 480


def test_a_cold_search_loads_the_text_tower_alone(library: Path) -> None:
    words = ("search", "words that nobody asked for", "--library", str(library))
    packages, count = modules_of(*words, beyond="torch")
    assert {"tokenizers", "safetensors"} <= packages
    assert not packages & (NETWORKS - {"torch", "tokenizers", "safetensors"})
    assert not packages & (SERVICE | ELSEWHERE)
    assert count < 420


def test_the_weights_of_the_text_tower_are_mapped() -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs the list of mapped files that Linux keeps")
    from clipsearch.models.minilm import MiniLM

    tower = MiniLM()
    assert "model.safetensors" in maps.read_text()
    assert tower.encode(["a dog"]).shape == (1, 384)
