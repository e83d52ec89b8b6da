"""Libraries that earlier versions wrote answer as they did then."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clipsearch import Library, resources
from tests.fakes import ColourEmbedder
from tests.fixtures import make_library

FIXTURES = sorted(Path(make_library.__file__).parent.glob("*.db.gz"))


@pytest.fixture(params=FIXTURES, ids=lambda path: path.name.split(".")[0])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A library of an earlier version: its folder, and the answers that it gave."""
    fixture: Path = request.param
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "catalog.db").write_bytes(gzip.decompress(fixture.read_bytes()))
    answers = json.loads(fixture.with_name(fixture.name.replace(".db.gz", ".json")).read_text())
    return folder, answers


def test_every_schema_has_a_library() -> None:
    schemas = {script.name[3] for script in resources.folder("migrations").glob("*.sql")}
    kept = {path.name[0] for path in FIXTURES}
    # The present schema needs none until the next one is made.
    assert schemas - {max(schemas)} <= kept


def test_a_library_of_an_earlier_version_answers_as_before(
    written: tuple[Path, dict[str, Any]],
) -> None:
    folder, before = written
    with Library(folder, ColourEmbedder()) as library:
        assert library.fault() is None
        assert list(library.faults()) == []
        now = make_library.answers(library)
        for about in before.keys() - {"undone", "rankings"}:
            assert now[about] == before[about], about
        for query, ranking in before["rankings"].items():
            assert [name for name, _ in now["rankings"][query]] == [name for name, _ in ranking]
            for (_, score), (_, expected) in zip(now["rankings"][query], ranking, strict=True):
                assert score == pytest.approx(expected, abs=0.002)
        if "undone" in before:
            assert make_library.undone(library) == before["undone"]
        assert library.fault() is None


def test_it_can_do_all_that_a_new_one_can(
    written: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, before = written
    make_library.paint(tmp_path / "photos")
    with closing(sqlite3.connect(folder / "catalog.db")) as connection, connection:
        connection.execute("update root set path = ?", [bytes(tmp_path / "photos")])
    with Library(folder, ColourEmbedder()) as library:
        report = library.index()
        assert report.removed == 0
        assert library.status().photos == before["photos"]
        assert {hit.id for hit in library.search("holiday", min_relevance=0) if hit.named} == {
            before["ids"]["p2.jpg"]
        }
        library.edit_tags(1, add=["new"])
        library.propose_alt_text(["a red thing", "a blue thing"])
        exported = library.export_sidecars("tag:new")
        assert exported.run is not None
        assert exported.written == 1
        assert library.undo(exported.run) == ()
        library.save_search("new ones", "tag:new")
        assert library.duplicates().groups is not None
        assert library.fault() is None
        assert list(library.faults()) == []


def test_what_it_was_is_backed_up_first(written: tuple[Path, dict[str, Any]]) -> None:
    folder, before = written
    bytes_before = (folder / "catalog.db").stat().st_size
    with Library(folder, ColourEmbedder()) as library:
        (kept,) = library.backups()
        assert (kept.kind, kept.size) == ("migration", bytes_before)
        library.edit_tags(1, add=["new"])
        restored = library.restore(Path(kept.path).name)
        assert restored.photos == before["photos"]
        assert "new" not in [tag.label for tag in library.tags(1)]
        assert make_library.answers(library)["ids"] == before["ids"]
