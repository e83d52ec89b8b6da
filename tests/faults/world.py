"""A folder with photos, their library and a place for exports, which can be made as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from clipsearch import Library
from tests.fakes import COLOURS
from tests.faults.actor import ActingEmbedder

MODEL = "colours"
OTHER_MODEL = "colours-turned"
QUERIES = ("red", "green", "blue -red", "yellow", "white", "tag:red", "name:1*", "has:alt grey")

SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>%s</rdf:li></rdf:Bag>
</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""

VOCABULARY = """name = "colours"
templates = ["{}"]
[group.colour]
choose = "any"
labels = [
  { name = "red", threshold = 0.1 },  # four dimensions leave little room to stand out in
  { name = "green", threshold = 0.1 },
  { name = "cold/blue", threshold = 0.1 },
  { name = "yellow", threshold = 0.1 },
]
"""
LONG_AGO = 1_500_000_000


@dataclass(frozen=True)
class World:
    """Where everything of one trial lies; `folder` stays the same, so paths in catalogues do."""

    folder: Path

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def vocabulary(self) -> Path:
        return self.folder / "colours.toml"

    @property
    def captions(self) -> Path:
        return self.folder / "captions.txt"

    def opened(self, model: str = MODEL) -> Library:
        """Open the library in this process."""
        return Library(self.library, ActingEmbedder(model, 0))

    def keep(self) -> Callable[[], None]:
        """Copy all of it aside; what is returned makes it as it was."""
        aside = self.folder.with_name(f"{self.folder.name}.kept")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(self.folder, aside, symlinks=True)

        def restore() -> None:
            for name in ("photos", "library", "output"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
                if (aside / name).exists():
                    shutil.copytree(aside / name, self.folder / name, symlinks=True)

        return restore


def create(folder: Path, random: Random, count: int) -> World:
    """Paint photos into a new world: colours, copies, broken files, a strange sidecar, others."""
    world = World(folder)
    for inner in (world.photos, world.output, folder / "home"):
        inner.mkdir(parents=True)
    for number in range(count):
        name = ["plain", "with space", "grün", "deep/er"][number % 4]
        path = world.photos / name / f"{number}.{'jpg' if number % 5 == 0 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        paint(path, random)
    for number in range(3):
        (world.photos / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([number]))
        original = world.photos / "plain" / f"{(4, 8, 12)[number]}.png"
        shutil.copy(original, world.photos / f"copy{number}.png")
    (world.photos / "notes.txt").write_text("no photo")
    (world.photos / "plain" / "4.png.xmp").write_text(SIDECAR % "theirs")
    for path in sorted(world.photos.rglob("*")):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO + random.randrange(10**6)))
    world.vocabulary.write_text(VOCABULARY)
    world.captions.write_text("a red wall\na green field\na blue sky\na yellow flower\n")
    return world


def paint(path: Path, random: Random, size: int | None = None) -> None:
    """Write a picture of nearly one of the colours that the vocabulary knows."""
    named = COLOURS[random.choice([*sorted(COLOURS), *["grey"] * 10])]
    colour = tuple(min(255, max(0, value + random.randint(-30, 30))) for value in named)
    Image.new("RGB", (size or random.randrange(12, 48), 24), colour).save(path)


def index(world: World) -> None:
    """Index all of it with the first model."""
    with world.opened() as library:
        library.index(world.photos)


def describe(world: World) -> None:
    """Index, and say what people and runs say: tags, hand tags, alt text, a saved search."""
    index(world)
    with world.opened() as library:
        library.tag(world.vocabulary)
        found = library.search("red", k=12, min_relevance=0).hits
        for number, hit in enumerate(found):
            library.edit_tags(hit.id, add=[f"by hand {number % 3}"], remove=["blue"])
        library.propose_alt_text(world.captions)
        for hit in found[:4]:
            library.accept_alt_text(hit.id)
        library.accept_alt_text(found[4].id, "eine rote Wand, von Hand")
        library.reject_alt_text(found[5].id)


def export_sidecars(world: World) -> None:
    """As `describe`, with sidecars of an earlier export and changes since."""
    describe(world)
    with world.opened() as library:
        library.export_sidecars("red", k=9)
        library.index()
        for hit in library.search("red", k=6, min_relevance=0).hits:
            library.edit_tags(hit.id, add=["after the export"], reset=["by hand 0"])


def change(world: World, random: Random) -> None:
    """Move, swap, edit, copy, delete, break and add photos of a world that was indexed."""
    files = sorted(path for path in world.photos.rglob("*.png") if path.is_file())
    random.shuffle(files)
    files = [path for path in files if not Path(f"{path}.xmp").exists()]
    (world.photos / "deep").rename(world.photos / "moved")
    files = [path for path in files if path.exists()]
    for path in files[:3]:
        paint(path, random, size=50)
    files[3].unlink()
    files[4].write_bytes(files[4].read_bytes()[:40])
    shutil.copy(files[5], world.photos / "another copy.png")
    aside = files[6].with_name("aside.png")
    files[6].rename(aside)
    files[7].rename(files[6])
    aside.rename(files[7])
    files[8].rename(world.photos / "renamed.png")
    for number in range(12):
        paint(world.photos / f"new{number}.png", random)
    Path(f"{files[9]}.xmp").write_text(SIDECAR % "new words")
