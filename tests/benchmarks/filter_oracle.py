"""Compare random searches with a second opinion: ids, scores, order and count have to be equal.

    python -m tests.benchmarks.filter_oracle [--examples 10000] [--seed 0]

The catalogue, the searches and the second opinion are those of `tests/test_filters.py`, which
compares a few hundred.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.filter_oracle import PHOTOS, Asked, Nasty
from tests.filter_queries import asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    queries: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, Nasty(Path(folder) / "library") as nasty:

        @seed(arguments.seed)
        @settings(
            max_examples=arguments.examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(wanted=asked())
        def compare(wanted: Asked) -> None:
            expected = nasty.expected(wanted)
            seen["compared"] += 1
            queries.add(repr(wanted))
            seen["none" if not (expected and expected[1]) else "some"] += 1
            for key in wanted.keys:
                seen[key] += 1
            assert nasty.found_by_library(wanted) == expected, wanted

        began = time.perf_counter()
        compare()
        took = time.perf_counter() - began
    print(f"{seen['compared']} searches of {PHOTOS} photos equal the second opinion")
    for name, count in sorted(seen.items()):
        print(f"{name:24}{count:>8}")
    print(json.dumps({**seen, "different": len(queries), "seconds": round(took, 1)}))


if __name__ == "__main__":
    main()
