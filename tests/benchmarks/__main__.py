"""All benchmarks that have a bar, in one run: a table, then JSON lines; exit 1 where one fails.

    python -m tests.benchmarks [NAME...] [--short] [--install] [--rclip PYTHON]

`--short` is for a machine that is shared: small sizes, and only ratios of things that took turns
are held against their bars, with room to spare; never times. The other benchmarks of this folder
measure what has no bar: run each as `python -m tests.benchmarks.NAME`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from clipsearch.upkeep import EXACT
from tests.benchmarks import (
    big_library,
    catalogue_size,
    cold_start,
    incremental,
    indexing_throughput,
    large_index,
    million_photos,
    peers,
)
from tests.benchmarks.figures import Figure, show

TIMES = {"s", "ms", "/s"}


@dataclass(frozen=True, slots=True)
class Run:
    """How large the benchmarks are, and where they may write."""

    scratch: Path
    short: bool
    rclip: Path | None

    def size(self, full: int, short: int) -> int:
        return short if self.short else full


def size_of_the_catalogue(run: Run) -> list[Figure]:
    catalogue_size.make(run.scratch / "library", run.size(50_000, 10_000))
    return catalogue_size.measure(run.scratch / "library")


def memory(run: Run) -> list[Figure]:
    figures = million_photos.measure_unchanged(run.size(1_000_000, 10_000), run.scratch)
    if not run.short:  # the slope of a few photos is noise
        figures += million_photos.measure_adding(100_000, run.scratch)
    return figures


def large_library(run: Run) -> list[Figure]:
    photos = run.size(1_000_000, 30_000)
    big_library.make(run.scratch / "library", photos)
    return large_index.measure(
        run.scratch / "library",
        run.size(100, 20),
        run.rclip,
        exact=run.size(EXACT, photos // 2),
    )


BENCHMARKS: dict[str, Callable[[Run], list[Figure]]] = {
    "cold_start": lambda run: cold_start.measure(run.size(5, 2), run.scratch),
    "incremental": lambda run: incremental.measure(
        run.size(100_000, 10_000), run.size(7, 3), run.scratch
    ),
    "catalogue_size": size_of_the_catalogue,
    "peers_search": lambda run: peers.measure_search(
        run.size(200_000, 20_000), run.size(7, 3), run.rclip, run.scratch
    ),
    "peers_indexing": lambda run: peers.measure_indexing(run.size(64, 16), run.scratch),
    "indexing_throughput": lambda run: indexing_throughput.measure(
        run.size(384, 16), run.size(3, 1), run.scratch
    ),
    "large_index": large_library,
    "million_photos": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--short", action="store_true", help="small, and never times")
    parser.add_argument(
        "--install", action="store_true", help=f"make an environment for {peers.RCLIP}"
    )
    parser.add_argument("--rclip", type=Path, help="the Python of an environment that has rclip")
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with room")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    rclip = arguments.rclip or (peers.install_rclip() if arguments.install else None)
    figures: list[Figure] = []
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
            found = BENCHMARKS[name](Run(Path(scratch), arguments.short, rclip))
        if arguments.short:
            found = [replace(each, bar=None) if each.unit in TIMES else each for each in found]
        figures += found
    sys.exit(0 if show(figures, generous=arguments.short) else 1)


if __name__ == "__main__":
    main()
