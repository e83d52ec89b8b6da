"""Keep the vector index up with the catalogue: grow by what changed, merge, save."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, archive, texts, vectors
from clipsearch.catalog.archive import Model
from clipsearch.errors import DamagedIndexError, LibraryError
from clipsearch.records import OnProgress, Progress
from clipsearch.vectors import VectorIndex, sketching
from clipsearch.vectors.rows import Ids
from clipsearch.vectors.sketched import SketchedPart

AT_ONCE = 20_000
"""Photos up to which merging is not worth a thread: 40 ms at 20,000 x 512, file included."""

EXACT = 200_000
"""Photos up to which every vector is compared with every query: 9 ms at 200,000 x 512. Beyond,
queries look at sketches of a fifth of the size."""

REGROWN = 1.5
"""Growth since sketches were learned at which they are learned again."""

SHARE, MOST = 1 / 8, 8192
"""The tail is merged when it is this share of the base, or this long: the scan of 8,192 x 512
takes 0.6 ms, and to copy them, as each change does, 4 ms."""

_KINDS = ("index", "sketches")  # of files: all vectors, or what stands for them
_PATIENCE = 600.0  # seconds until a file that could not be written is tried again
_LEAST = 64  # photos of a tail that is never worth a merge
_ABANDONED = 3600.0  # seconds after which a half-written file belongs to nobody
_READ = 4096  # vectors of a transaction: a long one would keep the write-ahead log from shrinking


class _ClosedError(LibraryError):
    """The library was closed while sketches were learned."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """An index, and what it was made of: it holds all changes up to `revision`."""

    library: str
    model: Model
    revision: int
    index: VectorIndex


class Upkeep:
    """The index of one library: each caller gets one that has all that is committed.

    An index that was given out never changes; the next one shares its base. Merging a large one
    goes on in a thread, while the old base and a longer tail answer.
    """

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        *,
        on_notice: Callable[[str], None],
        at_once: int = AT_ONCE,
        exact: int = EXACT,
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._on_notice = on_notice
        self._at_once, self._exact = at_once, exact
        self._lock = threading.Lock()  # of the four below, for moments
        self._held: _Held | None = None
        self._is_merging = False
        self._merging: threading.Thread | None = None  # where one does it
        self._patient_until = 0.0
        self._opening = threading.Lock()  # of reading and building: once for all who wait
        self._closed = threading.Event()

    def close(self) -> None:
        """Let go of the index; a merge that is under way is given up or waited for."""
        self._closed.set()
        with self._lock:
            self._held, merging = None, self._merging
        if merging is not None:
            merging.join()

    def index(self, model: Model) -> VectorIndex:
        """Return the index of the present vectors of a model: grown, read from a file, or built.

        Raises: LibraryError.
        """
        held = self._grown(model)
        if held is None:
            with self._opening:
                held = self._grown(model)  # another thread may have been faster
                if held is None:
                    opened = self._opened(model)
                    with self._lock:
                        self._held = opened
                    # Another process may have trimmed the log in this moment: look next time.
                    held = self._grown(model) or opened
        if self._is_due(held.index):
            self._merge_later(held)
        return held.index

    def settle(self, model: Model, on_progress: OnProgress) -> None:
        """Have the index of a large library made and merged now, so that no search waits for it.

        Raises: LibraryError.
        """
        with self._catalog.read() as db:
            if vectors.count(db, model.id) <= self._exact:
                return
        on_progress(Progress("learn", 0))
        for _ in range(2):  # once more where the file turns out to be damaged
            self.index(model)
            with self._lock:
                merging = self._merging
            if merging is not None:
                merging.join()

    def _grown(self, model: Model) -> _Held | None:
        """Return what is held with all that was committed since, if that can be known."""
        with self._lock, self._catalog.read() as db:
            held = self._held
            library, revision = archive.embedded(db)
            if (
                held is None
                or (held.library, held.model) != (library, model)
                or held.revision > revision  # an older copy of the catalogue was put back
            ):
                return None
            if held.revision == revision:
                return held
            changed = vectors.changes(db, model.id, held.revision)
            if changed is None:
                return None
            index = held.index
            if len(changed):
                present = vectors.chosen(db, model.id, model.dimensions, changed)
                index = index.changed(changed, *present)
            self._held = _Held(library, model, revision, index)
            return self._held

    def _opened(self, model: Model) -> _Held:
        """Read the newest index file that the log of changes reaches back to, or build one."""
        with self._catalog.read() as db:
            library, revision = archive.embedded(db)
        tried: set[Path] = set()
        # Another process may put a newer file in place of one that was listed.
        while files := [each for each in self._files(library, model) if each[0] not in tried]:
            file, written = files[0]
            tried.add(file)
            if written > revision:
                continue
            with self._catalog.read() as db:
                is_known = vectors.changes(db, model.id, written) is not None
            if is_known:
                try:
                    return _Held(library, model, written, self._read(file, model))
                except LibraryError:  # damaged: derived again from the truth
                    self._drop(file)
        with self._catalog.read() as db:
            count = vectors.count(db, model.id)
        if count > self._exact:
            return self._sketched(model, library, revision)
        held = _Held(library, model, revision, self._built(model))
        self._keep(held)
        return held

    def _read(self, file: Path, model: Model) -> VectorIndex:
        if file.suffix == ".index":
            return VectorIndex.load(file, model.dimensions)
        return VectorIndex.sketched(file, model.dimensions, partial(self._fetch, model))

    def _fetch(self, model: Model, ids: Ids) -> tuple[Ids, NDArray[np.float16]]:
        with self._catalog.read() as db:
            return vectors.chosen(db, model.id, model.dimensions, ids)

    def _sketched(self, model: Model, library: str, revision: int) -> _Held:
        """Build a file of sketches and codes."""
        with self._catalog.read() as db:
            ids = vectors.ids(db, model.id)
            asked = texts.latest(db, model.id, model.dimensions, 96)
        step = max(1, len(ids) // sketching.SAMPLE)
        file = self._name(library, model.id, revision, "sketches")
        try:
            sketching.build(
                file,
                model.dimensions,
                self._fetch(model, ids[::step])[1].astype(np.float32),
                self._blocks(model),
                texts=asked,
                pause=self._pause,
            )
            held = _Held(library, model, revision, self._read(file, model))
        except OSError as error:
            self._excuse(file, error)
            return _Held(library, model, revision, self._built(model))
        self._settle(held)
        return held

    def _pause(self) -> None:
        if self._closed.is_set():
            raise _ClosedError("the library is closed")

    def _built(self, model: Model) -> VectorIndex:
        blocks = list(self._blocks(model))
        return VectorIndex(*(np.concatenate(each) for each in zip(*blocks, strict=True)))

    def _blocks(self, model: Model) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
        """Yield all vectors, in short transactions: the log tells what they missed."""
        last = -1
        while True:
            with self._catalog.read() as db:
                found, rows = vectors.after(db, model.id, model.dimensions, last, _READ)
            yield found, rows
            if len(found) < _READ:
                return
            last = int(found[-1])

    def _is_due(self, index: VectorIndex) -> bool:
        if time.monotonic() < self._patient_until:
            return False
        if self._is_unlearned(index):
            return True
        return index.unmerged > max(_LEAST, min(len(index.base.ids) * SHARE, MOST))

    def _is_unlearned(self, index: VectorIndex) -> bool:
        """Tell whether sketches are to be learned, first or again."""
        if isinstance(index.base, SketchedPart):
            head = index.base.layout.head
            return len(index) > REGROWN * head.learned
        return len(index) > self._exact

    def _merge_later(self, held: _Held) -> None:
        """Merge, at once or in a thread, unless that is under way."""
        with self._lock:
            if self._is_merging or self._closed.is_set():
                return
            self._is_merging = True
            if is_long := len(held.index) > self._at_once:
                self._merging = threading.Thread(
                    target=self._merge, args=[held], name="merge of the index"
                )
                self._merging.start()
        if not is_long:
            self._merge(held)

    def _merge(self, held: _Held) -> None:
        try:
            merged = self._merged(held)
            with self._lock:
                if not self._closed.is_set():
                    self._held = merged  # the next caller adds what has changed meanwhile
        except _ClosedError:
            return  # nobody asks any more
        except DamagedIndexError:  # derived again from the truth by who asks next
            with self._lock:
                is_same = self._held is not None and self._held.index.base is held.index.base
            if is_same:
                self.forget()
        except LibraryError as error:
            self._on_notice(f"the index is not merged: {error}")
        finally:
            with self._lock:
                self._is_merging, self._merging = False, None

    def _merged(self, held: _Held) -> _Held:
        if self._is_unlearned(held.index) or held.index.is_outgrown:
            return self._sketched(held.model, held.library, held.revision)
        if held.index.is_exact:
            merged = _Held(held.library, held.model, held.revision, held.index.merged())
            self._keep(merged)
            return merged
        file = self._name(held.library, held.model.id, held.revision, "sketches")
        try:
            held.index.save_sketched(file)
            merged = _Held(held.library, held.model, held.revision, self._read(file, held.model))
        except OSError as error:
            self._excuse(file, error)
            return held
        self._settle(merged)
        return merged

    def forget(self) -> None:
        """Drop the index with its file, which turned out to be damaged; the next is made anew."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None and isinstance(held.index.base, SketchedPart):
            self._drop(held.index.base.path)

    def _drop(self, file: Path) -> None:
        """Remove a damaged file; where that fails the next one is made all the same."""
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            self._on_notice(f"{file}: the damaged index cannot be removed ({error.strerror})")

    def _keep(self, held: _Held) -> None:
        """Write the index for the next time; a search does not fail because it cannot be kept."""
        file = self._name(held.library, held.model.id, held.revision, "index")
        try:
            held.index.save(file)
        except OSError as error:
            self._excuse(file, error)
            return
        self._settle(held)

    def _excuse(self, file: Path, error: OSError) -> None:
        """Say that a file cannot be written, and do not try it again at every search."""
        self._on_notice(f"{file}: the index cannot be kept ({error.strerror}); searches work")
        self._patient_until = time.monotonic() + _PATIENCE

    def _settle(self, held: _Held) -> None:
        """Let go of what a file that was just written makes useless."""
        try:
            self._sweep(held)
            with self._catalog.write(wait=0.1) as db:
                vectors.trim(db, held.model.id, held.revision)
        except (OSError, LibraryError) as error:  # an indexer writes: the next file will do
            self._on_notice(f"the log of changed vectors is not trimmed: {error}")

    def _sweep(self, held: _Held) -> None:
        """Remove the files that `held` makes useless, and those that nobody finished."""
        with self._catalog.read() as db:
            models = {model.id for model, _ in archive.models(db)}
        own = "sketches" if isinstance(held.index.base, SketchedPart) else "index"
        for file in self._folder.glob("*-*-*.*"):
            library, model_id, rest = file.name.split("-", 2)
            revision, _, kind = rest.partition(".")
            if kind not in _KINDS:
                is_useless = time.time() - file.stat().st_mtime > _ABANDONED
            elif not (model_id.isdecimal() and revision.isdecimal()):
                continue
            elif library != held.library[:12] or int(model_id) not in models:
                is_useless = True
            else:
                age = int(revision), kind == own  # of one revision, what was just written
                is_useless = int(model_id) == held.model.id and age < (held.revision, True)
            if is_useless:
                file.unlink(missing_ok=True)

    def _files(self, library: str, model: Model) -> list[tuple[Path, int]]:
        """List the index files of a model with their revisions, the newest first."""
        found = [
            (file, int(revision))
            for file in self._folder.glob(f"{library[:12]}-{model.id}-*.*")
            if file.suffix[1:] in _KINDS and (revision := file.stem.rsplit("-", 1)[1]).isdecimal()
        ]
        return sorted(found, key=lambda each: (each[1], each[0].suffix), reverse=True)

    def _name(self, library: str, model_id: int, revision: int, kind: str) -> Path:
        return self._folder / f"{library[:12]}-{model_id}-{revision}.{kind}"
