"""Processes that are killed, at a moment drawn by lot or just before a certain step."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.faults import oldschemas, state, world
from tests.faults.processes import Finished, acting, run
from tests.faults.stage import Stage, seen
from tests.faults.state import Rows
from tests.faults.world import MODEL, OTHER_MODEL, World

Prepare = Callable[[Stage, World], None]
SLOW = 0.001  # seconds a photo: time enough to be hit in
_DULL = frozenset({"sql:select", "sql:pragma", "read"})
_TELLING = ("rename", "remove", "sql:commit", "sql:delete", "sql:insert", "sql:update")
"""Steps that change nothing, which no job is killed at, and those that change most, which come
first."""


@dataclass(frozen=True)
class Job:
    """A command that is killed: `prepare` makes the state that it starts from."""

    prepare: Prepare
    command: tuple[str, ...]
    exporting: bool = False
    model: str = MODEL
    done: str = ""
    """What the next run may say where the killed one had done all of it."""

    def words(self, place: World) -> list[str]:
        """Return the command line."""
        places = {
            "PHOTOS": place.photos,
            "OUTPUT": place.output,
            "VOCABULARY": place.vocabulary,
            "CAPTIONS": place.captions,
        }
        words = []
        for word in self.command:
            for name, path in places.items():
                word = word.replace(name, str(path))
            words.append(word)
        return words


def _painted(_: Stage, __: World) -> None:
    """Leave the world with photos alone."""


def _described(_: Stage, place: World) -> None:
    world.describe(place)


def _changed(stage: Stage, place: World) -> None:
    world.describe(place)
    world.change(place, stage.random)


def _exported(_: Stage, place: World) -> None:
    world.export_sidecars(place)


def _exported_files(_: Stage, place: World) -> None:
    world.describe(place)
    for words in (("csv", "tags.csv"), ("folders", "folders")):
        run(place.folder, "export", "--to", words[0], "-o", place.output / words[1], "red")


def _with_an_export_to_undo(_: Stage, place: World) -> None:
    world.export_sidecars(place)
    with place.opened() as library:
        library.export_sidecars()


def _old(version: int, _: Stage, place: World) -> None:
    world.describe(place)
    oldschemas.downgrade(place.library / "catalog.db", version)


JOBS = {
    "index": Job(_painted, ("index", "PHOTOS", "--model", MODEL)),
    "index what changed": Job(_changed, ("index",)),
    "tag": Job(_described, ("tag", "--vocabulary", "VOCABULARY", "name:*1*")),
    "alt-text": Job(_described, ("alt-text", "--from", "CAPTIONS", "-k", "30", "blue")),
    "export to xmp": Job(_exported, ("export", "--to", "xmp"), exporting=True),
    "export to csv": Job(_exported_files, ("export", "--to", "csv", "-o", "OUTPUT/tags.csv")),
    "export to folders": Job(
        _exported_files, ("export", "--to", "folders", "--copy", "-o", "OUTPUT/folders")
    ),
    "undo": Job(_with_an_export_to_undo, ("undo", "LAST"), exporting=True, done="undone already"),
    "forget": Job(_described, ("forget", "PHOTOS", "--yes"), done="does not follow"),
    "migrate from the first schema": Job(partial(_old, 1), ("status",)),
    "migrate from the second schema": Job(partial(_old, 2), ("status",)),
    "migrate from the third schema": Job(partial(_old, 3), ("status",)),
    "model switch": Job(_described, ("models", "use", OTHER_MODEL), model=OTHER_MODEL),
}


def kill(job: Job, stage: Stage) -> None:
    """Kill a job again and again, and let the next run end it."""
    _disturb(job, stage, "kill", -signal.SIGKILL)


def interrupt(job: Job, stage: Stage) -> None:
    """Press Ctrl-C, and let the next run end it."""
    _disturb(job, stage, "int", 130)


def terminate(job: Job, stage: Stage) -> None:
    """Send SIGTERM, as a system that shuts down does, and let the next run end it."""
    _disturb(job, stage, "term", -signal.SIGTERM)


def _disturb(job: Job, stage: Stage, action: str, code: int) -> None:
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    job.prepare(stage, place)
    restore = place.keep()
    words = job.words(place)
    if "LAST" in words:
        with place.opened() as library:
            words[words.index("LAST")] = str(library.runs()[0].id)
    before, photos = state.kept(place), state.tree(place.photos)
    whole = run(place.folder, *words, slow=SLOW)
    if whole.code != 0 or not whole.is_clean:
        raise RuntimeError(f"the undisturbed run of {words} fails: {whole.err}")
    expected = seen(place, job.model)
    must = before & state.kept(place)
    steps = sorted(whole.steps.keys() - _DULL, key=lambda kind: (kind not in _TELLING, kind))
    for number in range(stage.times):
        restore()
        point = ""
        # SQLite swallows what is raised while it tells of a step, Ctrl-C too.
        if number % 2 == 0 and steps and action != "int":
            kind = steps[(number // 2) % len(steps)]
            point = f"{kind}:{stage.random.randint(1, whole.steps[kind])}"
        when = f"{action} {number} at {point or 'random'}"
        acknowledged = _hit(
            job, stage, place, words, point, action, code, whole, expected.rows, when
        )
        stage.survives(place, must | acknowledged, photos, when=when, exporting=job.exporting)
        if number % 5 == 4:  # the run that mends is hit as well
            when += ", and again"
            acknowledged |= _hit(
                job, stage, place, words, "", action, code, whole, expected.rows, when
            )
            stage.survives(place, must | acknowledged, photos, when=when, exporting=job.exporting)
        state.age(place)
        with stage.recovering():
            finished = run(place.folder, *words)
        if not (job.done and job.done in finished.err):
            stage.says(finished, 0, when=f"{when}, the next run")
        stage.ends_well(place, expected, when=when, model=job.model)
        if not job.exporting:
            stage.untouched(place, photos, when=when)


def _hit(
    job: Job,
    stage: Stage,
    place: World,
    words: list[str],
    point: str,
    action: str,
    code: int,
    whole: Finished,
    expected: Rows,
    when: str,
) -> Rows:
    """Start a job and hit it; return what a reader beside it had seen of it by then."""
    acknowledged: Rows = frozenset()
    with acting(place.folder, *words, point=point, action=action, slow=SLOW) as actor:
        if not point:
            due = time.monotonic() + stage.random.uniform(0.02, whole.working)
            while time.monotonic() < due and actor.process.poll() is None:
                if action == "kill":
                    acknowledged = state.watch(place) or acknowledged
                time.sleep(0.01)
            actor.signal(getattr(signal, f"SIG{action.upper()}"))
        finished = actor.finish()
        stage.left_behind(actor, when=when)
    if finished.code == code:
        stage.record.injected += 1
    elif job.done and job.done in finished.err:
        pass  # the run before had ended it
    elif finished.code != 0 and (finished.code != -signal.SIGINT or finished.err):
        # It may have ended just before; Python itself knows no Ctrl-C at its very end.
        stage.says(finished, code, when=when)
    if action != "kill":
        stage.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
    return acknowledged & expected
