from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import QueryError
from clipsearch.query import Query, Term, parse


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("dog on a beach", [("text", "dog on a beach", 1)]),
        ("  dog \t on\na beach ", [("text", "dog on a beach", 1)]),
        ("dog -people at night", [("text", "dog at night", 1), ("text", "people", -1)]),
        ('"red  ball" grass', [("text", "red ball", 1), ("text", "grass", 1)]),
        ('2:"red ball" -0.5:grass', [("text", "red ball", 2), ("text", "grass", -0.5)]),
        ("image:12 +snow", [("image", "12", 1), ("text", "snow", 1)]),
        ("-image:007", [("image", "7", -1)]),
        ("./pool.jpg -water", [("path", "./pool.jpg", 1), ("text", "water", -1)]),
        ("~/a.jpg", [("path", "~/a.jpg", 1)]),
        ("black-and-white cat", [("text", "black-and-white cat", 1)]),
        ("train at 5:30", [("text", "train at 5:30", 1)]),
        ("man - and his dog", [("text", "man - and his dog", 1)]),
        ("9" * 310 + ":dog", [("text", "9" * 310 + ":dog", 1)]),
        ("note: dog", [("text", "note: dog", 1)]),
        ("it's", [("text", "it's", 1)]),
        ("'; drop table photo;--", [("text", "'; drop table photo;--", 1)]),
        ("собака на пляже", [("text", "собака на пляже", 1)]),
    ],
)
def test_reads(text: str, terms: list[tuple[str, str, float]]) -> None:
    found = [(term.kind, term.value, term.weight) for term in parse(text, paths=True).terms]
    assert found == terms


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ('dog "red ball', 4, "never closed"),
        ('""', 0, "quotes are empty"),
        ("dog tog:holiday", 4, 'unknown key "tog"'),
        ("image:abc", 6, "number of a photo"),
        ("0:dog", 0, "weight of 0"),
        ("x" * 10_001, 60, "longer than"),
        ('"a" ' * 101, 60, "more than 100 terms"),
    ],
)
def test_points_at_the_culprit(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError, match=says) as caught:
        parse(text)
    assert caught.value.position == position
    caret = str(caught.value).splitlines()[-1]
    assert caret.index("^") == position + 2


@pytest.mark.parametrize("path", ["./a.jpg", "../a.jpg", "/etc/passwd", "~/a.jpg", "-/a.jpg"])
def test_paths_are_not_for_remote_callers(path: str) -> None:
    with pytest.raises(QueryError, match="files cannot be named here"):
        parse(path)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_position(text: str) -> None:
    position = 0
    try:
        assert parse(text, paths=True).terms
    except QueryError as error:
        position = error.position
    assert 0 <= position <= len(text)


WORDS = st.text(st.characters(exclude_characters='"', exclude_categories=["Z", "C"]), min_size=1)
WEIGHTS = st.integers(1, 9999).map(lambda n: n / 100) | st.integers(1, 9999).map(lambda n: -n / 100)
TERMS = st.one_of(
    st.builds(Term, st.just("text"), st.lists(WORDS, min_size=1).map(" ".join), WEIGHTS),
    st.builds(Term, st.just("image"), st.integers(0, 10**9).map(str), WEIGHTS),
    st.builds(Term, st.just("path"), WORDS.map(lambda word: f"./{word}"), WEIGHTS),
)


@given(st.lists(TERMS, min_size=1, max_size=6).map(lambda terms: Query(tuple(terms))))
def test_a_printed_query_reads_as_the_same_query(query: Query) -> None:
    assert parse(str(query), paths=True) == query
