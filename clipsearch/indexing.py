"""Bring the catalogue in line with the folders: embed what is new, carry over what moved.

Threads read and decode ahead of one thread that runs the model and writes; every batch is one
transaction, so that a run can be killed at any moment and the next one goes on from there.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PIL import Image
from sqlite_utils import Database

from clipsearch.catalog import Catalog, archive, photos, vectors
from clipsearch.catalog.archive import Model, Root
from clipsearch.catalog.photos import File, Stored, StoredSkip
from clipsearch.config import Settings
from clipsearch.errors import LibraryError, PhotoError
from clipsearch.models.embedder import Embedder
from clipsearch.photos import decode
from clipsearch.photos.walk import FoundFile, Walk, walk
from clipsearch.records import Facts, IndexReport, OnProgress, Progress, ignore_progress

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class _Folder:
    """A root that was walked, beside what the catalogue knew of it."""

    root: Root
    walked: Walk
    stored: dict[str, Stored]
    skips: dict[str, StoredSkip]
    gone: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    folder: _Folder
    file: FoundFile

    @property
    def path(self) -> str:
        return os.path.join(self.folder.root.path, self.file.path)  # noqa: PTH118 - bytes round-trip

    @property
    def known(self) -> Stored | None:
        return self.folder.stored.get(self.file.path)


@dataclass(frozen=True)
class _Read:
    """What a thread found in a file: an image to embed, known content, or an error."""

    job: _Job
    content_hash: bytes = b""
    facts: Facts | None = None
    image: Image.Image | None = None
    error: PhotoError | None = None


@dataclass
class _Counts:
    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0


def index(
    catalog: Catalog,
    embedder: Embedder,
    roots: Sequence[Root],
    *,
    settings: Settings,
    on_progress: OnProgress = ignore_progress,
) -> IndexReport:
    """Index `roots` with the embedder's model and make it the library's model when complete.

    Rows are removed only after a complete walk of a readable root.

    Raises: LibraryError, ModelError. A photo that cannot be read is listed, never raised.
    """
    started = time.monotonic()
    counts = _Counts()
    notices: list[str] = []
    with catalog.write() as db:
        model = archive.ensure_model(
            db,
            embedder.name,
            embedder.fingerprint,
            dimensions=embedder.dimensions,
            logit_scale=embedder.logit_scale,
            logit_bias=embedder.logit_bias,
        )
        if archive.active_model(db) is None:
            archive.use_model(db, model.id)  # a first run can be searched while it goes on
    threads = settings.threads or os.cpu_count() or 2
    max_pixels = settings.max_pixels or decode.pixel_limit(decode.available_memory())
    decoder = decode.fingerprint(max_pixels)
    folders = _walk_all(catalog, roots, model, notices, on_progress)
    jobs = [job for folder in folders for job in _jobs(folder, decoder, counts)]
    _embed_all(catalog, embedder, model, folders, jobs, counts, threads, max_pixels, on_progress)
    with catalog.write() as db:
        for folder in folders:
            _drop_gone(db, folder, counts)
        archive.replace_model(db, model.id)
        listed = {folder.root.path for folder in folders}
        skipped = tuple(skip for root, skip in photos.skipped(db) if root in listed)
    return IndexReport(
        added=counts.added,
        updated=counts.updated,
        moved=counts.moved,
        unchanged=counts.unchanged,
        removed=counts.removed,
        skipped=skipped,
        seconds=round(time.monotonic() - started, 3),
        model=embedder.name,
        embedded=counts.embedded,
        notices=tuple(notices),
    )


def _walk_all(
    catalog: Catalog,
    roots: Sequence[Root],
    model: Model,
    notices: list[str],
    on_progress: OnProgress,
) -> list[_Folder]:
    folders = []
    seen = 0
    for root in roots:
        with catalog.read() as db:
            stored = photos.stored(db, root.id, model.id)
            skips = photos.stored_skips(db, root.id)
        try:
            walked = walk(
                Path(root.path),
                lambda count, seen=seen: on_progress(Progress("walk", seen + count)),  # type: ignore[misc]
            )
            device = Path(root.path).stat().st_dev
        except (LibraryError, OSError):
            notices.append(
                f"{root.path} cannot be reached; its {len(stored)} photos stay in the library"
            )
            continue
        if not walked.files and stored and device != root.device:
            notices.append(
                f"{root.path} is empty and on another file system than before, as an unmounted "
                f"disk is; its {len(stored)} photos stay in the library"
            )
            continue
        if device != root.device:
            with catalog.write() as db:
                archive.set_device(db, root.id, device)
        seen += len(walked.files)
        folder = _Folder(root, walked, stored, skips)
        folder.gone = _gone(folder)
        folders.append(folder)
    return folders


def _gone(folder: _Folder) -> dict[str, int]:
    """Return path and id of the photos whose file is no more, as far as the walk could see."""
    there = {file.path for file in folder.walked.files}
    hidden = tuple(f"{path}/" if path else "" for path in folder.walked.unreadable)
    return {
        path: photo.id
        for path, photo in folder.stored.items()
        if path not in there and not path.startswith(hidden)
    }


def _jobs(folder: _Folder, decoder: str, counts: _Counts) -> Iterator[_Job]:
    """Yield the files to open: neither unchanged nor known to be no photo."""
    for file in folder.walked.files:
        known = folder.stored.get(file.path)
        skip = folder.skips.get(file.path)
        as_before = (file.size, file.mtime_ns)
        if known and (known.size, known.mtime_ns) == as_before and known.has_vector:
            counts.unchanged += 1
        elif not (skip and (skip.size, skip.mtime_ns) == as_before and skip.decoder == decoder):
            yield _Job(folder, file)


def _embed_all(
    catalog: Catalog,
    embedder: Embedder,
    model: Model,
    folders: Sequence[_Folder],
    jobs: Sequence[_Job],
    counts: _Counts,
    threads: int,
    max_pixels: int,
    on_progress: OnProgress,
) -> None:
    if not jobs:
        return
    with catalog.read() as db:
        sizes, hashes = photos.known_contents(db, model.id)
    decoder = decode.fingerprint(max_pixels)
    writer = _Writer(
        catalog, model, {folder.root.id: folder for folder in folders}, counts, decoder
    )

    def read(job: _Job) -> _Read:
        try:
            if job.file.size in sizes:
                content_hash = decode.content_hash(job.path)
                if content_hash in hashes:
                    return _Read(job, content_hash)
            decoded = decode.open_photo(job.path, size=embedder.image_size, max_pixels=max_pixels)
            image = embedder.prepare(decoded.image)
            return _Read(job, decoded.content_hash, decoded.facts, image)
        except PhotoError as error:
            return _Read(job, error=error)

    on_progress(Progress("embed", 0, len(jobs)))
    done = 0
    batch: list[_Read] = []
    images: list[Image.Image] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for found in _ahead(pool, read, jobs, depth=threads + 2 * embedder.batch_size):
            batch.append(found)
            if found.image is not None:
                images.append(found.image)
            if len(images) < embedder.batch_size and len(batch) < 256:
                continue
            writer.write(batch, images, embedder)
            done += len(batch)
            batch, images = [], []
            on_progress(Progress("embed", done, len(jobs)))
        if batch:
            writer.write(batch, images, embedder)
            on_progress(Progress("embed", len(jobs), len(jobs)))


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], *, depth: int
) -> Iterator[R]:
    """Yield `function` of each item in order, with at most `depth` items under way."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class _Writer:
    """Writes what was read, one transaction a batch."""

    def __init__(
        self,
        catalog: Catalog,
        model: Model,
        folders: dict[int, _Folder],
        counts: _Counts,
        decoder: str,
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._folders = folders
        self._counts = counts
        self._decoder = decoder

    def write(
        self, batch: Sequence[_Read], images: Sequence[Image.Image], embedder: Embedder
    ) -> None:
        embedded = iter(embedder.images(images)) if images else iter(())
        self._counts.embedded += len(images)
        with self._catalog.write() as db:
            for found in batch:
                if found.error is not None:
                    self._skip(db, found.job, found.error)
                    continue
                photo_id = self._place(db, found)
                vector = next(embedded) if found.image is not None else None
                if vector is not None and not vectors.has(db, photo_id, self._model.id):
                    vectors.put(db, photo_id, self._model.id, vector)

    def _place(self, db: Database, found: _Read) -> int:
        """Insert, update or move the photo of a file and return its id."""
        job, known = found.job, found.job.known
        file = File(
            job.folder.root.id, job.file.path, job.file.size, job.file.mtime_ns, found.content_hash
        )
        photos.clear_skipped(db, file.root_id, [file.path])
        if known and photos.content_hash(db, known.id) == found.content_hash:
            photos.relocate(db, known.id, file)
            self._counts.unchanged += 1
            return known.id
        same = photos.with_content(db, found.content_hash)
        if moved := next((photo for photo in same if self._is_gone(db, *photo[1:])), None):
            if known:
                photos.remove(db, [known.id])
                self._counts.removed += 1
            photos.relocate(db, moved[0], file)
            if old := self._folders.get(moved[1]):
                old.gone.pop(moved[2], None)
            self._counts.moved += 1
            return moved[0]
        facts = found.facts
        if facts is None:  # content that is known needs no decoding
            twin = photos.photo(db, same[0][0])
            assert twin is not None  # noqa: S101 - read in this transaction
            facts = twin.facts
        if known:
            photos.update(db, known.id, file, facts)
            self._counts.updated += 1
            photo_id = known.id
        else:
            photo_id = photos.add(db, file, facts)
            self._counts.added += 1
        for twin_id, _, _ in same:
            vectors.carry_over(db, twin_id, photo_id)
        return photo_id

    def _is_gone(self, db: Database, root_id: int, path: str) -> bool:
        if folder := self._folders.get(root_id):
            return path in folder.gone
        # A root outside this run: believe the disk, but only while the root itself is there.
        root = next((root.path for root in archive.roots(db) if root.id == root_id), None)
        return root is not None and Path(root).is_dir() and not os.path.lexists(f"{root}/{path}")

    def _skip(self, db: Database, job: _Job, error: PhotoError) -> None:
        photos.set_skipped(
            db,
            job.folder.root.id,
            job.file.path,
            error.reason,
            size=job.file.size,
            mtime_ns=job.file.mtime_ns,
            decoder=None if error.transient else self._decoder,
        )
        # What cannot be read today may be readable tomorrow; what is broken is no photo any more.
        if job.known and not error.transient:
            photos.remove(db, [job.known.id])
            self._counts.removed += 1


def _drop_gone(db: Database, folder: _Folder, counts: _Counts) -> None:
    """Forget photos and skipped files that a complete walk did not meet."""
    photos.remove(db, folder.gone.values())
    counts.removed += len(folder.gone)
    said = {skip.path: skip.reason for skip in folder.walked.skipped}
    there = {file.path for file in folder.walked.files}
    photos.clear_skipped(db, folder.root.id, folder.skips.keys() - there - said.keys())
    for path, reason in said.items():
        if (before := folder.skips.get(path)) is None or before.reason != reason:
            photos.set_skipped(db, folder.root.id, path, reason)
