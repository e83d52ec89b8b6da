"""A library above the number of photos up to which all vectors are compared with a query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch import searching
from clipsearch.catalog import Catalog, archive, vectors
from clipsearch.catalog.archive import Model
from clipsearch.errors import DamagedIndexError, LibraryError
from clipsearch.records import Progress
from clipsearch.upkeep import Upkeep
from clipsearch.vectors import VectorIndex, sketching
from clipsearch.vectors.sketched import SketchedPart
from tests.benchmarks.big_library import World
from tests.test_sketched import DIMENSIONS, PHOTOS, STORE, TEXTS, Halves, Ids, exact, recall

__all__ = ["exact"]  # a fixture


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


@pytest.fixture
def model(catalog: Catalog) -> Model:
    with catalog.read() as db:
        return archive.models(db)[0][0]


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files for which a whole library was learned."""
    found: list[Path] = []
    real = sketching.build

    def build(path: Path, *rest: Any, **options: Any) -> None:
        found.append(path)
        real(path, *rest, **options)

    monkeypatch.setattr(sketching, "build", build)
    return found


def opened(
    folder: Path, catalog: Catalog, notices: list[str] | None = None, at_once: int = 10
) -> Upkeep:
    """Keep sketches above 1,000 photos; above `at_once` merges go on in threads."""
    notice = pytest.fail if notices is None else notices.append
    return Upkeep(folder / "vectors", catalog, on_notice=notice, exact=1000, at_once=at_once)


def test_what_is_due_is_settled_before_anybody_searches(
    catalog: Catalog, model: Model, tmp_path: Path
) -> None:
    told: list[Progress] = []
    small = Upkeep(tmp_path / "small", catalog, on_notice=pytest.fail, exact=PHOTOS)
    small.settle(model, told.append)
    assert not (tmp_path / "small").exists()
    assert not told
    for added in (0, PHOTOS // 4):
        put(catalog, np.arange(added) * 3, STORE.vectors[:added])
        run = opened(tmp_path, catalog)
        run.settle(model, told.append)
        run.close()
        (file,) = (tmp_path / "vectors").iterdir()
        index = VectorIndex.sketched(file, DIMENSIONS, STORE.fetch)
        assert len(index) == PHOTOS + added
    assert {each.stage for each in told} == {"learn"}


def test_a_large_library_has_sketches_and_they_are_repaired(
    catalog: Catalog, model: Model, tmp_path: Path, exact: VectorIndex
) -> None:
    server = opened(tmp_path, catalog, at_once=PHOTOS * 2)
    assert isinstance(server.index(model).base, SketchedPart)
    assert recall(server.index(model), exact) >= 0.99
    put(catalog, np.array([2]), TEXTS[:1].astype(np.float16))
    assert server.index(model).nearest(TEXTS[0], 1)[0][0] == 2
    server.close()
    damage(tmp_path)  # codes, which are read only when they are needed
    again = opened(tmp_path, catalog, at_once=PHOTOS * 2)
    with pytest.raises(DamagedIndexError):
        again.index(model).near(TEXTS[0], above=0.2)
    again.forget()
    assert len(again.index(model).near(TEXTS[0], above=0.2)[0])
    assert again.index(model).nearest(TEXTS[0], 1)[0][0] == 2
    again.close()


def damage(folder: Path) -> None:
    (file,) = (folder / "vectors").iterdir()
    data = bytearray(file.read_bytes())
    data[8192:13192] = bytes(5000)
    file.write_bytes(data)


def test_damage_that_a_merge_finds_is_repaired(
    catalog: Catalog, model: Model, tmp_path: Path, learned: list[Path]
) -> None:
    first = opened(tmp_path, catalog)
    first.index(model)
    first.close()
    damage(tmp_path)
    put(catalog, np.arange(900) * 3, STORE.vectors[:900])
    run = opened(tmp_path, catalog)
    run.settle(model, lambda _: None)
    assert run.index(model).unmerged == 0
    assert len(run.index(model).near(TEXTS[0], above=-1)[0]) == PHOTOS + 900
    run.close()
    assert len(learned) == 2


def test_photos_of_another_kind_make_it_learn_again(
    catalog: Catalog, model: Model, tmp_path: Path, learned: list[Path]
) -> None:
    run = opened(tmp_path, catalog)
    for seed, times in ((3, 1), (4, 2)):  # the world of the library, another one
        world = World(DIMENSIONS, seed=seed, clusters=60)
        rows = np.concatenate(list(world.photos(900))).astype(np.float16)
        put(catalog, np.arange(900) * 3 + seed * 10**6, rows)
        run.settle(model, lambda _: None)
        assert len(learned) == times
    run.close()


def test_a_full_disk_is_not_tried_at_every_search(
    catalog: Catalog, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def build(path: Path, *rest: Any, **options: Any) -> None:
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sketching, "build", build)
    notices: list[str] = []
    run = opened(tmp_path, catalog, notices, at_once=PHOTOS)
    for _ in range(5):
        assert len(run.index(model).nearest(TEXTS[0], 5)) == 5
    assert len(tried) == len(notices) == 1
    monkeypatch.undo()
    run.close()
    again = opened(tmp_path, catalog)
    assert isinstance(again.index(model).base, SketchedPart)
    again.close()


def test_all_vectors_of_the_same_revision_give_way_to_sketches(
    catalog: Catalog, model: Model, tmp_path: Path, learned: list[Path]
) -> None:
    flat = Upkeep(tmp_path / "vectors", catalog, on_notice=pytest.fail, exact=PHOTOS)
    flat.index(model)
    flat.close()
    for _ in range(3):
        run = opened(tmp_path, catalog, at_once=PHOTOS)
        run.index(model)
        run.close()
        (file,) = (tmp_path / "vectors").iterdir()
        assert file.suffix == ".sketches"
    assert len(learned) == 1


def test_a_file_that_another_process_replaced_is_found(
    catalog: Catalog, model: Model, tmp_path: Path, learned: list[Path]
) -> None:
    other = opened(tmp_path, catalog, at_once=PHOTOS * 2)
    other.index(model)
    put(catalog, np.arange(900) * 3, STORE.vectors[:900])

    class Late(Upkeep):
        """Lists its files just before the other process merges."""

        def _files(self, library: str, model: Model) -> list[tuple[Path, int]]:
            found = super()._files(library, model)
            other.index(model)
            return found

    late = Late(tmp_path / "vectors", catalog, on_notice=pytest.fail, exact=1000)
    assert len(late.index(model)) == PHOTOS + 900
    assert len(learned) == 1
    late.close()
    other.close()


def test_closing_ends_learning(catalog: Catalog, model: Model, tmp_path: Path) -> None:
    run = opened(tmp_path, catalog)
    run._closed.set()
    with pytest.raises(LibraryError, match="closed"):
        run.index(model)


def test_a_photo_that_is_dropped_meanwhile_is_judged_by_nobody(
    catalog: Catalog, model: Model, tmp_path: Path
) -> None:
    run = opened(tmp_path, catalog)
    index = run.index(model)

    class Meanwhile:
        """An index that another process drops a photo from, once it has answered."""

        def __getattr__(self, name: str) -> Any:
            return getattr(index, name)

        def __len__(self) -> int:
            return len(index)

        def nearest(self, *rest: Any, **options: Any) -> list[tuple[int, float]]:
            found = index.nearest(*rest, **options)
            with catalog.write() as db:
                db.execute("delete from photo where id = ?", [found[-1][0]])
            return found

    class Sure:
        vector = TEXTS[0]

        def relevance(self, ids: Ids, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.ones(len(ids))

    ranking = searching.nearest(Meanwhile(), TEXTS[0], k=20, yardstick=Sure())  # type: ignore[arg-type]
    assert ranking.relevance is not None
    assert ranking.relevance.tolist() == [1.0] * 19 + [0.0]
    run.close()
