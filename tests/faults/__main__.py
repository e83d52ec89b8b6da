"""Try every fault and print what came of it.

    python -m tests.faults [--seed N] [--short] [--only WORD] [--jobs 2]

A fault that failed is repeated exactly by its seed. Exits 1 when anything was lost or wrong.
"""

from __future__ import annotations

import sys

from tests.faults.runner import main

if __name__ == "__main__":
    sys.exit(main())
