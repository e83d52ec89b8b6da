"""The schema of a catalogue: refuse what is not ours, bring up to date what is older."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database, Migrations

from clipsearch import resources
from clipsearch.errors import ForeignDatabaseError

APPLICATION_ID = 0x436C6950  # "CliP", https://sqlite.org/pragma.html#pragma_application_id

# The second script grew before it was ever released; libraries that were made by its first forms
# lack these columns. (table, column, declaration)
_LATER_COLUMNS = (
    ("run", "open", "integer not null default 0"),
    ("sidecar", "tags", "text not null default '[]'"),
    ("sidecar", "alt_text", "text"),
    ("sidecar", "foreign_words", "text not null default '[[], null]'"),
    ("photo", "sidecar", "text"),
)
_LATER_INDEXES = ("sidecar_path on sidecar (path)", "sidecar_photo on sidecar (photo_id)")


def pending(database: Database, path: Path) -> str | None:
    """Return the name of the first script that a catalogue lacks, if it is ours.

    Raises: ForeignDatabaseError.
    """
    migrations = _migrations()
    _refuse_foreign(database, path, migrations)
    steps = migrations.pending(database)
    return steps[0].name if steps else None


def bring_up_to_date(database: Database) -> None:
    """Run the scripts that a catalogue lacks; the caller has begun a transaction to write."""
    _add_later_columns(database)
    _migrations().apply(database)
    database.execute(
        "insert or ignore into archive (id, uuid, created_at) values (1, ?, ?)",
        [uuid.uuid4().hex, datetime.now(UTC).replace(microsecond=0).isoformat()],
    )
    database.execute(f"pragma application_id = {APPLICATION_ID}")


def _add_later_columns(database: Database) -> None:
    if "sidecar" not in database.table_names():
        return
    for table, column, declaration in _LATER_COLUMNS:
        known = {row[1] for row in database.execute(f"pragma table_info({table})")}
        if column not in known:
            database.execute(f"alter table {table} add column {column} {declaration}")
    for index in _LATER_INDEXES:
        database.execute(f"create index if not exists {index}")


def _scripts() -> list[Path]:
    return sorted(resources.folder("migrations").glob("[0-9]*.sql"))


def _migrations() -> Migrations:
    migrations = Migrations("clipsearch")
    for file in _scripts():
        migrations(name=file.stem)(_migration(file.read_text(encoding="utf-8")))
    return migrations


def _migration(sql: str) -> Callable[[Database], None]:
    def migrate(db: Database, /) -> None:
        db.executescript(sql)

    return migrate


def _refuse_foreign(database: Database, path: Path, migrations: Migrations) -> None:
    tables = set(database.table_names())
    application = database.execute("pragma application_id").fetchone()[0]
    if not tables and application == 0:
        return
    if application != APPLICATION_ID or "archive" not in tables:
        raise ForeignDatabaseError(
            f"{path}: this database is no clipsearch catalogue; "
            "choose another folder with --library"
        )
    known = {file.stem for file in _scripts()}
    if newer := [step.name for step in migrations.applied(database) if step.name not in known]:
        raise ForeignDatabaseError(
            f"{path}: a newer clipsearch wrote this catalogue ({newer[-1]}); "
            "upgrade clipsearch to open it"
        )
