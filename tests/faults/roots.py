"""Folders of photos that disappear and return: disks, shares, whatever is mounted."""

from __future__ import annotations

import shutil
import signal
from contextlib import ExitStack

from tests.faults import mounts, state, world
from tests.faults.kills import SLOW
from tests.faults.processes import acting, run
from tests.faults.stage import Stage, seen

_STEPS = ("scandir", "sql:begin", "sql:commit")


def vanish(stage: Stage) -> None:
    """Move the root away before a run or in the middle of it, and bring it back."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    world.change(place, stage.random)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    whole = run(place.folder, "index")
    expected, must = seen(place), before & state.kept(place)
    away = place.folder / "away"
    for number in range(stage.times):
        restore()
        if number == 0:
            when, point = "root away before the run", "mkdir:1"
        else:
            kind = _STEPS[number % len(_STEPS)]
            point = f"{kind}:{stage.random.randint(1, whole.steps[kind])}"
            when = f"root away at {point}"
        with acting(place.folder, "index", point=point, action="stop", slow=SLOW) as actor:
            if not actor.await_stop():
                continue
            place.photos.rename(away)
            actor.signal(signal.SIGCONT)
            finished = actor.finish()
            stage.left_behind(actor, when=when)
        stage.record.injected += 1
        stage.says(finished, 0, when=when)
        away.rename(place.photos)
        stage.survives(place, must, photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, "index"), 0, when=f"{when}, then back")
        stage.ends_well(place, expected, when=when)


def blink(stage: Stage) -> None:
    """Take the root away for a moment during the walk, as a network share does."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    whole = run(place.folder, "index")
    expected = seen(place)
    away = place.folder / "away"
    for _ in range(stage.times):
        restore()
        first = stage.random.randint(1, whole.steps["scandir"] - 1)
        when = f"root away at folder {first}, back at the next"
        points = f"scandir:{first},scandir:{first + 1}"
        with acting(place.folder, "index", point=points, action="stop") as actor:
            if not actor.await_stop():
                continue
            place.photos.rename(away)
            actor.signal(signal.SIGCONT)
            actor.await_stop()
            away.rename(place.photos)
            if actor.process.poll() is None:
                actor.signal(signal.SIGCONT)
            finished = actor.finish()
        stage.record.injected += 1
        stage.says(finished, 0, when=when)
        stage.survives(place, before, photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, "index"), 0, when=f"{when}, then stays")
        stage.ends_well(place, expected, when=when)


def pull_out(stage: Stage) -> None:
    """Unmount the disk of the photos in the middle of a run: an empty folder is left there."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    store = stage.folder / "store"
    store.mkdir()
    with mounts.disk(store, filled_from=place.photos):
        shutil.rmtree(place.photos)
        place.photos.mkdir()
        with ExitStack() as plugged:
            mounts.bind(store, place.photos)
            plugged.callback(mounts.unmount, place.photos)
            world.describe(place)
            before, photos = state.kept(place), state.tree(place.photos)
            whole = run(place.folder, "index")
            expected = seen(place)
        for number in range(stage.times):
            kind = _STEPS[number % len(_STEPS)]
            point = f"{kind}:{stage.random.randint(1, whole.steps[kind])}"
            when = f"disk pulled out at {point}"
            mounts.bind(store, place.photos)
            with acting(place.folder, "index", point=point, action="stop") as actor:
                stopped = actor.await_stop()
                mounts.unmount(place.photos)
                if stopped:
                    actor.signal(signal.SIGCONT)
                finished = actor.finish()
            stage.record.injected += 1
            stage.says(finished, 0, when=when)
            stage.says(run(place.folder, "index"), 0, "unmounted", when=f"{when}, run without it")
            mounts.bind(store, place.photos)
            stage.survives(place, before, photos, when=when)
            with stage.recovering():
                stage.says(run(place.folder, "index"), 0, when=f"{when}, then back")
            stage.ends_well(place, expected, when=when)
            mounts.unmount(place.photos)


def pull_out_inside(stage: Stage) -> None:
    """Unmount a disk that lies inside of the root, and plug it in again."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    with mounts.disk(place.photos / "plain"):
        store = stage.folder / "store"
        store.mkdir()
        mounts.bind(place.photos / "plain", store)
        try:
            world.describe(place)
            before, photos = state.kept(place), state.tree(place.photos)
            run(place.folder, "index")
            expected = seen(place)
            for _ in range(stage.times):
                mounts.unmount(place.photos / "plain")
                hidden = stage.folder / "hidden"
                (place.photos / "plain").rename(hidden)
                (place.photos / "plain").mkdir()
                when = "a disk inside of the root is pulled out"
                stage.says(run(place.folder, "index"), 0, when=when)
                stage.record.injected += 1
                (place.photos / "plain").rmdir()
                hidden.rename(place.photos / "plain")
                mounts.bind(store, place.photos / "plain")
                stage.survives(place, before, photos, when=when)
                with stage.recovering():
                    stage.says(run(place.folder, "index"), 0, when=f"{when}, then back")
                stage.ends_well(place, expected, when=when)
        finally:
            mounts.unmount(store)
