"""Files of a library that are damaged or gone: catalogue, its log, index files."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults import state, world
from tests.faults.kills import JOBS, SLOW
from tests.faults.processes import acting, run
from tests.faults.stage import Stage, seen

PAGE = 8192


def _flip(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        for _ in range(random.choice([1, 8, 64])):
            place = random.randrange(path.stat().st_size)
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << random.randrange(8)]))


def _zero(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.seek(PAGE * random.randrange(max(1, path.stat().st_size // PAGE)))
        file.write(bytes(PAGE))


def _cut(path: Path, random: Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def _scramble_head(path: Path, random: Random) -> None:
    with path.open("r+b") as file:
        file.write(random.randbytes(100))


def _empty(path: Path, _: Random) -> None:
    os.truncate(path, 0)


def _remove(path: Path, _: Random) -> None:
    path.unlink()


Damage = Callable[[Path, Random], None]
_DAMAGES: tuple[Damage, ...] = (_flip, _zero, _cut, _flip, _scramble_head, _zero, _empty, _remove)


def catalogue(stage: Stage) -> None:
    """Damage the catalogue: it is noticed or does no harm, and a repair says what was lost."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    with place.opened() as library:
        library.undo(library.runs()[0].id)  # copies the catalogue aside first
    restore = place.keep()
    expected = seen(place)
    photos, rows = state.tree(place.photos), state.kept(place)
    unseen = 0
    for number in range(stage.times):
        restore()
        damage = _DAMAGES[number % len(_DAMAGES)]
        damage(place.library / "catalog.db", stage.random)
        when = f"catalogue{damage.__name__.replace('_', ' ')} {number}"
        stage.record.injected += 1
        noticed = bool(state.complaints(place)) or not (place.library / "catalog.db").exists()
        for words in (("search", "red"), ("index",), ("doctor",)):
            finished = run(place.folder, *words)
            stage.require(finished.is_clean, f"{when}, {words[0]}: traceback", finished.err[-1500:])
            stage.require(finished.code in (0, 1), f"{when}, {words[0]}: code", finished.code)
        if noticed:
            stage.require(finished.code == 1, f"{when}: doctor finds nothing wrong", finished.out)
        with stage.recovering():
            finished = run(place.folder, "doctor", "--repair", "--yes")
            again = run(place.folder, "index", place.photos, "--model", world.MODEL)
        stage.require(finished.is_clean, f"{when}, repair: traceback", finished.err[-1500:])
        stage.says(again, 0, when=f"{when}, index after the repair")
        stage.survives(place, frozenset(), photos, when=f"{when}, repaired")
        found = seen(place)
        gone = sorted(map(repr, rows - state.kept(place)))
        if not noticed and (gone or found.answers != expected.answers):
            unseen += 1  # the contents of a cell: no check of SQLite's sees that
        elif gone and not (finished.out + finished.err).strip():
            stage.lost(f"{when}: {len(gone)} rows went without a word, such as", gone[:2])
        elif not gone and found.answers != expected.answers:
            stage.wrong(f"{when}: other answers after the repair")
    if unseen:
        stage.note(f"{unseen} of {stage.times} changed contents that SQLite keeps no checksum of")


def log(stage: Stage) -> None:
    """Damage the write-ahead log that a kill left: the last commits may go, nothing before."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    job = JOBS["model switch"]
    words = job.words(place)
    whole = run(place.folder, *words)
    expected, must = seen(place, job.model), before & state.kept(place)
    done = 0
    while done < stage.times:
        restore()
        point = f"sql:commit:{stage.random.randint(4, whole.steps['sql:commit'])}"
        with acting(place.folder, *words, point=point) as actor:
            actor.finish()
        wal = place.library / "catalog.db-wal"
        if not wal.exists() or not wal.stat().st_size:
            continue
        damage = (_flip, _cut, _zero, _empty, _remove)[done % 5]
        damage(wal, stage.random)
        shm = place.library / "catalog.db-shm"
        if done % 3 == 0 and shm.exists():
            shm.write_bytes(stage.random.randbytes(shm.stat().st_size))
        elif done % 3 == 1:
            shm.unlink(missing_ok=True)
        when = f"log{damage.__name__.replace('_', ' ')} after a kill at {point}"
        stage.record.injected += 1
        done += 1
        stage.survives(place, must, photos, when=when)
        with stage.recovering():
            stage.says(run(place.folder, *words), 0, when=when)
        stage.ends_well(place, expected, when=when, model=job.model)


def index_files(stage: Stage) -> None:
    """Damage or remove index files: they are derived, and made again."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    answer = run(place.folder, "search", "red", "-k", "9").out
    expected = seen(place)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    for number in range(stage.times):
        restore()
        files = [path for path in (place.library / "vectors").rglob("*") if path.is_file()]
        stage.require(bool(files), "there is no index file")
        damage = (_flip, _cut, _zero, _empty, _remove, _become_folder)[number % 6]
        for path in files:
            damage(path, stage.random)
        when = f"index file{damage.__name__.replace('_', ' ')}"
        stage.record.injected += 1
        with stage.recovering():
            finished = run(place.folder, "search", "red", "-k", "9")
        stage.says(finished, 0, when=when)
        stage.require(finished.out == answer, f"{when}: another answer")
        stage.survives(place, before, photos, when=when)
        stage.ends_well(place, expected, when=when)
    shutil.rmtree(place.library / "vectors")
    finished = run(place.folder, "search", "red", "-k", "9")
    stage.require(finished.out == answer, "all index files removed: another answer")


def _become_folder(path: Path, _: Random) -> None:
    path.unlink()
    path.mkdir()


def index_file_while_written(stage: Stage) -> None:
    """Kill a search just before it puts its index file in place."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    answer = run(place.folder, "search", "red", "-k", "9").out
    expected = seen(place)
    before, photos = state.kept(place), state.tree(place.photos)
    for _ in range(stage.times):
        shutil.rmtree(place.library / "vectors")
        with acting(place.folder, "search", "red", point="rename:1", slow=SLOW) as actor:
            finished = actor.finish()
        if finished.code != -signal.SIGKILL:
            stage.note("searching renames nothing")
        stage.record.injected += 1
        state.age(place)
        with stage.recovering():
            finished = run(place.folder, "search", "red", "-k", "9")
        stage.says(finished, 0, when="index file half written")
        stage.require(finished.out == answer, "index file half written: another answer")
        stage.survives(place, before, photos, when="index file half written")
        stage.ends_well(place, expected, when="index file half written")
