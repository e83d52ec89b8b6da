from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsearch import Library, Settings
from clipsearch.errors import LibraryBusyError, LibraryError, ModelError, PhotoError, RunError
from clipsearch.photos import decode
from clipsearch.photos.workers.pool import Workers
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEmbedder

Catalogue = list[tuple[object, ...]]


def contents(library: Path) -> Catalogue:
    """All that a catalogue says of photos and skipped files, but for ids and times."""
    with sqlite3.connect(library / "catalog.db") as connection:
        rows = connection.execute(
            "select root.path, photo.path, name, size, content_hash, format, width, height, "
            "taken_at, (select group_concat(hex(vector)) from vector where photo_id = photo.id) "
            "from photo join root on root.id = root_id "
            "union all select root.path, skipped.path, reason, 0, 0, 0, 0, 0, 0, 0 "
            "from skipped join root on root.id = root_id order by 1, 2"
        ).fetchall()
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("pragma foreign_key_check").fetchall() == []
    connection.close()
    return rows


def fresh(tmp_path: Path, photos: Path) -> Catalogue:
    """The catalogue of an undisturbed first run."""
    folder = tmp_path / f"fresh-{time.monotonic_ns()}"
    with Library(folder, ColourEmbedder()) as library:
        library.index(photos)
    return contents(folder)


def ids(library: Library) -> dict[str, int]:
    hits = library.search("grey", k=1000).hits
    return {Path(hit.path).name: hit.id for hit in hits}


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all images that are opened from now on."""
    opened: list[str] = []
    original = Workers.open_photo

    def watched(workers: Workers, path: str, **options: Any) -> decode.Decoded:
        opened.append(path)
        return original(workers, path, **options)

    monkeypatch.setattr(Workers, "open_photo", watched)
    return opened


def test_a_second_run_opens_no_image(
    library: Library, photos: Path, paint: Paint, unopened: list[str]
) -> None:
    paint("red.png", "red")
    paint("a/green.png", "green")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "notes.txt").write_text("no photo")
    first = library.index(photos)
    assert (first.added, first.unchanged, first.embedded, len(first.skipped)) == (2, 0, 2, 2)
    assert len(unopened) == 3
    unopened.clear()
    second = library.index()
    assert (second.added, second.updated, second.unchanged, second.removed) == (0, 0, 2, 0)
    assert second.embedded == 0
    assert second.skipped == first.skipped
    assert unopened == []


def test_a_moved_folder_keeps_ids_and_vectors(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    for number, colour in enumerate(COLOURS):
        paint(f"2019/{number}.png", colour)
    library.index(photos)
    before, embedded = ids(library), embedder.embedded
    (photos / "2019").rename(photos / "archive")
    report = library.index()
    assert (report.moved, report.added, report.removed) == (len(COLOURS), 0, 0)
    assert embedder.embedded == embedded
    assert ids(library) == before
    assert "archive" in library.search("red", k=1).hits[0].path


def test_a_photo_moved_to_another_root_keeps_its_id(
    library: Library, tmp_path: Path, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    paint("red.png", "red")
    paint("blue.png", "blue")
    other = tmp_path / "other"
    other.mkdir()
    library.index(photos, other)
    before = ids(library)
    shutil.move(photos / "red.png", other / "rot.png")
    report = library.index(other)  # the root that it left is not part of this run
    assert (report.moved, report.added, embedder.embedded) == (1, 0, 2)
    assert ids(library) == {"rot.png": before["red.png"], "blue.png": before["blue.png"]}


def test_a_copy_is_a_photo_of_its_own_and_is_not_embedded(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    red = paint("red.png", "red")
    library.index(photos)
    shutil.copy(red, photos / "copy.png")
    report = library.index()
    assert (report.added, report.moved, report.embedded, embedder.embedded) == (1, 0, 0, 1)
    assert len(library.search("red").hits) == 1
    assert len(library.search("red", all_copies=True).hits) == 2


def test_an_edited_photo_is_embedded_again_under_its_id(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("a.png", "red")
    paint("b.png", "green")
    library.index(photos)
    before = ids(library)
    paint("a.png", "blue", size=31)
    report = library.index()
    assert (report.updated, report.unchanged, report.embedded) == (1, 1, 1)
    assert ids(library) == before
    assert Path(library.search("blue", k=1).hits[0].path).name == "a.png"


def test_a_touched_photo_is_not_embedded_again(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    red = paint("red.png", "red")
    library.index(photos)
    os.utime(red, ns=(1, 1))
    report = library.index()
    assert (report.unchanged, report.updated, embedder.embedded) == (1, 0, 1)


def test_a_photo_renamed_over_another_keeps_its_own_id(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    paint("a.png", "red")
    paint("b.png", "green")
    library.index(photos)
    before = ids(library)
    (photos / "b.png").replace(photos / "a.png")
    report = library.index()
    assert (report.moved, report.removed, embedder.embedded) == (1, 1, 2)
    assert ids(library) == {"a.png": before["b.png"]}


def test_photos_that_swap_names_keep_their_own_ids(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    one, two = paint("a.png", "red"), paint("b.png", "green")
    library.index(photos)
    before = ids(library)
    one.replace(photos / "c.png")
    two.replace(one)
    (photos / "c.png").replace(two)
    report = library.index()
    assert (report.moved, report.removed, embedder.embedded) == (2, 0, 2)
    assert ids(library) == {"a.png": before["b.png"], "b.png": before["a.png"]}


def test_a_camera_may_use_a_name_again(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    red = paint("IMG_0001.png", "red")
    library.index(photos)
    before = ids(library)
    red.replace(photos / "holiday.png")
    paint("IMG_0001.png", "blue", size=31)
    report = library.index()
    assert (report.moved, report.added, embedder.embedded) == (1, 1, 2)
    assert ids(library)["holiday.png"] == before["IMG_0001.png"]


def test_a_deleted_photo_goes_and_its_id_is_not_used_again(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red").unlink()
    last = paint("blue.png", "blue")
    library.index(photos)
    gone = ids(library)["blue.png"]
    last.unlink()
    assert library.index().removed == 1
    paint("green.png", "green")
    library.index()
    assert ids(library)["green.png"] > gone


def test_a_root_that_cannot_be_reached_loses_nothing(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    library.index(photos)
    away = photos.with_name("away")
    photos.rename(away)
    report = library.index()
    assert report.removed == 0
    assert "cannot be reached" in report.notices[0]
    assert len(library.search("red").hits) == 1
    away.rename(photos)
    assert library.index().unchanged == 1


def test_an_empty_mount_point_loses_nothing_but_an_emptied_folder_does(
    library: Library, photos: Path, paint: Paint
) -> None:
    red = paint("red.png", "red")
    library.index(photos)
    with sqlite3.connect(library.folder / "catalog.db") as connection:
        connection.execute("update root set device = device + 1")
    connection.close()
    red.unlink()
    report = library.index()
    assert report.removed == 0
    assert "unmounted" in report.notices[0]
    with sqlite3.connect(library.folder / "catalog.db") as connection:
        connection.execute("update root set device = device - 1")
    connection.close()
    assert library.index().removed == 1


DISK = """
import subprocess, sys
from pathlib import Path
from PIL import Image
from clipsearch import Library
from tests.fakes import ColourEmbedder

library, photos = Library(sys.argv[1], ColourEmbedder()), Path(sys.argv[2])
disk, inner = photos / "disk", photos / "disk" / "inner"
disk.mkdir()

def mount(folder):
    if subprocess.run(["mount", "-t", "tmpfs", "none", folder]).returncode:
        sys.exit(77)

def run(*roots):
    report = library.index(*roots)
    print(report.removed, library.status().photos, len(report.notices))
    return report

def fill(folder):
    Image.new("RGB", (24, 24), (200, 0, 0)).save(folder / "red.png")
    Image.new("RGB", (24, 24), (0, 0, 200)).save(folder / "blue.png")

mount(disk)
inner.mkdir()
mount(inner)
fill(disk), fill(inner), fill(photos)
run(photos)
library.edit_tags(disk / "red.png", add=["kept"])
subprocess.run(["umount", inner, disk], check=True)
print(*run().notices, sep="\\n")
(disk / "stray.png").write_bytes((photos / "red.png").read_bytes())
(photos / "blue.png").unlink()
run()
(disk / "stray.png").unlink()
disk.rmdir()
run()
disk.mkdir()
mount(disk)
fill(disk)
(disk / "blue.png").unlink()
run()
print([tag.label for tag in library.tags(disk / "red.png")])
print(library.forget(inner), library.forget(photos))
"""


def test_a_disk_that_was_mounted_below_a_root_is_away_and_not_deleted(
    tmp_path: Path, photos: Path
) -> None:
    done = subprocess.run(
        [
            *("unshare", "--mount", "--map-root-user"),
            *(sys.executable, "-c", DISK, str(tmp_path / "library"), str(photos)),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("needs to mount a disk")
    assert done.returncode == 0, done.stderr
    stay = "the disk that was mounted here is away; its {} photos stay in the library"
    lines = done.stdout.splitlines()
    assert lines.pop(2).startswith(f"{photos}/disk: {stay.format(4)}")
    assert lines.pop(2).startswith(f"{photos}/disk/inner: {stay.format(2)}")
    assert lines == [
        "0 6 0",
        "0 6 2",  # the disks are away
        "1 5 2",  # what goes elsewhere goes, and a stray file on the empty folder changes nothing
        "0 5 2",  # the folder itself went as well
        "1 4 1",  # the outer disk is back, without one of its photos
        "['kept']",
        "2 2",
    ]


def test_a_folder_that_cannot_be_listed_loses_nothing(
    library: Library, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("private/red.png", "red")
    paint("green.png", "green")
    library.index(photos)
    original = os.scandir

    def refusing(path: str | bytes | int) -> object:
        if isinstance(path, bytes) and path.endswith(b"private"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = library.index()
    assert report.removed == 0
    assert [Path(skip.path).name for skip in report.skipped] == ["private"]


def test_a_photo_that_breaks_goes_and_comes_back(
    library: Library, photos: Path, paint: Paint
) -> None:
    red = paint("red.png", "red")
    whole = red.read_bytes()
    library.index(photos)
    red.write_bytes(whole[:60])
    report = library.index()
    assert (report.removed, len(report.skipped)) == (1, 1)
    assert report.skipped[0].path == str(red)
    red.write_bytes(whole)
    report = library.index()
    assert (report.added, report.skipped) == (1, ())


def test_photos_that_break_all_at_once_are_copied_aside_before_they_go(
    library: Library, photos: Path, paint: Paint
) -> None:
    painted = [paint(f"{colour}.png", colour) for colour in COLOURS]
    library.index(photos)
    for path in painted:
        library.edit_tags(path, add=["kept"])
    for photo in photos.iterdir():
        photo.write_bytes(b"encrypted, and a ransom is asked for " + photo.name.encode())
    report = library.index()
    assert (report.removed, len(report.skipped)) == (len(COLOURS), len(COLOURS))
    assert library.status().photos == 0
    (backup,) = library.backups()
    library.restore(backup.path)
    for path in painted:
        assert [tag.label for tag in library.tags(path)] == ["kept"]
    assert library.index().removed == len(COLOURS)
    assert library.index().removed == 0


def test_a_photo_that_cannot_be_read_just_now_stays(
    library: Library, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = paint("red.png", "red")
    library.index(photos)
    paint("red.png", "blue", size=31)

    def refused(_: Workers, path: str, **options: object) -> decode.Decoded:
        raise PhotoError(path, "permission denied", transient=True)

    monkeypatch.setattr(Workers, "open_photo", refused)
    report = library.index()
    assert report.removed == 0
    assert [(skip.path, skip.reason) for skip in report.skipped] == [
        (str(red), "permission denied")
    ]
    assert len(library.search("red").hits) == 1
    monkeypatch.undo()
    assert library.index().updated == 1


def test_a_higher_limit_gives_skipped_photos_another_chance(
    tmp_path: Path, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    paint("large.png", "red", size=100)
    with Library(tmp_path / "l", embedder, settings=Settings(max_pixels=5000)) as library:
        report = library.index(photos)
    assert "limit" in report.skipped[0].reason
    with Library(tmp_path / "l", embedder, settings=Settings(max_pixels=50_000)) as library:
        report = library.index()
    assert (report.added, report.skipped) == (1, ())


def test_a_root_inside_a_root_is_one_root(
    library: Library, photos: Path, paint: Paint, embedder: ColourEmbedder
) -> None:
    paint("a/red.png", "red")
    paint("b/green.png", "green")
    library.index(photos / "a")
    before = ids(library)
    report = library.index(photos)
    assert (report.added, report.unchanged, embedder.embedded) == (1, 1, 2)
    assert ids(library)["red.png"] == before["red.png"]
    library.index(photos / "b")
    assert library.status().roots == (str(photos),)


def test_the_library_itself_is_no_root_of_photos(
    tmp_path: Path, embedder: ColourEmbedder, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    with Library(photos / "library", embedder) as library:
        library.index(photos)
        library.thumbnail(1)
        assert library.index().added == 0


def test_a_second_indexer_says_so(library: Library, photos: Path, paint: Paint) -> None:
    from filelock import FileLock

    paint("red.png", "red")
    with FileLock(library.folder / "index.lock"), pytest.raises(LibraryBusyError, match="wait"):
        library.index(photos)


def test_wrong_roots_are_named(library: Library, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no such folder"):
        library.index(tmp_path / "nowhere")
    (tmp_path / "one.jpg").touch()
    with pytest.raises(LibraryError, match="this is no folder"):
        library.index(tmp_path / "one.jpg")
    with pytest.raises(LibraryError, match="is empty"):
        library.index()


def test_models_live_side_by_side(tmp_path: Path, photos: Path, paint: Paint) -> None:
    paint("red.png", "red")
    paint("blue.png", "blue")
    first, second = ColourEmbedder("first"), ColourEmbedder("second")
    with Library(tmp_path / "l", first) as library:
        library.index(photos)
    with Library(tmp_path / "l", second) as library:
        with pytest.raises(LibraryError, match="models use second"):
            library.search("red")
        assert library.index().embedded == 2
        assert library.search("red", k=1).model == "second"
        assert library.status().models == ("first", "second")
    with Library(tmp_path / "l", first) as library:
        assert library.index().embedded == 0
        assert library.status().model == "first"


def test_other_weights_under_the_same_name_embed_again(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    with Library(tmp_path / "l", ColourEmbedder()) as library:
        library.index(photos)
    with Library(tmp_path / "l", ColourEmbedder(fingerprint="2")) as library:
        with pytest.raises(LibraryError, match="weights of colours are not those"):
            library.search("red")
        assert library.index().embedded == 1
        assert library.search("red").total == 1
        assert library.status().models == ("colours",)


def test_a_model_that_fails_keeps_what_was_done(tmp_path: Path, photos: Path, paint: Paint) -> None:
    class Failing(ColourEmbedder):
        def images(self, images):  # type: ignore[no-untyped-def]
            if self.embedded >= 3:
                raise ModelError("out of memory")
            return super().images(images)

    for number in range(8):
        paint(f"{number}.png", (number, 0, 0))
    with Library(tmp_path / "l", Failing()) as library:
        with pytest.raises(ModelError, match="out of memory"):
            library.index(photos)
        assert library.status().photos == 3
    with Library(tmp_path / "l", ColourEmbedder()) as library:
        report = library.index()
        assert (report.unchanged, report.added) == (3, 5)
    assert contents(tmp_path / "l") == fresh(tmp_path, photos)


SLOW_INDEXER = """
import sys, time
from clipsearch import Library
from tests.fakes import ColourEmbedder
class Slow(ColourEmbedder):
    def images(self, images):
        time.sleep(0.01 * len(images))
        return super().images(images)
def started(step, told=[]):
    if not told:
        told.append(print("indexing", flush=True))
    if len(told) == 1 and step.stage == "embed" and step.done:
        told.append(print("writing", flush=True))
with Library(sys.argv[1], Slow()) as library:
    library.index(sys.argv[2], on_progress=started)
print("complete", flush=True)
"""


def test_twenty_kills_change_nothing_in_the_end(tmp_path: Path, photos: Path, paint: Paint) -> None:
    seed = random.Random(20)
    for number in range(240):
        paint(f"{number % 7}/{number}.png", tuple(seed.randrange(256) for _ in range(3)))
    for number in range(10):
        (photos / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff")
    expected = fresh(tmp_path, photos)
    target = tmp_path / "killed"
    kills = 0
    for number in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW_INDEXER, str(target), str(photos)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "indexing\n"
        if number % 2:  # the others are killed while their workers start
            assert process.stdout.readline() == "writing\n"
        time.sleep(seed.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read()
        process.stdout.close()
        kills += process.wait() == -signal.SIGKILL
        assert "complete" not in said, "the run was over before it could be killed: make it longer"
        contents(target)
    assert kills == 20
    with Library(target, ColourEmbedder()) as library:
        report = library.index(photos)
        assert report.unchanged > 0
        assert report.added + report.unchanged == 240
    assert contents(target) == expected


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "edit", "rename", "delete", "break", "copy", "index"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from(sorted(COLOURS)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(actions=ACTIONS)
def test_any_history_ends_in_the_catalogue_of_a_fresh_index(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int, int, str]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("history")
    photos = tmp_path / "photos"
    photos.mkdir()
    sizes = iter(range(8, 1000))
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(photos)
        for action, first, second, colour in actions:
            one, two = photos / f"{first}.png", photos / f"{second}.png"
            if action in {"add", "edit"}:
                Image.new("RGB", (next(sizes), 8), COLOURS[colour]).save(one)
            elif action == "index":
                library.index()
            elif one.exists():
                if action == "rename":
                    one.replace(two)
                elif action == "delete":
                    one.unlink()
                elif action == "break":
                    one.write_bytes(one.read_bytes()[:20] + b"x" * next(sizes))
                elif first != second:
                    shutil.copy(one, two)
        library.index()
        assert library.index().embedded == 0
    assert contents(tmp_path / "library") == fresh(tmp_path, photos)


def test_links_to_a_disk_that_is_away_lose_nothing(
    library: Library, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    paint("red.png", "red").replace(disk / "red.png")
    (photos / "link.png").symlink_to(disk / "red.png")
    assert library.index(photos).added == 1
    disk.rename(tmp_path / "away")
    report = library.index()
    assert (report.removed, library.status().photos) == (0, 1)
    (tmp_path / "away").rename(disk)
    assert library.index().unchanged == 1


def test_a_root_that_is_away_is_not_taken_over(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("disk/red.png", "red")
    library.index(photos / "disk")
    (photos / "disk").rename(photos.parent / "away")
    with pytest.raises(LibraryError, match="connect it"):
        library.index(photos)
    assert library.status().photos == 1


def test_a_limit_of_today_takes_nothing_that_is_known(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    paint("large.png", "red", size=100)
    with Library(tmp_path / "l", ColourEmbedder()) as library:
        library.index(photos)
        library.edit_tags(1, add=["mine"])
    small = Settings(max_pixels=5000)
    with Library(tmp_path / "l", ColourEmbedder("other"), settings=small) as library:
        report = library.index()
        assert (report.removed, len(report.skipped)) == (0, 1)
        assert "searches stay with colours" in report.notices[0]
        assert library.status().model == "colours"
        assert [tag.label for tag in library.tags(1)] == ["mine"]


def test_a_model_is_switched_only_when_complete(tmp_path: Path, photos: Path, paint: Paint) -> None:
    paint("a/red.png", "red")
    paint("b/blue.png", "blue")
    with Library(tmp_path / "l", ColourEmbedder("first")) as library:
        library.index(photos / "a", photos / "b")
    with Library(tmp_path / "l", ColourEmbedder("second")) as library:
        library.index(photos / "a")
        assert library.status().model == "first"
        library.index()
        assert library.status().model == "second"


def test_a_vector_that_is_no_number_is_a_skip(tmp_path: Path, photos: Path, paint: Paint) -> None:
    class Overflowing(ColourEmbedder):
        def images(self, images):  # type: ignore[no-untyped-def]
            rows = super().images(images)
            rows[0] = float("nan")
            return rows

    paint("a.png", "red")
    paint("b.png", "blue")
    with Library(tmp_path / "l", Overflowing()) as library:
        report = library.index(photos)
        assert (report.added, len(report.skipped)) == (1, 1)
        assert len(library.search("red")) == 1


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>dog</rdf:li></rdf:Bag>
</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def labels(library: Library, name: Path) -> list[tuple[str, str]]:
    return [(tag.label, tag.origin) for tag in library.tags(name)]


def test_a_copy_does_not_inherit_a_sidecar(library: Library, photos: Path, paint: Paint) -> None:
    red = paint("a.png", "red")
    (photos / "a.png.xmp").write_text(XMP)
    library.index(photos)
    shutil.copy(red, photos / "b.png")
    library.index()
    assert labels(library, photos / "a.png") == [("dog", "file")]
    assert labels(library, photos / "b.png") == []


def test_a_sidecar_that_comes_with_a_move_is_read(
    library: Library, photos: Path, paint: Paint
) -> None:
    red = paint("a.png", "red")
    library.index(photos)
    red.rename(photos / "b.png")
    (photos / "b.png.xmp").write_text(XMP)
    assert library.index().moved == 1
    assert labels(library, photos / "b.png") == [("dog", "file")]


def test_foreign_keywords_survive_our_own_on_the_same_word(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("a.png", "red")
    sidecar = photos / "a.png.xmp"
    sidecar.write_text(XMP)
    library.index(photos)
    library.edit_tags(1, add=["dog", "cat"])
    library.export_sidecars()
    library.index()
    library.edit_tags(1, reset=["dog", "cat"])
    assert labels(library, photos / "a.png") == [("dog", "file")]
    library.export_sidecars()
    assert "<rdf:li>dog</rdf:li>" in sidecar.read_text()
    assert "cat" not in sidecar.read_text()
    library.index()
    assert labels(library, photos / "a.png") == [("dog", "file")]


def test_exports_are_undone_in_order_and_follow_their_photos(
    library: Library, photos: Path, paint: Paint
) -> None:
    red = paint("a.png", "red")
    library.index(photos)
    library.edit_tags(1, add=["one"])
    first = library.export_sidecars().run
    library.edit_tags(1, add=["two"])
    second = library.export_sidecars().run
    assert first is not None
    assert second is not None
    with pytest.raises(RunError, match=f"undo {second} first"):
        library.undo(first)
    red.rename(photos / "b.png")
    (photos / "a.png.xmp").rename(photos / "b.png.xmp")
    library.index()
    away = photos.with_name("away")
    photos.rename(away)
    assert "cannot be reached" in library.undo(second)[0].reason
    away.rename(photos)
    assert library.undo(second) == ()
    assert library.undo(first) == ()
    assert list(photos.glob("*.xmp")) == []
    library.index()
    assert labels(library, photos / "b.png") == [("one", "hand"), ("two", "hand")]


def test_threads_leave_no_connection_behind(library: Library, photos: Path, paint: Paint) -> None:
    paint("a.png", "red")
    (photos / "a.png.xmp").write_text(XMP)
    library.index(photos)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(10):
        (photos / "a.png.xmp").write_text(XMP + "\n" * (number + 1))
        library.index()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
