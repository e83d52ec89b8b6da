"""The index of large libraries, on a few thousand photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, archive, vectors
from clipsearch.errors import DamagedIndexError, LibraryError
from clipsearch.records import Progress
from clipsearch.upkeep import Upkeep
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
        rows, _ = built.base._promising(query, 10, None)
        looked.append(len(rows))
        assert len(np.unique(rows)) == len(rows)
    assert codes(np.array([0, PHOTOS - 1])).shape == (2, DIMENSIONS)
    assert np.mean(looked) < 0.2 * PHOTOS


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
    for length in (0, 10, 100, 5000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(LibraryError, match="damaged"):
            VectorIndex.sketched(path, DIMENSIONS, STORE.fetch)
    with pytest.raises(LibraryError, match="cannot be read"):
        VectorIndex.sketched(tmp_path / "none.sketches", DIMENSIONS, STORE.fetch)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(tmp_path / "catalog.db")
    with made.write() as db:
        model = archive.ensure_model(
            db, "m", "1", dimensions=DIMENSIONS, logit_scale=1.0, logit_bias=None
        )
        db.execute("insert into root (id, path, added_at) values (1, x'2f', 'then')")
        put(made, STORE.ids, STORE.vectors, model.id)
    yield made
    made.close()


def put(catalog: Catalog, ids: Ids, rows: Halves, model_id: int = 1) -> None:
    with catalog.write() as db:
        for photo_id, vector in zip(ids.tolist(), rows, strict=True):
            db.execute(
                "insert or ignore into photo (id, root_id, path, name, size, mtime_ns,"
                " content_hash, format, width, height, orientation, indexed_at) values"
                " (?, 1, ?, '', 1, 1, ?, 'JPEG', 1, 1, 1, 'then')",
                [photo_id, b"%d" % photo_id, b"%d" % photo_id],
            )
            vectors.put(db, photo_id, model_id, vector.astype(np.float32))


def test_what_is_due_is_settled_before_anybody_searches(catalog: Catalog, tmp_path: Path) -> None:
    with catalog.read() as db:
        model = archive.models(db)[0][0]
    told: list[Progress] = []
    options = {"on_notice": pytest.fail, "at_once": 10}  # merges go on in threads
    small = Upkeep(tmp_path / "small", catalog, exact=PHOTOS, **options)  # type: ignore[arg-type]
    small.settle(model, told.append)
    assert not (tmp_path / "small").exists()
    assert not told
    for added in (0, PHOTOS // 4):
        put(catalog, np.arange(added) * 3, STORE.vectors[:added])
        run = Upkeep(tmp_path / "vectors", catalog, exact=1000, **options)  # type: ignore[arg-type]
        run.settle(model, told.append)
        run.close()
        (file,) = (tmp_path / "vectors").iterdir()
        index = VectorIndex.sketched(file, DIMENSIONS, STORE.fetch)
        assert len(index) == PHOTOS + added
    assert {each.stage for each in told} == {"learn"}


def test_a_large_library_has_sketches_and_they_are_repaired(
    catalog: Catalog, tmp_path: Path, exact: VectorIndex
) -> None:
    notices: list[str] = []
    with catalog.read() as db:
        model = archive.models(db)[0][0]

    def opened() -> Upkeep:
        return Upkeep(
            tmp_path / "vectors",
            catalog,
            on_notice=notices.append,
            at_once=PHOTOS * 2,  # here: no thread to wait for
            exact=1000,
        )

    server = opened()
    assert isinstance(server.index(model).base, SketchedPart)
    assert recall(server.index(model), exact) >= 0.99
    put(catalog, np.array([2]), TEXTS[:1].astype(np.float16))
    assert server.index(model).nearest(TEXTS[0], 1)[0][0] == 2
    server.close()
    (file,) = (tmp_path / "vectors").iterdir()
    data = bytearray(file.read_bytes())
    data[8192:13192] = bytes(5000)  # codes, which are read only when they are needed
    file.write_bytes(data)
    again = opened()
    with pytest.raises(DamagedIndexError):
        again.index(model).near(TEXTS[0], above=0.2)
    again.forget()
    assert len(again.index(model).near(TEXTS[0], above=0.2)[0])
    assert again.index(model).nearest(TEXTS[0], 1)[0][0] == 2
    again.close()
    assert notices == []
