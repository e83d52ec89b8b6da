from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipsearch.errors import LibraryError
from clipsearch.vectors import VectorIndex


def f32(values: object) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def i64(values: object) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rounded: NDArray[np.float16] = (rows / np.maximum(length, 1e-9)).astype(np.float16)
    return rounded


def random_index(
    seed: int, n: int, d: int, distinct: int
) -> tuple[VectorIndex, dict[int, NDArray[np.float16]]]:
    """An index over `n` vectors of which at most `distinct` differ: many exact ties."""
    random = np.random.default_rng(seed)
    rows = unit(random.standard_normal((distinct, d)).astype(np.float32))
    ids = random.permutation(10 * n)[:n].astype(np.int64)
    vectors = rows[random.integers(0, distinct, n)]
    return VectorIndex(ids, vectors), dict(zip(ids.tolist(), vectors, strict=True))


def brute_force(
    table: dict[int, NDArray[np.float16]],
    query: NDArray[np.float32],
    k: int,
    among: list[int] | None,
) -> list[int]:
    chosen = set(table) if among is None else set(table) & set(among)
    wide = query.astype(np.float64)
    scores = {i: min(np.float32(table[i].astype(np.float64) @ wide), np.float32(1)) for i in chosen}
    return sorted(chosen, key=lambda i: (-scores[i], i))[:k]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 400),
    d=st.sampled_from([2, 5, 16, 64]),
    share=st.sampled_from([0.01, 0.1, 1.0]),
    k=st.integers(1, 450),
    chosen=st.none() | st.sampled_from([0.0, 0.02, 0.3, 1.0]),
)
def test_nearest_equals_brute_force(
    seed: int, n: int, d: int, share: float, k: int, chosen: float | None
) -> None:
    index, table = random_index(seed, n, d, max(1, int(share * n)))
    random = np.random.default_rng(seed + 1)
    query = unit(random.standard_normal((1, d)).astype(np.float32))[0].astype(np.float32)
    among = None
    if chosen is not None:
        among = [i for i in table if random.random() < chosen] + [10**9]  # an id that is not held
    found = [photo for photo, _ in index.nearest(query, k, among)]
    assert found == brute_force(table, query, k, among)


def test_ties_are_broken_by_id_even_beyond_k() -> None:
    same = np.tile(f32([[0.6, 0.8]]), (5000, 1))
    index = VectorIndex(np.arange(5000, 0, -1, dtype=np.int64), same)
    assert [i for i, _ in index.nearest(f32([0.6, 0.8]), 3)] == [1, 2, 3]


def test_a_score_is_the_cosine() -> None:
    index = VectorIndex(i64([7]), f32([[1, 0]]))
    ((photo, score),) = index.nearest(f32([0.6, 0.8]), 5)
    assert photo == 7
    assert score == pytest.approx(0.6)


def test_an_empty_index_finds_nothing() -> None:
    index = VectorIndex(np.empty(0, np.int64), np.empty((0, 3), np.float32))
    assert index.nearest(f32([1, 0, 0]), 5) == []
    assert len(index) == 0


@pytest.mark.parametrize(
    ("ids", "vectors"),
    [
        ([1, 1], [[1, 0], [0, 1]]),
        ([1], [[1, 0], [0, 1]]),
        ([1], [[np.nan, 0]]),
    ],
)
def test_bad_input_is_refused(ids: list[int], vectors: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"twice|fit|finite"):
        VectorIndex(i64(ids), f32(vectors))


@pytest.mark.parametrize("query", [[1, 0, 0], [np.nan, 0]])
def test_a_bad_query_is_refused(query: list[float]) -> None:
    index = VectorIndex(i64([1]), f32([[1, 0]]))
    with pytest.raises(ValueError, match=r"dimensions|finite"):
        index.nearest(f32(query), 1)


def test_a_saved_index_answers_as_before(tmp_path: Path) -> None:
    index, _ = random_index(1, 300, 16, 300)
    index.save(tmp_path / "a.index")
    query = unit(np.ones((1, 16), np.float32))[0].astype(np.float32)
    loaded = VectorIndex.load(tmp_path / "a.index", 16)
    assert loaded.nearest(query, 20) == index.nearest(query, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["a.index"]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000), flip=st.none() | st.integers(0, 10_000))
def test_a_damaged_file_is_never_loaded(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    path = tmp_path_factory.mktemp("index") / "a.index"
    random_index(1, 50, 16, 50)[0].save(path)
    data = bytearray(path.read_bytes())
    if flip is None:
        data = data[: cut % len(data)]
    else:
        data[flip % len(data)] ^= 1 << flip % 8
    path.write_bytes(data)
    with pytest.raises(LibraryError, match="damaged"):
        VectorIndex.load(path, 16)


def test_an_absent_file_and_other_dimensions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="cannot be read"):
        VectorIndex.load(tmp_path / "none.index", 16)
    random_index(1, 50, 16, 50)[0].save(tmp_path / "a.index")
    with pytest.raises(LibraryError, match="damaged"):
        VectorIndex.load(tmp_path / "a.index", 8)
