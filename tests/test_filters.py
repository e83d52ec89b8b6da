from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.filter_oracle import Asked, Nasty, Row
from tests.filter_queries import asked


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasty]:
    """A library of photos with nasty facts, and what is known of them."""
    with Nasty(tmp_path_factory.mktemp("nasty")) as nasty:
        yield nasty


@given(wanted=asked())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_search_finds_what_a_second_opinion_finds_in_the_same_order(
    nasty: Nasty, wanted: Asked
) -> None:
    assert nasty.found_by_library(wanted) == nasty.expected(wanted)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("name:STRASSE", lambda row: row.name in ("Straße.jpg", "STRASSE.JPG")),
        ("name:straße.*", lambda row: row.name in ("Straße.jpg", "STRASSE.JPG")),
        ("name:100%_done", lambda row: row.name == "100%_done.jpg"),
        ('name:"a[1]*"', lambda row: row.name == "a[1].jpg"),
        ("name:a.", lambda row: row.name == "a.."),
        ('folder:"[ab]*"', lambda row: row.folder == b"[ab]"),
        ("folder:trips/trips", lambda row: row.root == "archive/trips" and b"trips" in row.folder),
        ('lens:"*straSSE 50"', lambda row: row.facts.lens == "Straße 50"),
        ("before:2019-06-15T08:00:00", lambda row: "1" < date(row) < "2019-06-15T08:00:00"),
        ("on:..2019-06-15T08:00:00", lambda row: "1" < date(row) <= "2019-06-15T08:00:00"),
        ("after:2019-06-15T08:00:01", lambda row: date(row) >= "2019-06-15T08:00:01"),
        ("near:90,0,1km", lambda row: row.facts.latitude == 90),
        ("near:0,179.999,25km", lambda row: abs(row.facts.longitude or 0) > 179.98),
        ("-rating:-1..5", lambda row: row.facts.rating is None),
        ("tag:été/plage", lambda row: any("plage" in label for label in row.tags)),
    ],
)
def test_what_is_easily_got_wrong(nasty: Nasty, query: str, fits: Callable[[Row], bool]) -> None:
    expected = {row.id for row in nasty.rows if fits(row)}
    assert expected
    assert {hit.id for hit in nasty.library.search(query, k=1000, all_copies=True)} == expected


def date(row: Row) -> str:
    """Return the clock of the camera as text, which sorts like time."""
    return (row.facts.taken_at or "")[:19]
