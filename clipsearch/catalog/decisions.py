"""Take back what a person decided about the alt text of a photo."""

from __future__ import annotations

from sqlite_utils import Database

from clipsearch.catalog import captions


def forget(db: Database, photo_id: int, description: str | None) -> None:
    """Forget what was decided: the file's own `description` counts again, and so do proposals."""
    db.execute("delete from alt_text where photo_id = ?", [photo_id])
    db.execute("delete from rejected where photo_id = ?", [photo_id])
    captions.take_from_file(db, photo_id, description)
