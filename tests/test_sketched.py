"""The index of large libraries, on a few thousand photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch.errors import LibraryError
from clipsearch.vectors import VectorIndex, sketching
from clipsearch.vectors.sketched import SketchedPart
from tests.benchmarks.big_library import World

DIMENSIONS = 48
PHOTOS = 6000
WORLD = World(DIMENSIONS, seed=3, clusters=60)

Ids = NDArray[np.int64]
Halves = NDArray[np.float16]


class Store:
    """Vectors by id, as the catalogue keeps them."""

    def __init__(self, count: int = PHOTOS) -> None:
        self.vectors: Halves = np.concatenate(
            [block.astype(np.float16) for block in WORLD.photos(count)]
        )
        self.ids = np.arange(count, dtype=np.int64) * 3 + 1

    def fetch(self, ids: Ids) -> tuple[Ids, Halves]:
        rows = np.searchsorted(self.ids, ids)
        return ids, self.vectors[rows]

    def blocks(self) -> Iterator[tuple[Ids, Halves]]:
        for start in range(0, len(self.ids), 1000):
            yield self.ids[start : start + 1000], self.vectors[start : start + 1000]

    def build(self, path: Path) -> VectorIndex:
        sketching.build(
            path,
            DIMENSIONS,
            self.vectors[::2].astype(np.float32),
            self.blocks(),
            texts=WORLD.texts(range(50)),
            pause=lambda: None,
        )
        return VectorIndex.sketched(path, DIMENSIONS, self.fetch)


STORE = Store()
TEXTS = WORLD.texts(range(100, 160))


@pytest.fixture(scope="module")
def exact() -> VectorIndex:
    return VectorIndex(STORE.ids, STORE.vectors)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    return STORE.build(tmp_path_factory.mktemp("index") / "a.sketches")


def recall(index: VectorIndex, exact: VectorIndex, k: int = 10, among: Ids | None = None) -> float:
    shares = []
    for query in (*TEXTS, *STORE.vectors[::500].astype(np.float32)):
        truth = {photo for photo, _ in exact.nearest(query, k, among)}
        shares.append(len(truth & {photo for photo, _ in index.nearest(query, k, among)}) / k)
    return float(np.mean(shares))


def test_the_best_are_found_with_their_exact_cosines(
    built: VectorIndex, exact: VectorIndex
) -> None:
    assert recall(built, exact) >= 0.99
    for query in TEXTS:
        cosines = dict(exact.nearest(query, PHOTOS))
        found = built.nearest(query, 50)
        assert len(found) == 50
        assert all(cosines[photo] == cosine for photo, cosine in found)
        assert found == sorted(found, key=lambda each: (-each[1], each[0]))


def test_few_codes_are_looked_at(built: VectorIndex) -> None:
    looked = []
    assert isinstance(built.base, SketchedPart)
    codes = built.base.layout.codes
    for query in STORE.vectors[::500].astype(np.float32):
        rows, _ = built.base._promising(query, None)
        looked.append(len(rows))
        assert len(np.unique(rows)) == len(rows)
    assert codes(np.array([0, PHOTOS - 1])).shape == (2, DIMENSIONS)
    assert np.mean(looked) < 0.25 * PHOTOS


@pytest.mark.parametrize("share", [None, 0.1, 0.95])
def test_pages_neither_repeat_nor_lose_photos(built: VectorIndex, share: float | None) -> None:
    among = None if share is None else STORE.ids[np.random.default_rng(1).random(PHOTOS) < share]
    for query in TEXTS[:20]:
        first = built.nearest(query, 128, among)
        pages = [built.nearest(query, 32, among, offset=start) for start in range(0, 128, 32)]
        assert [each for page in pages for each in page] == first
        later = built.nearest(query, 600, among)
        assert later[128:256] == built.nearest(query, 128, among, offset=128)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.95])
def test_filters_lose_nothing(built: VectorIndex, exact: VectorIndex, share: float) -> None:
    chosen = np.random.default_rng(0).random(PHOTOS) < share
    among = np.append(STORE.ids[chosen], 10**9)  # an id that is not held
    k = min(10, int(chosen.sum()))
    assert recall(built, exact, k, among) >= 0.99


def test_those_left_out_never_come(built: VectorIndex, exact: VectorIndex) -> None:
    without = STORE.ids[::10]
    shares = []
    for query in TEXTS:
        found = {photo for photo, _ in built.nearest(query, 20, without=without)}
        truth = {photo for photo, _ in exact.nearest(query, 20, without=without)}
        assert not found & set(without.tolist())
        assert len(found) == 20
        shares.append(len(found & truth) / 20)
    assert np.mean(shares) >= 0.98


def test_all_that_reach_a_cosine_are_found(built: VectorIndex, exact: VectorIndex) -> None:
    for query in TEXTS:
        truth = set(exact.cosines(query, above=0.45)[0].tolist())
        ids, cosines = built.cosines(query, above=0.45)
        assert set(ids.tolist()) <= truth
        assert len(ids) >= 0.99 * len(truth)
        wide = dict(zip(*(each.tolist() for each in exact.cosines(query)), strict=True))
        assert [wide[photo] for photo in ids.tolist()] == cosines.tolist()
        near = set(built.near(query, above=0.45)[0].tolist())
        assert len(near & truth) >= 0.99 * len(truth)


def test_all_cosines_are_in_order_and_good_to_the_slack(
    built: VectorIndex, exact: VectorIndex
) -> None:
    ids, cosines = built.cosines(TEXTS[0])
    assert sorted(ids) == STORE.ids.tolist()
    assert (np.diff(cosines) <= 0).all()
    truth = dict(zip(*exact.cosines(TEXTS[0]), strict=True))
    errors = [abs(truth[photo] - cosine) for photo, cosine in zip(ids, cosines, strict=True)]
    assert np.quantile(errors, 0.999) < 2 * built.slack


def test_changes_count_at_once_and_after_they_are_merged(
    built: VectorIndex, tmp_path: Path
) -> None:
    store = Store(PHOTOS + 300)
    store.vectors[:PHOTOS] = STORE.vectors
    gone = store.ids[:PHOTOS:20]
    moved = store.ids[10:PHOTOS:40]
    store.vectors[10:PHOTOS:40] = store.vectors[PHOTOS + 200]
    fresh = store.ids[PHOTOS:]
    changed = np.union1d(np.union1d(gone, moved), fresh)
    present = np.union1d(moved, fresh)
    grown = built.changed(changed, *store.fetch(present))
    kept = np.setdiff1d(store.ids, gone)
    exact = VectorIndex(*store.fetch(kept))
    grown.save_sketched(tmp_path / "b.sketches")
    merged = VectorIndex.sketched(tmp_path / "b.sketches", DIMENSIONS, store.fetch)
    assert merged.unmerged == 0
    for index in (grown, merged):
        assert index.ids.tolist() == kept.tolist()
        assert recall(index, exact) >= 0.99


@pytest.mark.parametrize("left", [0, 1, 20, 300, 3000])
def test_few_that_are_left_are_all_found(built: VectorIndex, tmp_path: Path, left: int) -> None:
    nothing = np.zeros((0, DIMENSIONS), np.float16)
    shrunk = built.changed(STORE.ids[left:], np.zeros(0, np.int64), nothing)
    shrunk.save_sketched(tmp_path / "b.sketches")
    merged = VectorIndex.sketched(tmp_path / "b.sketches", DIMENSIONS, STORE.fetch)
    grown = merged.changed(np.array([2]), np.array([2]), STORE.vectors[:1])
    for index, held in ((shrunk, left), (merged, left), (grown, left + 1)):
        assert len(index.nearest(TEXTS[0], PHOTOS)) == held
        assert len(index.nearest(TEXTS[0], held + 1, without=np.array([1]))) == held - (left > 0)
        assert len(index.cosines(TEXTS[0])[0]) == held
        assert len(index.near(TEXTS[0])[0]) == held
    assert len(merged.base.rough(TEXTS[0])) == left  # type: ignore[union-attr]


def test_photos_of_another_kind_are_noticed(built: VectorIndex) -> None:
    alike = np.concatenate(list(World(DIMENSIONS, seed=3, clusters=60).photos(500)))
    other = np.concatenate(list(World(DIMENSIONS, seed=4).photos(500)))
    ids = np.arange(500) * 3 + 10**6
    for vectors, is_outgrown in ((alike, False), (other, True), (other[:20], False)):
        some = ids[: len(vectors)]
        assert built.changed(some, some, vectors).is_outgrown == is_outgrown


def test_the_same_vectors_make_the_same_file(tmp_path: Path) -> None:
    STORE.build(tmp_path / "a.sketches")
    STORE.build(tmp_path / "b.sketches")
    assert (tmp_path / "a.sketches").read_bytes() == (tmp_path / "b.sketches").read_bytes()


def test_a_damaged_file_never_answers(tmp_path: Path, exact: VectorIndex) -> None:
    path = tmp_path / "a.sketches"
    STORE.build(path)
    whole = path.read_bytes()
    answers = exact.nearest(TEXTS[0], 5)
    refused = 0
    dice = np.random.default_rng(1)
    for place in dice.integers(len(whole), size=60).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            index = VectorIndex.sketched(path, DIMENSIONS, STORE.fetch)
            assert index.nearest(TEXTS[0], 5) == answers
            index.near(TEXTS[0], above=0.2)
        except LibraryError:
            refused += 1
    assert refused >= 55, "what is left are bytes that mean nothing"
    for length in (0, 10, *range(21, 32), 100, 5000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(LibraryError, match="damaged"):
            VectorIndex.sketched(path, DIMENSIONS, STORE.fetch)
    with pytest.raises(LibraryError, match="cannot be read"):
        VectorIndex.sketched(tmp_path / "none.sketches", DIMENSIONS, STORE.fetch)
