from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch import prompts
from clipsearch.errors import TextError
from clipsearch.models.embedder import Vectors
from clipsearch.prompts import embed_labels, fill
from tests.fakes import COLOURS, ColourEmbedder

TEMPLATES = ("a photo of a {}.", "{} and grey", "red {}")


class Counting:
    """Colours, and a record of what was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(list(texts))
        return ColourEmbedder().texts(texts)


def naive(labels: Sequence[str], templates: Sequence[str]) -> Vectors:
    rows = []
    for label in labels:
        mean = ColourEmbedder().texts([t.replace("{}", label) for t in templates]).mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows, np.float32)


def test_there_are_seven_different_templates_and_the_first_is_the_general_one() -> None:
    assert prompts.TEMPLATES[0] == "a photo of a {}."
    assert len(set(prompts.TEMPLATES)) == 7
    assert all(fill(template, "dog").count("dog") == 1 for template in prompts.TEMPLATES)


def test_fill_leaves_other_braces_and_those_of_the_label_alone() -> None:
    assert fill("a {1} of {} {{", "{} {0}") == "a {1} of {} {0} {{"


@pytest.mark.parametrize(
    ("template", "said"), [("a photo", "nowhere"), ("{} and {}", "2 times"), ("{0}", "nowhere")]
)
def test_a_template_needs_one_place_for_the_label(template: str, said: str) -> None:
    with pytest.raises(TextError, match=said):
        fill(template, "dog")
    with pytest.raises(TextError, match=said):
        embed_labels(ColourEmbedder().texts, ["dog"], [template])


@given(st.lists(st.sampled_from([*COLOURS, "dog"]), min_size=1))
def test_ensembling_is_the_normalised_mean(labels: list[str]) -> None:
    vectors = embed_labels(ColourEmbedder().texts, labels, TEMPLATES)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, naive(labels, TEMPLATES), atol=1e-6)


def test_many_labels_are_embedded_in_blocks_and_each_text_once() -> None:
    labels = [f"{colour} {number}" for number in range(1000) for colour in COLOURS] * 2
    texts = Counting()
    vectors = embed_labels(texts, labels, TEMPLATES)
    np.testing.assert_allclose(vectors[:40], naive(labels[:40], TEMPLATES), atol=1e-6)
    np.testing.assert_array_equal(vectors[:10_000], vectors[10_000:])
    asked = [text for block in texts.asked for text in block]
    assert len(asked) == len(set(asked)) == 30_000
    assert max(map(len, texts.asked)) <= 4096


def test_texts_that_templates_make_alike_are_embedded_once() -> None:
    texts = Counting()
    embed_labels(texts, ["red"], ["{}", "{}"])
    assert texts.asked == [["red"]]


def test_no_labels_are_no_rows_and_no_templates_an_error() -> None:
    assert embed_labels(ColourEmbedder().texts, []).shape == (0, 4)
    with pytest.raises(TextError, match="no template"):
        embed_labels(ColourEmbedder().texts, ["red"], [])


def test_vectors_that_cancel_out_give_no_nan() -> None:
    def opposite(texts: Sequence[str]) -> Vectors:
        return np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)[: len(texts)]

    assert np.isfinite(embed_labels(opposite, ["x"], ["a {}", "b {}"])).all()


def test_background_is_a_bank_of_neutral_sentences() -> None:
    bank = prompts.background()
    assert 30 <= len(bank) <= 60
    assert len(set(bank)) == len(bank)
    assert "a photo" in bank


def test_the_bank_of_captions_is_large_plain_and_varied() -> None:
    bank = prompts.captions()
    assert len(bank) >= 1000
    assert len({caption.casefold() for caption in bank}) == len(bank)
    for caption in bank:
        assert 5 <= len(caption.split()) <= 14, caption
        assert caption.endswith("."), caption
        assert caption[0].isupper(), caption


def test_no_two_captions_are_nearly_the_same() -> None:
    little = {"a", "an", "the", "of", "in", "on", "with", "and", "at", "to", "by", "its"}
    words = [
        frozenset(re.findall(r"\w+", caption.lower())) - little for caption in prompts.captions()
    ]
    assert not [
        (sorted(one), sorted(two))
        for one, two in combinations(words, 2)
        if len(one & two) >= 0.6 * len(one | two)
    ]


def test_the_file_of_captions_has_no_repeats_to_drop() -> None:
    path = Path(prompts.__file__).parent / "data" / "captions.txt"
    lines = [line for line in path.read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert tuple(lines) == prompts.captions()


def test_sentences_skips_comments_blank_lines_and_repeats(tmp_path: Path) -> None:
    path = tmp_path / "bank.txt"
    path.write_bytes("\ufeff# bank\r\n\r\nA  dog.\r\nÉté.\rA dog.\r\n".encode())
    assert prompts.sentences(path) == ("A dog.", "Été.")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no text"),
        (b"# only this\n", "no text"),
        (b"a dog\n\xff\xfe", "line 2: not UTF-8"),
        (b"a dog\n\nb\0c", "line 3: a NUL"),
    ],
)
def test_a_file_without_text_is_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bank.txt"
    path.write_bytes(content)
    with pytest.raises(TextError, match=said) as error:
        prompts.sentences(path)
    assert str(error.value).startswith(str(path))


def test_a_name_that_is_no_text_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no such file"):
        prompts.sentences(tmp_path / "missing.txt")
    with pytest.raises(TextError, match="a folder"):
        prompts.sentences(tmp_path)
    with pytest.raises(TextError, match="no regular file"):
        prompts.sentences("/dev/null")
    with pytest.raises(TextError, match="no file can have this name"):
        prompts.sentences("a\0b")
    with pytest.raises(TextError, match="cannot be read"):
        prompts.sentences(tmp_path / ("x" * 5000))


def test_a_file_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "MAX_BYTES", 8)
    (tmp_path / "bank.txt").write_text("a dog on a beach")
    with pytest.raises(TextError, match="larger than"):
        prompts.sentences(tmp_path / "bank.txt")
