"""Tags: what runs decided, what hands decided, and the table that follows from both.

`tag` is derived. For each photo and label the hand decides; else the photo's own metadata; else
the latest run, not undone, that looked at this photo with this label.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlite_utils import Database

from clipsearch.catalog.database import now
from clipsearch.records import Tag

_COVERED_LATER = """
  exists (
    select 1 from run as later
    join run_photo on run_photo.run_id = later.id and run_photo.photo_id = run_tag.photo_id
    join run_label on run_label.run_id = later.id and run_label.label = run_tag.label
    where later.id > run_tag.run_id and later.undone_at is null
  )
"""
_REMOVED_BY_HAND = """
  exists (
    select 1 from hand_tag
    where hand_tag.photo_id = run_tag.photo_id and hand_tag.label = run_tag.label and holds = 0
  )
"""


def put_run(
    db: Database, run_id: int, labels: Iterable[str], tags: Iterable[tuple[int, str, float]]
) -> int:
    """Store the tags of a new run, (photo id, label, score 0 to 1), and let them hold.

    Returns how many tags there are. Photos of the run must be recorded before.
    """
    db.conn.executemany(
        "insert into run_label (run_id, label) values (?, ?)", ((run_id, name) for name in labels)
    )
    db.conn.executemany(
        "insert into run_tag (run_id, photo_id, label, score) values (?, ?, ?, ?)",
        ((run_id, *tag) for tag in tags),
    )
    _forget_derived(db, run_id)
    db.execute(  # the newest run covers all it looked at: no need to compare with others
        "insert or ignore into tag (photo_id, label, origin, score, run_id) "
        "select photo_id, label, 'run', score, run_id from run_tag "
        f"where run_id = ? and not {_REMOVED_BY_HAND}",
        [run_id],
    )
    count: int = db.execute("select count(*) from run_tag where run_id = ?", [run_id]).fetchone()[0]
    return count


def withdraw_run(db: Database, run_id: int) -> None:
    """Derive the tags again that a run had a say in; it is marked as undone already."""
    _forget_derived(db, run_id)
    db.execute(
        "insert or ignore into tag (photo_id, label, origin, score, run_id) "
        "select run_tag.photo_id, run_tag.label, 'run', score, run_tag.run_id "
        "from run_photo as scope join run_tag on run_tag.photo_id = scope.photo_id "
        "join run on run.id = run_tag.run_id "
        "where scope.run_id = ? and run.undone_at is null "
        "and run_tag.label in (select label from run_label where run_id = ?) "
        f"and not {_COVERED_LATER} and not {_REMOVED_BY_HAND}",
        [run_id, run_id],
    )


def set_by_hand(db: Database, photo_id: int, label: str, holds: bool | None) -> None:
    """Let a hand decide that a label holds or not; `None` gives it back to metadata and runs."""
    if holds is None:
        db.execute("delete from hand_tag where photo_id = ? and label = ?", [photo_id, label])
    else:
        db.execute(
            "insert into hand_tag (photo_id, label, holds, decided_at) values (?, ?, ?, ?) "
            "on conflict (photo_id, label) do update "
            "set holds = excluded.holds, decided_at = excluded.decided_at",
            [photo_id, label, int(holds), now()],
        )
    derive(db, photo_id)


def derive(db: Database, photo_id: int) -> None:
    """Derive all tags of one photo again."""
    db.execute("delete from tag where photo_id = ?", [photo_id])
    db.execute(
        "insert into tag (photo_id, label, origin) "
        "select photo_id, label, 'hand' from hand_tag where photo_id = ? and holds = 1",
        [photo_id],
    )
    db.execute(
        "insert or ignore into tag (photo_id, label, origin) "
        "select photo_id, keyword, 'file' from keyword where photo_id = ? "
        "and not exists (select 1 from hand_tag where hand_tag.photo_id = keyword.photo_id "
        "and hand_tag.label = keyword.keyword and holds = 0)",
        [photo_id],
    )
    db.execute(
        "insert or ignore into tag (photo_id, label, origin, score, run_id) "
        "select photo_id, label, 'run', score, run_id from run_tag join run on run.id = run_id "
        "where photo_id = ? and undone_at is null "
        f"and not {_COVERED_LATER} and not {_REMOVED_BY_HAND}",
        [photo_id],
    )


def of_photo(db: Database, photo_id: int) -> list[Tag]:
    """Return the tags of a photo by name."""
    rows = db.execute(
        "select label, origin, score, tag.run_id, model from tag left join run on run.id = run_id "
        "where photo_id = ? order by label",
        [photo_id],
    )
    return [Tag(*row) for row in rows]


def counts(db: Database) -> list[tuple[str, int]]:
    """Count the photos of each label, the most frequent first."""
    rows = db.execute(
        "select label, count(*) from tag group by label order by count(*) desc, label"
    )
    return [(row[0], row[1]) for row in rows]


def _forget_derived(db: Database, run_id: int) -> None:
    db.execute(
        "delete from tag where origin = 'run' "
        "and photo_id in (select photo_id from run_photo where run_id = ?) "
        "and label in (select label from run_label where run_id = ?)",
        [run_id, run_id],
    )
