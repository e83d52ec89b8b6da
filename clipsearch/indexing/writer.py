"""Write what was read and embedded, one transaction a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlite_utils import Database

from clipsearch.catalog import Catalog, photos, pictures, vectors
from clipsearch.catalog.archive import Model
from clipsearch.errors import PhotoError
from clipsearch.indexing.plan import Broken, Counts, Folder, Job
from clipsearch.models.embedder import Embedder
from clipsearch.photos.walk import FoundFile
from clipsearch.records import Facts


@dataclass(frozen=True)
class Read:
    """What a thread found in a file: an image to embed, content that is known, or an error."""

    job: Job
    content_hash: bytes = b""
    facts: Facts | None = None
    image: Image.Image | None = None
    error: PhotoError | None = None
    picture_hash: int | None = None


def write(
    catalog: Catalog,
    model: Model,
    embedder: Embedder,
    batch: Sequence[Read],
    *,
    decoder: str,
    counts: Counts,
) -> None:
    """Embed the images of a batch and write all of it, or nothing."""
    images = [found.image for found in batch if found.image is not None]
    embedded = iter(embedder.images(images)) if images else iter(())
    counts.embedded += len(images)
    vector: NDArray[np.float32] | None
    with catalog.write() as db:
        for found in batch:
            if found.error is not None:
                _skip(db, found, found.error, decoder, counts)
                continue
            vector = next(embedded) if found.image is not None else None
            if vector is not None and not np.isfinite(vector).all():
                # One such row would spoil every search; overflow in half precision makes them.
                error = PhotoError(found.job.path, "the model gives no vector for it")
                _skip(db, found, error, decoder, counts)
                continue
            photo_id = _place(db, found, counts)
            if found.picture_hash is not None:
                pictures.put(db, [(found.content_hash, found.picture_hash)])
            if vectors.has(db, photo_id, model.id):
                continue
            if vector is not None:
                vectors.put(db, photo_id, model.id, vector)
            else:  # a copy of what was embedded by a run that was cut off
                vectors.take_from_copy(db, photo_id, model.id)


def drop_gone(db: Database, folder: Folder, decoder: str, counts: Counts) -> None:
    """Forget photos and skipped files that a complete walk did not meet, or that broke."""
    gone = folder.to_remove
    photos.remove(db, gone)
    counts.removed += len(gone)
    for each in folder.broken:
        _list_skipped(db, folder, each.file, each.reason, decoder)
    said = {skip.path: skip.reason for skip in folder.walked.skipped}
    there = {file.path for file in folder.walked.files}
    photos.clear_skipped(db, folder.root.id, folder.skips.keys() - there - said.keys())
    for path, reason in said.items():
        if (before := folder.skips.get(path)) is None or before.reason != reason:
            photos.set_skipped(db, folder.root.id, path, reason)


def _place(db: Database, found: Read, counts: Counts) -> int:
    """Insert or update the photo of a file and return its id."""
    job = found.job
    known = job.known
    file = job.with_content(found.content_hash)
    photos.clear_skipped(db, file.root_id, [file.path])
    if known and photos.content_hash(db, known.id) == found.content_hash:
        photos.relocate(db, known.id, file)
        if found.facts is not None and job.new_words:
            photos.take_words(db, known.id, found.facts)
        counts.unchanged += not known.moved
        return known.id
    twin_id = photos.plain_twin(db, found.content_hash)
    facts = found.facts
    if facts is None:  # content that is known needs no decoding
        twin = photos.photo(db, twin_id) if twin_id else None
        assert twin is not None  # noqa: S101 - the thread saw that there is one
        facts = twin.facts
    if known:
        photos.update(db, known.id, file, facts)
        counts.updated += 1
        photo_id = known.id
    else:
        photo_id = photos.add(db, file, facts)
        counts.added += 1
    if twin_id:  # equal content, equal vector, whatever batch it came in
        vectors.carry_over(db, twin_id, photo_id)
    return photo_id


def _skip(db: Database, found: Read, error: PhotoError, decoder: str, counts: Counts) -> None:
    job = found.job
    if error.transient:
        counts.unread.add(job.file.size)
    # What cannot be read today may be readable tomorrow, and what did not change is what it was:
    # only content that was replaced by something broken is no photo any more.
    unchanged = job.as_stored or (
        job.known is not None and photos.content_hash(db, job.known.id) == found.content_hash
    )
    if job.known and not error.transient and not unchanged:
        job.folder.broken.append(Broken(job.known.id, job.file, error.reason))
    else:
        known_to = None if error.transient else decoder
        _list_skipped(db, job.folder, job.file, error.reason, known_to)


def _list_skipped(
    db: Database, folder: Folder, file: FoundFile, reason: str, decoder: str | None
) -> None:
    photos.set_skipped(
        db,
        folder.root.id,
        file.path,
        reason,
        size=file.size,
        mtime_ns=file.mtime_ns,
        decoder=decoder,
    )
