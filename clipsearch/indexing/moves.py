"""Recognise moved photos by their content, before anything is decoded.

A photo has moved when its content is found elsewhere and no longer where it was: gone, or
replaced by other content. So a photo keeps its id, and all that belongs to it, through renames,
swaps and reused names.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sqlite_utils import Database

from clipsearch.catalog import Catalog, archive, photos
from clipsearch.errors import PhotoError
from clipsearch.indexing.plan import Counts, Folder, Job
from clipsearch.photos import decode

_AT_ONCE = 10_000  # files that wait in line: each takes a kilobyte there

Place = tuple[int, str]  # root id, path relative to it


def known_contents(
    catalog: Catalog, jobs: Sequence[Job], threads: int
) -> tuple[dict[Place, bytes], dict[Place, PhotoError]]:
    """Hash the files that may have content which the catalogue knows; return what they have.

    Only files of a size that occurs in the catalogue are read. Those that cannot be read just
    now come with their errors: whether they are photos that moved, only another run can tell.
    """
    with catalog.read() as db:
        sizes, hashes = photos.contents(db)
    candidates = [job for job in jobs if not job.as_stored and job.file.size in sizes]

    unread: dict[Place, PhotoError] = {}

    def content(job: Job) -> bytes | None:
        try:
            return decode.content_hash(job.path)
        except PhotoError as error:
            if error.transient:
                unread[place_of(job)] = error
            return None  # where it is not, decoding will meet it again, and say so

    found: dict[Place, bytes] = {}
    with ThreadPoolExecutor(threads, thread_name_prefix="hash") as pool:
        for start in range(0, len(candidates), _AT_ONCE):
            part = candidates[start : start + _AT_ONCE]
            for job, known in zip(part, pool.map(content, part), strict=True):
                if known is not None and known in hashes:
                    found[place_of(job)] = known
    return found, unread


def carry_out(
    catalog: Catalog,
    folders: Sequence[Folder],
    jobs: Sequence[Job],
    contents: dict[Place, bytes],
    unread: Collection[Place],
    counts: Counts,
) -> list[Job]:
    """Give moved photos their new places, in one transaction; return the jobs that remain.

    What may be a move that involves a file that is `unread`, or a folder that could not be listed,
    waits for another run.
    """
    jobs = _decidable(jobs, contents, unread)
    by_root = {folder.root.id: folder for folder in folders}
    changed = {place_of(job) for job in jobs if job.known and not job.as_stored}
    remaining: list[Job] = []
    moves: dict[Place, tuple[Job, int, Place]] = {}
    taken: set[int] = set()
    with catalog.write() as db:
        for job in jobs:
            target = place_of(job)
            content = contents.get(target)
            source = None
            if content is not None and not _still_there(db, job, content):
                source = next(
                    (
                        (photo_id, (root_id, path))
                        for photo_id, root_id, path in photos.with_content(db, content)
                        if photo_id not in taken
                        and _has_left((root_id, path), content, by_root, changed, contents, db)
                    ),
                    None,
                )
            if source is None:
                remaining.append(job)
            else:
                moves[target] = (job, *source)
                taken.add(source[0])
        if not moves:
            return remaining
        _relocate(db, by_root, moves, contents, counts)
    return remaining + [
        job
        for job, _, _ in moves.values()
        if job.known and (job.new_words or not job.known.has_vector)
    ]


def _decidable(
    jobs: Sequence[Job], contents: dict[Place, bytes], unread: Collection[Place]
) -> Sequence[Job]:
    """Leave out jobs that may be moves, or half of one, from or to where nobody can look now."""
    sizes = {job.file.size for job in jobs if place_of(job) in unread}
    blind = any(job.folder.has_blind_spots for job in jobs)
    return [
        job
        for job in jobs
        if job.as_stored
        or place_of(job) in unread
        or not (
            (blind and place_of(job) in contents)
            or (job.known is not None and job.known.size in sizes)
        )
    ]


def _still_there(db: Database, job: Job, content: bytes) -> bool:
    """Tell whether the file was only touched."""
    return job.known is not None and photos.content_hash(db, job.known.id) == content


def _has_left(
    place: Place,
    content: bytes,
    folders: dict[int, Folder],
    changed: set[Place],
    contents: dict[Place, bytes],
    db: Database,
) -> bool:
    """Tell whether the content of a photo is no longer where the catalogue has it."""
    root_id, path = place
    if folder := folders.get(root_id):
        return path in folder.gone or (place in changed and contents.get(place) != content)
    # A root outside this run: believe the disk, but only while the root itself is there.
    root = next((root.path for root in archive.roots(db) if root.id == root_id), None)
    return root is not None and Path(root).is_dir() and not os.path.lexists(f"{root}/{path}")


def _relocate(
    db: Database,
    folders: dict[int, Folder],
    moves: dict[Place, tuple[Job, int, Place]],
    contents: dict[Place, bytes],
    counts: Counts,
) -> None:
    movers = {photo_id for _, photo_id, _ in moves.values()}
    displaced = {job.known.id for job, _, _ in moves.values() if job.known} - movers
    photos.remove(db, displaced)
    counts.removed += len(displaced)
    counts.moved += len(moves)
    photos.park(db, movers)  # two photos that swap their names must not meet
    stays: dict[int, dict[str, photos.Stored]] = defaultdict(dict)
    for target, (job, photo_id, (root_id, path)) in moves.items():
        source = folders.get(root_id)
        before = source.stored[path] if source else None
        # The stamp of a sidecar that was not read yet must not say that it was.
        stamp = before.sidecar if before else ""
        photos.relocate(db, photo_id, replace(job.with_content(contents[target]), sidecar=stamp))
        photos.clear_skipped(db, target[0], [target[1]])
        stays[target[0]][target[1]] = (
            replace(before, path=target[1], moved=True)
            if before
            else photos.Stored(photo_id, target[1], 0, 0, has_vector=False, moved=True)
        )
        if source:
            source.gone.pop(path, None)
    for _, _, (root_id, path) in moves.values():
        if folder := folders.get(root_id):
            folder.stored.pop(path, None)
    for root_id, arrived in stays.items():
        folders[root_id].stored.update(arrived)


def place_of(job: Job) -> Place:
    """Return where the file of a job is."""
    return job.folder.root.id, job.file.path
