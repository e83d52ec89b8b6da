from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run


def scene(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Paint soft blobs of colour, another picture for each seed."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def doubled(run: Run, photos: Path) -> Run:
    """The command line on a library with a group of three, a group of two and a single photo."""
    scene(1, (480, 360)).save(photos / "large.png")
    scene(1).save(photos / "small.jpg", quality=80)
    shutil.copy(photos / "large.png", photos / "large copy.png")
    scene(2).save(photos / "other.png")
    scene(2).save(photos / "other.jpg", quality=80)
    scene(3).save(photos / "single.png")
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    return run


def test_groups_are_printed_best_first_with_a_line_between_them(doubled: Run, photos: Path) -> None:
    code, out, err = doubled("duplicates")
    assert code == 0
    lines = out.splitlines()
    assert [line[:1] for line in lines] == ["*", "=", " ", "", "*", " "]
    assert [line.rpartition("/")[2] for line in lines] == [
        "large.png",
        "large copy.png",
        "small.jpg",
        "",
        "other.png",
        "other.jpg",
    ]
    assert lines[0].startswith("* 1.000      480 x 360")
    assert "240 x 180" in lines[2]
    assert err.startswith("clipsearch: 2 groups; 3 photos beside the best, ")
    assert doubled("duplicates", "--quiet") == (0, out, "")


def test_json_has_lists_of_photos(doubled: Run, photos: Path) -> None:
    code, out, err = doubled("duplicates", "--json", "--quiet")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["skipped"] == []
    assert [len(group) for group in document["groups"]] == [3, 2]
    best, copy, small = document["groups"][0]
    assert best["path"] == str(photos / "large.png")
    assert (best["score"], copy["score"], copy["identical"]) == (1.0, 1.0, True)
    assert 0.8 <= small["score"] <= 1
    assert not small["identical"]
    assert {"id", "path", "score", "width", "height", "size", "taken_at"} <= set(small)


def test_paths_are_all_but_the_best(doubled: Run, photos: Path) -> None:
    rest = [str(photos / name) for name in ("large copy.png", "small.jpg", "other.jpg")]
    assert doubled("duplicates", "--paths")[:2] == (0, "".join(f"{path}\n" for path in rest))
    assert doubled("duplicates", "--print0")[:2] == (0, "".join(f"{path}\0" for path in rest))
    assert doubled("duplicates", "--paths", "--identical")[1] == f"{rest[0]}\n"


def test_names_that_are_not_utf8_come_out_as_their_bytes(doubled: Run, photos: Path) -> None:
    shutil.copy(photos / "single.png", photos / "caf\udce9 single.png")
    assert doubled("index", "--quiet")[0] == 0
    out = doubled("duplicates", "--paths", "--identical")[1]
    assert f"{photos}/caf\udce9 single.png\n" in out


def test_without_duplicates_it_says_so_and_succeeds(run: Run, photos: Path) -> None:
    scene(1).save(photos / "one.png")
    assert run("index", photos, "--model", "colours", "--quiet")[0] == 0
    assert run("duplicates") == (0, "", "clipsearch: no near-identical photos\n")
    assert json.loads(run("duplicates", "--json")[1]) == {"groups": [], "skipped": []}


def test_files_that_are_gone_are_counted_with_the_reason(doubled: Run, photos: Path) -> None:
    (photos / "other.png").unlink()
    code, out, err = doubled("duplicates", "--paths")
    assert code == 0
    assert "other" not in out
    assert "1 not compared: no such file or directory" in err
    assert (photos / "other.jpg").exists()


def test_contradicting_options_and_a_library_that_is_not_there_are_errors(run: Run) -> None:
    code, _, err = run("duplicates", "--identical", "--similarity", "0.9")
    assert (code, "exclude each other" in err) == (2, True)
    assert run("duplicates", "--similarity", "1.5")[0] == 2
    code, _, err = run("duplicates", "--model", "colours")
    assert (code, "there is no library here" in err) == (1, True)
