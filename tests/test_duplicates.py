from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from clipsearch import Library, Progress
from clipsearch.duplicates import NEAR_BITS, NEAR_COSINE, Duplicate
from clipsearch.errors import QueryError
from clipsearch.photos.picturehash import picture_hash
from tests.conftest import Paint
from tests.fakes import ColourEmbedder

Keep = Callable[..., Path]


def scene(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Paint soft blobs of colour, another picture for each seed."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def tinted(picture: Image.Image, colour: tuple[float, float, float]) -> Image.Image:
    grey = np.asarray(picture.convert("L"), float)[..., None]
    return Image.fromarray((grey * colour).astype(np.uint8))


@pytest.fixture
def keep(photos: Path) -> Keep:
    """Save a picture: `keep("a.jpg", scene(1), quality=90)`."""

    def keep(name: str, picture: Image.Image, **options: Any) -> Path:
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
        return path

    return keep


def names(groups: tuple[tuple[Duplicate, ...], ...]) -> list[list[str]]:
    return [[Path(duplicate.path).name for duplicate in group] for group in groups]


def duplicates(library: Library, **options: Any) -> list[list[str]]:
    report = library.duplicates(**options)
    assert report.skipped == ()
    return names(report.groups)


def test_copies_are_grouped_best_first_and_other_pictures_are_not(
    library: Library, photos: Path, keep: Keep
) -> None:
    for seed in range(12):
        keep(f"{seed}.png", scene(seed))
    keep("small.jpg", scene(3, (120, 90)), quality=80)
    keep("large.jpg", scene(3, (480, 360)), quality=80)
    keep("bright.jpg", ImageEnhance.Brightness(scene(5)).enhance(1.1), quality=80)
    library.index(photos)
    report = library.duplicates()
    assert names(report.groups) == [["5.png", "bright.jpg"], ["large.jpg", "3.png", "small.jpg"]]
    for group in report.groups:
        assert group[0].score == 1
        assert group[0].identical
        assert all(NEAR_COSINE <= other.score <= 1 for other in group[1:])
        assert not any(other.identical for other in group[1:])
    assert [(one.width, one.height) for one in report.groups[1]] == [
        (480, 360),
        (240, 180),
        (120, 90),
    ]
    assert report.groups[1][2].size == (photos / "small.jpg").stat().st_size


def test_the_larger_file_is_better_and_then_the_earlier_date(
    library: Library, photos: Path, keep: Keep
) -> None:
    keep("fine.jpg", scene(1), quality=95)
    os.utime(keep("coarse.jpg", scene(1), quality=40), (1_000_000, 1_000_000))
    exif = Image.Exif()
    for name, when in (
        ("later.jpg", "2020:05:01 10:00:00"),
        ("earlier.jpg", "2019:05:01 10:00:00"),
    ):
        exif[0x0132] = when
        exif.get_ifd(0x8769)[0x9003] = when
        keep(name, scene(2), quality=90, exif=exif)
    for name, stamp in (("copy.png", 2_000_000), ("original.png", 1_000_000)):
        os.utime(keep(name, scene(3)), (stamp, stamp))
    library.index(photos)
    assert (photos / "later.jpg").stat().st_size == (photos / "earlier.jpg").stat().st_size
    assert duplicates(library) == [
        ["earlier.jpg", "later.jpg"],
        ["fine.jpg", "coarse.jpg"],
        ["original.png", "copy.png"],
    ]


def test_files_of_the_same_bytes_are_identical(library: Library, photos: Path, keep: Keep) -> None:
    source = keep("IMG_1.jpg", scene(1), quality=90)
    for name in ("IMG_1 (1).jpg", "IMG_1 copy.jpg"):
        shutil.copy2(source, photos / name)
    keep("again.jpg", scene(1), quality=60)
    library.index(photos)
    (group,) = library.duplicates().groups
    assert [(Path(one.path).name, one.identical, one.score) for one in group[:3]] == [
        ("IMG_1.jpg", True, 1),
        ("IMG_1 (1).jpg", True, 1),
        ("IMG_1 copy.jpg", True, 1),
    ]
    assert (Path(group[3].path).name, group[3].identical) == ("again.jpg", False)
    (group,) = library.duplicates(identical=True).groups
    assert len(group) == 3


def test_pictures_without_structure_are_grouped_only_when_identical(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    paint("nearly red.png", (250, 0, 0))
    paint("red.jpg", "red")
    paint("large red.png", "red", size=90)
    shutil.copy(photos / "red.png", photos / "red copy.png")
    library.index(photos)
    assert duplicates(library) == [["red.png", "red copy.png"]]


def test_the_same_shapes_in_other_colours_are_another_picture(
    library: Library, photos: Path, keep: Keep
) -> None:
    warm, cold = tinted(scene(1), (1, 0.4, 0.1)), tinted(scene(1), (0, 0.6, 1))
    assert (picture_hash(warm) ^ picture_hash(cold)).bit_count() <= NEAR_BITS
    keep("warm.png", warm)
    keep("cold.png", cold)
    library.index(photos)
    assert duplicates(library) == []


def test_members_are_near_the_best_and_never_chained(
    library: Library, photos: Path, keep: Keep
) -> None:
    wide = scene(4, (600, 240))
    frames = [wide.crop((shift, 0, shift + 240, 180)) for shift in range(60)]
    hashes = [picture_hash(frame) for frame in frames]
    steps = [(a ^ b).bit_count() for a, b in pairwise(hashes)]
    assert max(steps) <= NEAR_BITS < (hashes[0] ^ hashes[-1]).bit_count()  # a chain, end to end
    for number, frame in enumerate(frames):
        keep(f"{number:02}.png", frame)
    library.index(photos)
    connection = sqlite3.connect(library.folder / "catalog.db")
    stored = dict(connection.execute("select name, hash from photo natural join picture_hash"))
    connection.close()
    groups = names(library.duplicates().groups)
    members = [name for group in groups for name in group]
    assert len(groups) > 1
    assert len(set(members)) == len(members)
    for group in groups:
        best, *others = (stored[name] % 2**64 for name in group)
        assert all((best ^ other).bit_count() <= NEAR_BITS for other in others)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_groups_do_not_depend_on_the_order_of_indexing(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("order")
    source = folder / "source"
    source.mkdir()
    wide = scene(seed, (400, 180))
    for number in range(12):
        kind = chance.choice(["shift", "scale", "quality"])
        left = chance.randrange(0, 60, 4) if kind == "shift" else 0
        frame = wide.crop((left, 0, left + 240, 180))
        if kind == "scale":
            frame = frame.resize((chance.randrange(80, 240),) * 2)
        frame.save(source / f"{number}.jpg", quality=chance.randrange(40, 95))
        os.utime(source / f"{number}.jpg", (number, number))
    results = []
    for attempt in range(2):
        order = [f"{number}.jpg" for number in range(12)]
        chance.shuffle(order)
        target = folder / "photos"
        target.mkdir()
        with Library(folder / f"library{attempt}", ColourEmbedder()) as library:
            for part in (order[:4], order[4:8], order[8:]):
                for name in part:
                    shutil.copy2(source / name, target / name)
                library.index(target)
            report = library.duplicates()
        results.append([[(one.path, one.score) for one in group] for group in report.groups])
        shutil.rmtree(target)
    assert results[0] == results[1]


def test_nothing_on_the_disk_changes(library: Library, photos: Path, keep: Keep) -> None:
    for name in ("a.png", "b.jpg", "sub/c.jpg"):
        keep(name, scene(1))
    shutil.copy(photos / "a.png", photos / "d.png")
    library.index(photos)
    forget_hashes(library)

    def everything() -> dict[Path, tuple[bytes, int]]:
        files = [path for path in photos.rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = everything()
    assert [len(group) for group in library.duplicates().groups] == [4]
    library.duplicates(similarity=0.9)
    assert everything() == before


def test_a_file_that_is_gone_is_no_copy_to_keep(library: Library, photos: Path, keep: Keep) -> None:
    keep("best.png", scene(1, (480, 360)))
    keep("good.png", scene(1))
    keep("small.jpg", scene(1, (120, 90)))
    keep("alone.png", scene(2))
    keep("alone.jpg", scene(2))
    library.index(photos)
    (photos / "best.png").unlink()
    (photos / "alone.png").unlink()
    report = library.duplicates()
    assert names(report.groups) == [["good.png", "small.jpg"]]
    assert {Path(skip.path).name: skip.reason for skip in report.skipped} == {
        "alone.png": "no such file or directory",
        "best.png": "no such file or directory",
    }


def test_a_file_that_changed_since_it_was_indexed_is_not_compared(
    library: Library, photos: Path, keep: Keep
) -> None:
    keep("a.png", scene(1))
    shutil.copy(photos / "a.png", photos / "b.png")
    shutil.copy(photos / "a.png", photos / "c.png")
    library.index(photos)
    keep("a.png", scene(2))
    report = library.duplicates()
    assert names(report.groups) == [["b.png", "c.png"]]
    assert [Path(skip.path).name for skip in report.skipped] == ["a.png"]
    assert "changed since it was indexed" in report.skipped[0].reason


def test_two_names_of_one_file_are_no_copies(library: Library, photos: Path, keep: Keep) -> None:
    target = keep("sub/target of the links.png", scene(1))
    (photos / "link.png").symlink_to(target)
    (photos / "hard.png").hardlink_to(target)
    library.index(photos)
    assert library.status().photos == 3
    assert duplicates(library) == []
    shutil.copy(target, photos / "a real copy of it.png")
    library.index(photos)
    (group,) = library.duplicates().groups
    assert len(group) == 2
    assert "link.png" not in names((group,))[0]


def forget_hashes(library: Library) -> None:
    """Make the library one that was indexed before pictures had hashes."""
    connection = sqlite3.connect(library.folder / "catalog.db")
    with connection:
        connection.execute("delete from picture_hash")
    connection.close()


def stored_hashes(library: Library) -> list[int]:
    connection = sqlite3.connect(library.folder / "catalog.db")
    rows = connection.execute("select hash from picture_hash order by hash").fetchall()
    connection.close()
    return [row[0] % 2**64 for row in rows]


def stored_are(library: Library, *seeds: int) -> bool:
    """Tell whether these are the hashes of these scenes, within what reduction changes."""
    stored, wanted = stored_hashes(library), [picture_hash(scene(seed)) for seed in seeds]
    near = [[(one ^ other).bit_count() <= NEAR_BITS for other in wanted] for one in stored]
    return len(stored) == len(wanted) and all(sum(row) == 1 for row in near)


def test_indexing_hashes_each_content_once_and_forgets_what_is_gone(
    library: Library, photos: Path, keep: Keep
) -> None:
    keep("a.png", scene(1))
    keep("b.png", scene(2))
    shutil.copy(photos / "b.png", photos / "c.png")
    library.index(photos)
    assert stored_are(library, 1, 2)
    keep("a.png", scene(3))
    (photos / "b.png").unlink()
    library.index(photos)
    assert stored_are(library, 2, 3)
    (photos / "c.png").unlink()
    library.index(photos)
    assert stored_are(library, 3)


def test_photos_that_were_indexed_without_a_hash_get_one(
    library: Library, photos: Path, keep: Keep
) -> None:
    for seed in range(5):
        keep(f"{seed}.png", scene(seed))
    keep("copy.jpg", scene(2))
    library.index(photos)
    assert len(stored_hashes(library)) == 6
    forget_hashes(library)
    steps: list[Progress] = []
    report = library.duplicates(on_progress=steps.append)
    assert names(report.groups) == [["2.png", "copy.jpg"]]
    assert [(step.stage, step.done, step.total) for step in steps] == [
        ("hash", 0, 6),
        ("hash", 6, 6),
    ]
    assert len(stored_hashes(library)) == 6
    steps.clear()
    assert library.duplicates(on_progress=steps.append) == report
    assert steps == []


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_compared(
    library: Library, photos: Path, keep: Keep
) -> None:
    for name in ("a.png", "a.jpg", "changed.png", "gone.png"):
        keep(name, scene(1 + len(name)))
    keep("a.jpg", scene(6))
    library.index(photos)
    forget_hashes(library)
    (photos / "gone.png").unlink()
    (photos / "changed.png").write_bytes(b"no picture any more")
    report = library.duplicates()
    assert names(report.groups) == [["a.png", "a.jpg"]]
    assert {Path(skip.path).name: skip.reason for skip in report.skipped} == {
        "changed.png": "not an image",
        "gone.png": "no such file",
    }


def test_similar_shots_come_together_by_cosine_alone(
    library: Library, photos: Path, keep: Keep, paint: Paint
) -> None:
    paint("red.png", "red", size=40)
    paint("nearly red.png", (250, 10, 0))
    paint("blue.png", "blue")
    keep("scene.png", tinted(scene(1), (1, 0.5, 0.5)))
    keep("the next moment.png", tinted(scene(2), (1, 0.5, 0.5)))
    library.index(photos)
    assert duplicates(library) == []
    report = library.duplicates(similarity=0.97)
    assert names(report.groups) == [
        ["red.png", "nearly red.png"],
        ["scene.png", "the next moment.png"],
    ]
    hits = library.similar(photos / "red.png", k=1)
    assert report.groups[0][1].score == pytest.approx(hits[0].score, abs=2e-3)
    assert duplicates(library, similarity=1.0) == []


def test_a_query_leaves_the_groups_around_its_photos(
    library: Library, photos: Path, keep: Keep
) -> None:
    red, blue = tinted(scene(1), (1, 0.1, 0.1)), tinted(scene(2), (0.1, 0.1, 1))
    keep("red.png", red)
    keep("red.jpg", red)
    keep("blue.png", blue)
    keep("blue.jpg", blue)
    library.index(photos)
    assert len(duplicates(library)) == 2
    assert duplicates(library, query="red", k=1) == [["red.png", "red.jpg"]]


@pytest.mark.parametrize("similarity", [0, -0.5, 1.5, float("nan")])
def test_a_similarity_that_is_no_cosine_is_refused(
    library: Library, photos: Path, keep: Keep, similarity: float
) -> None:
    keep("a.png", scene(1))
    library.index(photos)
    with pytest.raises(QueryError, match="a similarity is a cosine above 0"):
        library.duplicates(similarity=similarity)


def test_copies_of_real_photos_are_found_and_nothing_else(
    library: Library, photos: Path, shared: Path
) -> None:
    sources = sorted((shared / "captions").glob("*/*.jpg"))[::4]
    for path in sources:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
            small.save(photos / f"{path.stem} small.jpg", quality=70)
        shutil.copy(path, photos / path.name)
    library.index(photos)
    groups = names(library.duplicates().groups)
    assert all(
        group == [f"{Path(group[0]).stem}.jpg", f"{Path(group[0]).stem} small.jpg"]
        for group in groups
    )
    assert len(groups) >= 0.95 * len(sources)
