"""Copies of the catalogue: asked for, made by themselves before something is lost, put back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from clipsearch.catalog import archive, backups, decisions, faults, restoring
from clipsearch.errors import LibraryError
from clipsearch.library.place import exclusive, is_library, mark_catalogue, mark_library
from clipsearch.library.session import Session
from clipsearch.records import Backup, OnProgress, Repaired, Restored, ignore_progress

FEW_DECIDED = 5
MANY = 1000
LARGE_PART = 10
"""An index run copies the catalogue aside before it drops photos that are gone where five carry
decisions of a person, a thousand go, or every tenth: a folder that was moved to a place that the
library does not follow. What goes day by day is too little for a copy of the whole."""


class Safekeeping(Session):
    """What keeps a library from losing anything."""

    def backup(
        self,
        target: str | os.PathLike[str],
        *,
        force: bool = False,
        on_progress: OnProgress = ignore_progress,
    ) -> Backup:
        """Copy the catalogue, as it is at this moment, to a file; others may write meanwhile.

        The file appears when it is whole and checked. Photos are not in it: only what the
        library knows of them. With `force`, a file of that name is replaced.

        Raises: DamagedLibraryError, LibraryError where the file cannot be written.
        """
        return backups.write(self._file, _path(target), force=force, on_progress=on_progress)

    def backups(self) -> list[Backup]:
        """List the copies that were made by themselves, the oldest first."""
        return backups.listed(self._file)

    def restore(
        self, source: str | os.PathLike[str], *, on_progress: OnProgress = ignore_progress
    ) -> Restored:
        """Make the catalogue what a backup says; see `restore` of this module.

        Raises: LibraryError, LibraryBusyError.
        """
        self._catalog.release()
        return restore(self.folder, source, keep=self.settings.backups, on_progress=on_progress)

    @property
    def _file(self) -> Path:
        return self.folder / "catalog.db"

    def _back_up(self, before: str) -> None:
        """Copy the catalogue aside before `before`, which loses something.

        Raises: LibraryError where that cannot be done: then nothing may be lost either.
        """
        if self.settings.backups:
            backups.automatic(self._file, before)

    def _before_removal(self, photo_ids: Sequence[int]) -> None:
        """Copy the catalogue aside before photos are dropped, if they are worth it.

        Raises: LibraryError.
        """
        if not photo_ids:
            return
        with self._catalog.read() as db:
            many = min(MANY, max(1, archive.status(db).photos // LARGE_PART))
            worth = len(photo_ids) >= many or decisions.count(db, photo_ids) >= FEW_DECIDED
        if worth:
            self._back_up("index")

    def _before_switch(self, name: str, fingerprint: str) -> None:
        """Copy the catalogue aside before another model takes over.

        Raises: LibraryError.
        """
        with self._catalog.read() as db:
            active = archive.active_model(db)
        if active is not None and (active.name, active.fingerprint) != (name, fingerprint):
            self._back_up("models-use")


def backups_of(folder: Path) -> list[Backup]:
    """List the automatic backups of a library that need not open, the oldest first."""
    return backups.listed(folder / "catalog.db")


def damage(folder: Path) -> str | None:
    """Say what is wrong with the catalogue of a library, also where it cannot be opened.

    Raises: LibraryError for one that is another program's, or of a newer version.
    """
    with faults.translated(folder / "catalog.db"):
        return restoring.damage(folder / "catalog.db")


def best_backup(folder: Path) -> Backup | None:
    """Return the newest automatic backup that is whole: the one that `repair` takes."""
    return backups.newest_whole(folder / "catalog.db")


def restore(
    folder: Path,
    source: str | os.PathLike[str],
    *,
    keep: bool = True,
    on_progress: OnProgress = ignore_progress,
) -> Restored:
    """Make the catalogue of a library what a backup says, also where it is damaged or gone.

    What was there is kept: as a backup if it is whole, put aside if it is not. Servers that have
    the library open answer from the restored one at once. Without `keep`, a whole catalogue goes
    without a backup.

    Raises: LibraryError, LibraryBusyError; the catalogue is then what it was.
    """
    chosen = _path(source)
    if not chosen.is_file():
        known = [Path(each.path) for each in backups_of(folder)]
        chosen = next((path for path in known if path.name == os.fspath(source)), chosen)
    if not chosen.is_file():
        raise LibraryError(f"{chosen}: there is no such file; `clipsearch restore` lists backups")
    backups.check(chosen)
    mark_library(folder)
    with exclusive(folder):
        try:
            done = restoring.restore(
                folder / "catalog.db", chosen, keep=keep, on_progress=on_progress
            )
        except OSError as error:
            raise LibraryError(
                f"{folder}: the backup cannot be put in place: {error.strerror}"
            ) from error
        _drop_indexes(folder)
    mark_catalogue(folder)
    return done


def repair(folder: Path, *, on_progress: OnProgress = ignore_progress) -> Repaired:
    """Put the newest whole backup in the place of a damaged catalogue, or else an empty one.

    The damaged file is put aside. Folders, tags and alt text by hand, and saved searches are read
    out of it, as far as they can be, and kept.

    Raises: LibraryError, LibraryBusyError; the catalogue is then what it was.
    """
    if not is_library(folder):
        raise LibraryError(f"{folder}: there is no library here; name one with --library")
    with exclusive(folder):
        try:
            done = restoring.repair(folder / "catalog.db", on_progress=on_progress)
        except OSError as error:
            raise LibraryError(f"{folder}: it cannot be repaired: {error.strerror}") from error
        _drop_indexes(folder)
    mark_catalogue(folder)
    return done


def _drop_indexes(folder: Path) -> None:
    """Delete the index files: they are derived from vectors that may not be there any more."""
    if (folder / "vectors").is_dir():
        shutil.rmtree(folder / "vectors", ignore_errors=True)


def _path(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - keeps links
