"""The embedding space of a library: its model and its index, each opened once and kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsearch import prompts, relevance
from clipsearch.catalog import Catalog, archive, facets, photos, texts, vectors
from clipsearch.catalog.archive import Model
from clipsearch.catalog.facets import Columns
from clipsearch.config import Settings
from clipsearch.errors import (
    LibraryBusyError,
    LibraryError,
    PhotoNotFoundError,
    ReadOnlyLibraryError,
)
from clipsearch.records import OnProgress
from clipsearch.searching import Copies, Hubs
from clipsearch.upkeep import Upkeep

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder
    from clipsearch.photos.workers.pool import Workers
    from clipsearch.relevance import Backdrop, Scores
    from clipsearch.vectors import VectorIndex
    from clipsearch.vectors.rows import Part

Vector = NDArray[np.float32]
AnyPhoto = int | str | os.PathLike[str]

SAMPLE = 4096
"""Photos that stand for the library when a query is judged: a median good to 1/50 of a spread."""


class Space:
    """What answers in a library: a model by name (loaded when first needed) or an embedder."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        model: str | Embedder,
        *,
        device: str,
        precision: str,
        settings: Settings,
        on_notice: Callable[[str], None],
        workers: Callable[[], Workers],
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._name = model if isinstance(model, str) else None
        self._embedder = None if isinstance(model, str) else model
        self._device, self._precision = device, precision
        self._settings = settings
        self._on_notice = on_notice
        self._workers = workers
        self._lock = threading.RLock()
        self._upkeep = Upkeep(folder / "vectors", catalog, on_notice=on_notice)
        self._copies: tuple[tuple[str, int], Copies] | None = None
        self._columns: tuple[tuple[str, int, int], Columns] | None = None
        self._backdrop: tuple[VectorIndex, Backdrop, Hubs] | None = None
        self._hubs: tuple[Part, Scores] | None = None

    def close(self) -> None:
        """Let go of model and index."""
        self._upkeep.close()
        self._embedder = self._copies = self._columns = self._backdrop = self._hubs = None

    @property
    def embedder(self) -> Embedder:
        """The model in use, loaded on first access.

        Raises: ModelError.
        """
        with self._lock:
            if self._embedder is None:
                from clipsearch.models import registry

                self._embedder = registry.load(
                    self._resolved_name(), device=self._device, precision=self._precision
                )
            return self._embedder

    def model_in_use(self) -> Model:
        """Return the model whose vectors answer; the embedder itself may not be needed.

        Raises: LibraryError where the library has no vectors of it.
        """
        with self._catalog.read() as db:
            active = archive.active_model(db)
            if active is None or not photos.any_there(db):
                raise LibraryError(
                    f"{self._folder}: the library is empty; run `clipsearch index FOLDER` first"
                )
            if self._name == "auto":
                return active
            name = self.embedder.name
            found = archive.find_model(db, name, self.embedder.fingerprint)
            if found is None and name != active.name:
                raise LibraryError(
                    f"the library has no vectors of {name}; run `clipsearch models use {name}`"
                )
            return found or active

    def embedder_of(self, model: Model) -> Embedder:
        """Return the embedder, sure that its vectors may be compared with those of `model`.

        Raises: LibraryError, ModelError.
        """
        embedder = self.embedder
        if (embedder.name, embedder.fingerprint) != (model.name, model.fingerprint):
            raise LibraryError(
                f"the weights of {model.name} are not those that the library was indexed with; "
                "run `clipsearch index` to embed the photos again"
            )
        return embedder

    def index(self, model: Model) -> VectorIndex:
        """Return the index of the present vectors; it never changes.

        Raises: LibraryError.
        """
        return self._upkeep.index(model)

    def settle(self, on_progress: OnProgress) -> None:
        """Have the index of the library's own model ready before anybody searches.

        Raises: LibraryError.
        """
        with self._catalog.read() as db:
            model = archive.active_model(db)
        if model is not None:
            self._upkeep.settle(model, on_progress)

    def forget_index(self) -> None:
        """Drop an index whose file is damaged; the next one is made from the catalogue."""
        self._upkeep.forget()

    def copies(self) -> Copies:
        """Return the photos of the present revision that share their content with another."""
        with self._lock, self._catalog.read() as db:
            key = archive.identity(db)
            if self._copies is None or self._copies[0] != key:
                self._copies = (key, Copies(*photos.copies(db)))
            return self._copies[1]

    def columns(self) -> Columns:
        """Return the facts that facets count, as they are now."""
        with self._lock, self._catalog.read() as db:
            key = (*archive.identity(db), archive.described(db))
            if self._columns is None or self._columns[0] != key:
                self._columns = (key, facets.columns(db))
            return self._columns[1]

    def backdrop(self, model: Model, index: VectorIndex) -> tuple[Backdrop, Hubs]:
        """Return what the photos of an index look like to any query, and which are hubs.

        Raises: LibraryError, ModelError.
        """
        with self._lock:
            if self._backdrop is None or self._backdrop[0] is not index:
                known = self._backdrop
                if known and known[0].base is index.base and not index.is_exact:
                    scene = known[1]  # of so many photos, a few more change nothing
                else:
                    scene = relevance.backdrop(
                        index.sample(SAMPLE),
                        self.texts(model, prompts.background()),
                        relevance.coefficients(model.name),
                    )
                if self._hubs is None or self._hubs[0] is not index.base:
                    self._hubs = (index.base, _background_cosines(scene, index.base))
                tables = [(index.base.ids, self._hubs[1])]
                if index.tail is not None:
                    tables.insert(0, (index.tail.ids, _background_cosines(scene, index.tail)))
                self._backdrop = (index, scene, Hubs(scene, tuple(tables)))
            return self._backdrop[1:]

    def texts(self, model: Model, wanted: Sequence[str]) -> Vector:
        """Embed texts as (n, dimensions); those that were asked for before are remembered.

        Raises: LibraryError, ModelError.
        """
        with self._catalog.read() as db:
            found = texts.known(db, model.id, wanted)
        if missing := [text for text in dict.fromkeys(wanted) if text not in found]:
            fresh = dict(zip(missing, self.embedder_of(model).texts(missing), strict=True))
            found |= fresh
            try:
                with self._catalog.write(wait=0.1) as db:
                    texts.keep(db, model.id, fresh)
            # An indexer writes, or nobody may: the answer does not depend on it.
            except (LibraryBusyError, ReadOnlyLibraryError) as error:
                self._on_notice(f"the text is not remembered: {error}")
        return np.array([found[text] for text in wanted], np.float32).reshape(
            len(wanted), model.dimensions
        )

    def vector(self, photo: AnyPhoto, model: Model) -> tuple[int | None, Vector]:
        """Return the id, if the library has the photo, and the vector of an id or a path.

        A file that is not in the library is decoded and embedded.

        Raises: PhotoNotFoundError, PhotoError, DecoderError, ModelError.
        """
        known = self._known(photo)
        if known is not None:
            with self._catalog.read() as db:
                stored = vectors.get(db, known, model.id)
            if stored is not None:
                return known, stored
            if isinstance(photo, int):
                raise PhotoNotFoundError(f"there is no photo {photo} in {self._folder}")
        return known, self._embed_file(self.embedder_of(model), photo)

    def subject(self, photo: AnyPhoto) -> Vector:
        """Return the vector of a photo of the library, or of any image file.

        Unlike `vector`, this needs no library that was indexed with the model.

        Raises: PhotoNotFoundError, PhotoError, DecoderError, ModelError.
        """
        embedder = self.embedder
        known = self._known(photo)
        with self._catalog.read() as db:
            model = archive.find_model(db, embedder.name, embedder.fingerprint)
            stored = vectors.get(db, known, model.id) if known and model else None
            found = photos.photo(db, known) if known else None
        if stored is not None:
            return stored
        if isinstance(photo, int) and found is None:
            raise PhotoNotFoundError(f"there is no photo {photo} in {self._folder}")
        return self._embed_file(embedder, found.path if found else photo)

    def id_of(self, photo: AnyPhoto) -> int:
        """Return the id of a photo of the library, given by id or path.

        Raises: PhotoNotFoundError.
        """
        known = self._known(photo)
        with self._catalog.read() as db:
            if known is None or photos.photo(db, known) is None:
                raise PhotoNotFoundError(f"there is no photo {photo} in {self._folder}")
        return known

    def _known(self, photo: AnyPhoto) -> int | None:
        """Return the id that a photo has, or may have."""
        if not isinstance(photo, int):
            return self.id_at(photo)
        if not 0 < photo < 1 << 63:  # SQLite counts no further
            raise PhotoNotFoundError(f"there is no photo {photo} in {self._folder}")
        return photo

    def id_at(self, path: str | os.PathLike[str]) -> int | None:
        """Return the id of the library's photo at a path, if it is one."""
        target = resolved(path)
        with self._catalog.read() as db:
            for root in archive.roots(db):
                if inside(target, root.path):
                    inner = os.path.relpath(target, root.path).replace(os.sep, "/")
                    return photos.at_path(db, root.id, inner)
        return None

    def _embed_file(self, embedder: Embedder, photo: AnyPhoto) -> Vector:
        """Have one image file decoded by a worker and embed it, as (dimensions,) float32.

        Raises: PhotoError, DecoderError, ModelError.
        """
        from clipsearch.photos import decode

        limit = decode.limit_of(self._settings.max_pixels)
        path = os.path.expanduser(str(photo))  # noqa: PTH111 - leaves ~nobody as it is
        opened = self._workers().open_photo(path, size=embedder.image_size, max_pixels=limit)
        vector: Vector = embedder.images([opened.image])[0]
        return vector

    def _resolved_name(self) -> str:
        assert self._name is not None  # noqa: S101 - an embedder is never loaded again
        if self._name != "auto":
            return self._name
        with self._catalog.read() as db:
            if own := archive.active_model(db):
                return own.name
        from clipsearch.models import registry

        choice = registry.resolve_auto()
        if choice.reason:
            self._on_notice(choice.reason)
        return choice.name


def _background_cosines(scene: Backdrop, part: Part) -> Scores:
    """Return how near the photos of a part are to neutral sentences, (n,)."""
    from clipsearch.vectors.sketched import SketchedPart

    if isinstance(part, SketchedPart):  # to read a million vectors would take seconds
        return part.rough(scene.bank.astype(np.float32)).astype(np.float64)
    values = np.empty(len(part.ids))
    for start in range(0, len(values), SAMPLE):
        rows = np.arange(start, min(start + SAMPLE, len(values)))
        values[rows] = relevance.background_cosines(scene, part.stored(rows))
    return values


def resolved(path: str | os.PathLike[str]) -> str:
    """Return the absolute path with `~` and links resolved."""
    return os.path.realpath(os.path.expanduser(path))  # noqa: PTH111 - leaves ~nobody as it is


def inside(path: str, folder: str) -> bool:
    """Tell whether a resolved path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
