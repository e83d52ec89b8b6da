"""What the options of `search` and the group `saved` do, as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.conftest import Paint


@pytest.fixture
def shelf(run: Run, photos: Path, paint: Paint) -> Run:
    """A library of eight colours in two folders, the model that sees colours."""
    for name in ("red", "green", "blue", "yellow"):
        paint(f"one/{name}.png", name)
    for name in ("cyan", "magenta", "white", "black"):
        paint(f"two/{name}.png", name)
    assert run("index", photos, "--model", "colours")[0] == 0
    return run


def names(out: str) -> list[str]:
    return [Path(line).stem for line in out.splitlines()]


def test_filters_narrow_a_phrase(shelf: Run) -> None:
    code, out, err = shelf("search", "red", "folder:two", "--min-relevance", "0", "--paths")
    assert (code, err) == (0, "")
    assert sorted(names(out)) == ["black", "cyan", "magenta", "white"]
    assert names(out)[3] == "cyan"  # the opposite of red
    assert shelf("search", "folder:nowhere")[2] == "clipsearch: no photo passes the filters\n"


def test_what_is_below_the_bar_is_left_out_and_said(shelf: Run) -> None:
    code, out, err = shelf("search", "red", "--min-relevance", "0.999")
    assert (code, out) == (0, "")
    assert "nothing relevant" in err
    assert "--min-relevance 0" in err
    assert shelf("search", "red", "--min-relevance", "0.999", "--quiet")[1:] == ("", "")


def test_a_bar_needs_a_phrase(shelf: Run) -> None:
    for query in (["folder:two"], ["image:1"]):
        code, out, err = shelf("search", *query, "--min-relevance", "0.5")
        assert (code, out) == (1, "")
        assert "needs a phrase" in err


def test_explain_says_what_each_part_adds(shelf: Run) -> None:
    arguments = ("search", "+red", "-blue", "folder:one", "-k", "1", "--explain")
    code, out, _ = shelf(*arguments)
    assert code == 0
    assert '"red"' in out
    assert '-"blue"' in out
    assert "passes  folder:one" in out
    assert "log-odds: stands out" in out
    document = json.loads(shelf(*arguments, "--json")[1])
    (why,) = document["explanations"]
    assert why["id"] == document["hits"][0]["id"]
    assert sum(term["contribution"] for term in why["terms"]) == pytest.approx(
        why["score"], abs=1e-3
    )


def test_facets_count_the_answers(shelf: Run) -> None:
    code, out, _ = shelf("search", "folder:one,two", "--facets")
    assert code == 0
    assert out.startswith("8 photos\n")
    assert "       4  photos/one" in out
    folders = json.loads(shelf("search", "folder:two", "--facets", "--json")[1])["folders"]
    assert folders == [{"value": "photos/two", "count": 4}]


def test_feedback_moves_the_query(shelf: Run) -> None:
    blue = json.loads(shelf("search", "name:blue", "--json")[1])["hits"][0]["id"]
    plain = names(shelf("search", "red", "--min-relevance", "0", "--paths")[1])
    liked = names(shelf("search", "red", "--like", blue, "--paths")[1])
    assert liked.index("blue") < plain.index("blue")
    unliked = names(shelf("search", "red", "--unlike", blue, "--paths")[1])
    assert unliked.index("blue") >= plain.index("blue")


def test_numbers_that_are_none_are_wrong_usage(shelf: Run) -> None:
    code, _, err = shelf("search", "red", "--min-relevance", "-0.5")
    assert code == 2
    assert "-0.5" in err
    assert "\0" not in err
    code, _, err = shelf("search", "red", "--like", "99999999999999999999999")
    assert (code, "there is no photo" in err) == (1, True)


def test_saved_searches(shelf: Run, photos: Path, paint: Paint) -> None:
    assert shelf("saved", "add", "warm", "red", "--min-relevance", "0")[0] == 0
    assert shelf("saved", "add", "-dogs", "name:dog*")[0] == 0  # a name may begin with a minus
    assert shelf("saved", "list")[1] == "     0 new  -dogs: name:dog*\n     0 new  warm: red\n"
    paint("dog.png", "orange")
    shelf("index")
    code, out, _ = shelf("saved", "list")
    assert (code, out.count("     1 new")) == (0, 2)
    assert "dog.png" in shelf("saved", "new", "warm", "--keep")[1]
    assert "dog.png" in shelf("saved", "new", "WARM")[1]
    assert shelf("saved", "new", "warm")[1] == ""
    assert "name:dog*" in shelf("saved", "remove", "-dogs")[2]
    assert shelf("saved", "remove", "warm")[0] == 0
    assert shelf("saved", "list")[1] == ""


def test_a_saved_search_that_broke_hides_no_other(shelf: Run, photos: Path) -> None:
    found = json.loads(shelf("search", "name:red", "--json")[1])["hits"][0]
    shelf("saved", "add", "like red", f"image:{found['id']}")
    shelf("saved", "add", "white", "white")
    Path(found["path"]).unlink()
    shelf("index")
    code, out, _ = shelf("saved", "list")
    assert code == 0
    assert f"     ? new  like red: image:{found['id']}\n" in out
    assert "there is no photo" in out
    assert "new  white: white\n" in out


def test_a_search_that_cannot_be_sorted_is_not_saved(shelf: Run) -> None:
    code, _, err = shelf("saved", "add", "pictures", "image:1", "--sort", "date")
    assert (code, "needs a phrase" in err) == (1, True)
    assert shelf("saved", "list")[1] == ""
