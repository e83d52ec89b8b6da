"""Look at the photos of a library, and at what it holds."""

from __future__ import annotations

from pathlib import Path

from clipsearch.catalog import archive, photos
from clipsearch.errors import PhotoNotFoundError
from clipsearch.library.mending import Mending
from clipsearch.records import Photo, Skipped, Status


class Looking(Mending):
    """The questions that need no model."""

    def photo(self, photo_id: int) -> Photo:
        """Return a photo with its facts.

        Raises: PhotoNotFoundError.
        """
        found = None
        if 0 < photo_id < 1 << 63:  # SQLite counts no further
            with self._catalog.read() as db:
                found = photos.photo(db, photo_id)
        if found is None:
            raise PhotoNotFoundError(f"there is no photo {photo_id} in {self.folder}")
        return found

    def thumbnail(self, photo_id: int, *, size: int = 360) -> Path:
        """Return the path of a small WebP picture of a photo, made now if need be.

        Raises: PhotoNotFoundError, PhotoError, DecoderError.
        """
        from clipsearch.photos import thumbnails

        found = self.photo(photo_id)
        with self._catalog.read() as db:
            key = photos.content_hash(db, photo_id).hex()
        return thumbnails.thumbnail(
            found.path,
            self.folder / "thumbnails",
            key=key,
            size=size,
            open_photo=self.workers.open_photo,
        )

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
