from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch import Library, resources
from clipsearch.catalog import Catalog, archive, database
from clipsearch.catalog.database import _Connection
from clipsearch.errors import ForeignDatabaseError, LibraryError
from tests.conftest import Paint
from tests.fakes import ColourEmbedder


def test_four_processes_may_create_the_same_catalogue(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from clipsearch.catalog import Catalog, archive\n"
        "sys.stdin.readline()\n"
        "for number in range(10):\n"
        "    catalog = Catalog(pathlib.Path(sys.argv[1]) / f'{number}.db')\n"
        "    with catalog.read() as db: print(archive.identity(db)[0])\n"
        "    catalog.close()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(answers[0]) == 10
    assert all(answer == answers[0] for answer in answers)


def test_text_and_foreign_and_newer_databases_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("hello " * 1000)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table photo (id)")
    connection.close()
    newer = tmp_path / "newer.db"
    Catalog(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) "
            "values ('clipsearch', '9999_future', 'then')"
        )
    connection.close()
    for path, says in ((text, "no database"), (foreign, "no clipsearch"), (newer, "9999_future")):
        before = path.read_bytes()
        with pytest.raises(ForeignDatabaseError, match=says):
            Catalog(path)
        assert path.read_bytes() == before


def test_a_catalogue_with_rows_is_copied_aside_before_a_migration(
    tmp_path: Path, library: Library, paint: Paint, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    library.index(photos)
    library.close()
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    for script in resources.folder("migrations").glob("*.sql"):
        (scripts / script.name).write_text(script.read_text())
    (scripts / "9998_more.sql").write_text("create table more (id integer) strict;")
    monkeypatch.setattr(resources, "folder", lambda name: tmp_path / name)
    Catalog(library.folder / "catalog.db").close()
    copies = list((library.folder / "backups").iterdir())
    assert [copy.name.endswith("-before-9998_more.db") for copy in copies] == [True]
    with sqlite3.connect(copies[0]) as connection:
        assert connection.execute("select count(*) from photo").fetchone() == (1,)
        assert not connection.execute("select 1 from sqlite_master where name = 'more'").fetchall()
    connection.close()
    with sqlite3.connect(library.folder / "catalog.db") as connection:
        assert connection.execute("select count(*) from more").fetchone() == (0,)
    connection.close()


def test_a_failed_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.db"
    Catalog(path).close()
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    for script in resources.folder("migrations").glob("*.sql"):
        (scripts / script.name).write_text(script.read_text())
    (scripts / "9998_broken.sql").write_text("create table more (id integer) strict; nonsense;")
    monkeypatch.setattr(resources, "folder", lambda name: tmp_path / name)
    with pytest.raises(LibraryError, match="nonsense"):
        Catalog(path)
    monkeypatch.undo()
    catalog = Catalog(path)
    with catalog.read() as db:
        assert "more" not in db.table_names()
    catalog.close()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")

    def fail_half_way() -> None:
        with catalog.write() as db:
            archive.add_root(db, "/a", 1)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    with catalog.read() as db:
        assert archive.roots(db) == []
    catalog.close()


def test_a_closed_library_says_so(library: Library) -> None:
    library.close()
    with pytest.raises(LibraryError, match="closed"):
        library.status()


def test_another_writer_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    library = Library(tmp_path / "library", ColourEmbedder())
    other = sqlite3.connect(library.folder / "catalog.db", isolation_level=None)
    other.execute("begin immediate")
    (tmp_path / "photos").mkdir()
    with pytest.raises(LibraryError, match="locked"):
        library.index(tmp_path / "photos")
    other.execute("rollback")
    other.close()
    library.close()


def test_a_library_of_the_second_schema_gets_its_words_folders_and_cameras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    path = tmp_path / "library" / "catalog.db"
    path.parent.mkdir()
    for script in resources.folder("migrations").glob("000[12]_*.sql"):
        (scripts / script.name).write_text(script.read_text())
    with monkeypatch.context() as context:
        context.setattr(resources, "folder", lambda name: tmp_path / name)
        Catalog(path).close()
    rows = [
        (b"IMG_1.jpg", "IMG_1.jpg", "Canon", "Canon EOS 5D", None),
        ("trips/Lisbon/été.jpg".encode(), "été.jpg", "NIKON", "D850", "A yellow tram"),
        (b"caf\xe9/in/x.jpg", "x.jpg", None, None, None),
    ]
    with sqlite3.connect(path) as connection:
        assert not connection.execute(
            "select 1 from sqlite_master where name = 'photo_words'"
        ).fetchall()
        connection.execute(
            "insert into model (name, fingerprint, dimensions, logit_scale, added_at) "
            "values ('colours', '1', 4, 10, 'then')"
        )
        connection.execute("update archive set model_id = 1")
        connection.execute("insert into root (path, added_at) values (?, 'then')", [b"/Pictures"])
        for photo_path, name, make, model, text in rows:
            connection.execute(
                "insert into photo (root_id, path, name, size, mtime_ns, content_hash, format, "
                "width, height, orientation, camera_make, camera_model, description, indexed_at) "
                "values (1, ?, ?, 1, 1, ?, 'JPEG', 4, 3, 1, ?, ?, ?, 'then')",
                [photo_path, name, photo_path, make, model, text],
            )
        vector = ColourEmbedder().texts(["red"])[0].astype("<f2").tobytes()
        connection.execute("insert into vector select id, 1, ? from photo", [vector])
        connection.execute("insert into tag (photo_id, label, origin) values (1, 'a/dog', 'hand')")
        connection.execute("insert into tag (photo_id, label, origin) values (3, 'a/dog', 'file')")
        connection.execute("insert into alt_text values (2, 'A yellow tram', 'file', 'then')")
    connection.close()
    with Library(path.parent, ColourEmbedder()) as library:
        assert library.fault() is None
        facets = library.facets()
        assert [each.value for each in facets.cameras] == ["Canon EOS 5D", "NIKON D850"]
        assert [each.value for each in facets.folders] == [
            "Pictures",
            "Pictures/caf\N{REPLACEMENT CHARACTER}/in",
            "Pictures/trips/Lisbon",
        ]
        assert [(each.value, each.count) for each in facets.tags] == [("a/dog", 2)]
        for query, ids in (
            ("tag:a", [1, 3]),
            ("folder:trips/lisbon", [2]),
            ("folder:in", [3]),
            ('camera:"canon eos"', [1]),
            ("name:ÉTÉ", [2]),
        ):
            assert [hit.id for hit in library.search(query)] == ids
        for phrase, named in (
            ("dogs", [1, 3]),
            ("trams in Lisbon", [2]),
            ("ete", [2]),
            ("img", [1]),
        ):
            hits = library.search(phrase, min_relevance=0)
            assert [hit.id for hit in hits if hit.named] == named
    (copy,) = (path.parent / "backups").iterdir()
    assert copy.name.endswith("-before-0003_search.db")


def test_a_file_that_is_replaced_while_it_is_opened_loses_nothing(
    library: Library, photos: Path, paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png", "red")
    library.index(photos)
    catalog = library.folder / "catalog.db"
    library.backup(tmp_path / "copy.db")
    library.close()
    opened = _Connection._open

    def replaced(self: _Connection, ready: tuple[int, ...]) -> None:
        opened(self, ready)
        if (tmp_path / "copy.db").exists():
            (tmp_path / "copy.db").replace(catalog)

    monkeypatch.setattr(_Connection, "_open", replaced)
    with Library(library.folder, ColourEmbedder()) as other:
        other.edit_tags(1, add=["kept"])
    with Library(library.folder, ColourEmbedder()) as other:
        assert [tag.label for tag in other.tags(1)] == ["kept"]
