"""Saved searches: queries with a name, and what they have shown already."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlite_utils import Database

from clipsearch.catalog.database import now
from clipsearch.records import SavedSearch, Sort

_COLUMNS = "name, query, min_relevance, sort, saved_at, looked_at"


def put(db: Database, name: str, query: str, min_relevance: float | None, sort: Sort) -> None:
    """Save a search; one of the same name must not be there."""
    db.execute(
        "insert into saved_search (name, query, min_relevance, sort, saved_at) "
        "values (?, ?, ?, ?, ?)",
        [name, query, min_relevance, sort, now()],
    )


def get(db: Database, name: str) -> SavedSearch | None:
    """Return a saved search by its name, without regard to case."""
    row = db.execute(f"select {_COLUMNS} from saved_search where name = ?", [name]).fetchone()
    return SavedSearch(*row) if row else None


def all_of(db: Database) -> list[SavedSearch]:
    """Return all saved searches by name."""
    rows = db.execute(f"select {_COLUMNS} from saved_search order by name")
    return [SavedSearch(*row) for row in rows]


def remove(db: Database, name: str) -> None:
    """Forget a saved search."""
    db.execute("delete from saved_search where name = ?", [name])


def unseen(db: Database, name: str, ids: Iterable[int]) -> set[int]:
    """Return those of `ids` that the search has not shown yet."""
    rows = db.execute(
        "select value from json_each(?) where value not in (select photo_id from saved_hit "
        "join saved_search on saved_search.id = saved_id where name = ?)",
        [json.dumps(list(ids)), name],
    )
    return {row[0] for row in rows}


def mark_seen(db: Database, name: str, ids: Iterable[int]) -> None:
    """Record that the search has shown `ids` by now."""
    db.execute(
        "insert or ignore into saved_hit (saved_id, photo_id) select saved_search.id, photo.id "
        "from saved_search, photo where saved_search.name = ? "
        "and photo.id in (select value from json_each(?))",
        [name, json.dumps(list(ids))],
    )
    db.execute("update saved_search set looked_at = ? where name = ?", [now(), name])
