"""What an indexing run has to do: the folders as they are beside the catalogue as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from clipsearch.catalog import Catalog, archive, mounts, photos
from clipsearch.catalog.archive import Model, Root
from clipsearch.catalog.photos import File, Stored, StoredSkip
from clipsearch.errors import LibraryError
from clipsearch.photos.walk import FoundFile, Stamp, Walk, walk
from clipsearch.records import OnProgress, Progress

_PAGE = 5_000  # photos whose stamps are read at once


@dataclass
class Counts:
    """What happened to the photos so far."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    unread: set[int] = field(default_factory=set)
    """Sizes of files that could not be read just now."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A photo in whose place is a file that is none.

    It goes at the end of the run, together with the others: by then it is known how many do.
    """

    photo_id: int
    file: FoundFile
    reason: str


@dataclass
class Folder:
    """A root that was walked; `stored`, `skips` and `gone` go by path relative to it.

    `walked.files` and `stored` leave out the photos that are as they were, which are only
    counted: of a million there may be no other.
    """

    root: Root
    walked: Walk
    stored: dict[str, Stored]
    skips: dict[str, StoredSkip]
    unchanged: int = 0
    gone: dict[str, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    @property
    def has_blind_spots(self) -> bool:
        """Whether photos may have moved to where this walk could not look."""
        return _has_blind_spots(self.walked, self.skips)

    @property
    def to_remove(self) -> list[int]:
        """The ids of the photos that are no more."""
        return [*self.gone.values(), *(each.photo_id for each in self.broken)]

    def spare(self, sizes: set[int]) -> None:
        """Keep photos that are gone but have a size of these: they may have moved there."""
        for path in [path for path in self.gone if self.stored[path].size in sizes]:
            del self.gone[path]


@dataclass(frozen=True, slots=True)
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

        def count(files: int, seen: int = seen) -> None:
            on_progress(Progress("walk", seen + files))

        comparison = _Comparison(catalog, root, model)
        with catalog.read() as db:
            on_mounts = mounts.with_photos(db, root.id)
        try:
            # Before: a disk that goes meanwhile leaves another one in its place.
            device = Path(root.path).stat().st_dev
            walked = walk(Path(root.path), count, comparison.changed, on_mounts)
        except (LibraryError, OSError) as error:
            stay = f"its {_photos_of(catalog, root)} photos stay in the library"
            notices.append(f"{root.path} cannot be reached ({error}); {stay}")
            continue
        if not walked.seen and device != root.device and (known := _photos_of(catalog, root)):
            notices.append(
                f"{root.path} is empty and on another file system than before, "
                f"as an unmounted disk is; its {known} photos stay in the library"
            )
            continue
        for mount in walked.away:
            path = os.path.join(root.path, mount)  # noqa: PTH118 - bytes round-trip
            notices.append(
                f"{path}: the disk that was mounted here is away; its {on_mounts[mount]} photos "
                f"stay in the library, or go by `clipsearch forget {path}`"
            )
        if device != root.device:
            with catalog.write() as db:
                archive.set_device(db, root.id, device)
        if {*walked.mounts, *walked.away} != on_mounts.keys():
            with catalog.write() as db:
                mounts.replace(db, root.id, walked.mounts + walked.away)
        seen += walked.seen
        stored = comparison.others()
        with catalog.read() as db:
            skips = photos.stored_skips(db, root.id)
        unchanged = walked.seen - len(walked.files)
        folders.append(Folder(root, walked, stored, skips, unchanged, _gone(walked, stored, skips)))
    return folders, notices


def jobs(folder: Folder, decoder: str, counts: Counts, *, retry: bool = False) -> Iterator[Job]:
    """Yield the files to open: neither unchanged nor, but for `retry`, known to be no photo."""
    counts.unchanged += folder.unchanged
    for file in folder.walked.files:
        job = Job(folder, file)
        skip = folder.skips.get(file.path)
        if job.known and job.known.has_vector and job.as_stored and not job.new_words:
            counts.unchanged += 1
        elif (
            retry
            or not skip
            or (skip.size, skip.mtime_ns, skip.decoder)
            != (
                file.size,
                file.mtime_ns,
                decoder,
            )
        ):
            yield job


class _Comparison:
    """The catalogue's photos of a root beside a walk that meets its folders in their order.

    Only the photos of some folders, and those that differ, are in memory at a time.
    """

    def __init__(self, catalog: Catalog, root: Root, model: Model) -> None:
        self._catalog, self._root, self._model = catalog, root, model
        with catalog.read() as db:
            self._lacking = photos.lacking(db, root.id, model.id)
        self._waiting: dict[bytes, Stamp] = {}  # by path: stored, and not met yet
        self._differing: list[bytes] = []  # paths
        self._after: tuple[bytes, int] | None = (b"", 0)  # where to read on; None: all is read

    def changed(self, folder: bytes, files: Sequence[Stamp]) -> Sequence[Stamp]:
        """Return the files of a folder that are new, changed or have no vector yet."""
        while self._after is not None and self._after[0] <= folder:
            self._read_on(self._after)
        stored = [self._waiting.pop(file[0], None) for file in files]
        if stored == files and not self._lacking:
            return []
        changed = []
        for file, known in zip(files, stored, strict=True):
            if known != file or file[0] in self._lacking:
                changed.append(file)
                if known is not None:
                    self._differing.append(file[0])
        return changed

    def others(self) -> dict[str, Stored]:
        """Return the photos that were not met, not as they are, or have no vector, by path."""
        while self._after is not None:
            self._read_on(self._after)
        paths = [*self._waiting, *self._differing]
        with self._catalog.read() as db:
            found = photos.stored(db, self._root.id, self._model.id, paths)
            return {photo.path: photo for photo in found}

    def _read_on(self, after: tuple[bytes, int]) -> None:
        with self._catalog.read() as db:
            rows, self._after = photos.stamps(db, self._root.id, after, _PAGE)
        self._waiting.update(zip(map(itemgetter(0), rows), rows, strict=True))


def _photos_of(catalog: Catalog, root: Root) -> int:
    with catalog.read() as db:
        return photos.count_in(db, root.id)


def _has_blind_spots(walked: Walk, skips: dict[str, StoredSkip]) -> bool:
    """Tell whether folders could not be listed that could be the last time."""
    return any(path not in skips for path in walked.unreadable)


def _gone(walked: Walk, stored: dict[str, Stored], skips: dict[str, StoredSkip]) -> dict[str, int]:
    """Return path and id of the photos whose file is no more, as far as the walk could see."""
    if _has_blind_spots(walked, skips):
        return {}  # they may have moved to where it could not look, this time
    there = {file.path for file in walked.files}
    # What a link leads to may be on a disk that is away.
    away = ("link to a file that is not there", "link that cannot be followed")
    there.update(skip.path for skip in walked.skipped if skip.reason.startswith(away))
    unseen = tuple(f"{path}/" if path else "" for path in walked.unreadable)
    return {
        path: photo.id
        for path, photo in stored.items()
        if path not in there and not path.startswith(unseen)
    }
