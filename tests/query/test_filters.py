from __future__ import annotations

import pytest

from clipsearch.errors import QueryError
from clipsearch.photos.formats import SUFFIXES
from clipsearch.query import (
    CHOICES,
    KEYS,
    MAX_FILTERS,
    MAX_VALUES,
    Area,
    Filter,
    Key,
    Moments,
    Numbers,
    Place,
    Term,
    Value,
    parse,
)

HOUR = 3600


def values(text: str) -> tuple[Value, ...]:
    (found,) = parse(text).filters
    return found.values


@pytest.mark.parametrize(
    ("text", "filter_"),
    [
        ("tag:holiday", Filter("tag", ("holiday",))),
        ("-tag:holiday", Filter("tag", ("holiday",), negated=True)),
        ("TAG:Holiday", Filter("tag", ("Holiday",))),
        ('tag:"red, white",blue', Filter("tag", ("red, white", "blue"))),
        ('tag:" red \t ball "', Filter("tag", ("red ball",))),
        ("tag:a,b,a", Filter("tag", ("a", "b"))),
        ("tag:it's", Filter("tag", ("it's",))),
        ("tag:a:b", Filter("tag", ("a:b",))),
        ("tag:-people", Filter("tag", ("-people",))),
        ("tag://x", Filter("tag", ("//x",))),
        ('camera:"Canon EOS",nikon', Filter("camera", ("Canon EOS", "nikon"))),
        ("lens:50mm*", Filter("lens", ("50mm*",))),
        ("folder:2019/*/beach", Filter("folder", ("2019/*/beach",))),
        (r"folder:C:\photos", Filter("folder", (r"C:\photos",))),
        ("name:IMG_20??.jpg", Filter("name", ("IMG_20??.jpg",))),
        ("name:';drop--%_()^", Filter("name", ("';drop--%_()^",))),
        ("type:JPG,.tif,heic", Filter("type", ("jpeg", "tiff", "heif"))),
        ("orientation:Portrait,square", Filter("orientation", ("portrait", "square"))),
        ("-has:gps,Alt", Filter("has", ("gps", "alt"), negated=True)),
    ],
)
def test_reads_words(text: str, filter_: Filter) -> None:
    query = parse(text)
    assert (query.terms, query.filters) == ((), (filter_,))
    assert query.filters[0].text == text


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ("on:2019", Moments("2019", "2020")),
        ("on:2019-12", Moments("2019-12", "2020-01")),
        ("on:2020-02-28", Moments("2020-02-28", "2020-02-29")),
        ("on:2020-02-29", Moments("2020-02-29", "2020-03-01")),
        ("on:2019-12-31T23", Moments("2019-12-31T23", "2020-01-01T00")),
        ("on:2019-06-01T12:59", Moments("2019-06-01T12:59", "2019-06-01T13:00")),
        ("on:2019-06-01T12:30:59", Moments("2019-06-01T12:30:59", "2019-06-01T12:31:00")),
        ('on:"2019-06-01 12:30"', Moments("2019-06-01T12:30", "2019-06-01T12:31")),
        ("on:2019-06-01t12z", Moments("2019-06-01T12", "2019-06-01T13", 0)),
        ("on:2019-06-01T12:30+02:00", Moments("2019-06-01T12:30", "2019-06-01T12:31", 2 * HOUR)),
        ("on:2019-06-01T12-0530", Moments("2019-06-01T12", "2019-06-01T13", -5 * HOUR - 1800)),
        ("after:2019-06-01T12+14", Moments("2019-06-01T12", None, 14 * HOUR)),
        ("before:2019-06-01T12-12:00", Moments(None, "2019-06-01T12", -12 * HOUR)),
        ("before:2019-06", Moments(None, "2019-06")),
        ("after:2019-06", Moments("2019-06", None)),
        ("on:2019..2021", Moments("2019", "2022")),
        ("on:2019-06..2019-08", Moments("2019-06", "2019-09")),
        ("on:2019..2019-06", Moments("2019", "2019-07")),
        ("on:2019-06..2019", Moments("2019-06", "2020")),
        ("on:2019-12-31T23Z..2020-01-01T01+00", Moments("2019-12-31T23", "2020-01-01T02", 0)),
        ("on:2019..", Moments("2019", None)),
        ("on:..2019", Moments(None, "2020")),
        ("on:1000", Moments("1000", "1001")),
        ("on:9999", Moments("9999", None)),
        ("on:9999-12-31T23:59:59", Moments("9999-12-31T23:59:59", None)),
        ("on:..9999-12-31T23Z", Moments(None, None)),
    ],
)
def test_reads_dates(text: str, moments: Moments) -> None:
    assert values(text) == (moments,)


def test_a_comma_between_dates_means_or() -> None:
    assert values("on:2019,2021-06..2021-07") == (
        Moments("2019", "2020"),
        Moments("2021-06", "2021-08"),
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("rating:4", Numbers(4, 4)),
        ("rating:-1", Numbers(-1, -1)),
        ("rating:3..5", Numbers(3, 5)),
        ("rating:3..3", Numbers(3, 3)),
        ("rating:-1..0", Numbers(-1, 0)),
        ("rating:3..", Numbers(3, None)),
        ("rating:..3", Numbers(None, 3)),
        ("rating:>=3", Numbers(3, None)),
        ("rating:>3", Numbers(4, None)),
        ("rating:<=3", Numbers(None, 3)),
        ("rating:<0", Numbers(None, -1)),
        ("id:007", Numbers(7, 7)),
        ("id:999999999999999999", Numbers(10**18 - 1, 10**18 - 1)),
    ],
)
def test_reads_numbers(text: str, numbers: Numbers) -> None:
    assert values(text) == (numbers,)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("near:43.3,-1.98,20km", Area(43.3, -1.98, 20)),
        ("near:+43.3,-1.98,20", Area(43.3, -1.98, 20)),
        ("near:43.3,-1.98", Area(43.3, -1.98, 10)),
        ("near:.5,5.,500m", Area(0.5, 5, 0.5)),
        ("near:-90,180,3MI", Area(-90, 180, 3 * 1.609344)),
        ("near:0,0,20040", Area(0, 0, 20_040)),
        ("near:Lisbon", Place("Lisbon", 10)),
        ("near:Lisbon,25km", Place("Lisbon", 25)),
        ('near:"San  Sebastian",500m', Place("San Sebastian", 0.5)),
        ('near:"Paris, Texas"', Place("Paris, Texas", 10)),
        ('near:"29 Palms",5mi', Place("29 Palms", 5 * 1.609344)),
        ('near:東京,"20 km"', Place("東京", 20)),
    ],
)
def test_reads_places(text: str, where: Value) -> None:
    assert values(text) == (where,)


def test_filters_stand_anywhere_and_leave_the_phrase_whole() -> None:
    text = 'dog tag:holiday on a -people after:2019-06 near:43.3,-1.98,20km 2:"red ball" beach'
    query = parse(text + " -camera:iphone tag:sea")
    assert query.terms == (
        Term("text", "dog on a beach"),
        Term("text", "people", -1),
        Term("text", "red ball", 2),
    )
    assert [(found.key, found.negated) for found in query.filters] == [
        ("tag", False),
        ("after", False),
        ("near", False),
        ("camera", True),
        ("tag", False),
    ]
    assert str(query) == (
        '"dog on a beach" -"people" 2:"red ball" '
        "tag:holiday after:2019-06 near:43.3,-1.98,20km -camera:iphone tag:sea"
    )


@pytest.mark.parametrize("text", ['tag:"a,b",c', 'name:"a b"', "tag:a:b", "id:1..", "on:9999.."])
def test_prints_quotes_only_where_they_are_needed(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "words",
    [
        "train at 10:30",
        "3:2",
        "16:9 screen",
        "score 12:30pm",
        "http://example.org/a?b=c",
        "see https://example.org",
        "note: dog",
        ":) smile",
        "größe:xl",
        "'; drop table photo; -- % _ * ( ) ^",
        "NEAR(a b) AND c OR NOT d",
        "a* b^ (c) {d} e:",
        "100% _ #5 @home",
    ],
)
def test_words_that_look_like_syntax_are_plain_text(words: str) -> None:
    assert parse(words).terms == (Term("text", words),)
    assert parse(f'"{words}"').terms == (Term("text", words),)
    assert parse(f'tag:"{words}"').filters == (Filter("tag", (words,)),)


def test_every_file_that_is_a_photo_has_a_type() -> None:
    for suffix in SUFFIXES:
        assert values(f"type:{suffix}")[0] in CHOICES["type"]


@pytest.mark.parametrize("key", KEYS)
def test_the_help_of_every_key_shows_an_example_that_works(key: Key) -> None:
    (found,) = parse(KEYS[key].rpartition(": ")[2]).filters
    assert found.key == key


@pytest.mark.parametrize("key", CHOICES)
def test_every_choice_is_read(key: Key) -> None:
    for word in CHOICES[key]:
        assert values(f"{key}:{word}") == (word,)


def test_too_many_filters_and_values_are_refused_where_they_begin() -> None:
    assert len(parse("id:1 " * MAX_FILTERS).filters) == MAX_FILTERS
    with pytest.raises(QueryError, match="more than 100 filters") as caught:
        parse("id:1 " * (MAX_FILTERS + 1))
    assert caught.value.position == len("id:1 ") * MAX_FILTERS
    many = "id:" + ",".join(str(number) for number in range(1000, 1000 + MAX_VALUES))
    assert len(values(many)) == MAX_VALUES
    with pytest.raises(QueryError, match="at most 500 values") as caught:
        parse(many + ",7")
    assert caught.value.position == len(many) + 1
