"""Write tags and alt text to XMP sidecars, so that it can be taken back.

What is about to be written is recorded first, in a run that stays open until the last file is in
place. A run that was killed in between is found open, and taken back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipsearch.catalog import Catalog, photos, runs, tags
from clipsearch.catalog import captions as texts
from clipsearch.catalog.archive import Model
from clipsearch.catalog.runs import Written
from clipsearch.errors import SidecarError
from clipsearch.photos import sidecars
from clipsearch.records import OnProgress, Progress, Skipped, ignore_progress


@dataclass(frozen=True, slots=True)
class SidecarReport:
    """What an export did, or would do: `differences` are unified diffs of a dry run."""

    run: int | None
    written: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    differences: tuple[str, ...] = ()


def export_sidecars(
    catalog: Catalog,
    model: Model,
    photo_ids: Sequence[int],
    *,
    dry_run: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> SidecarReport:
    """Merge tags and alt text into the sidecars of photos; a broken sidecar is left as it is.

    Raises: LibraryError. Where a file cannot be written, what was written before it is taken back.
    """
    planned: list[tuple[sidecars.Change, Written]] = []
    skipped: list[Skipped] = []
    for done, photo_id in enumerate(photo_ids):
        try:
            step = _plan(catalog, photo_id)
        except SidecarError as error:
            skipped.append(_skip(error))
            continue
        if step is not None:
            planned.append(step)
        on_progress(Progress("tag", done + 1, len(photo_ids)))
    unchanged = len(photo_ids) - len(planned) - len(skipped)
    if dry_run or not planned:
        differences = tuple(sidecars.difference(change) for change, _ in planned)
        count = len(planned) if dry_run else 0
        return SidecarReport(None, count, unchanged, tuple(skipped), differences if dry_run else ())
    with catalog.write() as db:
        run_id = runs.begin(
            db,
            "export",
            model,
            source="xmp",
            source_hash="",
            settings={},
            photos=[written.photo_id for _, written in planned],
        )
        runs.put_sidecars(db, run_id, [written for _, written in planned])
        runs.finish(db, run_id, len(planned))
    try:
        for change, _ in planned:
            sidecars.write(change)
    except SidecarError:
        take_back(catalog, run_id)
        raise
    with catalog.write() as db:
        runs.close(db, run_id)
    return SidecarReport(run_id, len(planned), unchanged, tuple(skipped))


def take_back(catalog: Catalog, run_id: int) -> tuple[Skipped, ...]:
    """Restore what was there before an export; return the files that could not be restored.

    A file that others changed since stays as it is. Where a file or its folder is away, the run
    is not undone yet: try again when the disk is back.
    """
    with catalog.read() as db:
        files = runs.sidecars(db, run_id)
        places = {photo.id: photo.path for photo in photos.photos(db, [f.photo_id for f in files])}
    skipped: list[Skipped] = []
    away = False
    for file in files:
        path = _present_path(file, places.get(file.photo_id))
        if path is None:
            away = True
            skipped.append(Skipped(file.path, "it cannot be reached; undo again when it can"))
            continue
        try:
            sidecars.revert(path, file.before, file.after_hash.hex())
        except SidecarError as error:
            skipped.append(_skip(error))
            continue
        with catalog.write() as db:
            runs.drop_sidecar(db, run_id, file.path)
    with catalog.write() as db:
        runs.close(db, run_id)
        if not away:
            runs.set_undone(db, run_id)
    return tuple(skipped)


def _present_path(file: Written, photo: str | None) -> str | None:
    """Return where a sidecar is now: it moves with its photo; `None` where it is out of reach."""
    for path in dict.fromkeys([file.path, *([sidecars.sidecar_path(photo)] if photo else [])]):
        if os.path.lexists(path):
            return path
    # Nobody needs to restore "no file" where the photo's folder shows that there is none.
    folder_is_there = Path(file.path).parent.is_dir()
    return file.path if folder_is_there else None


def _plan(catalog: Catalog, photo_id: int) -> tuple[sidecars.Change, Written] | None:
    with catalog.read() as db:
        photo = photos.photo(db, photo_id)
        if photo is None:
            return None
        held = tags.of_photo(db, photo_id)
        chosen = texts.alt_text(db, photo_id)
        last = runs.last_written(db, photo_id, sidecars.sidecar_path(photo.path))
    if not Path(photo.path).is_file():
        raise SidecarError(f"{photo.path}: the photo cannot be reached; run `clipsearch index`")
    keywords, description = photo.facts.keywords, photo.facts.description
    ours = tuple(tag.label for tag in held if tag.origin != "file")
    text = chosen.text if chosen and chosen.state != "file" else None
    change = sidecars.plan(
        photo.path,
        tags=ours,
        alt_text=text,
        previous_tags=last.tags if last else (),
        previous_alt_text=last.alt_text if last else None,
        foreign_tags=keywords,
    )
    if change is None:
        return None
    digest = bytes.fromhex(change.digest)
    file = (photo_id, change.path, change.before, digest)
    return change, Written(*file, ours, text, keywords, description)


def _skip(error: SidecarError) -> Skipped:
    path, _, reason = str(error).partition(": ")
    return Skipped(path, reason)
