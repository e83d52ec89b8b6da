"""Ask a real server of a large random library many things at a time.

    python -m tests.benchmarks.service_load [--photos 100000] [--requests 2000] [--clients 8]

The server is a process of its own, as `clipsearch serve` starts it, with the library of
`tests.benchmarks.search_latency` and an embedder that makes vectors of texts by hashing: what is
measured is all but the model. Clients keep their connections and wait for each answer. "cached"
are searches that were asked before, "known text" pages of them that were not: the vectors of
their texts are known, the answers are not. Prints p50 and p95 by kind of question, and how the
server's memory grew after the first quarter.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

BAR_MS = 60.0
CACHED = 40  # phrases that are asked again and again


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--library", type=Path, help="keep the library here, or use it again")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return serve(options.serve)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.library or Path(temporary) / "library"
        if not (folder / "catalog.db").exists():
            from tests.benchmarks.search_latency import fill

            fill(folder, options.photos)
        return measure(folder, options)


def serve(folder: Path) -> int:
    """Serve a library until the standard input ends: the child process."""
    from clipsearch.library.serving import ServedLibrary
    from clipsearch.service.server import Server
    from tests.benchmarks.search_latency import DIMENSIONS
    from tests.filter_oracle import HashEmbedder

    embedder = HashEmbedder(DIMENSIONS)
    with ServedLibrary(folder, embedder) as library, Server(library, threads=8) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        print(server.port, flush=True)
        sys.stdin.read()
        server.stop()
        thread.join()
    return 0


def measure(folder: Path, options: argparse.Namespace) -> int:
    """Ask, and print what it took."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.service_load", "--serve", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline())
        warm = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for _, address in [*cached(), ("", "/api/facets"), ("", "/api/complete")]:
            warm.request("GET", address)
            assert warm.getresponse().read()
        warm.close()
        took, failed, memory = ask(port, child.pid, options)
    finally:
        child.stdin.close()
        child.wait(30)
    print(f"{'ms':12}{'count':>8}{'p50':>9}{'p95':>9}{'slowest':>9}")
    for kind, times in sorted(took.items()):
        print(
            f"{kind:12}{len(times):>8}{statistics.median(times):>9.1f}"
            f"{share(times, 0.95):>9.1f}{max(times):>9.1f}"
        )
    growth = memory[-1] - memory[1]
    print(
        f"errors {len(failed)}; memory MiB {memory}, grown by {growth:.1f} after the first quarter"
    )
    for each in failed[:5]:
        print(f"  {each}", file=sys.stderr)
    p95 = share(took["cached"], 0.95)
    document = {
        "photos": options.photos,
        "requests": options.requests,
        "clients": options.clients,
        "errors": len(failed),
        "cached_p50_ms": round(statistics.median(took["cached"]), 1),
        "cached_p95_ms": round(p95, 1),
        "bar_p95_ms": BAR_MS,
        "memory_mib": memory,
        "memory_growth_mib": round(growth, 1),
    }
    print(json.dumps(document))
    return 1 if failed or p95 > BAR_MS else 0


def cached() -> list[tuple[str, str]]:
    """Return searches by phrases that the server has seen before."""
    return [
        ("cached", f"/api/search?k=50&q={quote(f'zq{number} vista')}") for number in range(CACHED)
    ]


def questions(count: int, photos: int) -> list[tuple[str, str]]:
    """Return a mixture of requests: three of five are searches by known phrases."""
    dice = random.Random(7)
    known = cached()
    others = (
        lambda n: ("known text", f"/api/search?k=50&q=zq{n % CACHED}+vista&offset={n}"),
        lambda n: ("new text", f"/api/search?k=50&q=unheard+{n}"),
        lambda n: ("filter", f"/api/search?k=50&q=on:{2010 + n % 10}"),
        lambda n: ("both", f"/api/search?k=50&q=zq{n % CACHED}+vista+camera:canon"),
        lambda n: ("facets", f"/api/facets?q=on:{2010 + n % 10}"),
        lambda n: ("similar", f"/api/photos/{n * 37 % photos + 1}/similar?k=50"),
        lambda n: ("photo", f"/api/photos/{n * 91 % photos + 1}"),
        lambda n: ("explain", f"/api/explain?q=zq{n % CACHED}+vista&id={n * 13 % photos + 1}"),
        lambda n: ("status", "/api/status"),
    )
    return [
        dice.choice(known) if dice.random() < 0.6 else dice.choice(others)(number)
        for number in range(count)
    ]


def ask(
    port: int, pid: int, options: argparse.Namespace
) -> tuple[dict[str, list[float]], list[str], list[float]]:
    """Send all questions; return milliseconds by kind, failures, and memory at each quarter."""
    waiting = list(reversed(questions(options.requests, options.photos)))
    quarter = max(1, options.requests // 4)
    lock = threading.Lock()
    took: dict[str, list[float]] = {}
    failed: list[str] = []
    memory = [resident(pid)]
    done = 0

    def client() -> None:
        nonlocal done
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                if not waiting:
                    break
                kind, address = waiting.pop()
            began = time.perf_counter()
            try:
                connection.request("GET", address)
                answer = connection.getresponse()
                body = answer.read()
                error = "" if answer.status == 200 else f"{answer.status} {address} {body[:200]!r}"
            except OSError as problem:
                error = f"{address}: {problem}"
                connection.close()
            milliseconds = (time.perf_counter() - began) * 1000
            with lock:
                took.setdefault(kind, []).append(milliseconds)
                failed.extend([error] if error else [])
                done += 1
                if done % quarter == 0:
                    memory.append(resident(pid))
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, failed, memory


def resident(pid: int) -> float:
    """Return the memory of a process in MiB, without pages of files."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+)", text)
    assert found is not None
    return round(int(found[1]) / 1024, 1)


def share(times: list[float], part: float) -> float:
    """Return a quantile."""
    return sorted(times)[min(len(times) - 1, round(part * (len(times) - 1)))]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
