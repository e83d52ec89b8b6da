"""Bring the catalogue in line with the folders: embed what is new, carry over what moved.

Threads have photos decoded by worker processes, ahead of one thread that runs the model and
writes; every batch is one transaction, so that a run can be killed at any moment and the next one
goes on from there.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from clipsearch.catalog import Catalog, archive, photos, pictures
from clipsearch.catalog.archive import Model, Root
from clipsearch.config import Settings
from clipsearch.errors import PhotoError, SidecarError
from clipsearch.indexing import moves, plan, words, writer
from clipsearch.indexing.plan import Counts, Job
from clipsearch.indexing.writer import Read
from clipsearch.models.embedder import Embedder
from clipsearch.photos import decode, sidecars
from clipsearch.photos.decode import Decoded
from clipsearch.photos.workers.pool import Workers
from clipsearch.records import IndexReport, OnProgress, Progress, ignore_progress

__all__ = ["index"]

T = TypeVar("T")
R = TypeVar("R")

_LARGEST_BATCH = 256  # files without an image to embed fill a transaction too


def index(
    catalog: Catalog,
    embedder: Embedder,
    roots: Sequence[Root],
    *,
    workers: Workers,
    settings: Settings,
    before_removal: Callable[[Sequence[int]], None] = lambda _: None,
    retry: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> IndexReport:
    """Index `roots` with the embedder's model and make it the library's model when complete.

    Rows are removed only after a complete walk of a readable root; `before_removal` is told of
    the photos and may raise. With `retry`, files that
    could not be decoded are opened again although neither they nor the decoders changed.

    Raises: LibraryError, ModelError, DecoderError. A photo that cannot be read is listed, never
    raised.
    """
    started = time.monotonic()
    counts = Counts()
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
    max_pixels = decode.limit_of(settings.max_pixels)
    decoder = workers.fingerprint(max_pixels)
    folders, notices = plan.look(catalog, roots, model, on_progress)
    jobs = [job for folder in folders for job in plan.jobs(folder, decoder, counts, retry=retry)]
    if jobs:
        contents, unread = moves.known_contents(catalog, jobs, threads)
        jobs = moves.carry_out(catalog, folders, jobs, contents, unread, counts)
        stop = threading.Event()
        open_photo = partial(
            workers.open_photo,
            size=embedder.image_size,
            max_pixels=max_pixels,
            hashed=True,
            stop=stop,
        )
        read = _reader(catalog, embedder, model, contents, unread, open_photo, notices)
        _embed(catalog, embedder, model, jobs, read, threads, decoder, counts, stop, on_progress)
    for folder in folders:
        folder.spare(counts.unread)
    before_removal([photo_id for folder in folders for photo_id in folder.to_remove])
    with catalog.write() as db:
        for folder in folders:
            writer.drop_gone(db, folder, decoder, counts)
        if counts.removed or counts.updated:
            pictures.drop_unused(db)
        if missing := archive.without_vector(db, model.id):
            active = archive.active_model(db)
            if active is not None and active.id != model.id:
                notices.append(
                    f"{missing} photos have no vector of {model.name} yet; searches stay with "
                    f"{active.name} until they do"
                )
        else:
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


def _reader(
    catalog: Catalog,
    embedder: Embedder,
    model: Model,
    contents: dict[moves.Place, bytes],
    unread: dict[moves.Place, PhotoError],
    open_photo: Callable[[str], Decoded],
    notices: list[str],
) -> Callable[[Job], Read]:
    """Return what the threads do with a file; it never raises for a bad photo."""
    with catalog.read() as db:
        embedded, plain = photos.embedded_contents(db, model.id)

    def read(job: Job) -> Read:
        place = moves.place_of(job)
        if error := unread.get(place):
            return Read(job, error=error)
        content = contents.get(place)
        if content in plain and not job.file.sidecar and not job.new_words:
            return Read(job, content)
        try:
            decoded = open_photo(job.path)
        except PhotoError as error:
            return Read(job, content or b"", error=error)
        content, facts = decoded.content_hash, decoded.facts
        if job.file.sidecar:
            if not sidecars.find(job.path):
                gone = "its sidecar went away while it was read"
                return Read(job, content, error=PhotoError(job.path, gone, transient=True))
            try:
                facts = words.with_sidecars(
                    catalog, job.known.id if job.known else None, job.path, facts
                )
            except SidecarError as error:  # the photo itself is whole
                notices.append(str(error))
        image = None if content in embedded else embedder.prepare(decoded.image)
        return Read(job, content, facts, image, picture_hash=decoded.picture_hash)

    return read


def _embed(
    catalog: Catalog,
    embedder: Embedder,
    model: Model,
    jobs: Sequence[Job],
    read: Callable[[Job], Read],
    threads: int,
    decoder: str,
    counts: Counts,
    stop: threading.Event,
    on_progress: OnProgress,
) -> None:
    """Read ahead, embed and write until no job is left; then, or on an error, set `stop`."""
    on_progress(Progress("embed", 0, len(jobs)))
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        found = _ahead(pool, read, jobs, depth=threads + 2 * embedder.batch_size)
        try:
            for batch in _batches(found, embedder.batch_size):
                writer.write(catalog, model, embedder, batch, decoder=decoder, counts=counts)
                done += len(batch)
                on_progress(Progress("embed", done, len(jobs)))
        finally:  # before the pool waits for what its threads have under way
            stop.set()


def _batches(found: Iterable[Read], images: int) -> Iterator[list[Read]]:
    """Collect reads until they hold that many images."""
    batch: list[Read] = []
    waiting = 0
    for read in found:
        batch.append(read)
        waiting += read.image is not None
        if waiting == images or len(batch) == _LARGEST_BATCH:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


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
