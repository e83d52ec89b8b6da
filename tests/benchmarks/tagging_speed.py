"""Measure tagging a library of random vectors against the bare matrix product of that size.

    python -m tests.benchmarks.tagging_speed [--photos 1000000] [--labels 1000] [--threads 2]

Both run in one process, one after the other, twice; the better time of each counts. Vectors are
made block by block from a stored pool, as a catalogue would deliver them: float16.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=1_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exclusive", type=int, default=0, help="labels in groups of ten")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    for name in THREADS:  # BLAS reads them when numpy is imported
        os.environ[name] = str(arguments.threads)
    import numpy as np

    from clipsearch import tagging

    random = np.random.default_rng(0)
    count, dimensions = arguments.photos, arguments.dimensions

    def unit(rows: int) -> tagging.Vectors:
        vectors = random.standard_normal((rows, dimensions), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    groups = np.full(arguments.labels, -1)
    groups[: arguments.exclusive] = np.arange(arguments.exclusive) // 10
    labels = tagging.pool(unit(arguments.labels), np.arange(arguments.labels), groups=groups)
    background = unit(16)
    step = 16_384
    library = np.empty((count, dimensions), np.float16)  # 1 GB for 1,000,000 photos
    for start in range(0, count, step):
        library[start : start + step] = unit(len(library[start : start + step]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def blocks() -> Iterator[tagging.Block]:
        for start in range(0, count, step):
            part = library[start : start + step]
            yield np.arange(start, start + len(part), dtype=np.int64), part

    product, calibrating, tagging_time, tags = [], [], [], 0
    transposed = np.ascontiguousarray(labels.rows.T)
    wide = library[:step].astype(np.float32)
    out = np.empty((step, arguments.labels), np.float32)
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        for start in range(0, count, step):
            rows = min(step, count - start)
            np.matmul(wide[:rows], transposed, out=out[:rows])
        product.append(time.perf_counter() - began)
        began = time.perf_counter()
        sample = library[tagging.sample_positions(count)]
        calibration = tagging.calibrate(sample, labels, background)
        calibrating.append(time.perf_counter() - began)
        began = time.perf_counter()
        tags = sum(
            len(ids) for ids, _, _ in tagging.tag_blocks(blocks(), labels, background, calibration)
        )
        tagging_time.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = min(a + b for a, b in zip(calibrating, tagging_time, strict=True))
    document = {
        "photos": count,
        "labels": arguments.labels,
        "dimensions": dimensions,
        "exclusive": arguments.exclusive,
        "threads": arguments.threads,
        "product_s": round(min(product), 2),
        "calibrate_s": round(min(calibrating), 2),
        "tag_s": round(min(tagging_time), 2),
        "ratio": round(total / min(product), 2),
        "tags": tags,
        "library_mib": round(library.nbytes / 2**20),
        "peak_mib": round(peak),
        "peak_over_library_mib": round(peak - before),
    }
    for name, value in document.items():
        print(f"{name:24}{value:>12}")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
