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
from clipsearch.errors import LibraryBusyError, LibraryError, PhotoNotFoundError
from clipsearch.searching import Copies, Hubs

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder
    from clipsearch.relevance import Backdrop
    from clipsearch.vectors import VectorIndex

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
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._name = model if isinstance(model, str) else None
        self._embedder = None if isinstance(model, str) else model
        self._device, self._precision = device, precision
        self._settings = settings
        self._on_notice = on_notice
        self._lock = threading.RLock()
        self._index: tuple[tuple[str, int, int], VectorIndex] | None = None
        self._copies: tuple[tuple[str, int], Copies] | None = None
        self._columns: tuple[tuple[str, int, int], Columns] | None = None
        self._backdrop: tuple[VectorIndex, Backdrop, Hubs] | None = None

    def close(self) -> None:
        """Let go of model and index."""
        self._embedder = self._index = self._copies = self._columns = self._backdrop = None

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
        """Return the index of the present revision: kept, read from its file, or built."""
        from clipsearch.vectors import VectorIndex

        with self._lock, self._catalog.read() as db:
            key = (*archive.identity(db), model.id)
            if self._index and self._index[0] == key:
                return self._index[1]
            folder = self._folder / "vectors"
            file = folder / f"{key[0][:12]}-{model.id}-{key[1]}.index"
            try:
                index = VectorIndex.load(file, model.dimensions)
            except LibraryError:  # absent, stale or damaged: derived again from the truth
                index = VectorIndex(*vectors.all_of(db, model.id, model.dimensions))
                self._keep(index, file, f"*-{model.id}-*.index*")
            self._index = (key, index)
            return index

    def _keep(self, index: VectorIndex, file: Path, pattern: str) -> None:
        """Write the index for the next time; a search does not fail because it cannot be kept."""
        try:
            index.save(file)
            for old in file.parent.glob(pattern):
                if old != file:
                    old.unlink(missing_ok=True)
        except OSError as error:
            self._on_notice(f"{file}: the index cannot be kept ({error.strerror}); searches work")

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
                step = max(1, -(-len(index) // SAMPLE))
                scene = relevance.backdrop(
                    index.vectors(index.ids[::step]),
                    self.texts(model, prompts.background()),
                    relevance.coefficients(model.name),
                )
                values = [
                    relevance.hubs(scene, index.vectors(index.ids[start : start + SAMPLE]))
                    for start in range(0, len(index), SAMPLE)
                ]
                self._backdrop = (index, scene, Hubs(index.ids, np.concatenate(values)))
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
            except LibraryBusyError as error:  # an indexer writes: the answer need not wait for it
                self._on_notice(f"the text is not remembered: {error}")
        return np.array([found[text] for text in wanted], np.float32).reshape(
            len(wanted), model.dimensions
        )

    def vector(self, photo: AnyPhoto, model: Model) -> tuple[int | None, Vector]:
        """Return the id, if the library has the photo, and the vector of an id or a path.

        A file that is not in the library is decoded and embedded.

        Raises: PhotoNotFoundError, PhotoError, ModelError.
        """
        known = self._known(photo)
        if known is not None:
            with self._catalog.read() as db:
                stored = vectors.get(db, known, model.id)
            if stored is not None:
                return known, stored
            if isinstance(photo, int):
                raise PhotoNotFoundError(f"there is no photo {photo} in {self._folder}")
        return known, embed_file(self.embedder_of(model), photo, self._settings)

    def subject(self, photo: AnyPhoto) -> Vector:
        """Return the vector of a photo of the library, or of any image file.

        Unlike `vector`, this needs no library that was indexed with the model.

        Raises: PhotoNotFoundError, PhotoError, ModelError.
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
        return embed_file(embedder, found.path if found else photo, self._settings)

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


def embed_file(embedder: Embedder, photo: AnyPhoto, settings: Settings) -> Vector:
    """Decode and embed one image file as (dimensions,) float32.

    Raises: PhotoError, ModelError.
    """
    from clipsearch.photos import decode

    limit = decode.limit_of(settings.max_pixels)
    path = os.path.expanduser(str(photo))  # noqa: PTH111 - leaves ~nobody as it is
    image = decode.open_photo(path, size=embedder.image_size, max_pixels=limit).image
    vector: Vector = embedder.images([image])[0]
    return vector


def resolved(path: str | os.PathLike[str]) -> str:
    """Return the absolute path with `~` and links resolved."""
    return os.path.realpath(os.path.expanduser(path))  # noqa: PTH111 - leaves ~nobody as it is


def inside(path: str, folder: str) -> bool:
    """Tell whether a resolved path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
