"""Measure the index of a large library: building, opening, searching, filters, memory.

    python -m tests.benchmarks.large_index [--photos 1000000] [--dimensions 512]
        [--library DIR] [--queries 100] [--rclip PYTHON]

The library is that of `big_library`; queries are texts (far from all photos) and photos. Recall is
against all vectors. Times are medians of one query after the other, in one process; where the
machine has other guests, they only add to them, so that the best of some rounds counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch import Library
from clipsearch.catalog import Catalog, archive, vectors
from clipsearch.catalog.archive import Model
from clipsearch.upkeep import EXACT, Upkeep
from clipsearch.vectors import VectorIndex
from clipsearch.vectors.sketched import SketchedPart
from tests.benchmarks import big_library
from tests.benchmarks.big_library import World, WorldEmbedder
from tests.benchmarks.figures import Figure, show
from tests.benchmarks.peers import RCLIP, Rclip

SHARES = (0.001, 0.01, 0.1, 0.5)
K = 50
BEST = 10
FEW = 20  # queries of what takes long
ROUNDS = 5  # of the queries that a bar in milliseconds is for; the best one counts

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100, help="of a kind")
    parser.add_argument("--library", type=Path, help="keep the library here, or use it again")
    parser.add_argument("--rclip", type=Path, help="the Python of an environment that has rclip")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.library or Path(temporary) / "library"
        if not (folder / "catalog.db").exists():
            began = time.perf_counter()
            big_library.make(folder, arguments.photos, arguments.dimensions)
            print(f"library made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        show(measure(folder, arguments.queries, arguments.rclip, dimensions=arguments.dimensions))


def measure(
    folder: Path,
    queries: int,
    rclip: Path | None,
    *,
    dimensions: int = 512,
    exact: int = EXACT,
) -> list[Figure]:
    """Return what was measured of a library that `big_library` made.

    Above `exact` photos an index has sketches.
    """
    catalog = Catalog(folder / "catalog.db")
    with catalog.read() as db:
        model = archive.models(db)[0][0]
        ids = vectors.ids(db, model.id)
    name = f"{len(ids):,} photos"
    is_million = len(ids) == 1_000_000  # which the bars are for, but for recall

    def bar(value: float) -> float | None:
        return value if is_million else None

    def opened() -> Upkeep:
        return Upkeep(
            folder / "vectors",
            catalog,
            on_notice=lambda text: print(text, file=sys.stderr),
            exact=exact,
            at_once=1 << 40,
        )

    Path("/proc/self/clear_refs").write_text("5")  # the most memory so far, from now on
    upkeep, before, resting = opened(), time.process_time(), memory("VmRSS")
    began = time.perf_counter()
    upkeep.index(model)
    figures = [
        Figure(f"{name}: index made, or opened where it was there", since(began), "s"),
        Figure(f"{name}: the same, processor time", time.process_time() - before, "s"),
        Figure(f"{name}: memory that this takes at most", memory("VmHWM") - resting, "MB"),
        Figure(f"{name}: index on disk", size(folder / "vectors"), "MB"),
    ]
    upkeep.close()
    figures += whole_search(folder, dimensions, queries, name, bar(1.5))
    resting = memory("VmRSS")
    upkeep = opened()
    index = upkeep.index(model)
    index.near(np.ones(dimensions, np.float32) / dimensions**0.5, above=0.9)  # all is mapped
    figures.append(Figure(f"{name}: index in memory", memory("VmRSS") - resting, "MB", bar(700)))
    texts = World(dimensions).texts(range(10_000, 10_000 + queries))
    photos = index.vectors(ids[:: len(ids) // queries][:queries])
    truth = best(catalog, model, np.concatenate([texts, photos]))
    for kind, asked, right in (
        ("text", texts, truth[: len(texts)]),
        ("photo", photos, truth[len(texts) :]),
    ):
        rounds = [times(partial(index.nearest, k=K), asked) for _ in range(ROUNDS)]
        took = min(rounds, key=middle)
        found = [ids_of(index.nearest(query, BEST)) for query in asked]
        figures += [
            Figure(f"{name}: {K} nearest of a {kind}, median", middle(took), "ms", bar(5)),
            Figure(f"{name}: the same, worst round", max(map(middle, rounds)), "ms"),
            Figure(f"{name}: the same, 95 % of queries", high(took), "ms"),
            Figure(f"{name}: {kind}s, recall@{BEST}", recall(found, right), "", 0.99, True),
        ]
        if isinstance(index.base, SketchedPart):
            least = reading(index.base)
            figures += [
                Figure(f"{name}: every sketch read once, in memory", least, "ms"),
                Figure(f"{name}: nearest of a {kind} / that", middle(took) / least, "x"),
            ]
        if kind == "text":
            ours = middle(took)
    if rclip is not None:
        figures += beside_rclip(rclip, catalog, model, texts[:4], ours, name, bar(400))
    figures += filtered(index, catalog, model, texts[:FEW], name, bar(1.5))
    upkeep.close()
    catalog.close()
    return figures


def whole_search(
    folder: Path, dimensions: int, queries: int, name: str, bar: float | None
) -> list[Figure]:
    """Return how long a library takes to open and answer, and then to answer."""
    with Library(folder, WorldEmbedder(dimensions)) as library:
        library.search("the first", k=K)  # its text is remembered from now on
    began = time.perf_counter()
    with Library(folder, WorldEmbedder(dimensions)) as library:
        library.search("the first", k=K)
        opening = since(began)
        phrases = [f"text {number}" for number in range(queries)]
        for phrase in phrases:
            library.search(phrase, k=K)
        took = times(partial(library.search, k=K), phrases)
    return [
        Figure(f"{name}: opened, a known phrase answered", opening, "s", bar),
        Figure(f"{name}: Library.search, median", middle(took), "ms"),
    ]


def beside_rclip(
    python: Path,
    catalog: Catalog,
    model: Model,
    texts: Vectors,
    ours: float,
    name: str,
    bar: float | None,
) -> list[Figure]:
    """Return what rclip's own search takes over the same vectors, and how many times as long."""
    with catalog.read() as db:
        stored = [rows for _, rows in vectors.blocks(db, model.id, model.dimensions)]
    with tempfile.TemporaryDirectory() as scratch:
        peer = Rclip(python, np.concatenate(stored).astype(np.float32), Path(scratch))
        del stored
        took = [peer.search(query)[0] * 1000 for query in texts][1:]  # the first one warms up
        peer.close()
    return [
        Figure(f"{name}: {RCLIP}, its own search", middle(took), "ms"),
        Figure(f"{name}: {RCLIP} / nearest of a text", middle(took) / ours, "x", bar, True),
    ]


def filtered(
    index: VectorIndex,
    catalog: Catalog,
    model: Model,
    texts: Vectors,
    name: str,
    bar: float | None,
) -> list[Figure]:
    """Return what filters of several shares cost and lose, beside all photos compared exactly."""
    dice = np.random.default_rng(0)
    among = {share: index.ids[dice.random(len(index)) < share] for share in SHARES}
    took = {
        share: times(partial(index.nearest, k=K, among=chosen), texts)
        for share, chosen in among.items()
    }
    found = {
        share: [ids_of(index.nearest(query, BEST, chosen)) for query in texts]
        for share, chosen in among.items()
    }
    with catalog.read() as db:
        blocks = list(vectors.blocks(db, model.id, model.dimensions))
    flat = VectorIndex(*(np.concatenate(each) for each in zip(*blocks, strict=True)))
    del blocks
    unfiltered = middle(times(partial(flat.nearest, k=K), texts))
    figures = [Figure(f"{name}: all compared exactly, no filter, median", unfiltered, "ms")]
    for share, chosen in among.items():
        right = [ids_of(flat.nearest(query, BEST, chosen)) for query in texts]
        ratio = middle(took[share]) / unfiltered
        what = f"{name}: filter that {share:.1%} pass"
        figures += [
            Figure(f"{what}, median", middle(took[share]), "ms"),
            Figure(f"{what} / all exactly", ratio, "x", bar),
            Figure(f"{what}, recall@{BEST}", recall(found[share], right), "", 0.99, True),
        ]
    return figures


def best(catalog: Catalog, model: Model, queries: Vectors) -> list[set[int]]:
    """Return the ids of the ten best photos of each query, by all vectors."""
    scores: NDArray[np.float64] = np.full((len(queries), BEST), -2.0)
    ids: Ids = np.zeros((len(queries), BEST), np.int64)
    with catalog.read() as db:
        for found, rows in vectors.blocks(db, model.id, model.dimensions):
            here = np.concatenate([scores, queries @ rows.astype(np.float32).T], axis=1)
            names = np.concatenate([ids, np.tile(found, (len(queries), 1))], axis=1)
            top = np.argpartition(-here, BEST - 1, axis=1)[:, :BEST]
            scores, ids = np.take_along_axis(here, top, 1), np.take_along_axis(names, top, 1)
    return [set(row) for row in ids.tolist()]


def reading(part: SketchedPart) -> float:
    """Return the milliseconds that it takes to read as much memory as all sketches take."""
    sketches = np.ones(part.layout.sketches.nbytes // 8, np.uint64)
    return min(times(lambda _: sketches.max(), range(10)))


def ids_of(found: list[tuple[int, float]]) -> set[int]:
    return {photo for photo, _ in found}


def recall(found: Sequence[set[int]], right: Sequence[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(found, right, strict=True)) / sum(map(len, right))


def times(ask: Callable[..., object], questions: Sequence[object] | Vectors) -> list[float]:
    """Return the milliseconds of each question, the second time that all are asked."""
    for question in questions:
        ask(question)
    took = []
    for question in questions:
        began = time.perf_counter()
        ask(question)
        took.append(since(began) * 1000)
    return took


def since(began: float) -> float:
    return time.perf_counter() - began


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def high(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]


def size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def memory(name: str) -> float:
    """Return a line of this process's status, in MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


if __name__ == "__main__":
    main()
