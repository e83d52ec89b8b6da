"""Laws of ranking texts for a photo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipsearch import captioning
from tests.fakes import ColourEmbedder

Vectors = NDArray[np.float32]


def units(seed: int, count: int, dimensions: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


sizes = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 600))


@given(sizes, st.data())
def test_the_cosine_of_a_text_does_not_depend_on_the_list(
    size: tuple[int, int, int], data: st.DataObject
) -> None:
    seed, count, dimensions = size
    texts, image = units(seed, count, dimensions), units(seed + 1, 1, dimensions)[0]
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    together = captioning.cosines(image, texts)
    assert captioning.cosines(image, texts[chosen]).tobytes() == together[chosen].tobytes()


@given(sizes, st.floats(0.1, 200), st.none() | st.floats(-20, 20))
def test_ranks_by_cosine_then_index(
    size: tuple[int, int, int], scale: float, bias: float | None
) -> None:
    texts, image = units(*size), units(size[0] + 1, 1, size[2])[0]
    ranked = captioning.rank(
        image, np.concatenate([texts, texts]), logit_scale=scale, logit_bias=bias
    )
    assert sorted(text.position for text in ranked) == list(range(2 * len(texts)))
    keys = [(-text.cosine, text.position) for text in ranked]
    assert keys == sorted(keys)
    chances = [text.probability for text in ranked]
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)
    if bias is None:
        assert sum(chances) == pytest.approx(1)


@given(sizes, st.floats(0.1, 200), st.floats(-20, 20))
def test_a_sigmoid_does_not_depend_on_the_list(
    size: tuple[int, int, int], scale: float, bias: float
) -> None:
    texts, image = units(*size), units(size[0] + 1, 1, size[2])[0]
    ranked = captioning.rank(image, texts, logit_scale=scale, logit_bias=bias)
    (last,) = captioning.rank(
        image, texts[ranked[-1].position][None], logit_scale=scale, logit_bias=bias
    )
    assert last == (0, *ranked[-1][1:])


def test_the_softmax_is_that_of_clip_and_does_not_overflow() -> None:
    image = np.array([1, 0], np.float32)
    texts = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    first, second, third = captioning.rank(image, texts, logit_scale=2)
    assert (first.cosine, second.cosine, third.cosine) == (1, 0, -1)
    assert first.probability / second.probability == pytest.approx(np.exp(2))
    chances = [text.probability for text in captioning.rank(image, texts, logit_scale=1e6)]
    assert chances == [1, 0, 0]


def test_margin_is_the_lead_of_the_first() -> None:
    image = np.array([1, 0], np.float32)
    ranked = captioning.rank(image, np.array([[0, 1], [1, 0]], np.float32), logit_scale=1)
    assert captioning.margin(ranked) == 1
    assert captioning.margin(ranked[:1]) is None
    assert captioning.margin([]) is None


def test_no_texts_give_no_ranks_and_do_not_fit() -> None:
    image, none = np.array([1, 0], np.float32), np.empty((0, 2), np.float32)
    assert captioning.rank(image, none, logit_scale=1) == []
    assert not captioning.fits(image, none, image[None])
    with pytest.raises(ValueError, match="no neutral sentences"):
        captioning.fits(image, image[None], none)
    with pytest.raises(ValueError, match="shape"):
        captioning.cosines(image, np.ones((1, 3), np.float32))


def test_a_red_photo_is_not_a_blue_one(embedder: ColourEmbedder) -> None:
    photo = embedder.texts(["red"])[0]
    background = embedder.texts(["a photo", "grey", "a white wall", "something"])
    assert captioning.fits(photo, embedder.texts(["blue", "red orange"]), background)
    assert not captioning.fits(photo, embedder.texts(["blue", "green cyan"]), background)
