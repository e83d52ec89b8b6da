"""clipsearch beside rclip, FAISS, plain NumPy and open_clip, taking turns on the same work.

    python -m tests.benchmarks.peers [--photos 200000] [--queries 7] [--install] [--no-indexing]

Search: the vectors of a `big_library` are given to all. rclip answers with its own search code
from a database of its own schema (`rclip_peer`), in an environment of its own, since it pins
other versions of NumPy and Pillow than ours: `--install` makes it in `.venv-rclip`, `--rclip`
names the Python of another. Indexing: 12-megapixel JPEGs by `Library.index` and by the loop that
open_clip's documentation shows, with the same random weights of ViT-B-32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.figures import Figure, show

RCLIP = "rclip==3.3.0"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-rclip"
HITS = 50
TIE = 1e-3  # float16 tells cosines no finer
EXACT_UP_TO = 200_000

Hits = list[tuple[int, float]]
Vectors = NDArray[np.float32]


def install_rclip(folder: Path = ENVIRONMENT) -> Path:
    """Return the Python of an environment with rclip, made now if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", RCLIP], check=True)
        (folder / "done").touch()
    return python


class Rclip:
    """rclip in a process of its own, over vectors (n, d) that it has stored."""

    def __init__(self, python: Path, vectors: Vectors, scratch: Path) -> None:
        np.save(scratch / "vectors.npy", vectors)
        script = Path(__file__).with_name("rclip_peer.py")
        self._process = subprocess.Popen(
            [python, script, scratch / "vectors.npy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._read() != "ready\n":
            raise RuntimeError(f"{python}: rclip did not start; see above")

    def search(self, query: Vectors) -> tuple[float, Hits]:
        """Return the seconds that rclip itself took, and its hits."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(query.tolist()) + "\n")
        self._process.stdin.flush()
        seconds, hits = json.loads(self._read())
        return seconds, [(number, score) for number, score in hits]

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def same_order(ours: Hits, theirs: Hits) -> bool:
    """Tell whether two rankings are one but for ties: rank by rank the scores are equal."""
    return len(ours) == len(theirs) and all(
        abs(mine[1] - other[1]) <= TIE for mine, other in zip(ours, theirs, strict=True)
    )


def timed(question: Callable[[], Hits]) -> tuple[float, Hits]:
    """Return the seconds of a call, and what it gives."""
    began = time.perf_counter()
    found = question()
    return time.perf_counter() - began, found


def measure_search(photos: int, queries: int, python: Path | None, scratch: Path) -> list[Figure]:
    """Return milliseconds of one query for each peer, and how many times faster we are."""
    import faiss

    from clipsearch import Library
    from clipsearch.catalog import Catalog, archive
    from clipsearch.catalog import vectors as stored
    from clipsearch.vectors import VectorIndex
    from tests.benchmarks import big_library

    folder = scratch / "library"
    big_library.make(folder, photos)
    catalog = Catalog(folder / "catalog.db")
    with catalog.read() as db:
        model = archive.active_model(db)
        assert model is not None
        ids, halves = stored.all_of(db, model.id, model.dimensions)
    catalog.close()
    vectors = halves.astype(np.float32)
    embedder = big_library.WorldEmbedder()
    texts = [f"query {number}" for number in range(queries + 1)]
    rows = embedder.texts(texts)
    exact = VectorIndex(ids, halves)
    flat = faiss.IndexFlatIP(model.dimensions)
    flat.add(vectors)
    half = faiss.IndexScalarQuantizer(
        model.dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    half.add(vectors)

    def by_faiss(index: faiss.Index, row: Vectors) -> Hits:
        scores, places = index.search(row[None], HITS)
        return list(zip(ids[places[0]].tolist(), scores[0].tolist(), strict=True))

    def by_product(row: Vectors) -> Hits:
        scores = vectors @ row
        best = np.argsort(-scores, kind="stable")[:HITS]
        return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))

    def by_loop(row: Vectors) -> Hits:
        scores = [float(row @ each) for each in vectors]
        ranked = sorted(range(len(scores)), key=lambda place: -scores[place])[:HITS]
        return [(int(ids[place]), scores[place]) for place in ranked]

    def by_library(text: str) -> Hits:
        hits = library.search(text, k=HITS, min_relevance=0).hits
        return [(hit.id, hit.score or 0.0) for hit in hits]

    rclip = Rclip(python, vectors, scratch) if python else None
    took: dict[str, list[float]] = {}
    agree = True
    try:
        with Library(folder, embedder) as library:
            for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
                asked: dict[str, Callable[[], Hits]] = {
                    "clipsearch, exact index": partial(exact.nearest, row, HITS),
                    "clipsearch, Library.search": partial(by_library, text),
                    "FAISS flat, float16": partial(by_faiss, half, row),
                    "FAISS flat, float32": partial(by_faiss, flat, row),
                    "NumPy, one product and a sort": partial(by_product, row),
                }
                if number < 3:  # seconds each
                    asked["NumPy, a loop"] = partial(by_loop, row)
                library.search(text)  # its vector is known from now on, its index is open
                found = {name: timed(question) for name, question in asked.items()}
                ours = found["clipsearch, exact index"][1]
                if rclip is not None:
                    seconds, hits = rclip.search(row)
                    found[RCLIP] = seconds, [(int(ids[place]), score) for place, score in hits]
                    agree = agree and same_order(ours, found[RCLIP][1])
                agree = agree and same_order(ours, found["FAISS flat, float32"][1])
                if number:  # the first one warms up
                    for name, (seconds, _) in found.items():
                        took.setdefault(name, []).append(seconds)
    finally:
        if rclip is not None:
            rclip.close()
    middle = {name: median(times) for name, times in took.items()}
    name = f"search {photos:,}"
    figures = [Figure(f"{name}: {peer}", value * 1000, "ms") for peer, value in middle.items()]
    figures.append(
        Figure(f"{name}: order as rclip and FAISS but for ties", float(agree), "", 1, at_least=True)
    )
    if rclip is not None:
        is_exact = photos <= EXACT_UP_TO
        mine = "clipsearch, exact index" if is_exact else "clipsearch, Library.search"
        bar = 50 if is_exact else 400 if photos >= 1_000_000 else None
        times = middle[RCLIP] / middle[mine]
        figures.append(Figure(f"{name}: rclip / {mine}", times, "x", bar, at_least=True, slack=2))
    return figures


def measure_indexing(photos: int, scratch: Path) -> list[Figure]:
    """Return images a second of `Library.index` and of open_clip's loop, and their ratio."""
    from clipsearch import Library
    from clipsearch.models import registry
    from tests.benchmarks import indexing_throughput

    folder = scratch / "jpegs"
    folder.mkdir()
    indexing_throughput.write_photos(folder, photos)
    indexing_throughput.random_vit(scratch, "float32")  # writes the weights
    weights = scratch / "vit-b-32.pt"
    loop = open_clip_loop(weights, sorted(folder.iterdir()))
    embedder = registry.load(f"ViT-B-32/{weights}")
    with Library(scratch / "warm", embedder) as library:
        library.index(folder)
    with Library(scratch / "indexed", embedder) as library:
        report = library.index(folder)
    assert report.embedded == photos
    ours = photos / report.seconds
    return [
        Figure("index 12 Mpx, ViT-B-32: open_clip's loop", loop, "/s"),
        Figure("index 12 Mpx, ViT-B-32: Library.index", ours, "/s"),
        Figure("index: Library.index / open_clip's loop", ours / loop, "x", 2, True, slack=1.5),
    ]


def open_clip_loop(weights: Path, paths: Sequence[Path], batch: int = 32) -> float:
    """Return images a second of the plain loop: Pillow, open_clip's transform, `encode_image`."""
    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(weights)
    )
    model.eval()
    began = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(paths), batch):
            images = []
            for path in paths[start : start + batch]:
                with Image.open(path) as image:
                    images.append(preprocess(image))
            features = model.encode_image(torch.stack(images))
            features /= features.norm(dim=-1, keepdim=True)
    return len(paths) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=200_000, help="0: no search")
    parser.add_argument("--queries", type=int, default=7)
    parser.add_argument("--jpegs", type=int, default=64, help="0: no indexing")
    parser.add_argument("--install", action="store_true", help=f"make an environment for {RCLIP}")
    parser.add_argument("--rclip", type=Path, help="the Python of an environment that has rclip")
    arguments = parser.parse_args()
    python = arguments.rclip or (install_rclip() if arguments.install else None)
    if python is None:
        print(f"without {RCLIP}: give --install or --rclip PYTHON", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        figures = []
        if arguments.photos:
            figures += measure_search(arguments.photos, arguments.queries, python, Path(name))
        if arguments.jpegs:
            figures += measure_indexing(arguments.jpegs, Path(name))
        show(figures)


if __name__ == "__main__":
    main()
