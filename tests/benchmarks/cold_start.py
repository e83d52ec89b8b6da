"""How long a search takes from a cold shell, against `import torch` alone.

    python -m tests.benchmarks.cold_start [--rounds 5]

A library of a few painted pictures is indexed with the starter model. Then four commands take
turns, each a process of its own: `python -c "import torch"`, a search with words that were never
asked for, a search that was asked before, and `--help`. The best round of each counts, by the
clock; processor seconds stand beside, which tell the same on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.benchmarks.figures import Figure, show

COLOURS = ("red", "green", "blue", "yellow", "white", "black")


@dataclass
class Took:
    """Seconds of the rounds of one command."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, *arguments: str) -> None:
        """Run Python with these arguments once more."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            capture_output=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        self.clock.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def measure(rounds: int, scratch: Path) -> list[Figure]:
    """Return the seconds of each command, and what a cold search takes beyond torch."""
    photos, library = scratch / "photos", str(scratch / "library")
    photos.mkdir()
    for colour in COLOURS:
        Image.new("RGB", (64, 64), colour).save(photos / f"{colour}.png")
    clipsearch = ("-m", "clipsearch")
    Took().run(*clipsearch, "index", str(photos), "--library", library, "--model", "starter")
    search = (*clipsearch, "search", "--library", library, "--quiet")
    Took().run(*search, "known words")
    torch, cold, again, usage = Took(), Took(), Took(), Took()
    for number in range(rounds):
        torch.run("-c", "import torch")
        cold.run(*search, f"words that are new {number}")
        again.run(*search, "known words")
        usage.run(*clipsearch, "--help")
    figures = []
    for name, kind in (("", "clock"), (", processor", "processor")):
        least = {
            each: min(getattr(took, kind))
            for each, took in (("torch", torch), ("cold", cold), ("again", again), ("help", usage))
        }
        by_clock = kind == "clock"
        ratio = least["cold"] / (1.2 * least["torch"] + 0.5)
        figures += [
            Figure(f"import torch{name}", least["torch"], "s"),
            Figure(f"cold search{name}", least["cold"], "s"),
            Figure(f"cold search / (1.2 import torch + 0.5 s){name}", ratio, "x", 1.0, slack=1.5),
            Figure(f"repeated search{name}", least["again"], "s", 0.5 if by_clock else None),
            Figure(f"--help{name}", least["help"], "s", 0.4 if by_clock else None),
        ]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        show(measure(arguments.rounds, Path(name)))


if __name__ == "__main__":
    main()
