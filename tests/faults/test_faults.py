"""Some faults once each, and proof that the harness sees what it looks for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from clipsearch import Library
from clipsearch.errors import ModelError
from tests.conftest import Paint
from tests.fakes import ColourEmbedder
from tests.faults import state, world
from tests.faults.damage import PAGE
from tests.faults.runner import attempt
from tests.faults.stage import Record, Stage, seen
from tests.faults.table import FAULTS
from tests.faults.world import World

QUICK = (
    "SIGKILL: index what changed",
    "SIGKILL: export to xmp",
    "SIGKILL: migrate from the first schema",
    "SIGKILL: model switch",
    "SIGINT: index",
    "disk full",
    "root disappears and returns",
    "root blinks during the walk",
    "permission lost in a run",
    "several indexers at once",
    "index file damaged",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_loses_nothing(name: str, tmp_path: Path) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    record = attempt(fault, tmp_path, 7, short=True, times=2)
    if record.skipped:
        pytest.skip(record.skipped)
    assert (record.losses, record.wrong) == ([], [])
    assert record.injected > 0


@pytest.fixture
def place(tmp_path: Path) -> World:
    place = world.create(tmp_path / "world", Random(3), 20)
    world.describe(place)
    return place


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, Random(3), 1, Record("a fault"))


def test_a_lost_tag_and_a_changed_photo_are_seen(place: World, stage: Stage) -> None:
    before, photos = state.kept(place), state.tree(place.photos)
    stage.survives(place, before, photos, when="nothing happened")
    assert stage.record.is_good
    with place.opened() as library:
        hit = library.search("red", k=1, min_relevance=0).hits[0]
        library.edit_tags(hit.id, reset=["by hand 0"])
    os.utime(hit.path, (1, 1))
    stage.survives(place, before, photos, when="a loss")
    assert "hand_tag" in stage.record.losses[0]
    assert "photos changed" in stage.record.losses[1]


def test_litter_and_other_answers_are_seen(place: World, stage: Stage) -> None:
    expected = seen(place)
    stage.ends_well(place, expected, when="nothing happened")
    assert stage.record.is_good
    (place.library / "half.partial").touch()
    (place.photos / "plain" / "4.png").unlink()
    with place.opened() as library:
        library.index()
    stage.ends_well(place, expected, when="another end")
    said = "\n".join(stage.record.wrong)
    for what in ("rows differ", "answers differ", "photos differ", "half.partial"):
        assert what in said


def test_a_damaged_catalogue_is_seen(place: World, stage: Stage) -> None:
    with place.opened():
        pass
    file = place.library / "catalog.db"
    data = bytearray(file.read_bytes())
    data[PAGE * 5 : PAGE * 6] = bytes(PAGE)
    file.write_bytes(data)
    stage.survives(place, frozenset(), state.tree(place.photos), when="damage")
    assert "catalogue" in stage.record.losses[0]


def test_a_copy_gets_its_vector_after_a_switch_that_was_cut_off(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    class Failing(ColourEmbedder):
        def images(self, images):  # type: ignore[no-untyped-def]
            if self.embedded:
                raise ModelError("out of memory")
            return super().images(images)

    for number in range(3):
        paint(f"{number}.png", (number, 0, 0))
    shutil.copy(photos / "0.png", photos / "copy of 0.png")
    with Library(tmp_path / "l", ColourEmbedder("first")) as library:
        library.index(photos)
    with (
        Library(tmp_path / "l", Failing("second")) as library,
        pytest.raises(ModelError, match="memory"),
    ):
        library.index()
    with Library(tmp_path / "l", ColourEmbedder("second")) as library:
        library.index()
        assert library.status().model == "second"


def test_a_photo_that_moved_out_of_sight_keeps_what_was_said_of_it(
    tmp_path: Path, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    paint("other/blue.png", "blue")
    original = os.scandir

    def refusing(path: str | bytes) -> object:
        if os.fsencode(path).endswith(b"other"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    with Library(tmp_path / "l", ColourEmbedder()) as library:
        library.index(photos)
        library.edit_tags(photos / "red.png", add=["mine"])
        (photos / "red.png").rename(photos / "other" / "red.png")
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refusing)
            assert library.index().removed == 0
        assert library.index().moved == 1
        assert [tag.label for tag in library.tags(photos / "other" / "red.png")] == ["mine"]
