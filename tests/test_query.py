from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsearch.errors import QueryError
from clipsearch.query import (
    CHOICES,
    KEYS,
    MAX_LENGTH,
    Area,
    Filter,
    Moments,
    Numbers,
    Place,
    Query,
    Term,
    Value,
    parse,
)


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


# Free text, and text that is nearly a query: whole words of the language in any order.
FREE = st.text(max_size=60)
SCRAPS = st.lists(
    st.sampled_from(
        [
            *(f"{key}:" for key in KEYS),
            *(choice for choices in CHOICES.values() for choice in choices),
            *("image:", "Tag:", "foo:", "note", "Lisbon", "dog", "./a.jpg", "//", "İ", "東", "\0"),
            *" ,\"'+-:.<=>*?TZ|()0129",
            *(" ", " ", ",", '"', "..", "2019", "-06", "-30", "T12", ":30", "+02:00", "4", "43.3"),
            *("20km", "3mi", "2:", "0.5:", "\N{NO-BREAK SPACE}", "\N{LINE SEPARATOR}", "\udc80"),
        ]
    ),
    max_size=14,
).map("".join)


def outcome(text: str) -> Query | QueryError:
    try:
        return parse(text, paths=True)
    except QueryError as error:
        return error


@given(FREE | SCRAPS)
@settings(max_examples=1000)
def test_any_text_reads_as_a_query_that_prints_or_is_refused_with_a_position(text: str) -> None:
    found = outcome(text)
    if isinstance(found, Query):
        assert found.terms or found.filters
        assert outcome(str(found)) == found
    else:
        assert 0 <= found.position <= len(text)
        assert found.query == text
        assert found.reason.isprintable()


@pytest.mark.parametrize(
    "scrap",
    [
        *(
            '"',
            '""',
            '"a',
            'a"',
            ",",
            ":",
            "1",
            "1:",
            "1.",
            "+",
            "-",
            "+-",
            "a",
            "a:",
            "A_",
            "_",
            "/",
        ),
        *("tag:", "tag:a,", 'tag:"', "image:", "near:", "on:", ".", "..", "2019-", " ", '" ', "\0"),
    ],
)
@pytest.mark.parametrize("start", ["", "tag:", "near:", "on:", "id:", "image:", "-", "2:", "x"])
def test_ten_thousand_characters_of_anything_come_to_an_end(start: str, scrap: str) -> None:
    found = outcome((start + scrap * MAX_LENGTH)[:MAX_LENGTH])
    if isinstance(found, Query):
        assert outcome(str(found)) == found
    else:
        assert 0 <= found.position <= len(found.query)


def test_what_is_printed_is_never_too_long_to_be_read() -> None:
    assert parse(str(parse("x" * (MAX_LENGTH - 2)))) == parse("x" * (MAX_LENGTH - 2))
    with pytest.raises(QueryError, match="longer than 10000 characters when written out"):
        parse("x" * MAX_LENGTH)


WORDS = st.text(st.characters(exclude_characters='"', exclude_categories=["Z", "C"]), min_size=1)
WEIGHTS = st.integers(1, 9999).map(lambda n: n / 100) | st.integers(1, 9999).map(lambda n: -n / 100)
TERMS = st.one_of(
    st.builds(Term, st.just("text"), st.lists(WORDS, min_size=1).map(" ".join), WEIGHTS),
    st.builds(Term, st.just("image"), st.integers(0, 10**9).map(str), WEIGHTS),
    st.builds(Term, st.just("path"), WORDS.map(lambda word: f"./{word}"), WEIGHTS),
)


PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
KILOMETRES = st.floats(0, 20_040, exclude_min=True)
DATES = st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31)).flatmap(
    lambda moment: st.sampled_from([4, 7, 10, 13, 16, 19]).map(lambda n: moment.isoformat()[:n])
)


def zones(*moments: str) -> st.SearchStrategy[str]:
    """Zones that can follow each of these dates: none where one has no time."""
    offsets = st.integers(-12 * 60, 14 * 60).map(
        lambda n: f"{'-' if n < 0 else '+'}{abs(n) // 60:02}:{abs(n) % 60:02}"
    )
    none = st.just("")
    return none | offsets if all("T" in moment for moment in moments) else none


def ordered(moments: list[str]) -> tuple[str, str]:
    first, last = sorted(moments, key=lambda moment: moment + "0000-01-01T00:00:00"[len(moment) :])
    return first, last


ONE_DATE = DATES.flatmap(lambda date: zones(date).map(lambda zone: date + zone))
RANGES = (
    st.lists(DATES, min_size=2, max_size=2)
    .map(ordered)
    .flatmap(lambda ends: zones(*ends).map(lambda zone: f"{ends[0]}{zone}..{ends[1]}{zone}"))
)


def read(key: str) -> Callable[[str], Value]:
    return lambda text: parse(f"{key}:{text}").filters[0].values[0]


def numbers(low: int, high: int) -> st.SearchStrategy[Value]:
    number = st.integers(low, high)
    pairs = st.tuples(number, number).map(lambda pair: Numbers(min(pair), max(pair)))
    return pairs | number.map(lambda n: Numbers(n, None)) | number.map(lambda n: Numbers(None, n))


PLACES: st.SearchStrategy[Value] = st.one_of(
    st.builds(Area, st.floats(-90, 90), st.floats(-180, 180), KILOMETRES),
    st.builds(Place, PHRASES.filter(lambda name: any(map(str.isalpha, name))), KILOMETRES),
)
VALUES: dict[str, st.SearchStrategy[Value]] = {
    **dict.fromkeys(("tag", "folder", "name", "camera", "lens"), PHRASES),
    **{key: st.sampled_from(choices) for key, choices in CHOICES.items()},
    "before": ONE_DATE.map(read("before")),
    "after": ONE_DATE.map(read("after")),
    "on": (ONE_DATE | RANGES | ONE_DATE.map("{}..".format) | ONE_DATE.map("..{}".format)).map(
        read("on")
    ),
    "rating": numbers(-1, 5),
    "id": numbers(1, 10**18 - 1),
    "near": PLACES,
}
FILTERS = st.sampled_from(list(KEYS)).flatmap(
    lambda key: st.builds(
        Filter,
        st.just(key),
        st.lists(VALUES[key], min_size=1, max_size=1 if key == "near" else 3, unique=True).map(
            tuple
        ),
        st.booleans(),
    )
)


@given(st.lists(TERMS, max_size=6), st.lists(FILTERS, max_size=4))
@settings(max_examples=500)
def test_a_printed_query_reads_as_the_same_query(terms: list[Term], filters: list[Filter]) -> None:
    query = Query(tuple(terms), tuple(filters))
    if terms or filters:
        assert parse(str(query), paths=True) == query


@given(ONE_DATE)
def test_a_date_is_after_its_beginning_and_before_nothing_of_it(date: str) -> None:
    (before,), (after,), (on,) = (
        parse(f"{key}:{date}").filters[0].values for key in ("before", "after", "on")
    )
    assert isinstance(before, Moments)
    assert isinstance(after, Moments)
    assert isinstance(on, Moments)
    assert (before.start, after.end) == (None, None)
    assert before.end == after.start == on.start
    assert before.offset == after.offset == on.offset
    assert on.start is not None
    assert on.end is not None
    assert len(on.start) == len(on.end)
    assert on.start < on.end
