"""The filters of a query in SQL: which photos pass, and the latest of them first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from clipsearch.catalog.names import contains, fold, like, path_pattern
from clipsearch.query import Area, Filter, Moments, Numbers, Value

Ids = NDArray[np.int64]

EARTH_KM = 6371.0088
"""Mean radius of the earth (IUGG)."""

_HAS = {
    "gps": "latitude is not null",
    "alt": "exists (select 1 from alt_text where alt_text.photo_id = photo.id)",
    "tags": "exists (select 1 from tag where tag.photo_id = photo.id)",
    "date": "taken_at is not null",
    "camera": "camera is not null",
    "lens": "lens is not null",
    "rating": "rating is not null",
    "description": "description is not null",
}
_ORIENTATION = {
    "portrait": "height > width",
    "landscape": "width > height",
    "square": "width = height",
}
_MOST_FOLDERS = 5_000
_FEW = 20_000  # photos that are sorted faster by themselves than met on a walk through all
_FARTHEST = timedelta(days=2)  # more than two clocks of the same moment can be apart

# A condition with its parameters.
_Condition = tuple[str, list[object]]


def passing(db: Database, filters: Sequence[Filter]) -> Ids:
    """Return the ids of the photos that pass all filters, (n,) ascending.

    A photo without the fact that a filter asks for fails it, and passes its negation. Places
    must have been resolved to areas.
    """
    parts: list[str] = []
    parameters: list[object] = []
    listed: list[tuple[Ids, bool]] = []
    for each in filters:
        found = condition_of(db, each)
        if isinstance(found, np.ndarray):
            listed.append((found, each.negated))
        else:
            parts.append(f"({found[0]}) is not true" if each.negated else f"({found[0]})")
            parameters += found[1]
    if parts or all(negated for _, negated in listed):
        where = " and ".join(parts) or "true"
        ids = ascending(ids_of(db, f"select id from photo where {where}", parameters))
    else:
        first = next(position for position, (_, negated) in enumerate(listed) if not negated)
        ids, _ = listed.pop(first)
    for other, negated in listed:
        ids = ids[np.isin(ids, other, invert=negated)]
    return ids


def latest_first(db: Database, ids: Ids, stop: int | None = None) -> Ids:
    """Return `ids` from the latest photo to the earliest, at most `stop`; ties by id.

    Photos without a date come last, those that do not exist are left out.
    """
    wanted = len(ids) if stop is None else min(stop, len(ids))
    if len(ids) <= _FEW:
        select = (
            "select id from photo where id in (select value from json_each(?)) "
            "order by taken_at desc, id limit ?"
        )
        return ids_of(db, select, [json.dumps(ids.tolist()), wanted])
    # Of many photos the first ones are soon met on a walk through the index of dates.
    for limit in (_FEW, -1):
        met = ids_of(db, "select id from photo order by taken_at desc, id limit ?", [limit])
        met = met[np.isin(met, ids)]
        if len(met) >= wanted:
            break
    return met[:wanted]


def facts_behind(db: Database, photo_id: int, key: str) -> list[str]:
    """Return what a photo has of what a filter key asks for, in words."""
    rows: Iterable[Sequence[object]]
    match key:
        case "tag":
            rows = db.execute("select label from tag where photo_id = ? order by 1", [photo_id])
        case "has":
            columns = ", ".join(f"({sql})" for sql in _HAS.values())
            row = db.execute(f"select {columns} from photo where id = ?", [photo_id]).fetchone()
            rows = [[name] for name, holds in zip(_HAS, row, strict=True) if holds]
        case "folder":
            row = db.execute(
                "select root.path, folder from photo join root on root.id = root_id "
                "where photo.id = ?",
                [photo_id],
            ).fetchone()
            rows = [[folder_name(*row)]]
        case "near":
            rows = db.execute(
                "select latitude || ',' || longitude from photo where id = ?", [photo_id]
            )
        case "orientation":
            cases = " ".join(f"when {sql} then '{name}'" for name, sql in _ORIENTATION.items())
            rows = db.execute(f"select case {cases} end from photo where id = ?", [photo_id])
        case _:
            rows = db.execute(f"select {_COLUMNS[key]} from photo where id = ?", [photo_id])
    return [str(row[0]) for row in rows if row[0] is not None]


_COLUMNS = {
    "name": "name",
    "type": "lower(format)",
    "camera": "camera",
    "lens": "lens",
    "before": "taken_at",
    "after": "taken_at",
    "on": "taken_at",
    "rating": "rating",
    "id": "id",
}


def folder_name(root: bytes, folder: bytes) -> str:
    """Return a folder as people see it: from the name of its root on, `Pictures/trips/lisbon`."""
    top = root.rstrip(b"/").rpartition(b"/")[2]
    return b"/".join(part for part in (top, folder) if part).decode("utf-8", "replace")


def condition_of(db: Database, wanted: Filter) -> _Condition | Ids:
    """Return what a filter stands for, its negation aside: a condition on `photo`, or the ids."""
    values = wanted.values
    match wanted.key:
        case "tag":
            return _tags(db, _texts(values))
        case "folder":
            return _folders(db, _texts(values))
        case "name":
            return _union(_named(db, value) for value in _texts(values))
        case "type":
            return _in("format", [value.upper() for value in _texts(values)])
        case "camera" | "lens" as column:
            tests = [contains(value) for value in _texts(values)]
            known = _distinct(db, column)
            return _in(column, [name for name in known if any(test(name) for test in tests)])
        case "orientation":
            return _any((_ORIENTATION[value], []) for value in _texts(values))
        case "has":
            return _any((_HAS[value], []) for value in _texts(values))
        case "before" | "after" | "on":
            return _any(_moments(value) for value in values if isinstance(value, Moments))
        case "rating" | "id" as column:
            return _any(_numbers(column, value) for value in values if isinstance(value, Numbers))
        case "near":
            return _union(_within(db, value) for value in values if isinstance(value, Area))


def _texts(values: Sequence[Value]) -> list[str]:
    """Return the texts as names are stored, with a mark for bytes that are not UTF-8."""
    texts = (value for value in values if isinstance(value, str))
    return [text.encode("utf-8", "replace").decode() for text in texts]


def ids_of(db: Database, select: str, parameters: Sequence[object] = ()) -> Ids:
    """Return the column `id` of a select; as one text it comes four times as fast as in rows."""
    (text,) = db.execute(f"select group_concat(id) from ({select})", list(parameters)).fetchone()
    found: Ids = np.fromstring(text, np.int64, sep=",") if text else np.zeros(0, np.int64)
    return found


def ascending(ids: Ids) -> Ids:
    """Return ids in ascending order, each once: NumPy's `unique` takes five times as long."""
    found: Ids = np.sort(ids)
    first = np.ones(len(found), bool)
    first[1:] = found[1:] != found[:-1]
    distinct: Ids = found[first]
    return distinct


def _union(found: Iterable[Ids]) -> Ids:
    return ascending(np.concatenate(list(found)))


def _any(conditions: Iterable[_Condition]) -> _Condition:
    found = list(conditions)
    parameters = [value for _, values in found for value in values]
    return " or ".join(f"({sql})" for sql, _ in found) or "false", parameters


def _in(column: str, values: Sequence[object]) -> _Condition:
    return f"{column} in (select value from json_each(?))", [json.dumps(values)]


def _distinct(db: Database, column: str) -> list[str]:
    """Return the values of an indexed column, hopping over the photos that share one."""
    rows = db.execute(
        f"with recursive known (value) as (select min({column}) from photo "
        f"where {column} is not null union all "
        f"select (select min({column}) from photo where {column} > known.value) "
        "from known where known.value is not null) select value from known where value is not null"
    )
    return [row[0] for row in rows]


def _tags(db: Database, patterns: Sequence[str]) -> Ids:
    tests = [path_pattern(pattern) for pattern in patterns]
    rows = db.execute("select name from label")
    labels = [name for (name,) in rows if any(test(name) for test in tests)]
    return ascending(
        ids_of(
            db,
            "select photo_id as id from tag where label in (select value from json_each(?))",
            [json.dumps(labels)],
        )
    )


def _folders(db: Database, patterns: Sequence[str]) -> Ids:
    tests = [path_pattern(pattern) for pattern in patterns]
    roots = dict(db.execute("select id, path from root").fetchall())
    fitting: list[object] = []
    for root_id, folder in db.execute("select distinct root_id, folder from photo"):
        name = folder_name(roots[root_id], folder)
        if any(test(name) for test in tests):
            fitting += [root_id, folder]
    found: list[Ids] = [np.zeros(0, np.int64)]
    for start in range(0, len(fitting), 2 * _MOST_FOLDERS):  # SQLite limits the parameters
        block = fitting[start : start + 2 * _MOST_FOLDERS]
        marks = ", ".join(["(?, ?)"] * (len(block) // 2))
        found.append(
            ids_of(
                db,
                f"with wanted (root, inner) as (values {marks}) select photo.id "
                "from wanted cross join photo on root_id = root and folder = inner",
                block,
            )
        )
    return _union(found)


def _named(db: Database, pattern: str) -> Ids:
    """Compare with the name, or with the name without its suffix.

    SQL ignores the case of ASCII letters only, and quickly; names with others are few and have
    an index of their own.
    """
    stem = "substr(name, 1, length(rtrim(name, replace(name, '.', ''))) - 1)"
    wide = (
        "select id from photo where name glob '*[^ -~]*' and "
        f"(fold(name) like ?2 escape '\\' or fold({stem}) like ?2 escape '\\')"
    )
    if any(char in pattern for char in "*?"):
        # Whether anything is to be cut off is asked last: it takes longest.
        plain = (
            "select id from photo where (name like ?2 escape '\\' or "
            f"name like ?2 || '.%' escape '\\' and {stem} like ?2 escape '\\') "
            "and name not glob '*[^ -~]*'"
        )
    else:
        plain = (
            "select id from photo where name = ?1 collate nocase union "
            "select id from photo where name >= ?1 || '.' collate nocase "
            f"and name < ?1 || '/' collate nocase and {stem} = ?1 collate nocase"
        )
    folded = fold(pattern)
    return ascending(ids_of(db, f"{plain} union all {wide}", [folded, like(folded)]))


def _moments(when: Moments) -> _Condition:
    """Compare as the camera's clock showed it, or as instants where a zone was typed.

    A photo without an offset is taken to be of the zone that was typed.
    """
    if when.offset is None:
        bounds = [("taken_at >= ?", when.start), ("taken_at < ?", when.end)]
    else:
        utc = "cast(strftime('%s', taken_at) as integer)"
        column = f"case when length(taken_at) > 19 then {utc} else {utc} - {int(when.offset)} end"
        instant = f"cast(strftime('%s', ?) as integer) - {int(when.offset)}"
        bounds = [
            # Whatever the zones, the clocks are not further apart: an index finds these.
            ("taken_at >= ?", _moved(when.start, -_FARTHEST)),
            ("taken_at < ?", _moved(when.end, _FARTHEST)),
            (f"({column}) >= {instant}", _whole(when.start)),
            (f"({column}) < {instant}", _whole(when.end)),
        ]
    used = [(sql, value) for sql, value in bounds if value is not None]
    sql = " and ".join(["taken_at is not null", *(sql for sql, _ in used)])
    return sql, [value for _, value in used]


def _moved(moment: str | None, step: timedelta) -> str | None:
    try:
        return moment and (datetime.fromisoformat(_whole(moment) or "") + step).isoformat()
    except OverflowError:
        return None


def _whole(moment: str | None) -> str | None:
    """Fill a partial moment up: SQLite wants minutes."""
    return moment and moment + "0001-01-01T00:00:00"[len(moment) :]


def _numbers(column: str, numbers: Numbers) -> _Condition:
    bounds = [(f"photo.{column} >= ?", numbers.low), (f"photo.{column} <= ?", numbers.high)]
    used = [(sql, value) for sql, value in bounds if value is not None]
    sql = " and ".join([f"photo.{column} is not null", *(sql for sql, _ in used)])
    return sql, [value for _, value in used]


def _within(db: Database, area: Area) -> Ids:
    """Return the photos within a distance along the earth's surface (haversine formula)."""
    reach = area.kilometres / EARTH_KM  # as an angle
    low = area.latitude - math.degrees(reach) - 1e-9
    high = area.latitude + math.degrees(reach) + 1e-9
    rows = db.execute(
        "select id, latitude, longitude from photo "
        "where latitude between ? and ? and longitude is not null",
        [low, high],
    )
    table = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, 3)
    near = distances(table[:, 1], table[:, 2], area) <= area.kilometres
    found: Ids = table[near, 0].astype(np.int64)
    return found


def distances(
    latitudes: NDArray[np.float64], longitudes: NDArray[np.float64], area: Area
) -> NDArray[np.float64]:
    """Return the kilometres from the centre of an area (haversine formula), (n,)."""
    north, east = np.radians(latitudes), np.radians(longitudes)
    north_0, east_0 = math.radians(area.latitude), math.radians(area.longitude)
    chord = (
        np.sin((north - north_0) / 2) ** 2
        + np.cos(north) * math.cos(north_0) * np.sin((east - east_0) / 2) ** 2
    )
    found: NDArray[np.float64] = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(chord, 1)))
    return found
