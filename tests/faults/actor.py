"""The command line as a process of its own, on a library that sees colours, with a fault in it.

    FAULT_POINT=rename:3,rename:5 FAULT_ACTION=kill python -m tests.faults.actor index PHOTOS

A point is a kind of step and its number: `sql:commit`, `rename`, `open`, ... (`_STEPS`). The
process does the action just before such steps: `kill`, `stop` (until it is continued), `int` or
`term`. Nothing of the program is replaced but its model: statements are seen by SQLite's trace,
files by Python's audit events.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import clipsearch.cli
from clipsearch.models import registry
from tests.fakes import ColourEmbedder

_connect = sqlite3.connect
_SIGNALS = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "int": signal.SIGINT,
    "term": signal.SIGTERM,
}
# https://docs.python.org/3/library/audit_events.html
_STEPS = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.scandir": "scandir",
    "os.symlink": "symlink",
    "shutil.rmtree": "rmtree",
}


class ActingEmbedder(ColourEmbedder):
    """Sees colours; another name sees them in another order, so that spaces cannot be mixed up."""

    def __init__(self, name: str, slow: float) -> None:
        super().__init__(name)
        self._turn = sum(name.encode()) % 3
        self._slow = slow

    def images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        time.sleep(self._slow * len(images))
        return self._turned(super().images(images))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._turned(super().texts(texts))

    def _turned(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return rows[:, [*np.roll([0, 1, 2], self._turn).tolist(), 3]]


class Points:
    """Counts the steps of this process in a folder, and acts before one of them."""

    def __init__(self, folder: str, point: str, act: Callable[[], None]) -> None:
        self._folder = folder
        self._points = frozenset(point.split(","))
        self._act = act
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self.counts: Counter[str] = Counter()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See what Python is about to do."""
        if (kind := _STEPS.get(event)) and self._is_ours(arguments):
            if kind == "open":
                flags = arguments[2] if isinstance(arguments[2], int) else 0
                kind = "write" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "read"
            self._step(kind)

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Open a database whose statements are seen."""
        connection: sqlite3.Connection = _connect(*arguments, **options)
        connection.set_trace_callback(self._statement)
        return connection

    def _is_ours(self, arguments: tuple[Any, ...]) -> bool:
        return any(
            isinstance(argument, str | bytes | os.PathLike)
            and os.fsdecode(argument).startswith(self._folder)
            for argument in arguments[:2]
        )

    def _statement(self, sql: str) -> None:
        if not sql.startswith("--"):  # the statements of triggers are told as comments
            self._step(f"sql:{sql.lstrip().split(maxsplit=1)[0].lower().rstrip(';')}")

    def _step(self, kind: str) -> None:
        if os.getpid() != self._pid:  # a worker that was forked
            return
        with self._lock:
            self.counts[kind] += 1
            due = f"{kind}:{self.counts[kind]}" in self._points
        if due:
            self._act()


def main() -> None:
    """Run one command of clipsearch."""
    # Whoever was started in the background of a shell was made deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ
    slow = float(environment.get("FAULT_SLOW", "0"))
    made: list[ActingEmbedder] = []
    real_load = registry.load

    def load(name: str, **options: Any) -> Any:
        if name.startswith("tiny"):
            return real_load(name, **options)
        made.append(ActingEmbedder(name, slow))
        return made[-1]

    registry.load = load
    if folder := environment.get("FAULT_ARCHITECTURES"):
        import open_clip

        open_clip.add_model_config(folder)
    action = _SIGNALS[environment.get("FAULT_ACTION", "kill")]
    points = Points(
        environment["FAULT_FOLDER"],
        environment.get("FAULT_POINT", ""),
        lambda: os.kill(os.getpid(), action),
    )
    report = environment.get("FAULT_REPORT")
    os.write(int(environment["FAULT_READY"]), b"r")
    setattr(sqlite3, "connect", points.connect)  # noqa: B010 - mypy knows many signatures of it
    sys.addaudithook(points.audit)
    started = time.monotonic()
    try:
        clipsearch.cli.main()
    finally:
        if report:
            seen = {
                "steps": dict(points.counts),
                "embedded": sum(model.embedded for model in made),
                "seconds": time.monotonic() - started,
            }
            Path(report).write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
