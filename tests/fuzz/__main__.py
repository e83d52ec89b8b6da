"""Fuzz a reader with atheris: `python -m tests.fuzz decode --minutes 60`; see README.md."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

CORPUS = Path(__file__).with_name("corpus")
MEGABYTES = 2048
SECONDS = 20  # for one input; a slower one is a finding
INSTRUMENTED = ["clipsearch.photos", "clipsearch.query", "clipsearch.vocabularies", "PIL"]


def main() -> None:
    arguments = _parsed()
    if arguments.merge:
        _merge(arguments.target, arguments.merge)
        return
    atheris = importlib.import_module("atheris")
    work = arguments.work or Path(tempfile.mkdtemp(prefix="clipsearch-fuzz-"))
    inputs, findings = work / "inputs" / arguments.target, work / "findings" / arguments.target
    inputs.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"inputs in {inputs}, findings in {findings}\n")
    _run(
        atheris,
        arguments.target,
        [
            f"-max_total_time={round(60 * arguments.minutes)}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
            str(inputs),
            str(CORPUS / arguments.target),
        ],
    )


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "target", choices=["decode", "grown", "metadata", "query", "sidecar", "vocabulary", "xmp"]
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--work", type=Path, help="Folder for inputs and findings.")
    parser.add_argument("--merge", type=Path, help="Add what this folder reaches to the corpus.")
    return parser.parse_args()


def _run(atheris: ModuleType, name: str, options: list[str]) -> None:
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    # Where it can be, in memory: a million small files are hard on a disk.
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else Path(tempfile.gettempdir())
    # Of one name each time: the fuzzer ends the process without a chance to tidy up.
    scratch = place / f"clipsearch-fuzz-{name}-{os.getuid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    seeds = scratch / "seeds"
    seeds.mkdir()
    for seed in SEEDS[name]():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    limits = [f"-rss_limit_mb={MEGABYTES}", f"-timeout={SECONDS}"]
    atheris.Setup(
        ["fuzz", *limits, *options, str(seeds)], lambda data: target(bytes(data), scratch)
    )
    atheris.Fuzz()  # which ends the process


def _merge(name: str, found: Path) -> None:
    from tests.fuzz.merging import merge
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        kept = merge(TARGETS[name], SEEDS[name](), [*found.iterdir()], corpus, Path(scratch))
    sys.stderr.write(f"{kept} inputs taken into {corpus}\n")


if __name__ == "__main__":
    main()
