"""A library: catalogue, model and index opened once, for the command line and the service alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, archive, photos
from clipsearch.catalog.archive import Model, Root
from clipsearch.config import LIBRARY_MARKER, Settings, default_library
from clipsearch.errors import LibraryBusyError, LibraryError, PhotoNotFoundError, QueryError
from clipsearch.query import Query, parse
from clipsearch.records import (
    IndexReport,
    OnProgress,
    Photo,
    SearchResult,
    Skipped,
    Status,
    ignore_progress,
)
from clipsearch.space import AnyPhoto, Space, inside, resolved

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder

OnNotice = Callable[[str], None]


class Library:
    """A folder with a catalogue of photos and their vectors, opened for use.

    `folder` is made if it does not exist; without one it is the user's own library.
    `model` is a name (`ViT-B-32-256/datacomp_s34b_b86k`, `ViT-B-32//path/to/weights.pt`,
    `starter`), an embedder, or `auto`: the library's own model, else the recommended one if it
    can be had, else the starter; `on_notice` is told why. Safe to use from several threads.

    Raises: LibraryError for a folder that cannot be opened.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        model: str | Embedder = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        settings: Settings | None = None,
        on_notice: OnNotice | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute() if folder else default_library()
        self.settings = settings or Settings()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            marker = self.folder / LIBRARY_MARKER
            if not marker.exists():
                marker.write_text("This folder belongs to clipsearch.\n", encoding="utf-8")
        except OSError as error:
            raise LibraryError(
                f"{self.folder}: the library folder cannot be made: {error.strerror}"
            ) from error
        self._catalog = Catalog(self.folder / "catalog.db")
        self._space = Space(
            self.folder,
            self._catalog,
            model,
            device=device,
            precision=precision,
            settings=self.settings,
            on_notice=on_notice or (lambda _: None),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue and let go of model and index."""
        self._catalog.close()
        self._space.close()

    def index(
        self, *roots: str | os.PathLike[str], on_progress: OnProgress = ignore_progress
    ) -> IndexReport:
        """Add `roots` to the library and bring them up to date; without any, refresh all.

        New and changed photos are embedded, moved ones keep id and vector, photos that are
        gone are dropped. Photos are only ever read.

        Raises: LibraryError, LibraryBusyError, ModelError.
        """
        from filelock import FileLock, Timeout

        from clipsearch import indexing

        lock = FileLock(self.folder / "index.lock", timeout=0)
        try:
            with lock:
                chosen = self._roots(roots)
                return indexing.index(
                    self._catalog,
                    self.embedder,
                    chosen,
                    settings=self.settings,
                    on_progress=on_progress,
                )
        except Timeout:
            raise LibraryBusyError(
                f"{self.folder}: another clipsearch is indexing this library; wait until it is done"
            ) from None

    def search(self, query: str | Query, *, k: int = 20, offset: int = 0) -> SearchResult:
        """Rank all photos by `query` and return the hits from rank `offset` on, at most `k`.

        Raises: QueryError, ModelError, PhotoNotFoundError, PhotoError.
        """
        from clipsearch import searching

        _check_page(k, offset)
        started = time.perf_counter()
        parsed = parse(query, paths=True) if isinstance(query, str) else query
        model = self._space.model_in_use()
        vector = searching.query_vector(
            parsed,
            texts=self._space.embedder_of(model).texts,
            image=lambda term: self._space.vector(
                int(term.value) if term.kind == "image" else term.value, model
            )[1],
        )
        return self._ranked(str(query), vector, model, started, k=k, offset=offset)

    def similar(self, photo: AnyPhoto, *, k: int = 20, offset: int = 0) -> SearchResult:
        """Rank all other photos by likeness to one: a photo's id, or the path of any image.

        Raises: PhotoNotFoundError, PhotoError, ModelError.
        """
        _check_page(k, offset)
        started = time.perf_counter()
        model = self._space.model_in_use()
        known, vector = self._space.vector(photo, model)
        name = f"image:{known}" if known is not None else os.fspath(photo)  # type: ignore[arg-type]
        return self._ranked(name, vector, model, started, k=k, offset=offset, without=known)

    def photo(self, photo_id: int) -> Photo:
        """Return a photo with its facts.

        Raises: PhotoNotFoundError.
        """
        with self._catalog.read() as db:
            found = photos.photo(db, photo_id)
        if found is None:
            raise PhotoNotFoundError(f"there is no photo {photo_id} in {self.folder}")
        return found

    def thumbnail(self, photo_id: int, *, size: int = 360) -> Path:
        """Return the path of a small WebP picture of a photo, made now if need be.

        Raises: PhotoNotFoundError, PhotoError.
        """
        from clipsearch.photos import thumbnails

        found = self.photo(photo_id)
        with self._catalog.read() as db:
            key = photos.content_hash(db, photo_id).hex()
        return thumbnails.thumbnail(found.path, self.folder / "thumbnails", key=key, size=size)

    def status(self) -> Status:
        """Count what the library holds."""
        with self._catalog.read() as db:
            return archive.status(db)

    def skipped(self) -> list[Skipped]:
        """List the files that were not indexed, with the reasons."""
        with self._catalog.read() as db:
            return [skip for _, skip in photos.skipped(db)]

    def fault(self) -> str | None:
        """Check the whole catalogue; return what is wrong with it, if anything is."""
        with self._catalog.read() as db:
            return archive.fault(db)

    def forget(self, root: str | os.PathLike[str]) -> int:
        """Drop a root with its photos from the library and return their number.

        The files stay as they are.

        Raises: LibraryError where the library does not follow that folder.
        """
        path = resolved(root)
        with self._catalog.write() as db:
            found = next((known for known in archive.roots(db) if known.path == path), None)
            if found is None:
                raise LibraryError(
                    f"{path}: the library does not follow this folder; see `clipsearch status`"
                )
            before = archive.status(db).photos
            archive.remove_root(db, found.id)
            return before - archive.status(db).photos

    @property
    def embedder(self) -> Embedder:
        """The model in use, loaded on first access.

        Raises: ModelError.
        """
        return self._space.embedder

    def _roots(self, wanted: Sequence[str | os.PathLike[str]]) -> list[Root]:
        """Return the roots to walk, the wanted ones added; a root never lies inside another."""
        paths = [resolved(root) for root in wanted]
        for path in paths:
            if not Path(path).is_dir():
                raise LibraryError(f"{path}: no such folder; name a folder of photos")
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
                            archive.adopt(db, child, covering)
                            chosen.pop(child.id, None)
                chosen[covering.id] = covering
            return list(chosen.values())

    def _ranked(
        self,
        query: str,
        vector: NDArray[np.float32],
        model: Model,
        started: float,
        *,
        k: int,
        offset: int,
        without: int | None = None,
    ) -> SearchResult:
        from clipsearch import searching

        index = self._space.index(model)
        hits = searching.rank(self._catalog, index, vector, k=k, offset=offset, without=without)
        took_ms = round((time.perf_counter() - started) * 1000, 1)
        total = len(index) - (without is not None)
        return SearchResult(query, model.name, total, took_ms, hits)


def _check_page(k: int, offset: int) -> None:
    if k < 1 or offset < 0:
        raise QueryError("k must be at least 1 and offset at least 0", f"k={k} offset={offset}", 0)
