"""A second look at a tree finds what changed and nothing else, page by page of the catalogue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipsearch import Library
from clipsearch.catalog import Catalog, archive
from clipsearch.indexing import plan
from clipsearch.records import ignore_progress
from tests.fakes import ColourEmbedder

# Folders whose order by bytes is not that of a depth-first walk, names that are not UTF-8,
# photos beside folders of nearly the same name.
FOLDERS = (b"", b"a", b"a b", b"a.b", b"a/x", b"a/x/y", b"a-", b"b\xff", b"\xc3\xa9", b"a0")
NAMES = (b"1.ppm", b"2.PPM", b"a.ppm", b"\xfe.ppm", b"\xf0\x9f\x90\x95.ppm")
PLACES = [os.path.join(folder, name) for folder in FOLDERS for name in NAMES]  # noqa: PTH118

places = st.dictionaries(st.sampled_from(PLACES), st.integers(0, 5), max_size=20)


def write(root: Path, tree: dict[bytes, int], stamp: int) -> None:
    """Make the tree what `tree` says: another number is another picture."""
    base = os.fsencode(root)
    for path in PLACES:
        full = os.path.join(base, path)  # noqa: PTH118
        if path not in tree:
            if os.path.lexists(full):
                os.unlink(full)  # noqa: PTH108
            continue
        os.makedirs(os.path.dirname(full), exist_ok=True)  # noqa: PTH103, PTH120
        # The path is part of the picture, so that no two photos share their content.
        header = b"P6 2 2 255\n"
        pixels = (path * 12)[:9] + bytes([PLACES.index(path), tree[path], 0])
        content = header + pixels
        try:
            with open(full, "rb") as file:  # noqa: PTH123
                if file.read() == content:
                    continue
        except FileNotFoundError:
            pass
        with open(full, "wb") as file:  # noqa: PTH123
            file.write(content)
        os.utime(full, ns=(stamp, stamp + tree[path]))


@pytest.mark.parametrize("page", [1, 2, 7])
@given(before=places, after=places)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_finds_what_changed_and_nothing_else(
    page: int,
    before: dict[bytes, int],
    after: dict[bytes, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("again")
    root = folder / "photos"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_PAGE", page)
        with Library(folder / "library", ColourEmbedder()) as library:
            write(root, before, 1_000_000)
            first = library.index(root)
            assert first.added == len(before)
            write(root, after, 2_000_000)
            second = library.index()
            third = library.index()
    common = before.keys() & after.keys()
    changed = {path for path in common if before[path] != after[path]}
    assert second.added == len(after.keys() - common)
    assert second.removed == len(before.keys() - common)
    assert second.updated == len(changed)
    assert second.unchanged == len(common) - len(changed)
    assert (third.unchanged, third.added, third.updated, third.removed) == (len(after), 0, 0, 0)


def test_photos_that_did_not_change_are_not_kept_in_memory(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    write(root, dict.fromkeys(PLACES, 1), 1_000_000)
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(root)
    catalog = Catalog(tmp_path / "library" / "catalog.db")
    with catalog.read() as db:
        model, roots = archive.active_model(db), archive.roots(db)
    assert model is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_PAGE", 3)
        [folder], _ = plan.look(catalog, roots, model, ignore_progress)
    catalog.close()
    assert (folder.unchanged, folder.walked.files, folder.stored) == (len(PLACES), [], {})


def test_another_model_embeds_all_photos_and_keeps_their_ids(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for number in range(5):
        path = root / f"{number}" / "a.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(root)
        library.index()
    (root / "3" / "a.png").unlink()
    other = ColourEmbedder("others", "2")
    with (
        pytest.MonkeyPatch.context() as patch,
        Library(tmp_path / "library", other) as library,
    ):
        patch.setattr(plan, "_PAGE", 2)
        report = library.index()
        ids = [hit.id for hit in library.search("red", k=10, min_relevance=0).hits]
    assert (report.unchanged, report.removed, report.added) == (4, 1, 0)
    assert other.embedded == 4
    assert sorted(ids) == [1, 2, 3, 5]


def test_photos_below_a_folder_that_cannot_be_read_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "photos"
    for name in ("a", "b", "c"):
        path = root / name / "a.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4), (len(name), ord(name), 0)).save(path)
    scandir = os.scandir

    def guarded(path: object) -> object:
        if isinstance(path, bytes) and path.endswith(b"/b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)  # type: ignore[call-overload]

    with Library(tmp_path / "library", ColourEmbedder()) as library:
        library.index(root)
        (root / "c" / "a.png").unlink()
        monkeypatch.setattr(os, "scandir", guarded)
        library.index()  # a folder that was readable so far may hold what is missed elsewhere
        library.index()
        kept = {Path(hit.path).parent.name for hit in library.search("red", min_relevance=0).hits}
    assert kept == {"a", "b"}
