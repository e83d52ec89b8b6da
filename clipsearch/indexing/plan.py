"""What an indexing run has to do: the folders as they are beside the catalogue as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipsearch.catalog import Catalog, archive, photos
from clipsearch.catalog.archive import Model, Root
from clipsearch.catalog.photos import File, Stored, StoredSkip
from clipsearch.errors import LibraryError
from clipsearch.photos.walk import FoundFile, Walk, walk
from clipsearch.records import OnProgress, Progress


@dataclass
class Counts:
    """What happened to the photos so far."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0


@dataclass
class Folder:
    """A root that was walked; `stored`, `skips` and `gone` go by path relative to it."""

    root: Root
    walked: Walk
    stored: dict[str, Stored]
    skips: dict[str, StoredSkip]
    gone: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A file that has to be opened."""

    folder: Folder
    file: FoundFile

    @property
    def path(self) -> str:
        """The absolute path."""
        return os.path.join(self.folder.root.path, self.file.path)  # noqa: PTH118 - bytes round-trip

    @property
    def known(self) -> Stored | None:
        """The photo that the catalogue has at this path."""
        return self.folder.stored.get(self.file.path)

    @property
    def as_stored(self) -> bool:
        """Whether the file is as the catalogue knows it, so that only a vector is missing."""
        known = self.known
        return known is not None and known.stamp == (self.file.size, self.file.mtime_ns)

    @property
    def new_words(self) -> bool:
        """Whether a sidecar came, changed or went, so that keywords and texts are read again."""
        known = self.known
        return known is not None and known.sidecar != self.file.sidecar

    def with_content(self, content_hash: bytes) -> File:
        """Return the catalogue's form of this file."""
        file = self.file
        return File(
            self.folder.root.id, file.path, file.size, file.mtime_ns, content_hash, file.sidecar
        )


def look(
    catalog: Catalog, roots: Sequence[Root], model: Model, on_progress: OnProgress
) -> tuple[list[Folder], list[str]]:
    """Walk the roots that can be reached; return them, and a notice for each of the others."""
    folders: list[Folder] = []
    notices: list[str] = []
    seen = 0
    for root in roots:
        with catalog.read() as db:
            stored = photos.stored(db, root.id, model.id)
            skips = photos.stored_skips(db, root.id)

        def count(files: int, seen: int = seen) -> None:
            on_progress(Progress("walk", seen + files))

        stay = f"its {len(stored)} photos stay in the library"
        try:
            walked = walk(Path(root.path), count)
            device = Path(root.path).stat().st_dev
        except (LibraryError, OSError) as error:
            notices.append(f"{root.path} cannot be reached ({error}); {stay}")
            continue
        if not walked.files and stored and device != root.device:
            notices.append(
                f"{root.path} is empty and on another file system than before, "
                f"as an unmounted disk is; {stay}"
            )
            continue
        if device != root.device:
            with catalog.write() as db:
                archive.set_device(db, root.id, device)
        seen += len(walked.files)
        folders.append(Folder(root, walked, stored, skips, _gone(walked, stored)))
    return folders, notices


def jobs(folder: Folder, decoder: str, counts: Counts) -> Iterator[Job]:
    """Yield the files to open: neither unchanged nor known to be no photo."""
    for file in folder.walked.files:
        job = Job(folder, file)
        skip = folder.skips.get(file.path)
        if job.known and job.known.has_vector and job.as_stored and not job.new_words:
            counts.unchanged += 1
        elif not skip or (skip.size, skip.mtime_ns, skip.decoder) != (
            file.size,
            file.mtime_ns,
            decoder,
        ):
            yield job


def _gone(walked: Walk, stored: dict[str, Stored]) -> dict[str, int]:
    """Return path and id of the photos whose file is no more, as far as the walk could see."""
    there = {file.path for file in walked.files}
    # What a link leads to may be on a disk that is away.
    there.update(skip.path for skip in walked.skipped if skip.reason.startswith("link "))
    unseen = tuple(f"{path}/" if path else "" for path in walked.unreadable)
    return {
        path: photo.id
        for path, photo in stored.items()
        if path not in there and not path.startswith(unseen)
    }
