"""Clocks that jump: times of files and of copies that lie in the future or long ago."""

from __future__ import annotations

import os
import shutil

from tests.faults import oldschemas, state, world
from tests.faults.processes import run
from tests.faults.stage import Stage, seen

_TIMES = (0, 1, 2**31 - 1, 2**31, 2**32, 4_102_444_800, 9_000_000_000)


def jump_of_files(stage: Stage) -> None:
    """Give photos times far ahead, long ago, and all the same: content tells what changed."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    restore = place.keep()
    before = state.kept(place)
    for number in range(stage.times):
        restore()
        files = [path for path in sorted(place.photos.rglob("*")) if path.is_file()]
        same = stage.random.choice(_TIMES)
        for path in files:
            os.utime(path, (same if number % 2 else stage.random.choice(_TIMES),) * 2)
        photos = state.tree(place.photos)
        when = f"times of photos jumped, {number}"
        stage.record.injected += len(files)
        with stage.recovering():
            finished = run(place.folder, "index")
        stage.says(finished, 0, when=when)
        stage.survives(place, before, photos, when=when)
        edited = place.photos / "plain" / "16.png"
        world.paint(edited, stage.random, size=60)
        os.utime(edited, (same, same))  # another size, the same time
        stage.says(run(place.folder, "index"), 0, when=when)
        now = {row for row in state.whole(place) if row[0] in ("place", "photo", "vector")}
        shutil.rmtree(place.library)
        run(place.folder, "index", place.photos, "--model", world.MODEL)
        fresh = {row for row in state.whole(place) if row[0] in ("place", "photo", "vector")}
        if now != fresh:
            stage.wrong(f"{when}: not what a fresh index says", sorted(map(repr, now ^ fresh))[:2])


def jump_of_backups(stage: Stage) -> None:
    """Find copies that a clock far ahead has named: the copy of today is made, and stays."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    oldschemas.downgrade(place.library / "catalog.db", 2)
    backups = place.library / "backups"
    shutil.rmtree(backups, ignore_errors=True)
    backups.mkdir()
    for number in range(8):
        name = f"catalog-2101010{number + 1}-000000-before-0002_tags.db"
        shutil.copy(place.library / "catalog.db", backups / name)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    known = {path.name for path in backups.iterdir()}
    run(place.folder, "status")
    expected = seen(place)
    for _ in range(stage.times):
        restore()
        stage.record.injected += 1
        with stage.recovering():
            stage.says(run(place.folder, "status"), 0, when="copies from the future")
        made = {path.name for path in backups.glob("*.db")} - known
        stage.require(len(made) == 1, "the copy before the migration is gone:", sorted(made))
        stage.survives(place, before, photos, when="copies from the future")
        stage.ends_well(place, expected, when="copies from the future")
