"""Where a fault is tried: a folder, a seed, and the record of what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults import state
from tests.faults.processes import Actor, Finished, run
from tests.faults.state import Rows, Tree
from tests.faults.world import MODEL, World


@dataclass
class Record:
    """What a fault did: `losses` and `wrong` say what must never be."""

    name: str
    injected: int = 0
    losses: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        return not self.losses and not self.wrong


class CannotTry(Exception):
    """This machine does not allow to inject the fault; the sentence says why."""


@dataclass(frozen=True)
class Expected:
    """What the end must be like."""

    rows: Rows
    answers: Rows
    photos: Tree
    output: Tree


@dataclass
class Stage:
    """A folder of its own for one fault, that is injected `times` times."""

    folder: Path
    random: Random
    times: int
    record: Record
    photos: int = 60

    def lost(self, what: str, items: object = "") -> None:
        """Record a loss."""
        self.record.losses.append(f"{what} {items}".strip())

    def wrong(self, what: str, items: object = "") -> None:
        """Record a wrong answer, a traceback, or an end that is not the undisturbed one."""
        self.record.wrong.append(f"{what} {items}".strip())

    def note(self, text: str) -> None:
        """Record what a reader should know."""
        if text not in self.record.notes:
            self.record.notes.append(text)

    @contextmanager
    def recovering(self) -> Iterator[None]:
        """Measure how long it takes until all is well again."""
        started = time.monotonic()
        yield
        self.record.recovery.append(time.monotonic() - started)

    def require(self, holds: bool, what: str, items: object = "") -> None:
        """Record something wrong unless it holds."""
        if not holds:
            self.wrong(what, items)

    def says(self, finished: Finished, code: int, *words: str, when: str) -> None:
        """Require an exit code, one sentence and no traceback."""
        told = f"{finished.code} {finished.err.strip()[-300:]!r}"
        self.require(finished.is_clean, f"{when}: traceback", finished.err[-1500:])
        self.require(finished.code == code, f"{when}: exit code {code} expected, not", told)
        if words:
            self.require(
                any(word in finished.err for word in words), f"{when}: none of {words} in", told
            )

    def survives(
        self, world: World, before: Rows, photos: Tree, *, when: str, exporting: bool = False
    ) -> None:
        """Require that a library is whole, and lacks nothing of what must be there."""
        for complaint in state.complaints(world):
            self.lost(f"{when}: catalogue", complaint)
        if missing := before - state.kept(world):
            self.lost(f"{when}: {len(missing)} rows, such as", sorted(map(repr, missing))[:2])
        self.untouched(world, photos, when=when, exporting=exporting)

    def untouched(self, world: World, photos: Tree, *, when: str, exporting: bool = False) -> None:
        """Require that the photos are as they were; an export may write sidecars."""
        now = state.tree(world.photos)
        changed = [
            name
            for name in now.keys() | photos.keys()
            if now.get(name) != photos.get(name)
            and not (exporting and (name.endswith(".xmp") or ".clipsearch-" in name))
        ]
        if changed:
            self.lost(f"{when}: photos changed", changed[:3])

    def left_behind(self, actor: Actor, *, when: str) -> None:
        """Require that no process outlives the one that started it."""
        if orphans := actor.orphans():
            self.wrong(f"{when}: orphans", orphans)

    def ends_well(self, world: World, expected: Expected, *, when: str, model: str = MODEL) -> None:
        """Require the state that an undisturbed run ends in."""
        for complaint in state.complaints(world):
            self.lost(f"{when}: catalogue", complaint)
        found = seen(world, model)
        for what, now, then in (
            ("rows", found.rows, expected.rows),
            ("answers", found.answers, expected.answers),
            ("photos", frozenset(found.photos.items()), frozenset(expected.photos.items())),
            ("output", frozenset(found.output.items()), frozenset(expected.output.items())),
        ):
            if now != then:
                less = sorted(map(repr, then - now))[:2]
                more = sorted(map(repr, now - then))[:2]
                self.wrong(f"{when}: {what} differ from an undisturbed run:", f"-{less} +{more}")
        if litter := state.litter(world):
            self.wrong(f"{when}: left lying about", litter[:4])


def seen(world: World, model: str = MODEL) -> Expected:
    """Return what a world is like now."""
    photos, output = state.tree(world.photos), state.tree(world.output)
    rows = state.whole(world)
    return Expected(
        rows, state.answers(world, model), state.timeless(photos), state.timeless(output)
    )


def undisturbed(stage: Stage, world: World, *command: object, model: str = MODEL) -> Expected:
    """Run a command without a fault and return what it leads to; the world is changed by it."""
    finished = run(world.folder, *command)
    if finished.code != 0 or not finished.is_clean:
        raise RuntimeError(f"the undisturbed run fails: {finished.err}")
    return seen(world, model)
