"""What a library derives from its catalogue: whether it is right, and how it is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from clipsearch.catalog import archive, checking
from clipsearch.errors import LibraryError, ReadOnlyLibraryError
from clipsearch.library.safekeeping import Safekeeping
from clipsearch.records import OnProgress, Progress, ignore_progress


class Mending(Safekeeping):
    """Checks that nothing is asked of in daily use."""

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with vectors, words and index files; changes nothing.

        `fault` checks the catalogue itself.

        Raises: LibraryError.
        """
        with self._catalog.read() as db:
            bad = checking.bad_vectors(db)
        if bad:
            yield f"{len(bad)} vectors are damaged; --repair drops them, and `index` embeds again"
        try:
            with self._catalog.write() as db:
                tables = checking.bad_words(db)
        except ReadOnlyLibraryError:  # FTS5 checks itself where it may write, only
            tables = []
        for table in tables:
            yield f"the words of {table} are damaged; --repair makes them anew"
        for file in self._damaged_indexes():
            yield f"{file}: the index file is damaged; --repair drops it, and a search makes it"

    def mend(self, *, on_progress: OnProgress = ignore_progress) -> list[str]:
        """Make anew what is derived and damaged; drop vectors that are none.

        Returns a sentence for each thing that was done.

        Raises: LibraryError, LibraryBusyError.
        """
        done = []
        with self._exclusive():
            with self._catalog.write() as db:
                if bad := checking.bad_vectors(db):
                    checking.drop_vectors(db, bad)
                    done.append(f"{len(bad)} vectors dropped; `clipsearch index` embeds them again")
                for table in checking.bad_words(db):
                    checking.rebuild_words(db, table)
                    done.append(f"the words of {table} made anew")
            for file in list(self._damaged_indexes()):
                file.unlink(missing_ok=True)
                done.append(f"{file.name} dropped; the next search makes it anew")
            done += self._mend_thumbnails(on_progress)
        return done

    def _mend_thumbnails(self, on_progress: OnProgress) -> list[str]:
        from clipsearch.photos import thumbnails

        on_progress(Progress("check", 0))
        bad = list(thumbnails.damaged(self.folder / "thumbnails"))
        for path in bad:
            path.unlink(missing_ok=True)
        return [f"{len(bad)} thumbnails dropped; they are made again when asked for"] * bool(bad)

    def _damaged_indexes(self) -> Iterator[Path]:
        from clipsearch.vectors import VectorIndex, sketchfile
        from clipsearch.vectors.sketched import SketchedPart

        with self._catalog.read() as db:
            dimensions = {str(model.id): model.dimensions for model, _ in archive.models(db)}
        for file in sorted((self.folder / "vectors").glob("*-*-*.*")):
            model_id = file.name.split("-")[1]
            if model_id in dimensions:
                try:
                    if file.suffix == ".index":
                        VectorIndex.load(file, dimensions[model_id])
                    elif file.suffix == ".sketches":
                        SketchedPart(sketchfile.read(file, dimensions[model_id]), _none).verify()
                except LibraryError:
                    yield file


def _none(_: object) -> NoReturn:
    raise AssertionError("a file is compared with its own checksums alone")
