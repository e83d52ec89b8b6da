"""Measure how long a library of random photos takes to answer, with the text vector cached.

    python -m tests.benchmarks.search_latency [--photos 100000] [--queries 100] [--threads 2]

Each figure is of whole calls of `Library.search` and `Library.facets`: parse, filter, rank, facts
of 50 hits. Kinds of questions take turns, so that a busy moment of the machine hits all of them
alike. `rare` is a filter that leaves ten photos, `broad` one that leaves half of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DIMENSIONS = 512
HITS = 50
RARE = 10
BARS = {"facets, all": 50.0, "facets, filtered": 50.0}
BAR = 25.0
CAMERAS = ("Canon EOS 5D", "Canon EOS R5", "NIKON D850", "iPhone 12", "Pixel 7", "X-T4", "Leica M")
TAGS = ("animal", "people", "landscape", "food", "sport", "city", "night", "plant", "vehicle")
WORDS = ("lake", "snow", "party", "harbour", "garden", "street", "forest", "bridge", "museum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100, help="questions of each kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--library", type=Path, help="keep the library here, or use it again")
    arguments = parser.parse_args()
    for name in THREADS:  # BLAS and FAISS read them when they are loaded
        os.environ[name] = str(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.library or Path(temporary) / "library"
        if not (folder / "catalog.db").exists():
            began = time.perf_counter()
            fill(folder, arguments.photos)
            print(f"built in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        ms = measure(folder, arguments.queries)
    ratio = round(ms["phrase, rare filter, all"][0] / ms["phrase, all"][0], 2)
    print(f"{'ms':28}{'p50':>9}{'p95':>9}{'bar of p50':>12}")
    for name, (middle, high) in ms.items():
        print(f"{name:28}{middle:>9.1f}{high:>9.1f}{BARS.get(name, BAR):>12.0f}")
    print(f"rare filter / no filter, p50 {ratio:>8.2f}")
    document = {"ms": ms, "rare_ratio": ratio, "queries": arguments.queries}
    print(json.dumps({**document, "photos": arguments.photos, "threads": arguments.threads}))


def fill(folder: Path, count: int) -> None:
    """Put random photos into a new library: 300 folders, 10 years, 3 tags each."""
    import numpy as np

    from clipsearch.catalog import Catalog, archive

    dice = random.Random(0)
    folder.mkdir(parents=True)
    catalog = Catalog(folder / "catalog.db")
    labels = [*TAGS, *(f"{word}/{number}" for word in TAGS for number in range(30))]
    folders = [f"{2010 + number % 10}/trip {number}" for number in range(300)]
    with catalog.write() as db:
        model = archive.ensure_model(
            db, "hashes", "1", dimensions=DIMENSIONS, logit_scale=100.0, logit_bias=None
        )
        archive.use_model(db, model.id)
        root = archive.add_root(db, "/photos", 1)
        rows = []
        for number in range(count):
            inner = dice.choice(folders)
            name = f"IMG_{number:06}.jpg" if number % 50 else f"{dice.choice(WORDS)} {number}.jpg"
            rare = number % (count // RARE) == 7
            rows.append(
                (
                    *(number + 1, root.id, f"{inner}/{name}".encode(), name, number, number),
                    *(number.to_bytes(32, "big"), "JPEG", 640, 480 + number % 3 * 160, 1),
                    f"{inner[:4]}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
                    f"T{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}",
                    *("", "Phase One" if rare else dice.choice(CAMERAS), "now"),
                    *(dice.uniform(-60, 70), dice.uniform(-180, 180)),
                )
            )
        db.conn.executemany(
            "insert into photo (id, root_id, path, name, size, mtime_ns, content_hash, format, "
            "width, height, orientation, taken_at, camera_make, camera_model, indexed_at, "
            "latitude, longitude) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        db.conn.executemany(
            "insert into tag (photo_id, label, origin) values (?, ?, 'file')",
            ((row[0], label) for row in rows for label in dice.sample(labels, 3)),
        )
        noise = np.random.default_rng(0)
        for start in range(0, count, 10_000):
            block = noise.standard_normal((min(10_000, count - start), DIMENSIONS), np.float32)
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            db.conn.executemany(
                "insert into vector (photo_id, model_id, vector) values (?, ?, ?)",
                (
                    (start + number + 1, model.id, row.tobytes())
                    for number, row in enumerate(block.astype("<f2"))
                ),
            )
    catalog.close()


def measure(folder: Path, repeats: int) -> dict[str, tuple[float, float]]:
    """Return milliseconds (p50, p95) of each kind of question."""
    from clipsearch import Library
    from tests.filter_oracle import HashEmbedder

    phrases = [f"zq{number} vista" for number in range(repeats)]
    with Library(folder, HashEmbedder(DIMENSIONS)) as library:

        def ask(query: str, **options: float) -> None:
            library.search(query, k=HITS, **options)  # type: ignore[arg-type]

        kinds: dict[str, Callable[[int], object]] = {
            "phrase": lambda n: ask(phrases[n]),
            "phrase, all": lambda n: ask(phrases[n], min_relevance=0),
            "phrase, rare filter": lambda n: ask(f'{phrases[n]} camera:"Phase One"'),
            "phrase, rare filter, all": lambda n: ask(
                f'{phrases[n]} camera:"Phase One"', min_relevance=0
            ),
            "phrase, broad filter": lambda n: ask(f"{phrases[n]} {broad(n)}"),
            "phrase, broad filter, all": lambda n: ask(f"{phrases[n]} {broad(n)}", min_relevance=0),
            "filter, rare": lambda n: ask('camera:"Phase One"'),
            "filter, a year": lambda n: ask(f"on:{2010 + n % 10}"),
            "filter, broad": lambda n: ask(broad(n)),
            "filter, folder": lambda n: ask(f"folder:{2010 + n % 10}/*{n}"),
            "filter, tag": lambda n: ask(f"tag:{TAGS[n % len(TAGS)]}"),
            "filter, near": lambda n: ask(f"near:{n % 50},{n},300km"),
            "filter, name": lambda n: ask(f"name:IMG_{n:02}*"),
            "words in 200 names": lambda n: ask(WORDS[n % len(WORDS)]),
            "words in 30,000 tags": lambda n: ask(TAGS[n % len(TAGS)]),
            "sorted by date": lambda n: library.search(phrases[n], k=HITS, sort="date"),
            "facets, all": lambda n: library.facets(),
            "facets, filtered": lambda n: library.facets(f"{phrases[n]} {broad(n)}"),
            "facets, phrase": lambda n: library.facets(phrases[n]),
        }
        for number in range(repeats):  # text vectors, index and columns are there from now on
            ask(phrases[number])
        for word in (*WORDS, *TAGS):
            ask(word)
        for question in kinds.values():
            question(0)
        assert len(library.search('zq1 camera:"Phase One"', min_relevance=0).hits) == RARE
        took: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(repeats):
            for name, question in kinds.items():
                began = time.perf_counter()
                question(number)
                took[name].append((time.perf_counter() - began) * 1000)
    return {name: (percentile(times, 0.5), percentile(times, 0.95)) for name, times in took.items()}


def broad(number: int) -> str:
    """Return a filter that about half of the photos pass."""
    return ("on:2010..2014", "-on:2010..2014", "camera:canon,pixel,iphone")[number % 3]


def percentile(times: Sequence[float], share: float) -> float:
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))], 2)


if __name__ == "__main__":
    main()
