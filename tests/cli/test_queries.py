"""What a shell makes of queries, and what becomes of it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from clipsearch import Library
from clipsearch.cli.queries import query_text
from clipsearch.query import parse
from tests.cli.conftest import Run
from tests.conftest import Paint


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("dog on a beach", "dog on a beach"),
        ('dog near:"San Sebastian",10km', 'dog near:"San Sebastian",10km'),
        ('dog "near:San Sebastian",10km', 'dog near:"San Sebastian",10km'),
        ('dog near:"Paris, Texas",10km', 'dog near:"Paris, Texas",10km'),
        ('dog near:"San Sebastian"', 'dog near:"San Sebastian"'),
        ("dog near:43.3,-1.98,20km", "dog near:43.3,-1.98,20km"),
        ('dog tag:"red ball"', 'dog tag:"red ball"'),
        ('dog -tag:"red ball"', 'dog -tag:"red ball"'),
        ('-tag:"red ball" dog', '-tag:"red ball" dog'),
        ('dog tag:"red ball",blue', 'dog tag:"red ball",blue'),
        ('dog tag:blue,"red ball","a b"', 'dog tag:blue,"red ball","a b"'),
        ('dog tag:"red, white",blue', 'dog tag:"red, white",blue'),
        ('dog Camera:"Canon EOS"', 'dog Camera:"Canon EOS"'),
        (r"dog folder:New\ York/*", 'dog folder:"New York/*"'),
        ('dog on:"2019-06-01 12:30"', 'dog on:"2019-06-01 12:30"'),
        ("dog 'rating:>=4' -has:gps", "dog rating:>=4 -has:gps"),
        ("""dog 'tag:"red, white",blue'""", 'dog tag:"red, white",blue'),
        ("""'dog tag:"red ball" -people'""", 'dog tag:"red ball" -people'),
        ('dog -"red ball" 2:"green ball"', 'dog -"red ball" 2:"green ball"'),
        ("'tag:ball red' ", "tag:ball red"),  # one word alone is the whole query
    ],
)
def test_a_query_survives_the_shell(typed: str, query: str) -> None:
    assert parse(query_text(tuple(shlex.split(typed)))) == parse(query)


def test_a_filter_that_is_added_is_told_to_lose_its_plus(run: Run, tmp_path: Path) -> None:
    Library(tmp_path / "library").close()
    code, _, err = run("search", "dog", "+tag:red ball")
    assert code == 1
    assert "write tag: without the plus" in err
    assert err.splitlines()[1:] == ['  dog +tag:"red ball"', "      ^"]


def test_filters_with_a_minus_are_no_options(run: Run, photos: Path, paint: Paint) -> None:
    paint("red.png", "red")
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    code, out, err = run("search", "red", "-tag:red ball", "-k1", "--paths")
    assert (code, err) == (0, "")
    assert out == f"{photos / 'red.png'}\n"
