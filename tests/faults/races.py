"""Others at work at the same time: programs that change photos, other runs, locks."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

from tests.faults import state, world
from tests.faults.kills import JOBS, SLOW
from tests.faults.processes import Finished, acting, run
from tests.faults.stage import Stage, seen
from tests.faults.world import MODEL, World

Change = Callable[[Path, Random], None]


def _rewrite(path: Path, random: Random) -> None:
    world.paint(path, random, size=random.randrange(50, 90))


def _truncate(path: Path, random: Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def _scribble(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.seek(random.randrange(path.stat().st_size))
        file.write(random.randbytes(20))


def _become_pipe(path: Path, _: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_folder(path: Path, _: Random) -> None:
    path.unlink()
    path.mkdir()


def _become_link(path: Path, _: Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _go(path: Path, _: Random) -> None:
    path.unlink()


_CHANGES: tuple[Change, ...] = (
    _rewrite,
    _truncate,
    _scribble,
    _become_pipe,
    _become_folder,
    _become_link,
    _go,
)


def change_while_read(stage: Stage) -> None:
    """Change photos of every kind while they are read: the next run sees what is there then."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    restore = place.keep()
    for number in range(stage.times):
        restore()
        for path in place.photos.rglob("*.png"):  # so that each is opened again
            os.utime(path, (world.LONG_AGO, world.LONG_AGO - 5))
        files = [path for path in sorted(place.photos.rglob("*.*g")) if path.is_file()]
        victims = stage.random.sample(files, len(files) // 2)
        with acting(place.folder, "models", "use", world.OTHER_MODEL, slow=3 * SLOW) as actor:
            for path in victims:
                change = stage.random.choice(_CHANGES)
                change(path, stage.random)
                stage.record.injected += 1
                time.sleep(0.005)
                if actor.process.poll() is not None:
                    break
            finished = actor.finish()
        when = f"photos changed while read, {number}"
        stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
        stage.require(finished.code in (0, 1), f"{when}: exit code", finished.code)
        for complaint in state.complaints(place):
            stage.lost(f"{when}: catalogue", complaint)
        with stage.recovering():
            finished = run(place.folder, "models", "use", world.OTHER_MODEL)
        stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
        now = _seen_of_photos(place)
        shutil.rmtree(place.library)
        stage.says(
            run(place.folder, "index", place.photos, "--model", world.OTHER_MODEL), 0, when=when
        )
        fresh = _seen_of_photos(place)
        if now != fresh:
            stage.wrong(
                f"{when}: not what a fresh index says:",
                f"-{_shown(fresh - now)} +{_shown(now - fresh)}",
            )


def _seen_of_photos(place: World) -> state.Rows:
    """Return what follows from the photos alone, under the model that was switched to."""
    return frozenset(
        row
        for row in state.whole(place)
        if row[0] in ("photo", "skipped")
        or (row[0] == "place")
        or (row[0] == "vector" and row[2] == world.OTHER_MODEL)
    )


def _shown(rows: state.Rows) -> list[str]:
    """Return some rows for a reader: places and reasons, which have names, come first."""
    return sorted((repr(row) for row in rows), key=lambda text: "place" not in text)[:3]


def index_twice(stage: Stage) -> None:
    """Index from several processes at once: one does it, the others do, wait or say so."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    restore = place.keep()
    words = JOBS["index"].words(place)
    run(place.folder, *words)
    expected, photos = seen(place), state.tree(place.photos)
    for number in range(stage.times):
        restore()
        when = f"indexers at once, {number}"
        with ExitStack() as running:
            actors = [
                running.enter_context(acting(place.folder, *words, slow=SLOW)) for _ in range(3)
            ]
            finished = [actor.finish() for actor in actors]
        stage.record.injected += 1
        for each in finished:
            if each.code == 0:
                continue
            stage.says(each, 1, "another clipsearch", "locked", when=when)
        stage.require(any(each.code == 0 for each in finished), f"{when}: nobody did it")
        stage.survives(place, frozenset(), photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, *words), 0, when=when)
        stage.ends_well(place, expected, when=when)


def keep_busy(seconds: float, stage: Stage) -> None:
    """Hold the catalogue's write lock for a while: jobs wait for it, searches do not."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    restore = place.keep()
    for name in ("index what changed", "tag", "export to xmp", "model switch")[: stage.times]:
        job = JOBS[name]
        restore()
        before = state.kept(place)
        run(place.folder, *job.words(place))
        expected = seen(place, job.model)
        restore()
        found: list[Finished] = []
        searched: list[Finished] = []
        with closing(sqlite3.connect(place.library / "catalog.db", timeout=5)) as holder:
            holder.execute("begin immediate")
            threads = [
                _running(found, place, *job.words(place)),
                _running(searched, place, "search", "red", "-k", "3"),
            ]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            stage.require(len(searched) == 1, f"search waits for the lock beside {name}")
            stage.require(not found, f"{name}: did not wait for the lock")
            holder.rollback()
        for thread in threads:
            thread.join()
        stage.record.injected += 1
        when = f"{name} while the catalogue was locked for {seconds:.0f} s"
        stage.says(searched[0], 0, when=f"search beside {name}")
        stage.says(found[0], 0, when=when)
        stage.require(bool(before), "nothing to lose")
        stage.record.recovery.append(max(0.0, found[0].seconds - seconds))
        stage.ends_well(place, expected, when=when, model=job.model)


def _running(finished: list[Finished], place: World, *words: str) -> threading.Thread:
    return threading.Thread(target=lambda: finished.append(run(place.folder, *words)))


def keep_busy_for_too_long(stage: Stage) -> None:
    """Hold the write lock for longer than a job waits: it says so, and nothing is lost."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    before, photos, expected = state.kept(place), state.tree(place.photos), seen(place)
    with closing(sqlite3.connect(place.library / "catalog.db", timeout=5)) as holder:
        holder.execute("begin immediate")
        finished = run(place.folder, "index")
        holder.rollback()
    stage.record.injected += 1
    stage.says(finished, 1, "locked", when="locked for too long")
    stage.survives(place, before, photos, when="locked for too long")
    with stage.recovering():
        stage.says(run(place.folder, "index"), 0, when="after the lock")
    stage.ends_well(place, expected, when="after the lock")


def kill_decoders(stage: Stage) -> None:
    """Kill processes that decode while a run goes on: it ends by itself, with every photo."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    restore = place.keep()
    words = ["index", place.photos, "--model", MODEL]
    run(place.folder, *words)
    expected, photos = seen(place), state.tree(place.photos)
    for number in range(stage.times):
        restore()
        with acting(place.folder, *words, slow=3 * SLOW) as actor:
            killed = 0
            wait, begun = stage.random.uniform(0, 0.05), None
            while actor.process.poll() is None and killed < 2:
                children = actor.children()
                if children and begun is None:
                    begun = time.monotonic()  # from when on there is somebody to kill
                if children and begun is not None and time.monotonic() > begun + wait:
                    try:
                        os.kill(stage.random.choice(children), signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    killed += 1
                time.sleep(0.02)
            finished = actor.finish()
            stage.left_behind(actor, when=f"decoders killed, {number}")
        stage.record.injected += killed
        when = f"{killed} decoders killed, {number}"
        stage.says(finished, 0, when=when)
        stage.survives(place, frozenset(), photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, *words), 0, when=when)
        stage.ends_well(place, expected, when=when)
