"""A library of photos: the one door for the command line, the service and Python programs.

`Session` opens it, `Searching` finds photos, `Describing` finds words, `Library` is all of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sqlite_utils import Database

from clipsearch.catalog import archive, mounts, photos, pictures
from clipsearch.catalog.archive import Root
from clipsearch.errors import LibraryError
from clipsearch.library.describing import Describing
from clipsearch.records import IndexReport, OnProgress, ignore_progress
from clipsearch.space import inside, resolved

__all__ = ["Library"]


class Library(Describing):
    """A folder with a catalogue of photos and their vectors, opened for use.

    `folder` is made if it does not exist, unless `create` is false; without one it is the user's
    own library.
    `model` is a name (`ViT-B-32-256/datacomp_s34b_b86k`, `ViT-B-32//path/to/weights.pt`,
    `starter`), an embedder, or `auto`: the library's own model, else the recommended one if it
    can be had, else the starter; `on_notice` is told why. Safe to use from several threads.

    Raises: LibraryError for a folder that cannot be opened.
    """

    def index(
        self,
        *roots: str | os.PathLike[str],
        retry: bool = False,
        on_progress: OnProgress = ignore_progress,
    ) -> IndexReport:
        """Add `roots` to the library and bring them up to date; without any, refresh all.

        New and changed photos are embedded, moved ones keep id and vector, photos that are
        gone are dropped. Photos are only ever read. Files that could not be decoded are opened
        again only when they, or the decoders, change; with `retry` all of them are.

        Raises: LibraryError, LibraryBusyError, ModelError, DecoderError.
        """
        from clipsearch import indexing

        with self._exclusive():
            self._take_back_killed_exports()
            self._before_switch(self.embedder.name, self.embedder.fingerprint)
            report = indexing.index(
                self._catalog,
                self.embedder,
                self._roots(roots),
                workers=self.workers,
                settings=self.settings,
                before_removal=self._before_removal,
                retry=retry,
                on_progress=on_progress,
            )
        self._space.settle(on_progress)
        return report

    def forget(self, root: str | os.PathLike[str]) -> int:
        """Drop a root with its photos from the library and return their number.

        The files stay as they are. A folder in a root on which a disk was mounted that is away
        now is forgotten in the same way.

        Raises: LibraryError where the library does not follow that folder.
        """
        path = resolved(root)
        with self._exclusive():
            with self._catalog.read() as db:
                is_root = any(known.path == path for known in archive.roots(db))
                is_known = is_root or _mount_at(db, path) is not None
            if is_known:
                self._back_up("forget")
            return self._forget(path)

    def _forget(self, path: str) -> int:
        with self._catalog.write() as db:
            found = next((known for known in archive.roots(db) if known.path == path), None)
            if found is None and (mount := _mount_at(db, path)):
                gone = mounts.photo_ids(db, *mount)
                photos.remove(db, gone)
                mounts.forget(db, *mount)
                pictures.drop_unused(db)
                return len(gone)
            if found is None:
                raise LibraryError(
                    f"{path}: the library does not follow this folder; see `clipsearch status`"
                )
            before = archive.status(db).photos
            archive.remove_root(db, found.id)
            pictures.drop_unused(db)
            return before - archive.status(db).photos

    def _roots(self, wanted: Sequence[str | os.PathLike[str]]) -> list[Root]:
        """Return the roots to walk, the wanted ones added; a root never lies inside another."""
        paths = [resolved(root) for root in wanted]
        for path in paths:
            if not Path(path).is_dir():
                what = "this is no folder" if Path(path).exists() else "no such folder"
                raise LibraryError(f"{path}: {what}; name a folder of photos")
        with self._catalog.write() as db:
            if not paths:
                known = archive.roots(db)
                if not known:
                    raise LibraryError("the library is empty; run `clipsearch index FOLDER`")
                return known
            chosen: dict[int, Root] = {}
            for path in paths:
                known = archive.roots(db)
                covering = next((root for root in known if inside(path, root.path)), None)
                if covering is None:
                    covering = archive.add_root(db, path, Path(path).stat().st_dev)
                    for child in known:
                        if inside(child.path, path):
                            _require_reachable(child)
                            archive.adopt(db, child, covering)
                            chosen.pop(child.id, None)
                chosen[covering.id] = covering
            return list(chosen.values())


def _mount_at(db: Database, path: str) -> tuple[int, str] | None:
    """Return root and relative path of a folder where a disk with photos was mounted, and is not.

    One whose disk is there is no case for this: the next run would bring its photos back.
    """
    for root in archive.roots(db):
        if inside(path, root.path) and not os.path.ismount(path):
            inner = os.path.relpath(path, root.path).replace(os.sep, "/")
            if inner in mounts.with_photos(db, root.id):
                return root.id, inner
    return None


def _require_reachable(root: Root) -> None:
    """Refuse to take over a root that is away: its photos would look deleted."""
    try:
        device = Path(root.path).stat().st_dev
    except OSError:
        device = None
    if device is None or device != root.device:
        raise LibraryError(
            f"{root.path} is part of this folder and cannot be reached, or lies on another disk "
            "than before; connect it, run `clipsearch index`, and then add this folder"
        )
