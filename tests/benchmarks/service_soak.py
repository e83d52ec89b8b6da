"""Ask a real server for a long time while its library changes, and watch what it holds on to.

    python -m tests.benchmarks.service_soak [--minutes 20] [--clients 4]

The server is a process of its own over a library of coloured pictures, and beside it another one
adds, removes, renames and changes photos and indexes them. Clients search, filter, look at
thumbnails and originals, upload, tag, rank captions, listen to events, break off and make
mistakes; each answer is checked. Every minute a line tells what was asked and what the server
holds. Exit 1 for any server error or wrong answer, for memory that grows by more than
`SLOPE` after the first quarter, and for files, threads, processes or temporary files that stay.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.benchmarks.service_clients import FIXED, NAMES, TOKEN, Client, Tally
from tests.fakes import COLOURS, ColourEmbedder

SLOPE = 0.5
"""MiB a minute that memory may grow by after the first quarter, by a fit of least squares."""


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--churn", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return serve(options.serve)
    if options.churn is not None:
        return churn(options.churn)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        report = soak(Path(folder), options.minutes * 60, options.clients, print)
    print(json.dumps(report))
    return 1 if report["failures"] else 0


def serve(folder: Path) -> int:
    """Serve the library until the standard input ends: a child process."""
    from clipsearch.library.serving import ServedLibrary
    from clipsearch.service.server import Server

    with (
        ServedLibrary(folder / "library", ColourEmbedder()) as library,
        Server(library, threads=8, token=TOKEN, max_upload=5_000_000) as server,
    ):
        thread = threading.Thread(target=server.run)
        thread.start()
        print(server.port, flush=True)
        sys.stdin.read()
        server.stop()
        thread.join()
    return 0


def churn(folder: Path) -> int:
    """Change the photos and index them until the standard input ends: a child process."""
    from clipsearch import Library

    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    dice, rounds = random.Random(3), 0
    while not ended.wait(2.0):
        rounds += 1
        moving = folder / "photos" / "moving"
        moving.mkdir(exist_ok=True)
        there = sorted(moving.iterdir())
        for path in dice.sample(there, min(3, len(there))):
            what = dice.choice(("remove", "rename", "change"))
            if what == "remove":
                path.unlink()
            elif what == "rename":
                path.rename(path.with_name(f"{path.name.split('-')[0]}-r{rounds}-{path.name[-9:]}"))
            else:
                paint(path, path.name.split("-")[0], dice)
        for number in range(4 if len(there) < 60 else 1):
            colour = dice.choice(NAMES)
            paint(moving / f"{colour}-{rounds}-{number:04}.jpg", colour, dice)
        with Library(folder / "library", ColourEmbedder()) as library:
            library.index()
    print(rounds, flush=True)
    return 0


def paint(path: Path, colour: str, dice: random.Random) -> None:
    """Write a picture that is nearly of one colour, and like no other."""
    size = (dice.randint(40, 400), dice.randint(40, 400))
    shade = tuple(min(255, max(0, part + dice.randint(-6, 6))) for part in COLOURS[colour])
    made = path.with_suffix(".making")
    Image.new("RGB", size, shade).save(made, "JPEG", quality=90)
    made.rename(path)


def soak(folder: Path, seconds: float, clients: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a library in `folder`, serve and ask it for `seconds`; return the figures."""
    from clipsearch import Library

    dice = random.Random(1)
    (folder / "photos").mkdir()
    for colour in NAMES:
        for number in range(FIXED):
            paint(folder / "photos" / f"{colour}-fixed-{number}.jpg", colour, dice)
    with Library(folder / "library", ColourEmbedder()) as library:
        library.index(folder / "photos")
        ids = [hit.id for hit in library.search("name:*-fixed-*", k=1000).hits]
    temporary = folder / "temporary"
    temporary.mkdir()
    server = _child("--serve", folder, TMPDIR=str(temporary))
    assert server.stdout is not None
    port = int(server.stdout.readline())
    indexer = _child("--churn", folder)
    tally = Tally()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=Client(port, ids, number, tally).run, args=(until,))
        for number in range(clients)
    ]
    samples: list[tuple[float, dict[str, float]]] = []
    for thread in threads:
        thread.start()
    try:
        began = spoke = time.monotonic()
        say("minute  requests  failures  p95 ms  memory MiB  files  threads  processes")
        while time.monotonic() < until:
            time.sleep(min(2.0, max(0.1, seconds / 40)))
            samples.append((time.monotonic() - began, holds(server.pid)))
            if time.monotonic() - spoke >= 60:
                spoke += 60
                say(_line(time.monotonic() - began, tally, samples[-1][1]))
        for thread in threads:
            thread.join(90)
        _end(indexer)
        time.sleep(6)  # streams notice within a heartbeat that nobody listens
        last = holds(server.pid)
        left = sorted(path.name for path in temporary.iterdir() if not path.name.startswith("pymp"))
    finally:
        _end(indexer)
        rounds = indexer.stdout.read().strip() if indexer.stdout else ""
        _end(server)
        for child in (server, indexer):
            if child.stdout is not None:
                child.stdout.close()
    return _judged(seconds, tally, samples, last, left, {"index_runs": int(rounds or 0)})


def _judged(
    seconds: float,
    tally: Tally,
    samples: list[tuple[float, dict[str, float]]],
    last: dict[str, float],
    left: list[str],
    more: dict[str, Any],
) -> dict[str, Any]:
    settled = [each for each in samples if each[0] >= seconds / 4]
    slope = _slope([(at / 60, held["memory"]) for at, held in settled])
    failures = tally.failures[:20]
    # A short run says nothing about growth: caches still fill.
    if seconds >= 300 and slope > SLOPE:
        failures.append(f"memory grows by {slope:.2f} MiB a minute")
    usual = {name: max(held[name] for _, held in settled[:10]) for name in last}
    # Decoders are started when they are needed, up to this many.
    usual["processes"] = max(usual["processes"], (os.cpu_count() or 2) + 2.0)
    for name in ("files", "threads", "processes"):
        if last[name] > usual[name]:
            failures.append(f"{last[name]:g} {name} at the end, {usual[name]:g} at first")
    if left:
        failures.append(f"temporary files stay: {left[:5]}")
    return {
        "seconds": round(seconds),
        "requests": sum(tally.kinds.values()),
        "failures": failures,
        "p95_ms": round(_share(tally.times, 0.95) * 1000, 1),
        "memory_slope_mib_per_minute": round(slope, 3),
        "memory_mib": [settled[0][1]["memory"], settled[-1][1]["memory"]],
        "at_first": usual,
        "at_the_end": last,
        "kinds": dict(sorted(tally.kinds.items())),
        **more,
    }


def holds(pid: int) -> dict[str, float]:
    """Return what a process holds: memory of its own in MiB, open files, threads, children."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = {name: int(value) for name, value in re.findall(r"(RssAnon|Threads):\s+(\d+)", text)}
    children = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children += len((task / "children").read_text(encoding="ascii").split())
        except OSError:  # the thread has ended
            continue
    return {
        "memory": round(found["RssAnon"] / 1024, 1),
        "files": float(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())),
        "threads": float(found["Threads"]),
        "processes": float(children),
    }


def _child(mode: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.service_soak", mode, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin is not None and not child.stdin.closed:
        child.stdin.close()
    try:
        child.wait(60)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _line(at: float, tally: Tally, held: dict[str, float]) -> str:
    with tally.lock:
        count, failed, times = sum(tally.kinds.values()), len(tally.failures), tally.times[-5000:]
    return (
        f"{at / 60:6.1f}{count:10}{failed:10}{_share(times, 0.95) * 1000:8.1f}"
        f"{held['memory']:12.1f}{held['files']:7.0f}{held['threads']:9.0f}{held['processes']:11.0f}"
    )


def _slope(points: list[tuple[float, float]]) -> float:
    """Fit a line by least squares; return how much it rises."""
    mean = sum(x for x, _ in points) / len(points)
    spread = sum((x - mean) ** 2 for x, _ in points)
    return sum((x - mean) * y for x, y in points) / spread if spread else 0.0


def _share(times: list[float], part: float) -> float:
    return sorted(times)[round(part * (len(times) - 1))] if times else 0.0


if __name__ == "__main__":
    sys.exit(main())
