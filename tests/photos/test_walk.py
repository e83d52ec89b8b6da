"""A walk lists what may be a photo, says why the rest is none, and opens nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch.config import LIBRARY_MARKER
from clipsearch.errors import LibraryError, PhotoError
from clipsearch.photos.decode import open_photo
from clipsearch.photos.formats import MAX_FILE_BYTES
from clipsearch.photos.walk import Walk, walk

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def paths(found: Walk) -> list[str]:
    return [file.path for file in found.files]


def reasons(found: Walk) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in found.skipped}


def test_lists_photos_by_suffix_in_any_case_and_files_without_one(tmp_path: Path) -> None:
    put(tmp_path, "b.JPG", "a.heic", "sub/c.PnG", "IMG_0001", "ends.with.dot.")
    found = walk(tmp_path)
    assert paths(found) == ["IMG_0001", "a.heic", "b.JPG", "ends.with.dot.", "sub/c.PnG"]
    assert found.skipped == []
    assert found.unreadable == []


def test_gives_size_and_time_of_each_file(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(5, 1_234_567_890_123_456_789))
    [file] = walk(tmp_path).files
    assert (file.size, file.mtime_ns) == (1, 1_234_567_890_123_456_789)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("letter.DOC", "not a photo format (.doc)"),
        ("icon.ico", "not a photo format (.ico)"),
        ("a.xmp", "XMP sidecar without its photo"),
        ("notes.of a very long evening", "not a photo format"),
        ("a.CR2", "raw camera format (.cr2) is not supported yet"),
        ("a.dng", "raw camera format (.dng) is not supported yet"),
        ("a.jxl", "JPEG XL (.jxl) is not supported yet"),
        (".hidden.jpg", "hidden file"),
        ("._IMG_1.jpg", "AppleDouble resource fork, not a photo"),
    ],
)
def test_says_why_a_file_is_skipped(tmp_path: Path, name: str, reason: str) -> None:
    put(tmp_path, name)
    found = walk(tmp_path)
    assert found.files == []
    assert reasons(found) == {name: reason}


def test_passes_over_hidden_things_that_are_no_photos(tmp_path: Path) -> None:
    put(tmp_path, ".DS_Store", "._notes.txt", ".cache/a.jpg", ".jpg/b.jpg")
    assert walk(tmp_path) == Walk()


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"],
)
def test_passes_over_folders_of_the_system(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f"{folder}/a.jpg", f"deep/{folder}/b.jpg", "c.jpg")
    assert paths(walk(tmp_path)) == ["c.jpg"]


def test_passes_over_a_library(tmp_path: Path) -> None:
    put(tmp_path, f"lib/{LIBRARY_MARKER}", "lib/catalog.db", "lib/ab/thumb.webp", "a.jpg")
    assert paths(walk(tmp_path)) == ["a.jpg"]
    with pytest.raises(LibraryError, match="holds a clipsearch library"):
        walk(tmp_path / "lib")


def test_a_foreign_catalogue_is_no_library(tmp_path: Path) -> None:
    put(tmp_path, "sub/catalog.db", "sub/a.jpg")
    assert paths(walk(tmp_path)) == ["sub/a.jpg"]


def test_follows_links_to_files_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "elsewhere/a.jpg", "root/photo.jpg")
    (root / "file.jpg").symlink_to("../elsewhere/a.jpg")
    (root / "folder").symlink_to("../elsewhere")
    (root / "up").symlink_to("..")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "zero.jpg").symlink_to("/dev/zero")
    (root / "text.jpg").symlink_to("../elsewhere/a.jpg")
    (root / "name.txt").symlink_to("../elsewhere/a.jpg")
    found = walk(root)
    assert paths(found) == ["file.jpg", "photo.jpg", "text.jpg"]
    assert reasons(found) == {
        "folder": "link to a folder, not followed; index its target as a root of its own",
        "up": "link to a folder, not followed; index its target as a root of its own",
        "gone.jpg": "link to a file that is not there",
        "loop.jpg": "link that leads back to itself",
        "zero.jpg": "link to a device, not a file",
        "name.txt": "not a photo format (.txt)",
    }


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert paths(walk(tmp_path / "link")) == ["a.jpg"]


def test_skips_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the address of a socket is limited to 108 bytes
        try:
            server.bind("s.jpg")
        finally:
            os.chdir(here)
        found = walk(tmp_path)
    assert found.files == []
    assert reasons(found) == {
        "pipe.jpg": "a named pipe, not a file",
        "link.jpg": "link to a named pipe, not a file",
        "s.jpg": "a socket, not a file",
    }


def test_skips_files_over_the_limit(tmp_path: Path) -> None:
    put(tmp_path, "big.jpg", "full.jpg")
    os.truncate(tmp_path / "big.jpg", 10 << 30)
    os.truncate(tmp_path / "full.jpg", MAX_FILE_BYTES)
    found = walk(tmp_path)
    assert paths(found) == ["full.jpg"]
    assert reasons(found) == {"big.jpg": "10.0 GiB is over the limit of 1 GiB for one photo"}


def test_walks_deep_trees(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 300)
    put(tmp_path, f"{deep}/a.jpg")
    assert paths(walk(tmp_path)) == [f"{deep}/a.jpg"]


def test_a_folder_may_look_like_a_photo(tmp_path: Path) -> None:
    put(tmp_path, "album.jpg/a.jpg")
    assert paths(walk(tmp_path)) == ["album.jpg/a.jpg"]


def test_names_of_any_bytes_round_trip_and_are_sorted(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", "café.jpg".encode(), b"new\nline.jpg", b"Z.jpg", b"a/\xff\xfe.jpg"]
    for name in names:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = walk(tmp_path)
    assert [os.fsencode(path) for path in paths(found)] == sorted(names)


def test_a_suffix_of_any_bytes_gives_a_reason_that_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a.\xe9")).touch()
    [skipped] = walk(tmp_path).skipped
    assert skipped.reason.encode("utf-8")


def test_reports_progress(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b/c.jpg", "b/d.jpg")
    seen: list[int] = []
    walk(tmp_path, seen.append)
    assert seen == [1, 3]


@pytest.mark.parametrize("name", ["missing", "file.jpg", "file.jpg/below"])
def test_refuses_a_root_that_is_no_folder(tmp_path: Path, name: str) -> None:
    put(tmp_path, "file.jpg")
    with pytest.raises(LibraryError, match="folder"):
        walk(tmp_path / name)


def test_knows_which_folders_it_could_not_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.jpg", "closed/b.jpg", "vanished/c.jpg")
    scandir = os.scandir

    def guarded(path: bytes) -> object:
        # Permissions do not bind root, who may well run the tests.
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied", path)
        if path.endswith(b"vanished"):
            (tmp_path / "vanished" / "c.jpg").unlink()
            (tmp_path / "vanished").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = walk(tmp_path)
    assert paths(found) == ["a.jpg"]
    assert found.unreadable == ["closed", "vanished"]
    assert reasons(found) == {
        "closed": "the folder cannot be listed: permission denied",
        "vanished": "the folder went away while it was read",
    }


def test_a_root_that_goes_away_meanwhile_is_unreadable(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    put(tmp_path, "disk/a/b.jpg", "disk/c.jpg")

    def unmount(_: int) -> None:
        if root.exists():
            root.rename(tmp_path / "elsewhere")

    found = walk(root, unmount)
    assert "" in found.unreadable


def test_an_unreadable_root_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: bytes) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert walk(tmp_path).unreadable == [""]


def test_hazards_of_the_file_system(tmp_path: Path) -> None:
    script = DATA / "odd" / "make_fs_hazards.py"
    if not script.exists():
        pytest.skip("needs ../shared/data beside the project")
    root = tmp_path / "hazards"
    subprocess.run([sys.executable, str(script), str(root)], check=True, timeout=60)
    found = walk(root)
    assert {os.fsencode(path) for path in paths(found)} == {
        b"caf\xe9.jpg",
        b"new\nline.jpg",
        b"unreadable.jpg",
    }
    assert set(reasons(found)) == {
        *("loop_a", "loop_b", "self", "up", "dangling.jpg", "pipe.jpg", "zero.jpg"),
        "sparse_10GB.jpg",
    }
    # None of them is a photo, and none of them may hang whoever insists on opening it.
    for path in root.iterdir():
        with pytest.raises(PhotoError):
            open_photo(path, size=224)


def test_sidecars_belong_to_their_photos(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.jpg.xmp", "b.jpg", "b.xmp", "c.jpg", "d.xmp"):
        (tmp_path / name).write_bytes(b"x")
    found = walk(tmp_path)
    stamps = {file.path: file.sidecar for file in found.files}
    assert stamps["a.jpg"].startswith("1:")
    assert stamps["b.jpg"].startswith("1:")
    assert stamps["c.jpg"] == ""
    assert [skip.path for skip in found.skipped] == ["d.xmp"]
    (tmp_path / "a.jpg.xmp").write_bytes(b"xy")
    assert walk(tmp_path).files[0].sidecar != stamps["a.jpg"]
