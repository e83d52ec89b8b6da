from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.conftest import Paint
from tests.fakes import COLOURS

VOCABULARY = """
name = "colours"
templates = ["{}"]
[group.colours]
labels = [
  { name = "warm/red", threshold = 0.3 },  # four dimensions leave little room to stand out in
  { name = "warm/orange", threshold = 0.3 },
  { name = "cold/blue", threshold = 0.3 },
  { name = "cold/cyan", threshold = 0.3 },
]
"""


@pytest.fixture
def tagged(run: Run, photos: Path, paint: Paint, tmp_path: Path) -> Run:
    """A library of many colours, and colours.toml to tag it with."""
    for number in range(60):
        shade = tuple(100 + (number * step) % 50 for step in (7, 11, 13))
        paint(f"grey{number}.png", shade)
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    (tmp_path / "colours.toml").write_text(VOCABULARY)
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    return run


def document(run: Run, *arguments: object) -> dict[str, object]:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def state(run: Run, photos: Path) -> list[list[tuple[str, str, float | None]]]:
    """All tags of all photos, without the number of the run that gave them."""
    names = sorted(path for path in photos.iterdir() if path.suffix == ".png")
    found = []
    for name in names:
        tags = document(run, "tags", name)["tags"]
        assert isinstance(tags, list)
        found.append([(tag["label"], tag["origin"], tag["score"]) for tag in tags])
    return found


def test_the_keys_that_are_promised(tagged: Run, photos: Path, tmp_path: Path) -> None:
    red, vocabulary = photos / "red.png", tmp_path / "colours.toml"
    ranked = document(tagged, "captions", red, "a blue sky", "a red ball")
    assert list(ranked) == ["photo", "model", "fits", "margin", "captions"]
    first = ranked["captions"][0]  # type: ignore[index]
    assert (list(first), first["text"]) == (["text", "cosine", "probability"], "a red ball")
    found = document(tagged, "classify", red, "red", "blue", "something else")
    assert list(found) == ["photo", "model", "labels"]
    assert found["labels"][0]["label"] == "red"  # type: ignore[index]
    assert list(document(tagged, "tag", "--vocabulary", vocabulary)) == (
        ["run", "labels", "photos", "tags"]
    )
    assert list(document(tagged, "alt-text")) == ["run", "photos", "proposed", "none_fits"]
    assert list(document(tagged, "tags")) == ["tags"]
    runs = document(tagged, "runs")["runs"]
    assert [run["kind"] for run in runs] == ["caption", "tag"]  # type: ignore[attr-defined]


def test_tagging_twice_gives_the_same_tags_and_undo_what_was_there(
    tagged: Run, photos: Path, tmp_path: Path
) -> None:
    nothing = state(tagged, photos)
    tag = ("tag", "--vocabulary", tmp_path / "colours.toml")
    assert tagged(*tag)[0] == 0
    once = state(tagged, photos)
    assert once != nothing
    red = dict(zip(sorted(photos.iterdir()), once, strict=True))[photos / "red.png"]
    assert {label for label, _, _ in red} == {"warm", "warm/red"}
    assert tagged(*tag)[0] == 0
    assert state(tagged, photos) == once
    assert tagged("undo", 2)[:2] == (0, "run 2 is undone\n")
    assert state(tagged, photos) == once
    assert tagged("undo", 1)[0] == 0
    assert state(tagged, photos) == nothing
    assert tagged("undo", 1)[0] == 1
    assert tagged("undo", 99)[0] == 1


def test_hands_decide(tagged: Run, photos: Path, tmp_path: Path) -> None:
    red = photos / "red.png"
    edit = ("tags", red, "--add", "holiday", "--remove", "warm/red")
    assert tagged(*edit)[0] == 0
    assert tagged("tag", "--vocabulary", tmp_path / "colours.toml")[0] == 0
    found = document(tagged, "tags", red)["tags"]
    assert isinstance(found, list)
    labels = {tag["label"]: tag["origin"] for tag in found}
    assert labels["holiday"] == "hand"
    assert "warm/red" not in labels
    assert tagged("tags", red, "--reset", "warm/red")[0] == 0
    assert "warm/red" in tagged("tags", red)[1]


def test_alt_text_is_proposed_reviewed_and_kept(
    tagged: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a red wall\na blue sky\na green lawn\n")
    report = document(tagged, "alt-text", "--from", texts)
    assert report["photos"] == 60 + len(COLOURS)
    answers = iter(["a", "e", "my own words", "r", "n", "q"])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: next(answers))
    code, out, _ = tagged("alt-text", "review")
    assert (code, out.splitlines()[-1]) == (0, "1 accepted, 1 edited, 1 rejected")
    waiting = int(out.splitlines()[1].partition("  ")[0].partition("/")[2])
    assert tagged("alt-text", "--from", texts)[0] == 0
    assert tagged("alt-text", "accept", "--min-margin", "0")[1] == (
        f"{waiting - 3} captions accepted\n"
    )
    assert tagged("alt-text", "accept", photos / "red.png", "--text", "a wall")[0] == 0
    out = tagged("export", "--to", "csv", "-o", "-")[1]
    rows = {Path(row["path"]).name: row for row in csv.DictReader(out.splitlines())}
    assert rows["red.png"]["alt_text"] == "a wall"
    assert "my own words" in {row["alt_text"] for row in rows.values()}


def test_sidecars_are_written_read_back_and_taken_back(
    tagged: Run, photos: Path, tmp_path: Path
) -> None:
    assert tagged("tag", "--vocabulary", tmp_path / "colours.toml")[0] == 0
    (photos / "blue.png.xmp").write_text("not XML")
    code, out, err = tagged("export", "--to", "xmp", "--dry-run")
    assert code == 1  # the broken sidecar is named
    assert "blue.png.xmp" in err
    assert "+++" in out
    assert [path.name for path in photos.glob("*.xmp")] == ["blue.png.xmp"]
    assert tagged("export", "--to", "xmp")[0] == 1
    assert (photos / "blue.png.xmp").read_text() == "not XML"
    red = (photos / "red.png.xmp").read_text()
    assert "warm|red" in red
    before = state(tagged, photos)
    assert "blue.png.xmp" in tagged("index")[2]
    assert state(tagged, photos) == before  # our own words do not come back as the file's
    (photos / "red.png.xmp").write_text(red.replace("<rdf:li>red<", "<rdf:li>rot<"))
    assert tagged("index")[0] == 0
    assert '"rot"' in tagged("tags", photos / "red.png", "--json")[1]
    (photos / "red.png.xmp").write_text(red)
    run = document(tagged, "runs")["runs"][0]["id"]  # type: ignore[index]
    assert tagged("undo", run)[0] == 0
    assert [path.name for path in photos.glob("*.xmp")] == ["blue.png.xmp"]


def test_other_exports(tagged: Run, photos: Path, tmp_path: Path) -> None:
    assert tagged("tag", "--vocabulary", tmp_path / "colours.toml")[0] == 0
    sheet, folders = tmp_path / "sheet.html", tmp_path / "folders"
    assert tagged("export", "--to", "html", "-o", sheet, "red", "-k", "5")[0] == 0
    assert sheet.read_text().count("<img") == 5
    assert tagged("export", "--to", "folders", "-o", folders)[0] == 0
    assert (folders / "warm - red" / "red.png").resolve() == photos / "red.png"
    out = tagged("export", "--to", "json", "-o", "-")[1]
    assert len(json.loads(out)) == 60 + len(COLOURS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "PHOTO"], "at least 2 labels"),
        (["classify", "PHOTO", "dog"], "something else"),
        (["classify", "PHOTO", "dog", " "], "empty"),
        (["classify", "PHOTO", "dog", "x" * 5000], "5000 characters"),
        (["classify", "PHOTO", "dog", "cat", "--template", "a photo"], "{}"),
        (["classify", "PHOTO", "dog", "cat", "--temperature", "0"], "above 0"),
        (["captions", "PHOTO", "--from", "many.txt"], "more than"),
        (["captions", "nowhere.jpg", "a dog"], "nowhere.jpg"),
        (["captions", "many.txt", "a dog"], "many.txt"),
        (["tag", "--vocabulary", "many.txt"], "more than 20000"),
        (["tag", "--vocabulary", "empty.txt"], "empty.txt"),
        (["tag", "--vocabulary", "broken.toml"], "line 3"),
        (["tag", "--vocabulary", "long.txt"], "long.txt"),
        (["alt-text", "--from", "empty.txt"], "empty.txt"),
        (["vocabulary", "check", "broken.toml"], "line 3"),
        (["tags", "PHOTO", "--add", ""], "empty"),
        (["export", "--to", "csv", "-o", "."], "folder"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    tagged: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("many.txt").write_text("\n".join(f"label {n}" for n in range(100_000)))
    Path("empty.txt").write_text("\n# nothing\n")
    Path("broken.toml").write_text('name = "x"\n[group.a]\nlabels = ["a\n')
    Path("long.txt").write_text("x" * 5000)
    before = tagged("runs")[1], tagged("tags")[1]
    words = [str(photos / "red.png") if word == "PHOTO" else word for word in arguments]
    code, out, err = tagged(*words)
    assert (code, out) == (1, ""), err
    assert says in err
    assert err.startswith("clipsearch: ")
    assert len(err.strip().splitlines()) == 1
    assert (tagged("runs")[1], tagged("tags")[1]) == before


KILLED = """
import sys, time
from clipsearch import Library
from clipsearch.photos import sidecars
from clipsearch.catalog import tags
from tests.fakes import ColourEmbedder
real_write, real_put = sidecars.write, tags.put_run
def slow_write(change):
    print("writing", flush=True)
    real_write(change)
    time.sleep(0.05)
def slow_put(*arguments):
    print("writing", flush=True)
    count = real_put(*arguments)
    time.sleep(5)
    return count
sidecars.write, tags.put_run = slow_write, slow_put
with Library(sys.argv[1], ColourEmbedder()) as library:
    if sys.argv[2] == "tag":
        library.tag(sys.argv[3])
    else:
        library.export_sidecars()
"""


@pytest.mark.parametrize("job", ["tag", "export"])
def test_a_killed_run_leaves_the_previous_state(
    tagged: Run, photos: Path, tmp_path: Path, job: str
) -> None:
    if job == "export":
        assert tagged("tag", "--vocabulary", tmp_path / "colours.toml")[0] == 0
    before = state(tagged, photos), tagged("runs")[1]
    arguments = [str(tmp_path / "library"), job, str(tmp_path / "colours.toml")]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    if job == "export":
        assert list(photos.glob("*.xmp")), "killed before anything was written"
    assert tagged("index", "--quiet")[0] == 0  # whatever runs next cleans up
    assert state(tagged, photos) == before[0]
    assert list(photos.glob("*.xmp")) == []
    if job == "tag":
        assert tagged("runs")[1] == before[1]


def test_queries_of_runs_and_exports_are_the_same_language(tagged: Run, tmp_path: Path) -> None:
    vocabulary = tmp_path / "colours.toml"
    assert tagged("tag", "--vocabulary", vocabulary, "red", "-blue", "-k", "3")[0] == 0
    out = tagged("export", "--to", "csv", "-o", "-", "white", "-green", "-k", "1")[1]
    rows = list(csv.DictReader(out.splitlines()))
    assert [Path(row["path"]).name for row in rows] == ["magenta.png"]


def test_a_rejected_caption_makes_way_for_the_next(
    tagged: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text("a red wall\nan orange wall\na blue sky\n")
    propose = ("alt-text", "--from", tmp_path / "texts.txt", "red", "-k", "1")
    assert tagged(*propose)[0] == 0
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "r")
    assert "a red wall" in tagged("alt-text", "review")[1]
    assert tagged(*propose)[0] == 0
    assert "an orange wall" in tagged("alt-text", "review")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["undo", "99999999999999999999"],
        ["tags", "1", "--add", "\udcff"],
        ["similar", "~nobody-at-all/a.jpg"],
        ["alt-text", "--from", "caf\udce9.txt"],
    ],
)
def test_hostile_arguments_are_no_traceback(tagged: Run, arguments: list[str]) -> None:
    code, out, err = tagged(*arguments)
    assert (code, out) == (1, "") or code == 2
    assert len(err.strip().splitlines()) <= 5
    assert "Traceback" not in err
