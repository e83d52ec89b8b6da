"""What fuzzing found, replayed without the fuzzer; and the seeds, whole and bent."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).with_name("corpus")
MOST_BYTES = 300_000


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_fuzzing_found_keeps_every_promise(name: str, tmp_path: Path) -> None:
    found = sorted((CORPUS / name).iterdir())
    assert found
    for path in found:
        data = path.read_bytes()
        assert path.name == hashlib.sha256(data).hexdigest()[:16], "name it by its hash"
        _replay(TARGETS[name], data, tmp_path, path.name)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_bent_seeds_keep_every_promise(name: str, tmp_path: Path) -> None:
    """A few seconds of what the fuzzer does for an hour, the same each time."""
    chance = random.Random(name)
    for seed in SEEDS[name]():
        TARGETS[name](seed, tmp_path)
        for _ in range(15):
            bent = bytearray(
                seed[: chance.randrange(1, len(seed))] if chance.random() < 0.3 else seed
            )
            for _ in range(chance.randrange(1, 6)):
                bent[chance.randrange(len(bent))] = chance.randrange(256)
            _replay(TARGETS[name], bytes(bent), tmp_path, bent.hex())


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < MOST_BYTES


def _replay(target: Target, data: bytes, folder: Path, name: str) -> None:
    try:
        target(data, folder)
    except Exception as error:
        error.add_note(f"the input is {name}")
        raise
