"""Long work, one job at a time, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from clipsearch.errors import ClipsearchError
from clipsearch.records import OnProgress, Progress
from clipsearch.service.errors import RequestError
from clipsearch.service.schemas import plain

State = Literal["waiting", "running", "done", "failed"]
Work = Callable[[OnProgress], object]

MOST_WAITING = 16
MOST_REMEMBERED = 100

_STOPPED = "stopped; start it again to go on"

log = logging.getLogger("clipsearch.service")


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work: `result` is its report once it is done, `error` a sentence if it failed."""

    id: int
    kind: str
    state: State
    stage: str | None
    done: int
    total: int | None
    result: dict[str, Any] | None
    error: str | None
    started_at: str


class _Stopped(Exception):
    """The server ends, or somebody stops the job: it is left as if it had been interrupted."""


class Jobs:
    """Jobs in the order in which they came; `on_change` is told of each step."""

    def __init__(self, on_change: Callable[[Job], None] = lambda _: None) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._waiting: queue.Queue[int | None] = queue.Queue()
        self._works: dict[int, Work] = {}
        self._stopped: set[int] = set()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, kind: str, work: Work) -> Job:
        """Put work at the end of the line.

        Raises: RequestError where the line is too long already.
        """
        with self._lock:
            if self._ending.is_set():
                raise RequestError("the server is stopping; start it again first", 503)
            if sum(job.state == "waiting" for job in self._jobs.values()) >= MOST_WAITING:
                raise RequestError("too many jobs are waiting; try again when one is done", 409)
            self._last += 1
            now = datetime.now(UTC).replace(microsecond=0).isoformat()
            job = Job(self._last, kind, "waiting", None, 0, None, None, None, now)
            self._jobs[job.id] = job
            self._works[job.id] = work
            for old in list(self._jobs)[:-MOST_REMEMBERED]:
                if self._jobs[old].state in ("done", "failed"):
                    del self._jobs[old]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
        self._on_change(job)
        self._waiting.put(job.id)
        return job

    def get(self, job_id: int) -> Job:
        """Return a job as it is now.

        Raises: RequestError with 404 where there is none, or it was long ago.
        """
        with self._lock:
            if job_id not in self._jobs:
                raise RequestError(f"there is no job {job_id}; /api/jobs lists them", 404)
            return self._jobs[job_id]

    def all(self) -> list[Job]:
        """List the jobs that are remembered, the latest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def stop(self, job_id: int) -> Job:
        """Stop a job: at its next step, or at once if it waits; what it finished so far stays.

        Raises: RequestError with 404 where there is none, with 409 where it has ended.
        """
        job = self.get(job_id)
        with self._lock:
            waits = self._works.pop(job_id, None) is not None
        if waits:
            self._set(job_id, state="failed", error=_STOPPED)
            return self.get(job_id)
        if job.state not in ("waiting", "running"):
            raise RequestError(f"job {job_id} has ended already", 409)
        self._stopped.add(job_id)
        return job

    def close(self, timeout: float = 10.0) -> None:
        """Stop at the next step of the running job; what it finished so far stays."""
        self._ending.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (job_id := self._waiting.get()) is not None and not self._ending.is_set():
            with self._lock:
                work = self._works.pop(job_id, None)
            if work is None:
                continue  # it was stopped while it waited
            try:
                self._step(job_id, None)
                result = work(partial(self._step, job_id))
            except _Stopped:
                self._set(job_id, state="failed", error=_STOPPED)
            except ClipsearchError as error:
                self._set(job_id, state="failed", error=str(error).split("\n")[0])
            except Exception as error:
                log.exception("job %d failed", job_id, exc_info=error)
                self._set(job_id, state="failed", error="the work failed; the log says more")
            else:
                self._set(job_id, state="done", result=plain(result))

    def _step(self, job_id: int, step: Progress | None) -> None:
        if self._ending.is_set() or job_id in self._stopped:
            raise _Stopped
        if step is None:
            self._set(job_id, state="running")
        else:
            self._set(job_id, stage=step.stage, done=step.done, total=step.total)

    def _set(self, job_id: int, **changes: Any) -> None:
        with self._lock:
            if job_id not in self._jobs:
                return
            job = self._jobs[job_id] = replace(self._jobs[job_id], **changes)
        self._on_change(job)
