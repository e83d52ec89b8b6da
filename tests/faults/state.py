"""What a world is like: what its catalogue says, what lies on the disk, what it answers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clipsearch.catalog import names
from tests.faults.world import MODEL, QUERIES, World

Row = tuple[object, ...]
Rows = frozenset[Row]
Tree = dict[str, Row]

# By content, not by place or id: what must outlive every fault, wherever the photo is.
_KEPT = {
    "photo": "select content_hash from photo",
    "vector": "select content_hash, model.name, fingerprint, vector from vector "
    "join photo on photo.id = photo_id join model on model.id = model_id",
    "keyword": "select content_hash, keyword from keyword join photo on photo.id = photo_id",
    "hand_tag": "select content_hash, label, holds from hand_tag join photo on photo.id = photo_id",
    "tag": "select content_hash, label, origin, score from tag join photo on photo.id = photo_id",
    "alt_text": "select content_hash, text, state from alt_text join photo on photo.id = photo_id",
    "rejected": "select content_hash, text from rejected join photo on photo.id = photo_id",
    "proposal": "select content_hash, text, margin from proposal "
    "join photo on photo.id = photo_id join run on run.id = run_id where undone_at is null",
    "saved_search": "select name, query from saved_search",
}
_WHOLE = {
    **_KEPT,
    "root": "select path from root",
    "place": "select root.path, photo.path, photo.name, size, mtime_ns, content_hash, format, "
    "width, height, orientation, taken_at, rating, description, sidecar "
    "from photo join root on root.id = root_id",
    "skipped": "select root.path, skipped.path, size, reason from skipped "
    "join root on root.id = root_id",
    "run": "select kind, model, source, settings, photos, results, open from run "
    "where undone_at is null",
    "sidecar": "select sidecar.path, before, after_hash, tags, alt_text from sidecar "
    "join run on run.id = run_id where undone_at is null",
    "model": "select name, fingerprint, dimensions, (select count(*) from vector "
    "where model_id = model.id), exists (select 1 from archive where model_id = model.id) "
    "from model",
    "picture_hash": "select content_hash, hash from picture_hash",
    "words": "select name, folder from photo_words",
    "alt_words": "select text from alt_words",
    "migration": "select name from _sqlite_migrations",
}
_LITTER = re.compile(r"\.partial$|\.tmp$|^\.making-|^\.clipsearch-(?!export$)|\.old$|-journal$")


def kept(world: World) -> Rows:
    """Return what is said of photos, whatever the schema; the library is not touched."""
    with copied(world) as connection:
        return _rows(connection, _KEPT)


def whole(world: World) -> Rows:
    """Return all that a catalogue says, but for ids and times."""
    with copied(world) as connection:
        return _rows(connection, _WHOLE)


def complaints(world: World) -> list[str]:
    """Return what SQLite has to say against a catalogue."""
    try:
        with copied(world) as connection:
            found = [row[0] for row in connection.execute("pragma integrity_check")]
            found = [] if found == ["ok"] else found[:3]
            found += [
                f"foreign key: {row}" for row in connection.execute("pragma foreign_key_check")
            ]
            for name in sorted(_tables(connection)):
                if name.endswith("_words"):
                    check = f"insert into {name} ({name}) values ('integrity-check')"  # noqa: S608
                    connection.execute(check)
            return found
    except sqlite3.DatabaseError as error:
        return [str(error)]


def watch(world: World) -> Rows:
    """Return what a reader beside the running program sees; an empty set before it is there."""
    try:
        uri = f"file:{world.library / 'catalog.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            connection.execute("begin")
            return _rows(connection, _KEPT)
    except sqlite3.OperationalError:
        return frozenset()


@contextmanager
def copied(world: World) -> Iterator[sqlite3.Connection]:
    """Open a copy of the catalogue, so that its write-ahead log stays for the next run."""
    with tempfile.TemporaryDirectory() as name:
        for file in world.library.glob("catalog.db*"):
            if not file.name.endswith("-shm"):  # rebuilt from the log
                shutil.copy(file, name)
        with closing(sqlite3.connect(Path(name) / "catalog.db")) as connection:
            connection.create_function("fold", 1, names.fold, deterministic=True)
            yield connection


def tree(folder: Path) -> Tree:
    """Return kind, mode, time and content of every file and folder below a folder."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = os.fspath(path.relative_to(folder))
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", os.fspath(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("folder", status.st_mode)
        elif stat.S_ISREG(status.st_mode):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = ("file", status.st_mode, status.st_mtime_ns, digest)
        else:
            found[name] = ("special", status.st_mode)
    return found


def timeless(found: Tree) -> Tree:
    """Return a tree without times, and without the lists in exports, which hold times."""
    return {
        name: (row[0], row[1], row[3]) if row[0] == "file" else row
        for name, row in found.items()
        if not name.endswith(".clipsearch-export")
    }


def litter(world: World) -> list[str]:
    """Return what a run that was cut off has left lying about."""
    return [
        os.fspath(path.relative_to(world.folder))
        for path in sorted(world.folder.rglob("*"))
        if _LITTER.search(path.name)
    ]


def age(world: World) -> None:
    """Let two hours pass for the litter in a library: what is fresh may be at work still."""
    for name in litter(world):
        path = world.folder / name
        if path.is_relative_to(world.library) and path.is_file():
            os.utime(path, times=(time.time() - 7200,) * 2)


def answers(world: World, model: str = MODEL) -> Rows:
    """Return what the library answers, by paths; the copies of a photo are in no order."""
    found: set[Row] = set()
    with world.opened(model) as library:
        if library.status().photos == 0:
            return frozenset()
        for query in QUERIES:
            for hit in library.search(query, k=50, all_copies=True, min_relevance=0).hits:
                found.add((query, hit.path, None if hit.score is None else round(hit.score, 5)))
    return frozenset(found)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("select name from sqlite_master")}


def _rows(connection: sqlite3.Connection, questions: dict[str, str]) -> Rows:
    tables = _tables(connection)
    found: set[Row] = set()
    for name, question in questions.items():
        needed = set(re.findall(r"(?:from|join) (\w+)", question))
        if needed <= tables:
            seen: dict[Row, int] = {}
            for row in connection.execute(question):
                seen[row] = seen.get(row, 0) + 1
            # A run that was killed after its last commit is made again.
            again = name in ("run", "proposal")
            found.update((name, *row, 1 if again else count) for row, count in seen.items())
    return frozenset(found)
