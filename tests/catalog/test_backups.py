from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clipsearch import Library, Settings
from clipsearch.catalog import backups, restoring
from clipsearch.catalog.database import PAGE_BYTES
from clipsearch.errors import (
    DamagedLibraryError,
    ForeignDatabaseError,
    LibraryBusyError,
    LibraryError,
)
from clipsearch.library import safekeeping
from clipsearch.photos import sidecars
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEmbedder


@dataclass
class Filled:
    """A library of all colours, and its catalogue file."""

    library: Library
    photos: Path

    @property
    def folder(self) -> Path:
        return self.library.folder

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.db"

    def reopened(self) -> Library:
        self.library = Library(self.folder, ColourEmbedder())
        return self.library


@pytest.fixture
def filled(library: Library, photos: Path, paint: Paint) -> Filled:
    for number, colour in enumerate(COLOURS):
        paint(f"{number}.png", colour)
    library.index(photos)
    return Filled(library, photos)


def embedded_of(filled: Filled) -> int:
    with closing(sqlite3.connect(filled.catalog)) as db:
        count: int = db.execute("select embedded from archive").fetchone()[0]
        return count


def best(library: Library, query: str) -> str:
    return Path(library.search(query, k=1, min_relevance=0).hits[0].path).name


def labels(library: Library, photo: int) -> list[str]:
    return [tag.label for tag in library.tags(photo)]


def is_whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("pragma integrity_check").fetchall() == [("ok",)])


# Making copies


def test_a_backup_is_one_whole_file_with_all_that_is_committed(
    filled: Filled, tmp_path: Path
) -> None:
    filled.library.edit_tags(1, add=["only in the log"])
    assert (filled.folder / "catalog.db-wal").stat().st_size > 0
    made = filled.library.backup(tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
    assert (made.path, made.size) == (
        str(tmp_path / "copy.db"),
        (tmp_path / "copy.db").stat().st_size,
    )
    assert is_whole(tmp_path / "copy.db")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "copy.db", tmp_path / "other" / "catalog.db")
    with Library(tmp_path / "other", ColourEmbedder()) as other:
        assert labels(other, 1) == ["only in the log"]


def test_a_backup_is_of_one_moment_while_others_write(filled: Filled, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with Library(filled.folder, ColourEmbedder()) as other:
            number = 0
            while not stop.is_set():
                number += 1
                other.edit_tags(1, add=[f"n{number}"])
                other.edit_tags(2, add=[f"n{number}"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            target = tmp_path / f"{number}.db"
            filled.library.backup(target)
            with closing(sqlite3.connect(target)) as connection:
                counts = [
                    connection.execute(
                        "select count(*) from hand_tag where photo_id = ?", [photo]
                    ).fetchone()[0]
                    for photo in (1, 2)
                ]
            assert counts[0] - counts[1] in (0, 1)
            assert is_whole(target)
    finally:
        stop.set()
        writer.join()


def test_a_file_that_is_there_is_replaced_only_by_force(filled: Filled, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(LibraryError, match="is there already; --force"):
        filled.library.backup(target)
    assert target.read_text() == "precious"
    filled.library.backup(target, force=True)
    assert is_whole(target)
    for name, says in (
        (filled.catalog, "the catalogue itself"),
        (tmp_path, "this is a folder"),
        (filled.folder / "catalog.db-wal", "belongs to the catalogue"),
        (filled.photos / "0.png", "a picture is there"),
        (Path(os.devnull), "no regular file"),
        (tmp_path / "no" / "copy.db", "no such folder"),
    ):
        with pytest.raises(LibraryError, match=says):
            filled.library.backup(name, force=True)


def test_a_backup_is_as_private_as_the_catalogue(filled: Filled, tmp_path: Path) -> None:
    filled.catalog.chmod(0o600)
    filled.library.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_no_half_backup(filled: Filled, tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from clipsearch import Library\n"
        "from clipsearch.errors import LibraryError\n"
        "from tests.fakes import ColourEmbedder\n"
        "library = Library(sys.argv[1], ColourEmbedder())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "for act in (lambda: library.backup(sys.argv[2]), lambda: library.forget(sys.argv[3])):\n"
        "    try: act()\n"
        "    except LibraryError as error: print(error)\n"
        "print(library.status().photos)\n"
    )
    filled.library.close()
    done = subprocess.run(
        [sys.executable, "-c", program, filled.folder, tmp_path / "copy.db", filled.photos],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    by_hand, automatic, photos = done.stdout.splitlines()
    assert "free some space, or name another place" in by_hand
    assert "no backup could be made before the forget" in automatic
    assert "--no-backup" in automatic
    assert photos == str(len(COLOURS))
    assert not [path for path in tmp_path.rglob("*") if ".partial" in path.name]
    assert not (tmp_path / "copy.db").exists()


# Copies made by themselves


def test_what_loses_something_is_preceded_by_a_backup(filled: Filled, tmp_path: Path) -> None:
    library = filled.library
    words = tmp_path / "words.txt"
    words.write_text("red\ngreen\n")
    assert library.backups() == []
    library.undo(library.tag(words).run)
    assert [each.kind for each in library.backups()] == ["undo"]
    library.undo(library.tag(words).run)  # a moment later: one of the kind is enough
    assert [each.kind for each in library.backups()] == ["undo"]
    with pytest.raises(LibraryError, match="does not follow"):
        library.forget(tmp_path)
    assert len(library.backups()) == 1
    assert library.forget(filled.photos) == len(COLOURS)
    undo, forget = library.backups()
    assert (undo.kind, forget.kind) == ("undo", "forget")
    library.restore(forget.path)
    assert library.status().photos == len(COLOURS)
    assert best(library, "red") == "0.png"


def test_another_model_is_preceded_by_a_backup(filled: Filled) -> None:
    filled.library.close()
    with Library(filled.folder, ColourEmbedder("colours", "2")) as other:
        other.index()
        assert [each.kind for each in other.backups()] == ["models-use"]
        other.index()
        assert len(other.backups()) == 1


def test_an_index_run_is_preceded_by_a_backup_only_where_much_goes(
    filled: Filled, paint: Paint
) -> None:
    for number in range(10, 40):
        paint(f"{number}.png", (number, number, 0))
    filled.library.index()
    (filled.photos / "20.png").unlink()
    filled.library.index()
    assert filled.library.backups() == []
    for number in range(10):
        (filled.photos / f"{number}.png").unlink()
    filled.library.index()
    assert [each.kind for each in filled.library.backups()] == ["index"]


def test_photos_with_decisions_count_for_more(filled: Filled, paint: Paint) -> None:
    for number in range(10, 100):
        paint(f"{number}.png", (number, number, 0))
    filled.library.index()
    for number in range(5):
        filled.library.edit_tags(str(filled.photos / f"{number}.png"), add=["kept"])
        (filled.photos / f"{number}.png").unlink()
    filled.library.index()
    assert [each.kind for each in filled.library.backups()] == ["index"]


def test_nothing_is_lost_where_no_backup_can_be_made(filled: Filled) -> None:
    (filled.folder / "backups").write_text("in the way")
    with pytest.raises(LibraryError, match="no backup could be made before the forget"):
        filled.library.forget(filled.photos)
    assert filled.library.status().photos == len(COLOURS)
    filled.library.close()
    settings = Settings(backups=False)
    with Library(filled.folder, ColourEmbedder(), settings=settings) as library:
        assert library.forget(filled.photos) == len(COLOURS)


def test_an_empty_library_needs_no_backup(library: Library, photos: Path) -> None:
    library.index(photos)
    (library.folder / "backups").write_text("in the way")
    assert library.forget(photos) == 0


def test_each_kind_has_its_own_number(filled: Filled) -> None:
    for _ in range(2):
        backups.automatic(filled.catalog, "0003_search")
    for _ in range(6):
        backups.automatic(filled.catalog, "forget")
    kinds = [each.kind for each in filled.library.backups()]
    assert (kinds.count("migration"), kinds.count("forget")) == (2, 2)
    for _ in range(6):
        backups.automatic(filled.catalog, "0004_more")
    kinds = [each.kind for each in filled.library.backups()]
    assert (kinds.count("migration"), kinds.count("forget")) == (3, 2)


def test_a_damaged_catalogue_pushes_no_good_backup_out(filled: Filled) -> None:
    for _ in range(2):
        backups.automatic(filled.catalog, "forget")
    filled.library.close()
    before = {each.path for each in backups.listed(filled.catalog)}
    _flip_a_table(filled.catalog)
    for _ in range(3):
        with pytest.raises(DamagedLibraryError, match="doctor --repair"):
            backups.automatic(filled.catalog, "forget")
    assert {each.path for each in backups.listed(filled.catalog)} == before
    assert all(is_whole(Path(path)) for path in before)


# Putting a copy back


def test_a_restore_is_seen_by_all_who_have_the_library_open(
    filled: Filled, tmp_path: Path, paint: Paint
) -> None:
    with Library(filled.folder, ColourEmbedder()) as server:
        paint("new.png", (255, 10, 10))
        (filled.photos / "0.png").unlink()
        filled.library.backup(tmp_path / "copy.db")
        filled.library.index()
        assert best(server, "red") == "new.png"
        done = filled.library.restore(tmp_path / "copy.db")
        assert (done.photos, done.damaged) == (len(COLOURS), None)
        assert best(server, "red") == best(filled.library, "red") == "0.png"
        assert server.status().photos == len(COLOURS)
        server.edit_tags(2, add=["after"])
        assert labels(filled.library, 2) == ["after"]
        assert done.kept is not None
        filled.library.restore(done.kept)
        assert best(server, "red") == best(filled.library, "red") == "new.png"
        assert filled.library.fault() is None


def test_ids_are_never_given_twice(filled: Filled, tmp_path: Path, paint: Paint) -> None:
    filled.library.backup(tmp_path / "copy.db")
    paint("new.png", (200, 100, 0))
    filled.library.index()
    before = filled.library.status().revision
    embedded = embedded_of(filled)
    used = filled.library.search("name:new").hits[0].id
    filled.library.restore(tmp_path / "copy.db")
    assert filled.library.status().revision > before
    assert embedded_of(filled) > embedded  # no index of before may pass for one of now
    paint("newer.png", (200, 100, 50))
    filled.library.index()
    assert all(
        hit.id > used
        for name in ("new.png", "newer.png")
        for hit in filled.library.search(f"name:{name}").hits
    )


@pytest.mark.parametrize("size", [1024, 4096, 65536])
def test_a_copy_with_other_pages_is_put_back_under_readers(
    filled: Filled, tmp_path: Path, size: int
) -> None:
    copy = tmp_path / "copy.db"
    filled.library.backup(copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("pragma journal_mode = delete")
        db.execute(f"pragma page_size = {size}")
        db.execute("vacuum")
        assert db.execute("pragma page_size").fetchone()[0] == size
    (filled.photos / "0.png").unlink()
    filled.library.index()
    with Library(filled.folder, ColourEmbedder()) as reader:
        assert reader.status().photos == len(COLOURS) - 1
        safekeeping.restore(filled.folder, copy)
        assert reader.status().photos == filled.library.status().photos == len(COLOURS)
        assert best(reader, "red") == best(filled.library, "red")


def test_only_a_whole_catalogue_of_ours_is_put_back(filled: Filled, tmp_path: Path) -> None:
    good = tmp_path / "good.db"
    filled.library.backup(good)
    text = tmp_path / "text.db"
    text.write_text("hello " * 2000)
    empty = tmp_path / "empty.db"
    empty.touch()
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("create table photo (id)")
    newer = Path(shutil.copy(good, tmp_path / "newer.db"))
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) "
            "values ('clipsearch', '9999_future', 'then')"
        )
    short = Path(shutil.copy(good, tmp_path / "short.db"))
    os.truncate(short, short.stat().st_size // 2)
    flipped = Path(shutil.copy(good, tmp_path / "flipped.db"))
    _flip_a_table(flipped)
    before = filled.catalog.read_bytes()
    for path, error, says in (
        (text, LibraryError, "damaged"),
        (empty, LibraryError, "empty"),
        (foreign, ForeignDatabaseError, "no clipsearch catalogue"),
        (newer, ForeignDatabaseError, "upgrade clipsearch"),
        (short, DamagedLibraryError, "damaged"),
        (flipped, DamagedLibraryError, "damaged"),
        (tmp_path / "none.db", LibraryError, "no such file"),
        (filled.catalog, LibraryError, "the catalogue itself"),
    ):
        with pytest.raises(error, match=says) as caught:
            safekeeping.restore(filled.folder, path)
        assert str(caught.value).count("\n") == 0
        assert filled.catalog.read_bytes() == before
    assert filled.library.backups() == []


def test_a_restore_waits_for_no_one_who_indexes(filled: Filled, tmp_path: Path) -> None:
    filled.library.backup(tmp_path / "copy.db")
    with filled.library._exclusive(), pytest.raises(LibraryBusyError):
        safekeeping.restore(filled.folder, tmp_path / "copy.db")


def test_a_backup_makes_a_library_where_there_is_none(filled: Filled, tmp_path: Path) -> None:
    filled.library.backup(tmp_path / "copy.db")
    done = safekeeping.restore(tmp_path / "elsewhere", tmp_path / "copy.db")
    assert (done.kept, done.damaged) == (None, None)
    with Library(tmp_path / "elsewhere", ColourEmbedder()) as other:
        assert best(other, "red") == "0.png"


def test_what_others_write_during_a_restore_is_in_the_backup(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.library.backup(tmp_path / "copy.db")
    pour = restoring._pour
    late = iter(["late", "later"])

    def after_a_commit(*arguments: Any) -> None:
        with Library(filled.folder, ColourEmbedder()) as server:
            if label := next(late, None):
                server.edit_tags(1, add=[label])
        pour(*arguments)

    monkeypatch.setattr(restoring, "_pour", after_a_commit)
    done = safekeeping.restore(filled.folder, tmp_path / "copy.db")
    assert labels(filled.library, 1) == []
    assert [each.path for each in filled.library.backups()] == [done.kept]
    assert done.kept is not None
    safekeeping.restore(filled.folder, done.kept)
    assert labels(filled.library, 1) == ["late", "later"]
    assert filled.library.fault() is None


def test_a_restore_gives_up_where_others_never_rest(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.library.backup(tmp_path / "copy.db")
    pour = restoring._pour
    numbers = itertools.count()

    def after_a_commit(*arguments: Any) -> None:
        filled.library.edit_tags(1, add=[f"n{next(numbers)}"])
        pour(*arguments)

    monkeypatch.setattr(restoring, "_pour", after_a_commit)
    with pytest.raises(LibraryError, match="others keep changing"):
        safekeeping.restore(filled.folder, tmp_path / "copy.db")
    assert len(labels(filled.library, 1)) == next(numbers)
    assert filled.library.fault() is None


def test_an_export_that_was_under_way_at_a_backup_is_not_taken_back(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, write = filled.library, sidecars.write
    library.edit_tags(1, add=["kept"])

    def backed_up(change: sidecars.Change) -> None:
        library.backup(tmp_path / "copy.db")
        write(change)

    monkeypatch.setattr(sidecars, "write", backed_up)
    assert library.export_sidecars("tag:kept").written == 1
    (sidecar,) = filled.photos.glob("*.xmp")
    before = sidecar.read_bytes()
    library.restore(tmp_path / "copy.db")
    library.index()
    assert sidecar.read_bytes() == before


def test_a_restored_library_that_nobody_opened_is_restored_again(
    filled: Filled, tmp_path: Path
) -> None:
    filled.library.backup(tmp_path / "copy.db")
    filled.library.close()
    filled.catalog.unlink()
    for _ in range(2):
        done = safekeeping.restore(filled.folder, tmp_path / "copy.db")
    assert done.photos == len(COLOURS)
    assert done.kept is not None


# Damage


def _flip_a_table(path: Path) -> None:
    """Overwrite the page where a table begins."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        root, size = connection.execute(
            "select rootpage, (select page_size from pragma_page_size) from sqlite_master "
            "where name = 'photo'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xa5" * size)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _zero_the_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(PAGE_BYTES))


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _replace_by_text(path: Path) -> None:
    path.write_text("nonsense " * 1000)


DAMAGES = [_flip_a_table, _cut, _zero_the_first_page, _empty, _replace_by_text, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__.strip("_"))
def test_a_damaged_catalogue_is_refused_and_repaired_from_the_last_backup(
    filled: Filled, damage: Callable[[Path], None]
) -> None:
    backups.automatic(filled.catalog, "0001_older")
    filled.library.edit_tags(1, add=["kept"])
    backups.automatic(filled.catalog, "forget")
    filled.library.close()
    damage(filled.catalog)

    def use() -> None:
        with filled.reopened() as library:
            best(library, "red")
            list(library.described())
            if fault := library.fault():
                raise DamagedLibraryError(fault)

    with pytest.raises(LibraryError):
        use()
    filled.library.close()
    lost = filled.catalog.read_bytes() if filled.catalog.exists() else b""
    assert safekeeping.damage(filled.folder)
    done = safekeeping.repair(filled.folder)
    assert done.backup is not None
    assert done.backup.kind == "forget"
    assert done.photos == len(COLOURS)
    if lost:
        assert done.damaged is not None
        assert Path(done.damaged).read_bytes() == lost
    else:
        assert done.damaged is None
    with filled.reopened() as library:
        assert library.fault() is None
        assert list(library.faults()) == []
        assert best(library, "red") == "0.png"
        assert labels(library, 1) == ["kept"]
        report = library.index()
        assert (report.added, report.removed) == (0, 0)


def test_what_people_decided_since_the_backup_is_read_out(
    filled: Filled, paint: Paint, tmp_path: Path
) -> None:
    library = filled.library
    library.edit_tags(2, add=["old"])
    backups.automatic(filled.catalog, "forget")
    paint("late.png", (250, 5, 5))
    (tmp_path / "more").mkdir()
    library.index(filled.photos, tmp_path / "more")
    late = library.search("name:late").hits[0].id
    library.edit_tags(late, add=["kept"])
    library.edit_tags(2, add=["new"], remove=["old"])
    library.accept_alt_text(3, "Somebody waves")
    library.save_search("mine", "red")
    library.close()
    with closing(sqlite3.connect(filled.catalog)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        root = connection.execute(
            "select rootpage from sqlite_master where name = 'picture_hash'"
        ).fetchone()[0]
    with filled.catalog.open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    done = safekeeping.repair(filled.folder)
    found = done.salvaged
    assert (found.roots, found.photos, found.alt_texts, found.searches) == (1, 1, 1, 1)
    assert found.tags >= 2
    with filled.reopened() as library:
        assert library.fault() is None
        assert labels(library, late) == ["kept"]
        assert labels(library, 2) == ["new"]
        text = library.alt_text(3)
        assert text is not None
        assert text.text == "Somebody waves"
        assert [each.name for each in library.saved_searches()] == ["mine"]
        assert library.index().embedded == 1
        assert best(library, "red") in ("0.png", "late.png")


def test_damaged_indexes_lose_nothing(filled: Filled) -> None:
    filled.library.edit_tags(1, add=["kept"])
    filled.library.close()
    with closing(sqlite3.connect(filled.catalog)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma writable_schema = on")
        root = connection.execute(
            "select rootpage from sqlite_master where name = 'photo_content_hash'"
        ).fetchone()[0]
    data = bytearray(filled.catalog.read_bytes())
    page = slice((root - 1) * PAGE_BYTES, root * PAGE_BYTES)
    cells = data[page].rfind(b"\x04")  # another key in an index than in the table
    data[page.start + cells + 8] ^= 0xFF
    filled.catalog.write_bytes(data)
    assert safekeeping.damage(filled.folder)
    done = safekeeping.repair(filled.folder)
    assert done.complete
    assert done.backup is None
    with filled.reopened() as library:
        assert library.fault() is None
        assert labels(library, 1) == ["kept"]
        assert library.status().photos == len(COLOURS)


def test_without_a_backup_what_can_be_read_is_kept(filled: Filled) -> None:
    filled.library.edit_tags(1, add=["kept"])
    filled.library.close()
    _flip_a_table(filled.catalog)
    done = safekeeping.repair(filled.folder)
    assert done.backup is None
    assert done.salvaged.roots == 1
    assert "photo" in done.salvaged.unreadable
    with filled.reopened() as library:
        assert library.index().added == len(COLOURS)
        assert min(hit.id for hit in library.search("red", k=100, min_relevance=0)) > len(COLOURS)


def _write_nonsense(path: Path, *statements: str) -> None:
    """Write values that no table takes, as flipped bits are."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        tables = db.execute("select sql, name from sqlite_master where sql like '%strict%'")
        strict = tables.fetchall()
        loose = [
            (re.sub(r"\) strict(, )?( ?without)?", r") \2", sql), name) for sql, name in strict
        ]
        change = "update sqlite_master set sql = ? where name = ?"
        db.execute("pragma writable_schema = on")
        db.executemany(change, loose)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma ignore_check_constraints = on")
        for statement in statements:
            assert db.execute(statement).rowcount > 0
        db.execute("pragma writable_schema = on")
        db.executemany(change, strict)


@pytest.mark.parametrize(
    "nonsense",
    [
        "update hand_tag set holds = 7 where photo_id = 1",
        "update root set path = 'text'",
        "update saved_search set query = x'ff'",
        "update alt_text set text = x'ff00'",
        "update archive set revision = 'many'",
        "update archive set revision = 9223372036854775807",
        "update sqlite_sequence set seq = 9223372036854775807 where name = 'photo'",
    ],
)
def test_a_value_that_is_none_costs_only_itself(
    filled: Filled, paint: Paint, nonsense: str
) -> None:
    backups.automatic(filled.catalog, "forget")
    filled.library.edit_tags(1, add=["one"])
    filled.library.edit_tags(2, add=["two"])
    filled.library.accept_alt_text(3, "Somebody waves")
    filled.library.save_search("mine", "red")
    filled.library.close()
    _write_nonsense(
        filled.catalog, nonsense, "update hand_tag set label = x'ff' where photo_id = 1"
    )
    assert safekeeping.damage(filled.folder)
    done = safekeeping.repair(filled.folder)
    assert "hand_tag" in done.salvaged.unreadable
    with filled.reopened() as library:
        assert library.fault() is None
        assert labels(library, 2) == ["two"]
        paint("new.png", (1, 2, 3))
        assert library.index().added == 1
        assert library.search("name:new").hits[0].id > len(COLOURS)


def test_a_backup_that_counts_nothing_is_passed_over(filled: Filled) -> None:
    good, bad = (backups.automatic(filled.catalog, "forget") for _ in range(2))
    assert bad is not None
    with closing(sqlite3.connect(bad)) as db, db:
        db.execute("delete from archive")
    bad.with_name("catalog-99999999-999999-before-forget.db").touch()  # no moment in time
    found = backups.newest_whole(filled.catalog)
    assert found is not None
    assert found.path == str(good)


def test_a_server_goes_on_with_the_repaired_catalogue(filled: Filled) -> None:
    backups.automatic(filled.catalog, "forget")
    with Library(filled.folder, ColourEmbedder()) as server:
        assert server.status().photos == len(COLOURS)
        filled.library.close()
        _flip_a_table(filled.catalog)
        safekeeping.repair(filled.folder)
        assert best(server, "red") == "0.png"
        server.edit_tags(1, add=["after"])
    with filled.reopened() as library:
        assert labels(library, 1) == ["after"]
        assert library.fault() is None


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "library" / "catalog.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table mine (id)")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError):
        safekeeping.damage(path.parent)
    assert path.read_bytes() == before


def test_the_newest_backup_goes_by_its_changes_not_by_the_clock(filled: Filled) -> None:
    first = backups.automatic(filled.catalog, "forget")
    assert first is not None
    filled.library.edit_tags(1, add=["kept"])
    second = backups.automatic(filled.catalog, "forget")
    assert second is not None
    second.rename(second.with_name("catalog-20010101-000000-before-forget.db"))
    found = backups.newest_whole(filled.catalog)
    assert found is not None
    assert Path(found.path).name == "catalog-20010101-000000-before-forget.db"
    _flip_a_table(Path(found.path))
    found = backups.newest_whole(filled.catalog)
    assert found is not None
    assert Path(found.path) == first


def test_a_failed_restore_changes_nothing(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.library.backup(tmp_path / "copy.db")
    filled.library.edit_tags(1, add=["kept"])

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(restoring, "_pour", fail)
    with pytest.raises(LibraryError, match="free some space"):
        filled.library.restore(tmp_path / "copy.db")
    assert labels(filled.library, 1) == ["kept"]
    assert not [path for path in filled.folder.iterdir() if ".partial" in path.name]


def test_a_library_where_nothing_may_be_written_can_be_read(filled: Filled, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from clipsearch import Library\n"
        "from clipsearch.errors import LibraryError\n"
        "from tests.fakes import ColourEmbedder\n"
        "with Library(sys.argv[1], ColourEmbedder()) as library:\n"
        "    print(library.search('red', k=1, min_relevance=0).hits[0].path)\n"
        "    print(library.fault(), list(library.faults()))\n"
        "    library.backup(sys.argv[2])\n"
        "    for act in (library.index, lambda: library.edit_tags(1, add=['x'])):\n"
        "        try: act()\n"
        "        except LibraryError as error: print(error)\n"
    )
    filled.library.close()
    shell = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; '
        'exec "$0" -c "$3" "$1" "$2"'
    )
    done = subprocess.run(
        [
            *("unshare", "--mount", "--map-root-user", "sh", "-c", shell),
            *(sys.executable, str(filled.folder), str(tmp_path / "copy.db"), program),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("needs to mount a folder read-only")
    assert done.returncode == 0, done.stderr
    found, faults, *refusals = done.stdout.splitlines()
    assert Path(found).name == "0.png"
    assert faults == "None []"
    assert len(refusals) == 2
    assert all("the library cannot be written to" in refusal for refusal in refusals)
    assert is_whole(tmp_path / "copy.db")


def test_half_a_copy_of_a_killed_process_does_not_stay(filled: Filled, tmp_path: Path) -> None:
    old, young = (tmp_path / f".copy.db.{name}.partial" for name in ("old", "young"))
    foreign = tmp_path / ".other.partial"
    for path in (old, young, foreign):
        path.write_text("half")
    for path in (old, foreign):
        os.utime(path, (1, 1))
    filled.library.backup(tmp_path / "copy.db")
    assert not old.exists()
    assert young.exists()  # its process may be at it
    assert foreign.exists()
