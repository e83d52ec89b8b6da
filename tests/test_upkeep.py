"""An index that follows its catalogue equals one that is built from nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipsearch import upkeep
from clipsearch.catalog import Catalog, archive, vectors
from clipsearch.catalog.archive import Model
from clipsearch.upkeep import Upkeep
from clipsearch.vectors import VectorIndex

DIMENSIONS = 8
Row = NDArray[np.float32]


class Archive:
    """A catalogue with photos that have nothing but an id, and the index of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self.catalog = Catalog(folder / "catalog.db")
        with self.catalog.write() as db:
            self.model = archive.ensure_model(
                db, "m", "1", dimensions=DIMENSIONS, logit_scale=1.0, logit_bias=None
            )
            db.execute("insert or ignore into root (id, path, added_at) values (1, x'2f', 'then')")
        self.upkeep = self.another()

    def another(self) -> Upkeep:
        return Upkeep(self.folder / "vectors", self.catalog, on_notice=self.notices.append)

    def put(self, vectors_by_id: dict[int, Row]) -> None:
        with self.catalog.write() as db:
            for photo_id, vector in vectors_by_id.items():
                db.execute(
                    "insert or ignore into photo (id, root_id, path, name, size, mtime_ns,"
                    " content_hash, format, width, height, orientation, indexed_at) values"
                    " (?, 1, ?, '', 1, 1, x'00', 'JPEG', 1, 1, 1, 'then')",
                    [photo_id, b"%d" % photo_id],
                )
                vectors.put(db, photo_id, self.model.id, vector)

    def drop(self, ids: Sequence[int]) -> None:
        with self.catalog.write() as db:
            for photo_id in ids:
                db.execute("delete from photo where id = ?", [photo_id])  # the vector goes with it

    def index(self) -> VectorIndex:
        return self.upkeep.index(self.model)

    def fresh(self, model: Model | None = None) -> VectorIndex:
        model = model or self.model
        with self.catalog.read() as db:
            return VectorIndex(*vectors.all_of(db, model.id, model.dimensions))

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "vectors").glob("*"))

    def logged(self) -> int:
        with self.catalog.read() as db:
            count: int = db.execute("select count(*) from vector_log").fetchone()[0]
            return count

    def close(self) -> None:
        self.upkeep.close()
        self.catalog.close()


def row(seed: int) -> Row:
    """One of a few directions, so that many photos tie."""
    made = np.random.default_rng(seed % 7).standard_normal(DIMENSIONS).astype(np.float32)
    unit: Row = made / np.linalg.norm(made)
    return unit


def assert_alike(index: VectorIndex, fresh: VectorIndex) -> None:
    query = row(3)
    assert index.nearest(query, len(fresh) + 1) == fresh.nearest(query, len(fresh) + 1)
    assert index.nearest(query, 3) == fresh.nearest(query, 3)
    assert index.nearest(query, 3, offset=2) == fresh.nearest(query, 3, offset=2)
    some = fresh.ids[::2]
    assert index.nearest(query, 5, some) == fresh.nearest(query, 5, some)
    ids, cosines = index.cosines(query, above=0.1)
    its_ids, its_cosines = fresh.cosines(query, above=0.1)
    assert (ids.tolist(), cosines.tolist()) == (its_ids.tolist(), its_cosines.tolist())
    assert sorted(index.near(query, above=0.1)[0]) == sorted(fresh.near(query, above=0.1)[0])
    assert index.ids.tolist() == fresh.ids.tolist()
    assert len(index) == len(fresh)
    assert index.vectors(fresh.ids).tobytes() == fresh.vectors(fresh.ids).tobytes()
    for photo_id in range(1, 13):
        assert (photo_id in index) == (photo_id in fresh)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.close()


STEPS = st.one_of(
    st.tuples(st.just("put"), st.lists(st.integers(1, 12), min_size=1, max_size=4)),
    st.tuples(st.just("drop"), st.lists(st.integers(1, 12), min_size=1, max_size=3)),
    st.tuples(
        st.sampled_from(["look", "look", "look twice", "reopen", "lose", "spoil"]), st.none()
    ),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=16), seeds=st.randoms(use_true_random=False))
def test_whatever_happens_an_index_equals_a_fresh_one(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, list[int] | None]],
    seeds: random.Random,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "_LEAST", 2)  # photos of a tail: merges come all the time
        library = Archive(tmp_path_factory.mktemp("library"))
        other = library.another()  # another process
        for step, ids in steps:
            if step == "put":
                library.put({photo_id: row(seeds.randrange(7)) for photo_id in ids or ()})
            elif step == "drop":
                library.drop(ids or ())
            elif step == "look":
                assert_alike(library.index(), library.fresh())
            elif step == "look twice":
                assert_alike(other.index(library.model), library.fresh())
                assert_alike(library.index(), library.fresh())
            elif step == "reopen":
                library.upkeep.close()
                library.upkeep = library.another()
            else:
                for file in (library.folder / "vectors").glob("*.index"):
                    if step == "lose":
                        file.unlink()
                    else:
                        file.write_bytes(file.read_bytes()[:-1])
        assert_alike(other.index(library.model), library.fresh())
        assert_alike(library.index(), library.fresh())
        assert library.notices == []
        other.close()
        library.close()


def test_photos_are_found_at_once_and_the_base_is_shared(library: Archive) -> None:
    library.put({photo_id: row(photo_id) for photo_id in range(1, 101)})
    before = library.index()
    library.put({200: row(3)})
    library.drop([3])
    after = library.index()
    assert after.base is before.base
    assert 200 in after
    assert 3 not in after
    assert 3 in before, "an index that was given out never changes"


def test_what_is_not_a_vector_changes_no_index(library: Archive) -> None:
    library.put({1: row(1)})
    before = library.index()
    with library.catalog.write() as db:
        db.execute("update photo set name = 'new.jpg'")
    assert library.index() is before


def test_a_merge_keeps_one_file_and_trims_the_log(library: Archive) -> None:
    for start in range(1, 400, 40):
        library.put({photo_id: row(photo_id) for photo_id in range(start, start + 40)})
        library.index()
        assert len(library.files()) == 1
        assert library.logged() <= 120
    assert_alike(library.index(), library.fresh())


def test_a_file_and_the_log_make_the_present(library: Archive) -> None:
    library.put({photo_id: row(photo_id) for photo_id in range(1, 101)})
    library.index()
    library.put({7: row(8), 300: row(2)})
    library.drop([9])
    files = library.files()
    other = library.another()
    assert_alike(other.index(library.model), library.fresh())
    assert library.files() == files, "a few changes are not worth a new file"
    assert other.index(library.model).unmerged == 2


def test_a_reader_from_before_the_log_begins_takes_the_file_of_others(library: Archive) -> None:
    library.put({1: row(1), 2: row(2)})
    slow = library.another()
    assert len(slow.index(library.model)) == 2
    library.put({photo_id: row(photo_id) for photo_id in range(3, 300)})
    library.index()
    library.index()  # merged by now, and the log is trimmed
    assert library.logged() == 0
    assert_alike(slow.index(library.model), library.fresh())


def test_a_merge_in_a_thread_keeps_nobody_waiting(
    library: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.put({photo_id: row(photo_id) for photo_id in range(1, 101)})
    library.upkeep = Upkeep(
        library.folder / "vectors", library.catalog, on_notice=library.notices.append, at_once=0
    )
    library.index()
    may_end, began = threading.Event(), threading.Event()
    merged: Callable[[VectorIndex], VectorIndex] = VectorIndex.merged

    def slowly(index: VectorIndex) -> VectorIndex:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert may_end.wait(30)
        return merged(index)

    monkeypatch.setattr(VectorIndex, "merged", slowly)
    library.put({photo_id: row(photo_id) for photo_id in range(101, 300)})
    assert_alike(library.index(), library.fresh())
    assert began.wait(30)
    library.put({500: row(1)})
    assert_alike(library.index(), library.fresh())
    may_end.set()
    for thread in threading.enumerate():
        if thread.name == "merge of the index":
            thread.join(30)
    assert_alike(library.index(), library.fresh())
    assert library.index().unmerged == 1
    assert library.logged() == 1


def test_files_of_other_libraries_models_and_revisions_are_removed(library: Archive) -> None:
    folder = library.folder / "vectors"
    folder.mkdir()
    with library.catalog.read() as db:
        uuid = archive.embedded(db)[0][:12]
    for name in ("0123456789ab-1-9.index", f"{uuid}-77-1.index", f"{uuid}-1-0.index"):
        (folder / name).write_bytes(b"old")
    library.put({1: row(1)})
    library.index()
    assert library.files() == [f"{uuid}-1-2.index"]


def test_a_folder_that_cannot_be_written_to_is_told_and_searches_work(library: Archive) -> None:
    (library.folder / "vectors").write_text("a file is in the way")
    library.put({1: row(1)})
    assert_alike(library.index(), library.fresh())
    assert "the index cannot be kept" in library.notices[0]
    library.put({2: row(2)})
    assert_alike(library.index(), library.fresh())


def test_a_model_that_is_dropped_leaves_no_log(library: Archive) -> None:
    with library.catalog.write() as db:
        other = archive.ensure_model(
            db, "m", "0", dimensions=DIMENSIONS, logit_scale=1.0, logit_bias=None
        )
    library.put({1: row(1)})
    with library.catalog.write() as db:
        vectors.put(db, 1, other.id, row(2))
        archive.replace_model(db, library.model.id)
    library.index()
    assert library.logged() == 0


def test_two_threads_build_one_index(library: Archive) -> None:
    library.put({photo_id: row(photo_id) for photo_id in range(1, 50)})
    found: list[VectorIndex] = []
    threads = [threading.Thread(target=lambda: found.append(library.index())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(index is found[0] for index in found)
