"""The library as a whole: its revision, its model, its roots."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sqlite_utils import Database

from clipsearch.catalog import faults
from clipsearch.catalog.database import now
from clipsearch.records import Status


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the library has or had vectors of."""

    id: int
    name: str
    fingerprint: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that the library follows; `path` is absolute."""

    id: int
    path: str
    device: int | None


def identity(db: Database) -> tuple[str, int]:
    """Return the library's uuid and revision."""
    row = db.execute("select uuid, revision from archive").fetchone()
    return row[0], row[1]


def embedded(db: Database) -> tuple[str, int]:
    """Return the library's uuid and the number that moves with every change of vectors alone."""
    row = db.execute("select uuid, embedded from archive").fetchone()
    return row[0], row[1]


def described(db: Database) -> int:
    """Return the number that moves with every change of tags."""
    found: int = db.execute("select described from archive").fetchone()[0]
    return found


def active_model(db: Database) -> Model | None:
    """Return the model that answers searches, once there is one."""
    row = db.execute(
        "select model.id, name, fingerprint, dimensions "
        "from archive join model on model.id = model_id"
    ).fetchone()
    return Model(*row) if row else None


def models(db: Database) -> list[tuple[Model, int]]:
    """List every model with its number of vectors, oldest first."""
    rows = db.execute(
        "select id, name, fingerprint, dimensions, "
        "(select count(*) from vector where model_id = model.id) from model order by id"
    )
    return [(Model(*row[:4]), row[4]) for row in rows]


def ensure_model(
    db: Database,
    name: str,
    fingerprint: str,
    *,
    dimensions: int,
    logit_scale: float,
    logit_bias: float | None,
) -> Model:
    """Return the model of that name and fingerprint, recorded now if it is new."""
    db.execute(
        "insert or ignore into model "
        "(name, fingerprint, dimensions, logit_scale, logit_bias, added_at) "
        "values (?, ?, ?, ?, ?, ?)",
        [name, fingerprint, dimensions, logit_scale, logit_bias, now()],
    )
    found = find_model(db, name, fingerprint)
    assert found is not None  # noqa: S101 - inserted two lines above
    return found


def find_model(db: Database, name: str, fingerprint: str) -> Model | None:
    """Return a model that the library has recorded."""
    row = db.execute(
        "select id, name, fingerprint, dimensions from model where name = ? and fingerprint = ?",
        [name, fingerprint],
    ).fetchone()
    return Model(*row) if row else None


def use_model(db: Database, model_id: int) -> None:
    """Let this model answer searches from now on."""
    db.execute("update archive set model_id = ? where model_id is not ?", [model_id, model_id])


def without_vector(db: Database, model_id: int) -> int:
    """Count the photos that have a vector, but none of this model."""
    count: int = db.execute(
        "select count(distinct photo_id) from vector as other where model_id <> ? and not exists "
        "(select 1 from vector where model_id = ? and photo_id = other.photo_id)",
        [model_id, model_id],
    ).fetchone()[0]
    return count


def replace_model(db: Database, model_id: int) -> None:
    """Switch to a model that is complete; vectors of its earlier weights are of no more use."""
    use_model(db, model_id)
    db.execute(
        "delete from model where id <> ? and name = (select name from model where id = ?)",
        [model_id, model_id],
    )


def roots(db: Database) -> list[Root]:
    """List the roots in the order of their paths."""
    rows = db.execute("select id, path, device from root order by path")
    return [Root(row[0], os.fsdecode(row[1]), row[2]) for row in rows]


def add_root(db: Database, path: str, device: int) -> Root:
    """Add a root; `path` is absolute."""
    cursor = db.execute(
        "insert into root (path, device, added_at) values (?, ?, ?)",
        [os.fsencode(path), device, now()],
    )
    assert cursor.lastrowid is not None  # noqa: S101 - an insert has just happened
    return Root(cursor.lastrowid, path, device)


def set_device(db: Database, root_id: int, device: int) -> None:
    """Remember the file system that a root was last seen on."""
    db.execute("update root set device = ? where id = ?", [device, root_id])


def adopt(db: Database, child: Root, parent: Root) -> None:
    """Move all photos of `child` to `parent`, a root above it, and drop `child`."""
    prefix = os.path.relpath(child.path, parent.path).replace(os.sep, "/")
    for table in ("photo", "skipped"):
        rows = db.execute(f"select path from {table} where root_id = ?", [child.id]).fetchall()
        db.conn.executemany(
            f"update {table} set root_id = ?, path = ? where root_id = ? and path = ?",
            ((parent.id, os.fsencode(prefix) + b"/" + path, child.id, path) for (path,) in rows),
        )
    remove_root(db, child.id)


def remove_root(db: Database, root_id: int) -> None:
    """Forget a root with its photos; the files stay where they are."""
    db.execute("delete from root where id = ?", [root_id])


def fault(db: Database) -> str | None:
    """Return the first thing that SQLite's own checks find wrong."""
    return faults.fault(db.conn)


def status(db: Database) -> Status:
    """Count what the library holds."""
    photos, skipped, revision = db.execute(
        "select (select count(*) from photo), (select count(*) from skipped), revision from archive"
    ).fetchone()
    model = active_model(db)
    return Status(
        photos=photos,
        skipped=skipped,
        roots=tuple(root.path for root in roots(db)),
        model=model.name if model else None,
        dimensions=model.dimensions if model else None,
        revision=revision,
        models=tuple(known.name for known, vectors in models(db) if vectors),
    )
