"""Send malformed requests to the service and look for failures, hangs and changes.

    python -m tests.benchmarks.service_fuzz --requests 10000 --seed 1

Requests of `tests.service.fuzzing` go to the application, and bytes that are hardly HTTP to a
real server beside it. Prints the statuses and the slowest answer; exit 1 if any answer was a
server error, took longer than `--patience`, or changed the library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from clipsearch.library.serving import ServedLibrary
from clipsearch.service import create_app
from clipsearch.service.server import Server
from tests.fakes import COLOURS, ColourEmbedder
from tests.service.fuzzing import Wrong, checked, requests

GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n{}",
    b"POST /api/tag HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/tag HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"b" * 70_000 + b"\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%c0%ae%c0%ae/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=5.0, metavar="SECONDS")
    options = parser.parse_args()
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, _library(Path(folder)) as library:
        before = _state(library)
        found = _ask(library, options.requests, options.seed, options.patience)
        found["garbage"] = _garbage(library)
        found["unchanged"] = _state(library) == before
    for status, count in sorted(found["statuses"].items()):
        print(f"{status:>8}  {count:6}")
    print(f"slowest   {found['slowest_s']:.2f} s  {found['slowest']}")
    print(f"garbage   {found['garbage']}")
    print(f"failed    {len(found['failed'])}; unchanged: {found['unchanged']}")
    for each in found["failed"][:10]:
        print(f"  {each}", file=sys.stderr)
    bad = found["failed"] or not found["unchanged"] or found["slowest_s"] > options.patience
    print(json.dumps({**found, "failed": len(found["failed"])}))
    return 1 if bad else 0


def _library(folder: Path) -> ServedLibrary:
    photos = folder / "photos"
    photos.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(photos / f"{name}.png")
    library = ServedLibrary(folder / "library", ColourEmbedder())
    library.index(photos)
    return library


def _state(library: ServedLibrary) -> str:
    """Return a fingerprint of all that the library says of itself, and of the photos."""
    files = sorted(
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (library.folder.parent / "photos").iterdir()
    )
    parts = (
        *(library.identity(), library.runs(), library.tag_counts(), library.saved_searches()),
        *(library.status(), library.proposals(), files),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _ask(library: ServedLibrary, count: int, seed: int, patience: float) -> dict[str, Any]:
    app = create_app(library)
    client = app.test_client()
    statuses: Counter[int] = Counter()
    failed: list[str] = []
    slowest, slowest_of = 0.0, ""
    for wrong in requests(random.Random(seed), count):
        started = time.perf_counter()
        try:
            statuses[checked(client, wrong)] += 1
        except AssertionError as error:
            failed.append(f"{_shown(wrong)}: {str(error)[:200]}")
        taken = time.perf_counter() - started
        if taken > patience:
            failed.append(f"{_shown(wrong)}: {taken:.1f} s")
        if taken > slowest:
            slowest, slowest_of = taken, _shown(wrong)
    app.extensions["clipsearch"].close()
    if app.extensions["clipsearch"].jobs.all():
        failed.append("a job was started")
    return {
        "requests": count,
        "statuses": {str(status): number for status, number in statuses.items()},
        "failed": failed,
        "slowest_s": round(slowest, 3),
        "slowest": slowest_of,
    }


def _shown(wrong: Wrong) -> str:
    return f"{wrong.method} {wrong.address[:80]} {wrong.body[:60]!r}"


def _garbage(library: ServedLibrary) -> str:
    """Send bytes that are no good request to a real server; say whether it lives afterwards."""
    with Server(library, threads=4) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        for data in GARBAGE * 3:
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.settimeout(1)
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(200)
                except OSError:
                    answer = b""
            if answer.startswith(b"HTTP/1.1 5") and not answer.startswith(b"HTTP/1.1 501"):
                return f"failed: {data[:60]!r} -> {answer[:40]!r}"
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            alive = connection.recv(100).startswith(b"HTTP/1.0 200")
        server.stop()
        thread.join(10)
    return "alive" if alive else "failed: dead afterwards"


if __name__ == "__main__":
    sys.exit(main())
