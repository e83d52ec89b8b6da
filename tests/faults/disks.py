"""Disks that fill up, become read-only, or take permissions away while a job runs."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.faults import mounts, state, world
from tests.faults.kills import JOBS, SLOW
from tests.faults.processes import acting, run
from tests.faults.stage import CannotTry, Stage, seen

# Which folder is on the disk that fills up.
_FILLING = (
    ("index", "library"),
    ("index what changed", "library"),
    ("tag", "library"),
    ("alt-text", "library"),
    ("model switch", "library"),
    ("migrate from the first schema", "library"),
    ("export to xmp", "library"),
    ("export to xmp", "photos"),
    ("export to csv", "output"),
    ("export to folders", "output"),
)


def fill(stage: Stage) -> None:
    """Let the disk of the library, the photos or the export be full at some point of a job."""
    rounds = max(1, stage.times // len(_FILLING))
    chosen = _FILLING if stage.times >= len(_FILLING) else _FILLING[:: -(-10 // stage.times)]
    for number, (name, folder) in enumerate(chosen):
        job = JOBS[name]
        place = world.create(stage.folder / f"world{number}", stage.random, stage.photos)
        (place.folder / folder).mkdir(exist_ok=True)
        job.prepare(stage, place)
        restore = place.keep()
        kept = place.folder.with_name(f"{place.folder.name}.kept") / folder
        words = job.words(place)
        with mounts.disk(place.folder / folder, filled_from=kept) as disk:
            before, photos, empty = state.kept(place), state.tree(place.photos), disk.used()
            whole = run(place.folder, *words)
            if whole.code != 0:
                raise RuntimeError(f"the undisturbed run of {words} fails: {whole.err}")
            grown = max(disk.used() - empty, 64 << 10)
            expected, must = seen(place, job.model), before & state.kept(place)
        for turn in range(rounds):
            restore()
            with mounts.disk(place.folder / folder, filled_from=kept) as disk:
                free = int(grown * stage.random.uniform(0, 1) * (turn > 0))
                disk.leave(free)
                when = f"{name}, {free >> 10} KiB left for {folder}"
                finished = run(place.folder, *words)
                stage.record.injected += 1
                stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
                if finished.code != 0:
                    stage.says(finished, 1, "space", "full", "No space", when=when)
                stage.survives(place, must, photos, when=when, exporting=job.exporting)
                disk.allow()
                state.age(place)
                with stage.recovering():
                    finished = run(place.folder, *words)
                stage.says(finished, 0, when=f"{when}, then space")
                stage.ends_well(place, expected, when=when, model=job.model)


def limit(stage: Stage) -> None:
    """Let no file grow beyond a size (RLIMIT_FSIZE), as a quota does; needs no rights."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    restore = place.keep()
    words = JOBS["index"].words(place)
    run(place.folder, *words)
    expected, photos = seen(place), state.tree(place.photos)
    largest = max(path.stat().st_size for path in place.library.rglob("*") if path.is_file())
    for _ in range(stage.times):
        restore()
        blocks = stage.random.randint(1, max(2, largest // 512))
        when = f"no file over {blocks * 512} bytes"
        finished = run(place.folder, *words, limits=f"ulimit -f {blocks}")
        stage.record.injected += 1
        stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
        if finished.code != 0:
            stage.says(finished, 1, "space", "full", "large", "disk", when=when)
        if (place.library / "catalog.db").exists():
            stage.survives(place, frozenset(), photos, when=when)
        state.age(place)
        with stage.recovering():
            finished = run(place.folder, *words)
        stage.says(finished, 0, when=f"{when}, then none")
        stage.ends_well(place, expected, when=when)


def forbid_library(stage: Stage) -> None:
    """Let every command meet a library that cannot be written to: it answers, or says so."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    before, photos = state.kept(place), state.tree(place.photos)
    expected = seen(place)
    reading = (("search", "red", "-k", "5"), ("tags",), ("status",), ("runs",))
    writing = (
        ("index",),
        ("tag", "--vocabulary", place.vocabulary),
        ("export", "--to", "xmp"),
        ("models", "use", world.OTHER_MODEL),
        ("undo", "1"),
        ("forget", place.photos, "--yes"),
    )
    with mounts.disk(place.library) as disk:
        answered = {words: run(place.folder, *words).out for words in reading}
        disk.allow(writing=False)
        for words in (*reading, *writing)[: max(2, stage.times)]:
            when = f"{words[0]} with a read-only library"
            finished = run(place.folder, *words)
            stage.record.injected += 1
            stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
            if finished.code == 0 and words in answered:
                stage.require(finished.out == answered[words], f"{when}: other answer")
            elif finished.code == 0:
                stage.wrong(f"{when}: claims to be done")
            else:
                stage.says(finished, 1, "permission", "written", "Read-only", "made", when=when)
            stage.survives(place, before, photos, when=when)
        disk.allow()
        with stage.recovering():
            stage.says(run(place.folder, "index"), 0, when="writable again")
        stage.ends_well(place, expected, when="writable again")


def forbid_photos(stage: Stage) -> None:
    """Run commands over photos that cannot be written to, and none of them minds but sidecars."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    with mounts.disk(place.photos) as disk:
        run(place.folder, "index")
        expected = seen(place)
        before, photos = state.kept(place), state.tree(place.photos)
        disk.allow(writing=False)
        stage.record.injected += 1
        stage.says(run(place.folder, "index"), 0, when="index of read-only photos")
        finished = run(place.folder, "export", "--to", "xmp")
        stage.says(finished, 1, "written", "Read-only", when="sidecars beside read-only photos")
        stage.survives(place, before, photos, when="read-only photos")
        with stage.recovering():
            stage.says(run(place.folder, "index"), 0, when="index after the refused export")
        stage.ends_well(place, expected, when="read-only photos")
        disk.allow()


def withdraw(stage: Stage) -> None:
    """Take permissions away while a job runs, and give them back."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        raise CannotTry("root passes over permissions, and there is no setpriv")
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    world.change(place, stage.random)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    whole = run(place.folder, "index", plainly=True)
    expected, must = seen(place), before & state.kept(place)
    targets: tuple[tuple[str, Callable[[], Path], int], ...] = (
        ("a folder of photos", lambda: place.photos / "plain", 0),
        ("the photos", lambda: place.photos, 0),
        ("a photo", lambda: next(iter(sorted(place.photos.glob("new*.png")))), 0),
        ("the library", lambda: place.library, 0o500),
        ("the catalogue", lambda: place.library / "catalog.db", 0o400),
    )
    for number in range(stage.times):
        what, target, mode = targets[number % len(targets)]
        restore()
        kind = stage.random.choice(["sql:begin", "sql:commit", "scandir"])
        point = f"{kind}:{stage.random.randint(1, whole.steps[kind])}"
        when = f"{what} forbidden at {point}"
        path = target()
        was = path.stat().st_mode
        with acting(
            place.folder, "index", point=point, action="stop", slow=SLOW, plainly=True
        ) as actor:
            if not actor.await_stop():
                continue
            path.chmod(mode)
            actor.signal(signal.SIGCONT)
            finished = actor.finish()
            stage.left_behind(actor, when=when)
        stage.record.injected += 1
        stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
        stage.require(finished.code in (0, 1), f"{when}: exit code", finished.code)
        path.chmod(was)
        stage.survives(place, must, photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, "index"), 0, when=f"{when}, then allowed")
        stage.ends_well(place, expected, when=when)
