"""Peak memory of indexing a very large library, with an embedder that costs nothing.

    python -m tests.benchmarks.million_photos [--photos 1000000] [--adding 100000]

Each run is a process of its own whose peak resident memory (VmHWM) is read at its end:
- `unchanged`: all files are known, as in `incremental`;
- `adding`: all files are new. They are tiny PPM images of distinct content, decoded, hashed and
  written as any photo is; only their size and the embedder are unreal. Two sizes tell what a
  photo adds, and so what a million would take.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.figures import Figure, show

BAR_MB = 1000.0
_SIDE = 8


def write_photos(root: Path, photos: int) -> None:
    """Write tiny images of distinct content, 250 in a folder."""
    header = b"P6 %d %d 255\n" % (_SIDE, _SIDE)
    folder = root
    for number in range(photos):
        if number % 250 == 0:
            folder = root / f"{number // 250 % 20}" / f"trip {number // 250}"
            folder.mkdir(parents=True)
        grain = number.to_bytes(4, "big") * (3 * _SIDE * _SIDE // 4)
        (folder / f"IMG_{number:07}.ppm").write_bytes(header + grain)


def index(library: Path, root: Path) -> tuple[float, float]:
    """Index a tree in this process; print its peak memory in MB and the seconds."""
    from clipsearch import Library
    from tests.benchmarks.incremental import SimulatedEmbedder

    with Library(library, SimulatedEmbedder()) as opened:
        report = opened.index(root)
    assert not report.skipped, report.skipped[0]
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1000, report.seconds


def peak_of(library: Path, root: Path) -> tuple[float, float]:
    """Index a tree in a new process; return its peak memory in MB and the seconds."""
    command = [sys.executable, "-m", __spec__.name, "--child", str(library), str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    megabytes, seconds = done.stdout.split()
    return float(megabytes), float(seconds)


def measure_unchanged(photos: int, scratch: Path) -> list[Figure]:
    """Return the peak of an index run in which nothing changed."""
    from tests.benchmarks import incremental

    root, library = scratch / "known", scratch / "known-library"
    incremental.make_tree(root, photos)
    incremental.fill(library, root)
    megabytes, seconds = peak_of(library, root)
    shutil.rmtree(root)
    shutil.rmtree(library)
    return [
        Figure(f"peak memory, {photos:,} unchanged photos", megabytes, "MB", BAR_MB),
        Figure(f"seconds, {photos:,} unchanged photos", seconds, "s"),
    ]


def measure_adding(photos: int, scratch: Path) -> list[Figure]:
    """Return the peaks of adding half as many and as many photos, and of a million in line."""
    figures: list[Figure] = []
    peaks = []
    for count in (photos // 2, photos):
        root, library = scratch / "new", scratch / "new-library"
        write_photos(root, count)
        megabytes, seconds = peak_of(library, root)
        peaks.append(megabytes)
        figures += [
            Figure(f"peak memory, adding {count:,} photos", megabytes, "MB", BAR_MB),
            Figure(f"photos a second, adding {count:,} photos", count / seconds),
        ]
        shutil.rmtree(root)
        shutil.rmtree(library)
    slope = (peaks[1] - peaks[0]) / (photos - photos // 2)
    million = peaks[1] + slope * (1_000_000 - photos)
    return [
        *figures,
        Figure("memory a new photo adds", slope * 1e6, "B"),
        Figure("peak memory, adding 1,000,000 photos", million, "MB", BAR_MB, how="in line"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=1_000_000, help="unchanged ones; 0: none")
    parser.add_argument("--adding", type=int, default=100_000, help="new ones; 0: none")
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with room")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(*index(*arguments.child))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        figures = []
        if arguments.photos:
            figures += measure_unchanged(arguments.photos, Path(name))
        if arguments.adding:
            figures += measure_adding(arguments.adding, Path(name))
        show(figures)


if __name__ == "__main__":
    main()
