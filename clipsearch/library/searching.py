"""Ask a library for photos, and what it knows of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import archive, photos
from clipsearch.catalog.archive import Model
from clipsearch.errors import PhotoNotFoundError, QueryError
from clipsearch.library.session import Session
from clipsearch.query import Query, parse
from clipsearch.records import Photo, SearchResult, Skipped, Status
from clipsearch.space import AnyPhoto


class Searching(Session):
    """The questions that are answered with photos."""

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

    def _chosen(self, query: str | None, k: int) -> list[int]:
        """Return the ids of all photos, or of the nearest to a query."""
        if query:
            return [hit.id for hit in self.search(query, k=k)]
        with self._catalog.read() as db:
            return photos.all_ids(db)

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
