"""Ask a library for photos that it has more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsearch.errors import QueryError
from clipsearch.library.saved import Saving
from clipsearch.records import OnProgress, ignore_progress

if TYPE_CHECKING:
    from clipsearch.duplicates import DuplicateReport


class Comparing(Saving):
    """The question that compares photos with each other."""

    def duplicates(
        self,
        query: str | None = None,
        *,
        k: int | None = None,
        similarity: float | None = None,
        identical: bool = False,
        on_progress: OnProgress = ignore_progress,
    ) -> DuplicateReport:
        """Group near-identical photos, the best of each group first; nothing is changed.

        Near-identical are copies of a file, and pictures alike by perceptual hash and cosine:
        encoded again, resized, brightened. With `similarity`, all pictures whose cosine with the
        best is at least that: bursts and similar shots. With `identical`, copies of files only.
        With `query`, groups in which a photo that answers it is.

        Raises: LibraryError, QueryError.
        """
        from clipsearch import duplicates

        if similarity is not None and not 0 < similarity <= 1:
            raise QueryError(
                f"a similarity is a cosine above 0, at most 1, not {similarity:g}",
                f"similarity={similarity:g}",
                0,
            )
        return duplicates.find(
            self._catalog,
            self._space.model_in_use(),
            open_photo=self.workers.open_photo,
            settings=self.settings,
            similarity=similarity,
            identical=identical,
            among=self._chosen(query, k) if query else None,
            on_progress=on_progress,
        )
