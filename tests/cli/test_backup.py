from __future__ import annotations

import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clipsearch.catalog.database import PAGE_BYTES
from tests.cli.conftest import Run
from tests.conftest import Paint


@pytest.fixture
def library(run: Run, photos: Path, paint: Paint, tmp_path: Path) -> Path:
    """The folder of a library with three photos, the first of them tagged by hand."""
    for colour in ("red", "green", "blue"):
        paint(f"{colour}.png", colour)
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    assert run("tags", "1", "--add", "kept")[0] == 0
    return tmp_path / "library"


def damage(library: Path) -> None:
    """Overwrite the page where the table of photos begins."""
    catalog = library / "catalog.db"
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        root = connection.execute(
            "select rootpage from sqlite_master where name = 'photo'"
        ).fetchone()[0]
    with catalog.open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def test_backup_and_restore_go_there_and_back(run: Run, library: Path, tmp_path: Path) -> None:
    code, out, err = run("backup", tmp_path / "copy.db")
    assert (code, err) == (0, "")
    assert out.startswith(str(tmp_path / "copy.db"))
    code, _, err = run("backup", tmp_path / "copy.db")
    assert (code, "--force" in err) == (1, True)
    assert json.loads(run("backup", tmp_path / "copy.db", "--force", "--json")[1])["kind"] == "hand"
    run("tags", "1", "--add", "later")
    code, out, err = run("restore", tmp_path / "copy.db")
    assert (code, out) == (0, f"3 photos, as in {tmp_path / 'copy.db'}\n")
    assert "what was there: " in err
    assert "later" not in run("tags", "1")[1]
    code, out, _ = run("restore")
    assert code == 0
    (line,) = out.splitlines()
    assert "before restore" in line
    assert run("restore", line.split()[-1])[0] == 0  # by its name
    assert "later" in run("tags", "1")[1]


def test_backups_are_listed(run: Run, library: Path, photos: Path) -> None:
    code, out, err = run("backup", "--list")
    assert (code, out) == (0, "")
    assert "no automatic backup yet" in err
    assert run("forget", photos, "--yes")[0] == 0
    (found,) = json.loads(run("backup", "--list", "--json")[1])["backups"]
    assert found["kind"] == "forget"
    assert Path(found["path"]).stat().st_size == found["size"]
    for arguments in (["backup"], ["backup", "x.db", "--list"]):
        code, _, err = run(*arguments)
        assert (code, "--list" in err) == (2, True)


def test_without_a_backup_only_when_told_so(run: Run, library: Path, photos: Path) -> None:
    (library / "backups").write_text("in the way")
    code, _, err = run("forget", photos, "--yes")
    assert (code, err.count("\n")) == (1, 1)
    assert "nothing was changed" in err
    assert run("forget", photos, "--yes", "--no-backup")[:2] == (0, "3 photos forgotten\n")


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["search", "red"],
        ["tags"],
        ["runs"],
        ["similar", "1"],
        ["duplicates"],
        ["export", "--to", "csv"],
        ["forget", "x", "--yes"],
        ["undo", "1"],
        ["saved", "list"],
        ["backup", "copy.db"],
        ["alt-text", "review"],
    ],
    ids=lambda command: command[0],
)
def test_a_mistyped_library_is_not_made(run: Run, tmp_path: Path, command: list[str]) -> None:
    code, out, err = run(*command, "--library", tmp_path / "typo")
    assert (code, out) == (1, "")
    assert err.startswith(f"clipsearch: {tmp_path / 'typo'}: there is no library here; ")
    assert err.count("\n") == 1
    assert not (tmp_path / "typo").exists()


def test_doctor_finds_no_library_and_makes_none(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("doctor", "--library", tmp_path / "typo")
    assert code == 1
    assert "there is no library here" in out
    assert not (tmp_path / "typo").exists()


def test_doctor_repairs_a_damaged_catalogue(run: Run, library: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "copy.db")[0] == 0
    assert run("restore", tmp_path / "copy.db")[0] == 0  # which keeps what was there
    damage(library)
    code, _, err = run("search", "red")
    assert code == 1
    assert "the catalogue is damaged" in err
    assert "doctor --repair" in err
    code, out, _ = run("doctor")
    assert code == 1
    assert "WRONG  library: " in out
    assert "doctor --repair" in out
    code, out, err = run("doctor", "--repair", "--yes")
    assert code == 0, out + err
    assert "the newest whole backup is of" in err
    assert "mended 3 photos, from catalog-" in out
    assert "WRONG" not in out
    assert "kept" in run("tags", "1")[1]
    assert len(list((library / "damaged").glob("catalog-*.db"))) == 1
    code, out, _ = run("search", "red", "--paths", "-k", "1", "--min-relevance", "0")
    assert (code, Path(out.strip()).name) == (0, "red.png")


def test_doctor_asks_first(run: Run, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    damage(library)
    before = (library / "catalog.db").read_bytes()
    code, _, err = run("doctor", "--repair")
    assert code == 1
    assert "nothing was changed" in err
    assert "Put the damaged file aside" in err
    assert (library / "catalog.db").read_bytes() == before


@pytest.mark.parametrize("how", ["gone", "empty", "text"])
def test_a_lost_catalogue_is_not_replaced_by_an_empty_one(
    run: Run, library: Path, how: str, photos: Path
) -> None:
    catalog = library / "catalog.db"
    run("forget", photos.with_name("none"), "--yes")
    if how == "gone":
        catalog.unlink()
    elif how == "empty":
        os.truncate(catalog, 0)
    else:
        catalog.write_text("nonsense " * 1000)
    for command in (["status"], ["index", photos, "--model", "colours"], ["search", "red"]):
        code, out, err = run(*command)
        assert (code, out) == (1, "")
        assert "doctor --repair" in err
    code, out, err = run("doctor", "--repair", "--yes")
    assert code == 0, out + err
    assert "there is no whole backup" in err
    assert run("index", photos, "--model", "colours")[0] == 0
    assert json.loads(run("status", "--json")[1])["photos"] == 3
