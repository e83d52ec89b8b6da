"""Alt text: what runs proposed, and what people made of it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlite_utils import Database

from clipsearch.catalog.database import now
from clipsearch.records import AltState, AltText, Proposal

# The proposal that counts is that of the latest run, not undone, that looked at the photo.
_LATEST = """
  proposal join run on run.id = proposal.run_id
  where undone_at is null and not exists (
    select 1 from proposal as later join run as later_run on later_run.id = later.run_id
    where later.photo_id = proposal.photo_id and later.run_id > proposal.run_id
    and later_run.undone_at is null
  )
"""
_UNDECIDED = """
  not exists (
    select 1 from alt_text where alt_text.photo_id = proposal.photo_id and state <> 'file'
  ) and not exists (
    select 1 from rejected
    where rejected.photo_id = proposal.photo_id and rejected.text = proposal.text
  )
"""


def put_run(db: Database, run_id: int, proposals: Iterable[Proposal]) -> None:
    """Store the proposals of a new run, one a photo."""
    db.conn.executemany(
        "insert into proposal (run_id, photo_id, text, cosine, margin, fits) "
        "values (?, ?, ?, ?, ?, ?)",
        (
            (run_id, each.photo_id, each.text, each.cosine, each.margin, int(each.fits))
            for each in proposals
        ),
    )


def undecided(db: Database, *, min_margin: float = 0) -> list[Proposal]:
    """Return the proposals that fit and wait for a decision, the surest first."""
    rows = db.execute(
        f"select photo_id, text, cosine, margin, fits from {_LATEST} "
        f"and fits = 1 and margin >= ? and {_UNDECIDED} order by margin desc, photo_id",
        [min_margin],
    )
    return [Proposal(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def proposal(db: Database, photo_id: int) -> Proposal | None:
    """Return the proposal that counts for a photo."""
    row = db.execute(
        f"select photo_id, text, cosine, margin, fits from {_LATEST} and proposal.photo_id = ?",
        [photo_id],
    ).fetchone()
    return Proposal(row[0], row[1], row[2], row[3], bool(row[4])) if row else None


def decide(db: Database, photo_id: int, text: str, state: AltState) -> None:
    """Make a text the alt text of a photo."""
    db.execute(
        "insert into alt_text (photo_id, text, state, decided_at) values (?, ?, ?, ?) "
        "on conflict (photo_id) do update "
        "set text = excluded.text, state = excluded.state, decided_at = excluded.decided_at",
        [photo_id, text, state, now()],
    )


def reject(db: Database, photo_id: int, text: str) -> None:
    """Never propose this text for this photo again."""
    db.execute(
        "insert or ignore into rejected (photo_id, text, decided_at) values (?, ?, ?)",
        [photo_id, text, now()],
    )


def rejected(db: Database) -> dict[int, set[str]]:
    """Return the texts that people rejected, by photo."""
    found: dict[int, set[str]] = {}
    for photo_id, text in db.execute("select photo_id, text from rejected"):
        found.setdefault(photo_id, set()).add(text)
    return found


def take_from_file(db: Database, photo_id: int, description: str | None) -> None:
    """Follow the photo's own description, unless a person has decided."""
    db.execute("delete from alt_text where photo_id = ? and state = 'file'", [photo_id])
    if description:
        db.execute(
            "insert or ignore into alt_text (photo_id, text, state, decided_at) "
            "values (?, ?, 'file', ?)",
            [photo_id, description, now()],
        )


def alt_text(db: Database, photo_id: int) -> AltText | None:
    """Return the alt text of a photo."""
    row = db.execute("select text, state from alt_text where photo_id = ?", [photo_id]).fetchone()
    return AltText(*row) if row else None
