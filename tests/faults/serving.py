"""A server that is killed with an indexing job in it, and clients that search meanwhile."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from tests.faults import state, world
from tests.faults.kills import SLOW
from tests.faults.processes import Actor, acting, run
from tests.faults.stage import Stage, seen
from tests.faults.world import World

_ASKED = ("red", "green", "tag:red", "name:1*")


def kill(stage: Stage) -> None:
    """Kill a server again and again; another one, and the next run, go on from there."""
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    world.change(place, stage.random)
    restore = place.keep()
    before, photos = state.kept(place), state.tree(place.photos)
    whole = run(place.folder, "index", slow=SLOW)
    expected, must = seen(place), before & state.kept(place)
    there = {str(path) for path in place.photos.rglob("*")}
    for number in range(stage.times):
        restore()
        there_then = there | {str(hit[1]) for hit in state.answers(place)}
        restore()
        point = ""
        if number % 2:
            kind = stage.random.choice(["sql:begin", "sql:commit", "sql:insert"])
            point = f"{kind}:{stage.random.randint(5, whole.steps[kind])}"
        when = f"server killed {number} at {point or 'random'}"
        with _serving(place, point=point) as (actor, url), _clients(stage, url, there_then, when):
            with suppress(OSError):
                _ask(f"{url}api/index", {})
            if not point:
                time.sleep(stage.random.uniform(0, 1.5 * whole.working))
            else:
                _await_end(actor, 5)
            actor.signal(signal.SIGKILL)
            actor.finish()
            stage.left_behind(actor, when=when)
        stage.record.injected += 1
        stage.survives(place, must, photos, when=when)
        state.age(place)
        with stage.recovering(), _serving(place) as (actor, url):
            job = _ask(f"{url}api/index", {})
            _await_job(url, job["id"])
            _check(stage, url, there, f"{when}, the next server")
            actor.signal(signal.SIGTERM)
            finished = actor.finish()
        stage.says(finished, 0, when=f"{when}, SIGTERM to the next server")
        stage.require(not (place.library / "server.json").exists(), f"{when}: a note is left")
        stage.ends_well(place, expected, when=when)


@contextmanager
def _serving(place: World, *, point: str = "") -> Iterator[tuple[Actor, str]]:
    with acting(place.folder, "serve", "--port", "0", point=point, slow=SLOW) as actor:
        assert actor.process.stderr is not None
        said = ""
        while "http://" not in said:
            said = actor.process.stderr.readline()
            if not said:
                yield actor, "http://127.0.0.1:9/"  # killed before it listened
                return
        yield actor, next(word for word in said.split() if word.startswith("http://"))


@contextmanager
def _clients(stage: Stage, url: str, there: set[str], when: str) -> Iterator[None]:
    """Search all the time, and check each answer."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            with suppress(OSError, ValueError, http.client.HTTPException):
                _check(stage, url, there, when)
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _check(stage: Stage, url: str, there: set[str], when: str) -> None:
    for query in _ASKED:
        try:
            found = _ask(f"{url}api/search?q={quote(query)}&k=9")
        except urllib.error.HTTPError as error:
            stage.wrong(f"{when}: {query} is answered", f"{error.code} {error.read()[:300]!r}")
            continue
        paths = [hit["path"] for hit in found["hits"]]
        if wrong := [path for path in paths if path not in there]:
            stage.wrong(f"{when}: {query} finds what is not there:", wrong[:2])


def _ask(url: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url)  # noqa: S310 - our own server
    if document is not None:
        request.data = json.dumps(document).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def _await_job(url: str, job_id: int) -> None:
    deadline = time.monotonic() + 60
    while (job := _ask(f"{url}api/jobs/{job_id}"))["state"] in ("waiting", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the job hangs: {job}")
        time.sleep(0.05)
    if job["state"] != "done":
        raise RuntimeError(f"the job failed: {job}")


def _await_end(actor: Actor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while actor.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
