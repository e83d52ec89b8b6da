"""Measure the index of a large library: building, opening, searching, filters, memory.

    python -m tests.benchmarks.large_index [--photos 1000000] [--dimensions 512]
        [--library DIR] [--queries 100] [--threads 2]

The library is that of `big_library`; queries are texts (far from all photos) and photos. Recall is
against all vectors in float64. `exact` is the flat index over as many photos as are searched so.
Figures of one run on one machine; what else runs there counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SHARES = (0.001, 0.01, 0.1, 0.5)
K = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100, help="of a kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--library", type=Path, help="keep the library here, or use it again")
    arguments = parser.parse_args()
    for name in THREADS:  # BLAS and FAISS read them when they are loaded
        os.environ[name] = str(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.library or Path(temporary) / "library"
        if not (folder / "catalog.db").exists():
            from tests.benchmarks import big_library

            began = time.perf_counter()
            big_library.make(folder, arguments.photos, arguments.dimensions)
            print(f"library made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        found = measure(folder, arguments.dimensions, arguments.queries)
    for name, value in found.items():
        print(f"{name:40}{value:>14,.3f}")
    print(json.dumps({**found, "threads": arguments.threads}))


def measure(folder: Path, dimensions: int, queries: int) -> dict[str, float]:
    """Return what was measured by name; times in ms unless the name says otherwise."""
    import numpy as np

    from clipsearch import Library
    from clipsearch.catalog import Catalog, archive, vectors
    from clipsearch.upkeep import EXACT, Upkeep
    from clipsearch.vectors import VectorIndex
    from tests.benchmarks.big_library import World, WorldEmbedder

    catalog = Catalog(folder / "catalog.db")
    with catalog.read() as db:
        model = archive.models(db)[0][0]
        ids = vectors.ids(db, model.id)
    found: dict[str, float] = {"photos": len(ids)}

    def opened() -> Upkeep:
        return Upkeep(
            folder / "vectors",
            catalog,
            on_notice=lambda text: print(text, file=sys.stderr),
            at_once=1 << 40,
        )

    upkeep, before = opened(), time.process_time()
    began = time.perf_counter()
    upkeep.index(model)
    found["built, s"] = time.perf_counter() - began
    found["built, CPU s"] = time.process_time() - before
    found["peak memory so far, MB"] = peak()
    upkeep.close()
    found["index file, MB"] = sum(
        file.stat().st_size / 1e6 for file in (folder / "vectors").iterdir()
    )
    with Library(folder, WorldEmbedder(dimensions)) as library:
        library.search("the first", k=K)  # its text is remembered from now on
    began = time.perf_counter()
    with Library(folder, WorldEmbedder(dimensions)) as library:
        library.search("the first", k=K)
        found["opened and answered, s"] = time.perf_counter() - began
        for number in range(queries):
            library.search(f"text {number}", k=K)
        took = [timed(lambda n=n: library.search(f"text {n}", k=K)) for n in range(queries)]  # type: ignore[misc]
        found["whole search p50"], found["whole search p95"] = middle(took), high(took)

    resting = resident()
    upkeep = opened()
    index = upkeep.index(model)
    index.near(np.ones(dimensions, np.float32) / dimensions**0.5, above=0.9)  # all is mapped
    found["resident memory of the index, MB"] = resident() - resting
    texts = World(dimensions).texts(range(10_000, 10_000 + queries))
    photos = index.vectors(ids[:: len(ids) // queries][:queries])
    kinds = {"text": texts, "photo": photos}
    best = truth(catalog, model.id, dimensions, np.concatenate([texts, photos]))
    for kind, asked in kinds.items():
        for query in asked:
            index.nearest(query, K)
        took = [timed(lambda q=q: index.nearest(q, K)) for q in asked]  # type: ignore[misc]
        found[f"{kind} p50"], found[f"{kind} p95"] = middle(took), high(took)
        start = 0 if kind == "text" else queries
        shares = [
            len({photo for photo, _ in index.nearest(query, 10)} & set(best[start + number])) / 10
            for number, query in enumerate(asked)
        ]
        found[f"{kind} recall@10"] = float(np.mean(shares))
    dice = np.random.default_rng(0)
    for share in SHARES:
        among = ids[dice.random(len(ids)) < share]
        took = [timed(lambda q=q, a=among: index.nearest(q, K, a)) for q in texts]  # type: ignore[misc]
        found[f"filter {share:.1%} p50"] = middle(took)
    took = [timed(lambda q=q: index.near(q, above=0.25)) for q in texts]  # type: ignore[misc]
    found["all above a cosine p50"] = middle(took)
    upkeep.close()
    part = ids[:EXACT]
    with catalog.read() as db:
        flat = VectorIndex(*vectors.chosen(db, model.id, dimensions, part))
    took = [timed(lambda q=q: flat.nearest(q, K)) for q in texts]  # type: ignore[misc]
    found[f"exact, {len(part):,} photos p50"] = middle(took)
    catalog.close()
    return found


def truth(catalog, model_id: int, dimensions: int, queries):  # type: ignore[no-untyped-def]
    """Return the ids of the ten best photos of each query, by all vectors."""
    import numpy as np
    from numpy.typing import NDArray

    from clipsearch.catalog import vectors

    scores: NDArray[np.float64] = np.full((len(queries), 10), -2.0)
    ids: NDArray[np.int64] = np.zeros((len(queries), 10), np.int64)
    with catalog.read() as db:
        for found, rows in vectors.blocks(db, model_id, dimensions):
            here = np.concatenate([scores, queries @ rows.astype(np.float32).T], axis=1)
            names = np.concatenate([ids, np.tile(found, (len(queries), 1))], axis=1)
            top = np.argpartition(-here, 9, axis=1)[:, :10]
            scores, ids = np.take_along_axis(here, top, 1), np.take_along_axis(names, top, 1)
    return ids.tolist()


def timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def middle(times: Sequence[float]) -> float:
    return sorted(times)[len(times) // 2]


def high(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, round(0.95 * len(times)))]


def resident() -> float:
    return _status("VmRSS")


def peak() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    """Return a line of this process's memory, MB; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


if __name__ == "__main__":
    main()
