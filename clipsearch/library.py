"""A library: catalogue, model and index opened once, for the command line and the service alike."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, archive, photos, vectors
from clipsearch.catalog.archive import Model, Root
from clipsearch.config import LIBRARY_MARKER, Settings, default_library
from clipsearch.errors import LibraryBusyError, LibraryError, PhotoNotFoundError, QueryError
from clipsearch.query import Query, Term, parse
from clipsearch.records import (
    IndexReport,
    OnProgress,
    Photo,
    SearchResult,
    Skipped,
    Status,
    ignore_progress,
)

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder
    from clipsearch.vectors import VectorIndex

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
        self._model = model
        self._device, self._precision = device, precision
        self._on_notice = on_notice or (lambda _: None)
        self._lock = threading.RLock()
        self._embedder: Embedder | None = None if isinstance(model, str) else model
        self._index: tuple[tuple[str, int, int], VectorIndex] | None = None
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
        self._embedder = self._index = None

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
        model = self._model_in_use()
        embedder = self._embedder_of(model)
        vector = searching.query_vector(
            parsed, texts=embedder.texts, image=lambda term: self._image_vector(term, model)
        )
        return self._ranked(str(query), vector, model, started, k=k, offset=offset)

    def similar(
        self, photo: int | str | os.PathLike[str], *, k: int = 20, offset: int = 0
    ) -> SearchResult:
        """Rank all other photos by likeness to one: a photo's id, or the path of any image.

        Raises: PhotoNotFoundError, PhotoError, ModelError.
        """
        _check_page(k, offset)
        started = time.perf_counter()
        model = self._model_in_use()
        known = photo if isinstance(photo, int) else self._id_at(photo)
        if known is not None:
            vector, name = self._stored_vector(known, model), f"image:{known}"
        else:
            assert not isinstance(photo, int)  # noqa: S101 - narrowed by the line above
            vector, name = self._embedded_file(photo, model), os.fspath(photo)
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
        path = _resolved(root)
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
        with self._lock:
            if self._embedder is None:
                from clipsearch.models import registry

                self._embedder = registry.load(
                    self._model_name(), device=self._device, precision=self._precision
                )
            return self._embedder

    def _model_name(self) -> str:
        assert isinstance(self._model, str)  # noqa: S101 - an embedder is never loaded again
        if self._model != "auto":
            return self._model
        with self._catalog.read() as db:
            if own := archive.active_model(db):
                return own.name
        from clipsearch.models import registry

        choice = registry.resolve_auto()
        if choice.reason:
            self._on_notice(choice.reason)
        return choice.name

    def _roots(self, wanted: Sequence[str | os.PathLike[str]]) -> list[Root]:
        """Return the roots to walk, the wanted ones added; a root never lies inside another."""
        paths = [_resolved(root) for root in wanted]
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
                covering = next((root for root in known if _inside(path, root.path)), None)
                if covering is None:
                    covering = archive.add_root(db, path, Path(path).stat().st_dev)
                    for child in known:
                        if _inside(child.path, path):
                            archive.adopt(db, child, covering)
                            chosen.pop(child.id, None)
                chosen[covering.id] = covering
            return list(chosen.values())

    def _model_in_use(self) -> Model:
        """Return the model whose vectors answer; the embedder itself may not be needed."""
        with self._catalog.read() as db:
            active = archive.active_model(db)
            if active is None or not archive.status(db).photos:
                raise LibraryError(
                    f"{self.folder}: the library is empty; run `clipsearch index FOLDER` first"
                )
            if self._model == "auto":
                return active
            name = self.embedder.name
            found = archive.find_model(db, name, self.embedder.fingerprint)
            if found is None and name != active.name:
                raise LibraryError(
                    f"the library has no vectors of {name}; run `clipsearch models use {name}`"
                )
            return found or active

    def _embedder_of(self, model: Model) -> Embedder:
        """Return the embedder, sure that its vectors may be compared with those of `model`."""
        embedder = self.embedder
        if (embedder.name, embedder.fingerprint) != (model.name, model.fingerprint):
            raise LibraryError(
                f"the weights of {model.name} are not those that the library was indexed with; "
                "run `clipsearch index` to embed the photos again"
            )
        return embedder

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

        index = self._vector_index(model)
        hits = searching.rank(self._catalog, index, vector, k=k, offset=offset, without=without)
        took_ms = round((time.perf_counter() - started) * 1000, 1)
        total = len(index) - (without is not None)
        return SearchResult(query, model.name, total, took_ms, hits)

    def _vector_index(self, model: Model) -> VectorIndex:
        """Return the index of the present revision: kept, read from its file, or built."""
        from clipsearch.vectors import VectorIndex

        with self._lock:
            with self._catalog.read() as db:
                key = (*archive.identity(db), model.id)
                if self._index and self._index[0] == key:
                    return self._index[1]
                folder = self.folder / "vectors"
                file = folder / f"{key[0][:12]}-{model.id}-{key[1]}.index"
                try:
                    index = VectorIndex.load(file, model.dimensions)
                except LibraryError:  # absent, stale or damaged: derived again from the truth
                    index = VectorIndex(*vectors.all_of(db, model.id, model.dimensions))
                    index.save(file)
                    for old in folder.glob(f"*-{model.id}-*.index"):
                        if old != file:
                            old.unlink(missing_ok=True)
            self._index = (key, index)
            return index

    def _image_vector(self, term: Term, model: Model) -> NDArray[np.float32]:
        if term.kind == "image":
            return self._stored_vector(int(term.value), model)
        known = self._id_at(term.value)
        return (
            self._embedded_file(term.value, model)
            if known is None
            else self._stored_vector(known, model)
        )

    def _stored_vector(self, photo_id: int, model: Model) -> NDArray[np.float32]:
        with self._catalog.read() as db:
            vector = vectors.get(db, photo_id, model.id)
        if vector is None:
            raise PhotoNotFoundError(f"there is no photo {photo_id} in {self.folder}")
        return vector

    def _embedded_file(self, path: str | os.PathLike[str], model: Model) -> NDArray[np.float32]:
        from clipsearch.photos import decode

        embedder = self._embedder_of(model)
        limit = self.settings.max_pixels or decode.pixel_limit(decode.available_memory())
        file = Path(path).expanduser()
        image = decode.open_photo(file, size=embedder.image_size, max_pixels=limit).image
        vector: NDArray[np.float32] = embedder.images([image])[0]
        return vector

    def _id_at(self, path: str | os.PathLike[str]) -> int | None:
        """Return the id of the library's photo at a path, if it is one."""
        target = _resolved(path)
        with self._catalog.read() as db:
            for root in archive.roots(db):
                if _inside(target, root.path):
                    inner = os.path.relpath(target, root.path).replace(os.sep, "/")
                    return photos.at_path(db, root.id, inner)
        return None


def _check_page(k: int, offset: int) -> None:
    if k < 1 or offset < 0:
        raise QueryError("k must be at least 1 and offset at least 0", f"k={k} offset={offset}", 0)


def _resolved(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(Path(path).expanduser())


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
