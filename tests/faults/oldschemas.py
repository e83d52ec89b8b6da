"""Make the catalogue that an earlier version would have written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database, Migrations

from clipsearch import resources
from clipsearch.catalog import names
from clipsearch.catalog.schema import APPLICATION_ID

_DERIVED = ("label", "_sqlite_migrations")


def downgrade(path: Path, version: int) -> None:
    """Write a catalogue again with the first `version` migrations only; what fits them stays."""
    old = path.with_name("older.db")
    migrations = Migrations("clipsearch")
    for file in sorted(resources.folder("migrations").glob("[0-9]*.sql"))[:version]:
        migrations(name=file.stem)(_script(file))
    with closing(sqlite3.connect(old)) as connection:
        connection.create_function("fold", 1, names.fold, deterministic=True)
        migrations.apply(Database(connection, execute_plugins=False))
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute("attach ? as new", [str(path)])
        tables = _tables(connection, "main") & _tables(connection, "new")
        connection.execute("pragma foreign_keys = off")
        for table in sorted(tables):
            columns = _columns(connection, "main", table) & _columns(connection, "new", table)
            names_of = ", ".join(sorted(columns))
            connection.execute(f"delete from main.{table}")  # noqa: S608 - names of our schema
            copy = f"insert into main.{table} ({names_of}) select {names_of} from new.{table}"  # noqa: S608
            connection.execute(copy)
        connection.commit()
        connection.execute("detach new")
        connection.execute("pragma journal_mode = wal")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    old.replace(path)


def _script(file: Path) -> Callable[[Database], None]:
    sql = file.read_text(encoding="utf-8")

    def migrate(db: Database, /) -> None:
        db.executescript(sql)

    return migrate


def _tables(connection: sqlite3.Connection, schema: str) -> set[str]:
    rows = connection.execute(f"pragma {schema}.table_list")
    return {
        row[1]
        for row in rows
        if row[0] == schema
        and row[2] == "table"
        and row[1] not in _DERIVED
        and not row[1].startswith("sqlite_")
    }


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"pragma {schema}.table_info({table})")}
