"""Runs: one tagging, captioning or exporting pass each, which can be undone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from clipsearch.catalog.archive import Model
from clipsearch.catalog.database import now
from clipsearch.records import Run, RunKind

_COLUMNS = (
    "id, kind, model, source, source_hash, settings, photos, results, made_at, "
    "undone_at is not null"
)


@dataclass(frozen=True, slots=True)
class Written:
    """A sidecar as an export wrote it; `before` is `None` where there was no file.

    `keywords` and `description` are what the photo had from its file and from other programs.
    """

    photo_id: int
    path: str
    before: bytes | None
    after_hash: bytes
    tags: tuple[str, ...]
    alt_text: str | None
    keywords: tuple[str, ...]
    description: str | None


def begin(
    db: Database,
    kind: RunKind,
    model: Model,
    *,
    source: str,
    source_hash: str,
    settings: Mapping[str, object],
    photos: Iterable[int],
) -> int:
    """Record a run over `photos` and return its id; `finish` counts its results."""
    cursor = db.execute(
        "insert into run (kind, model, fingerprint, source, source_hash, settings, photos, "
        "results, made_at) values (?, ?, ?, ?, ?, ?, 0, 0, ?)",
        [
            *(kind, model.name, model.fingerprint, source, source_hash),
            *(json.dumps(settings, sort_keys=True), now()),
        ],
    )
    run_id = cursor.lastrowid
    assert run_id is not None  # noqa: S101 - an insert has just happened
    db.conn.executemany(
        "insert into run_photo (run_id, photo_id) values (?, ?)",
        ((run_id, photo_id) for photo_id in photos),
    )
    db.execute(
        "update run set photos = (select count(*) from run_photo where run_id = id) where id = ?",
        [run_id],
    )
    return run_id


def finish(db: Database, run_id: int, results: int) -> None:
    """Record how many tags, captions or files a run made."""
    db.execute("update run set results = ? where id = ?", [results, run_id])


def all_of(db: Database) -> list[Run]:
    """List all runs, the latest first."""
    return [_run(row) for row in db.execute(f"select {_COLUMNS} from run order by id desc")]


def get(db: Database, run_id: int) -> Run | None:
    """Return one run."""
    row = db.execute(f"select {_COLUMNS} from run where id = ?", [run_id]).fetchone()
    return _run(row) if row else None


def set_undone(db: Database, run_id: int) -> None:
    """Take a run out of the count; what it decided stays on record."""
    db.execute("update run set undone_at = ? where id = ?", [now(), run_id])


def drop_results_of(db: Database, photo_id: int) -> None:
    """Forget what runs decided of a photo whose content is another now."""
    for table in ("run_tag", "run_photo", "proposal"):
        db.execute(f"delete from {table} where photo_id = ?", [photo_id])


def put_sidecars(db: Database, run_id: int, files: Iterable[Written]) -> None:
    """Record the sidecars that an export is about to write; the run is open until `close`."""
    db.execute("update run set open = 1 where id = ?", [run_id])
    db.conn.executemany(
        "insert into sidecar (run_id, photo_id, path, before, after_hash, tags, alt_text, "
        "foreign_words) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(run_id, file.photo_id, os.fsencode(file.path), file.before, file.after_hash),
                *(json.dumps(file.tags), file.alt_text),
                json.dumps([file.keywords, file.description]),
            )
            for file in files
        ),
    )


def close(db: Database, run_id: int) -> None:
    """Record that an export has written all its files, or that all were taken back."""
    db.execute("update run set open = 0 where id = ?", [run_id])


def open_exports(db: Database) -> list[int]:
    """Return the exports that are still writing, or were killed at it."""
    return [row[0] for row in db.execute("select id from run where open = 1 order by id")]


def sidecars(db: Database, run_id: int) -> list[Written]:
    """Return what an export wrote, in the order of paths."""
    return _written(db, "where run_id = ? order by path", [run_id])


def last_written(db: Database, photo_id: int, path: str) -> Written | None:
    """Return what clipsearch wrote last to the sidecar of a photo, wherever it was then."""
    found = _written(
        db,
        "where photo_id = ? or path = ? order by run_id desc limit 1",
        [photo_id, os.fsencode(path)],
    )
    return found[0] if found else None


def later_export(db: Database, run_id: int) -> int | None:
    """Return the latest export that wrote a sidecar of this one again, if any did."""
    row = db.execute(
        "select max(later.run_id) from sidecar join sidecar as later "
        "on later.path = sidecar.path and later.run_id > sidecar.run_id where sidecar.run_id = ?",
        [run_id],
    ).fetchone()
    return row[0] if row else None


def drop_sidecar(db: Database, run_id: int, path: str) -> None:
    """Forget a sidecar that was taken back."""
    db.execute("delete from sidecar where run_id = ? and path = ?", [run_id, os.fsencode(path)])


def _written(db: Database, where: str, parameters: Sequence[object]) -> list[Written]:
    rows = db.execute(
        "select photo_id, path, before, after_hash, tags, alt_text, foreign_words "
        f"from sidecar {where}",
        list(parameters),
    )
    found = []
    for photo_id, path, before, after_hash, tags, alt_text, words in rows:
        keywords, description = json.loads(words)
        own = tuple(json.loads(tags))
        file = (photo_id, os.fsdecode(path), before, after_hash)
        found.append(Written(*file, own, alt_text, tuple(keywords), description))
    return found


def _run(row: Sequence[object]) -> Run:
    values = list(row)
    values[5] = json.loads(str(values[5]))
    values[9] = bool(values[9])
    return Run(*values)  # type: ignore[arg-type]
