"""What people decided about photos: how much there is, and how it is taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlite_utils import Database

from clipsearch.catalog import captions


def forget(db: Database, photo_id: int, description: str | None) -> None:
    """Forget what was decided: the file's own `description` counts again, and so do proposals."""
    db.execute("delete from alt_text where photo_id = ?", [photo_id])
    db.execute("delete from rejected where photo_id = ?", [photo_id])
    captions.take_from_file(db, photo_id, description)


def count(db: Database, photo_ids: Sequence[int]) -> int:
    """Count the photos that carry a tag or an alt text by hand, or a caption that was rejected."""
    found: int = db.execute(
        "select count(*) from photo where id in (select value from json_each(?)) and ("
        "exists (select 1 from hand_tag where photo_id = photo.id) or "
        "exists (select 1 from alt_text where photo_id = photo.id and state <> 'file') or "
        "exists (select 1 from rejected where photo_id = photo.id))",
        [json.dumps([int(each) for each in photo_ids])],
    ).fetchone()[0]
    return found
