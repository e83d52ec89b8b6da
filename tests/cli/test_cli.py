from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clipsearch.cli import COMMANDS, preview
from clipsearch.cli.queries import query_text
from clipsearch.errors import QueryError
from tests.cli.conftest import Run
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEmbedder


@pytest.fixture
def colours(run: Run, photos: Path, paint: Paint) -> Run:
    """The same, with one photo of each colour."""
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    return run


@pytest.mark.parametrize(
    "command", [[], *([command.name] for command in COMMANDS), ["models", "use"]]
)
def test_every_command_has_help(run: Run, command: list[str]) -> None:
    code, out, err = run(*command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: clipsearch")
    assert len(out.splitlines()) > 4


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    program = (
        "import sys, time\n"
        "sys.argv = ['clipsearch', '--help']\n"
        "started = time.perf_counter()\n"
        "from clipsearch.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(time.perf_counter() - started, file=sys.stderr)\n"
        "heavy = {'torch', 'faiss', 'open_clip', 'timm', 'flask', 'numpy', 'PIL', 'sqlite_utils'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    seconds, heavy = done.stderr.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 4  # ten times what it takes: a machine under load is no failure


def test_importing_the_package_is_light() -> None:
    program = (
        "import sys, clipsearch; from clipsearch import Library, Hit, Settings\n"
        "print(sorted({'torch', 'faiss', 'open_clip', 'timm', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_index_and_search_print_results_on_stdout_and_nothing_else(
    run: Run, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, err = run("index", photos, "--model", "colours")
    assert code == 0
    assert out.startswith("1 added, 0 updated, 0 moved, 0 unchanged, 0 removed, 1 skipped")
    assert "1 skipped: no pixels" in err or "1 skipped: truncated" in err  # as Pillow says
    code, out, err = run("search", "red")
    assert (code, err) == (0, "")
    assert "1.000" in out.split()
    assert out.rstrip().endswith(str(photos / "red.png"))


def test_json_has_the_keys_that_are_promised(colours: Run, photos: Path) -> None:
    def keys(*arguments: object) -> str:
        code, out, _ = colours(*arguments, "--json")
        assert code == 0
        return " ".join(json.loads(out))

    assert keys("index") == "added updated moved unchanged removed skipped seconds model"
    answer = "query model total took_ms hits cut calibration"
    assert keys("search", "red") == keys("similar", photos / "red.png") == answer
    assert keys("status") == "photos skipped roots model dimensions revision"
    assert keys("models") == "models"
    hit = json.loads(colours("search", "red", "--json")[1])["hits"][0]
    assert " ".join(hit) == "id path score relevance band taken_at named"
    assert 0 < hit["relevance"] <= 1
    (photos / "note.txt").write_text("no photo")
    report = json.loads(colours("index", "--json")[1])
    assert report["skipped"] == [
        {"path": str(photos / "note.txt"), "reason": "not a photo format (.txt)"}
    ]
    assert json.loads(colours("status", "--skipped", "--json")[1])["skipped"] == report["skipped"]


def test_terms_with_a_minus_are_no_options(colours: Run) -> None:
    code, out, err = colours("search", "white", "-green", "-k", "1", "--paths")
    assert (code, err) == (0, "")
    assert out.endswith("magenta.png\n")
    assert colours("search", "-k1", "yellow", "-kiwi", "--paths")[0] == 0
    assert colours("search", "yellow", "--nonsense")[0] == 2


@pytest.mark.parametrize(
    ("words", "query"),
    [
        (["dog", "on", "beach"], "dog on beach"),
        (["dog", "\0-people"], "dog -people"),
        (["dog", "\0-red ball"], 'dog -"red ball"'),
        (["dog", "2:red ball"], 'dog 2:"red ball"'),
        (["dog", "+red ball"], 'dog +"red ball"'),
        (["dog -people 2:grass"], "dog -people 2:grass"),
        (["dog", "a red ball"], "dog a red ball"),
        (["dog", '\0-"red ball"'], 'dog -"red ball"'),
    ],
)
def test_quotes_that_the_shell_took_come_back(words: list[str], query: str) -> None:
    assert query_text(tuple(words)) == query


def test_errors_are_one_sentence_with_the_right_exit_code(colours: Run, tmp_path: Path) -> None:
    for arguments, code, says in (
        (["search", '"red'], 1, "never closed"),
        (["search", "tog:x"], 1, "unknown key"),
        (["similar", "9999"], 1, "no photo 9999"),
        (["similar", tmp_path / "none.jpg"], 1, "none.jpg"),
        (["index", tmp_path / "none"], 1, "no such folder"),
        (["search"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
        (["search", "red", "-k", "0"], 2, "-k"),
        (["forget", tmp_path, "--yes"], 1, "does not follow"),
    ):
        found, out, err = colours(*arguments)
        assert (found, out) == (code, ""), arguments
        assert says in err
        assert "Traceback" not in err


def test_a_file_that_is_no_library_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "catalog.db").write_text("nonsense " * 100)
    code, out, err = run("status")
    assert (code, out) == (1, "")
    assert err.startswith("clipsearch: ")
    assert "no database" in err


def test_paths_can_be_piped_whatever_their_bytes(run: Run, photos: Path) -> None:
    raw = os.fsencode(photos) + b"/caf\xe9\n.png"
    Image.new("RGB", (9, 9), "red").save(os.fsdecode(raw))
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    assert os.fsencode(run("search", "red", "--print0")[1]) == raw + b"\0"
    path = json.loads(run("search", "red", "--json")[1])["hits"][0]["path"]
    assert os.fsencode(path) == raw


def test_similar_takes_a_number_or_a_path(colours: Run, photos: Path) -> None:
    red = json.loads(colours("search", "red", "-k", 1, "--json")[1])["hits"][0]
    by_id = json.loads(colours("similar", red["id"], "--json")[1])["hits"]
    by_path = json.loads(colours("similar", photos / "red.png", "--json")[1])["hits"]
    assert by_id == by_path
    assert red["id"] not in [hit["id"] for hit in by_id]


def test_models_use_embeds_again_and_switches(colours: Run) -> None:
    code, out, _ = colours("models", "use", "other")
    assert code == 0
    assert f"{len(COLOURS)} photos embedded" in out
    assert json.loads(colours("status", "--json")[1])["model"] == "other"
    assert "kept too    colours" in colours("status")[1]


def test_forget_asks_first(colours: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    code, _, err = colours("forget", photos)
    assert (code, err) == (0, "clipsearch: nothing was forgotten\n")
    assert json.loads(colours("status", "--json")[1])["photos"] == len(COLOURS)
    assert colours("forget", photos, "--yes")[1] == f"{len(COLOURS)} photos forgotten\n"


def test_preview_says_that_it_cannot(colours: Run) -> None:
    code, out, err = colours("search", "red", "-k", "2", "--preview")
    assert (code, len(out.splitlines())) == (0, 2)
    assert err.count("shows no pictures") == 1


def test_preview_speaks_the_protocols_of_terminals() -> None:
    png = bytes(range(256)) * 20
    whole = preview.escape(png, "kitty")
    parts = whole.split("\033\\")[:-1]
    assert len(parts) == 2
    assert parts[0].startswith("\033_Ga=T,f=100,m=1;")
    assert parts[1].startswith("\033_Gm=0;")
    assert preview.escape(b"abc", "iterm2") == "\033]1337;File=inline=1;size=3:YWJj\a"


def test_the_terminal_that_shows_pictures_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for environment, expected in (
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color"}, None),
    ):
        monkeypatch.delenv("TERM_PROGRAM", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert preview.protocol() == expected


def test_an_interrupted_run_is_no_traceback(
    colours: Run, monkeypatch: pytest.MonkeyPatch, paint: Paint
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    paint("new.png", (1, 2, 3))
    monkeypatch.setattr(ColourEmbedder, "images", interrupt)
    code, _, err = colours("index")
    assert code == 130
    assert "run it again to go on" in err
    monkeypatch.undo()


def test_a_query_error_shows_where(colours: Run) -> None:
    _, _, err = colours("search", 'grass "red ball')
    assert err.splitlines()[1:] == ['  grass "red ball', "        ^"]
    assert isinstance(QueryError("a", "b", 0), Exception)


def test_doctor_finds_a_healthy_library_healthy_and_a_lost_root(
    run: Run, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    assert run("index", photos, "--model", "starter", "--quiet")[0] == 0
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert "WRONG" not in out
    assert "1 photos, 0 skipped" in out
    photos.rename(photos.with_name("away"))
    code, out, err = run("doctor")
    assert code == 1
    assert f"WRONG  root: {photos} cannot be reached" in out
    assert "1 of" in err
