"""Start actors, look at them, and find what they leave behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path.cwd() if Path("clipsearch").is_dir() else Path(__file__).resolve().parents[2]
MARK = "FAULT_MARK"
PATIENCE = 120.0  # seconds until an actor counts as hung


@dataclass(frozen=True)
class Finished:
    """How an actor ended; `steps` are counted where it ended by itself."""

    code: int
    out: str
    err: str
    seconds: float
    steps: dict[str, int] = field(default_factory=dict)
    embedded: int = 0
    working: float = 0.0
    """Seconds without the start of Python."""

    @property
    def is_clean(self) -> bool:
        """Whether it ended with success, or with sentences that are no traceback."""
        return "Traceback" not in self.err and "Exception ignored" not in self.err


class Actor:
    """A process that runs one command of clipsearch; use `acting` to start it."""

    def __init__(self, process: subprocess.Popen[str], mark: str, report: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._mark = mark
        self._report = report
        self._started = time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self.process.send_signal(number)

    def await_stop(self) -> bool:
        """Wait until it has stopped itself; False where it ended without."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if _state(self.pid) == "T":
                return True
            time.sleep(0.002)
        raise TimeoutError(f"the actor {self.pid} neither stops nor ends")

    def children(self) -> list[int]:
        """List the processes that it has started, directly or not."""
        return [pid for pid in marked(self._mark) if pid != self.pid]

    def finish(self) -> Finished:
        """Wait for the end.

        Raises: TimeoutError where it hangs.
        """
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.communicate()
            raise TimeoutError(f"the actor hangs: {self.process.args!r}") from error
        seconds = time.monotonic() - self._started
        seen: dict[str, Any] = {}
        if self._report.exists():
            seen = json.loads(self._report.read_text() or "{}")
            self._report.unlink()
        return Finished(
            self.process.returncode,
            out,
            err,
            seconds,
            seen.get("steps", {}),
            seen.get("embedded", 0),
            seen.get("seconds", 0.0),
        )

    def orphans(self, patience: float = 10.0) -> list[int]:
        """Return its processes that are still alive, once they have had time to notice."""
        deadline = time.monotonic() + patience
        while (alive := marked(self._mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return alive


@contextmanager
def acting(
    folder: Path,
    *command: object,
    point: str = "",
    action: str = "kill",
    slow: float = 0.0,
    plainly: bool = False,
    environment: dict[str, str] | None = None,
    limits: str = "",
) -> Iterator[Actor]:
    """Start the command line in a folder; the block begins when Python has started.

    `plainly` takes away the right to pass over permissions, where we are root and have it.
    `limits` is a line for the shell that goes before: `ulimit -f 100`.
    """
    mark = secrets.token_hex(8)
    reports = folder / "reports"
    reports.mkdir(exist_ok=True)
    report = reports / mark
    ready, told = os.pipe()
    given = {
        **os.environ,
        "HOME": str(folder / "home"),
        "CLIPSEARCH_LIBRARY": str(folder / "library"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FAULT_FOLDER": str(folder),
        "FAULT_POINT": point,
        "FAULT_ACTION": action,
        "FAULT_SLOW": str(slow),
        "FAULT_REPORT": str(report),
        "FAULT_READY": str(told),
        MARK: mark,
        **(environment or {}),
    }
    words = [sys.executable, "-m", "tests.faults.actor", *map(str, command)]
    if limits:
        words = ["sh", "-c", f'{limits}; exec "$@"', "sh", *words]
    if plainly and os.geteuid() == 0:
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    try:
        process = subprocess.Popen(
            words,
            cwd=PROJECT,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            pass_fds=[told],
            start_new_session=True,
        )
    finally:
        os.close(told)
    actor = Actor(process, mark, report)
    try:
        os.read(ready, 1)
        yield actor
    finally:
        os.close(ready)
        for pid in {*marked(mark), *([process.pid] if process.poll() is None else [])}:
            os.kill(pid, signal.SIGKILL)
        if process.poll() is None or not process.stdout or not process.stdout.closed:
            process.communicate()


def run(folder: Path, *command: object, **options: Any) -> Finished:
    """Run a command to its end; its orphans are part of what it says on stderr."""
    with acting(folder, *command, **options) as actor:
        return actor.finish()


def marked(mark: str) -> list[int]:
    """List the living processes that carry a mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes() and _state(int(entry.name)) != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
