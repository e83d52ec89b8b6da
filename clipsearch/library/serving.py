"""A library that many ask at once: what a server needs beyond what a program does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from clipsearch.catalog import archive, captions, decisions, filters, names, photos, tags, vectors
from clipsearch.catalog.archive import Model
from clipsearch.config import Settings
from clipsearch.errors import LibraryError, VocabularyError
from clipsearch.library import Library
from clipsearch.library.batching import BatchingEmbedder
from clipsearch.library.session import OnNotice
from clipsearch.photos.thumbnails import thumbnail_path
from clipsearch.query import Filter
from clipsearch.records import (
    IndexReport,
    OnProgress,
    Photo,
    Proposal,
    ScoredLabel,
    Tag,
    ignore_progress,
)
from clipsearch.space import Space

if TYPE_CHECKING:
    from clipsearch.models.embedder import Embedder
    from clipsearch.vocabularies import Vocabulary


Question = ParamSpec("Question")
Answer = TypeVar("Answer")


class _ServingSpace(Space):
    """A space that batches texts, and follows the library when it changes its model."""

    _followed: tuple[str, str] | None = None
    """Name and fingerprint of the active model when a model was loaded last."""

    @property
    def embedder(self) -> Embedder:
        with self._lock:
            if self._embedder is not None and self._name == "auto":
                with self._catalog.read() as db:
                    active = archive.active_model(db)
                if active is not None:
                    wanted = (active.name, active.fingerprint)
                    own = (self._embedder.name, self._embedder.fingerprint)
                    # Where other weights lie on the disk, loading them again helps only once.
                    if wanted not in (own, self._followed):
                        self._embedder, self._followed = None, wanted
            found = super().embedder
            if not isinstance(found, BatchingEmbedder):
                found = self._embedder = BatchingEmbedder(found)
            return found

    def model_name(self) -> str | None:
        """Return the name of the model that answers, if it is known without loading it."""
        if self._name == "auto":
            with self._catalog.read() as db:
                active = archive.active_model(db)
            return None if active is None else active.name
        return self._name or (self._embedder.name if self._embedder else None)

    def model_in_use(self) -> Model:
        """Return the model whose vectors answer.

        Raises: LibraryError where the library has no vectors of it; EmptyLibraryError.
        """
        try:
            return super().model_in_use()
        except LibraryError as error:
            with self._catalog.read() as db:
                if archive.active_model(db) is None or not photos.any_there(db):
                    raise EmptyLibraryError(str(error)) from error
            raise

    def follows(self) -> tuple[str, str] | None:
        """Return name and fingerprint of the model that the library has now, if it counts here."""
        if self._name != "auto":
            return None
        with self._catalog.read() as db:
            active = archive.active_model(db)
        return None if active is None else (active.name, active.fingerprint)


class EmptyLibraryError(LibraryError):
    """There is nothing to search yet: the server works, and waits for photos."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which library this is, and numbers that move with every change of photos and of tags."""

    library: str
    revision: int
    described: int
    model: str | None


@dataclass(frozen=True, slots=True)
class Tagged:
    """A photo and the tag that makes it an answer."""

    id: int
    tag: Tag


@dataclass(frozen=True, slots=True)
class Effect:
    """What a vocabulary would do to one photo."""

    id: int
    tags: tuple[ScoredLabel, ...]


def _again(
    question: Callable[Concatenate[Any, Question], Answer],
) -> Callable[Concatenate[Any, Question], Answer]:
    """Let a question be asked once more where the library changed its model meanwhile.

    Half of its answer may be of either model then, or what it looked for may be gone.
    """

    @wraps(question)
    def asked(library: Any, /, *args: Question.args, **options: Question.kwargs) -> Answer:
        before = library._serving.follows()
        try:
            found = question(library, *args, **options)
        except Exception:
            if library._serving.follows() == before:
                raise
        else:
            if library._serving.follows() == before:
                return found
        return question(library, *args, **options)

    return asked


class ServedLibrary(Library):
    """A library for a server: texts of concurrent callers are embedded together.

    With the model `auto` it follows when another process gives the library another model.
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
        create: bool = True,
    ) -> None:
        super().__init__(folder, settings=settings, create=create)
        self._device, self._precision = device, precision
        self._space = self._serving = _ServingSpace(
            self.folder,
            self._catalog,
            model,
            device=device,
            precision=precision,
            settings=self.settings,
            on_notice=on_notice or (lambda _: None),
            workers=lambda: self.workers,
        )

    def identity(self) -> Identity:
        """Say which library this is and how often it has changed."""
        with self._catalog.read() as db:
            active = archive.active_model(db)
            name = None if active is None else active.name
            return Identity(*archive.identity(db), archive.described(db), name)

    def is_there(self) -> bool:
        """Tell whether the catalogue still lies in the library's folder."""
        return (self.folder / "catalog.db").is_file()

    def model_name(self) -> str | None:
        """Return the name of the model that answers; nothing is loaded."""
        return self._serving.model_name()

    search = _again(Library.search)
    similar = _again(Library.similar)
    explain = _again(Library.explain)
    facets = _again(Library.facets)
    captions = _again(Library.captions)
    classify = _again(Library.classify)
    described = _again(Library.described)
    new_hits = _again(Library.new_hits)

    def roots(self) -> tuple[str, ...]:
        """List the folders that the library follows."""
        with self._catalog.read() as db:
            return tuple(root.path for root in archive.roots(db))

    def vector_count(self) -> int:
        """Count the vectors of the model that answers."""
        with self._catalog.read() as db:
            active = archive.active_model(db)
            return 0 if active is None else len(vectors.ids(db, active.id))

    def kept_thumbnail(self, photo_id: int, size: int) -> Path | None:
        """Return the path of a thumbnail that was made before; nothing is decoded for it.

        Raises: PhotoNotFoundError.
        """
        with self._catalog.read() as db:
            key = photos.content_hash(db, photo_id).hex()
        path = thumbnail_path(self.folder / "thumbnails", key, size)
        return path if path.is_file() else None

    def use_model(self, name: str, *, on_progress: OnProgress = ignore_progress) -> IndexReport:
        """Embed the library with another model, then switch to it; searches go on meanwhile.

        Raises: LibraryError, LibraryBusyError, ModelError.
        """
        with Library(
            self.folder,
            name,
            device=self._device,
            precision=self._precision,
            settings=self.settings,
        ) as other:
            return other.index(on_progress=on_progress)

    def looks(self, ids: Sequence[int]) -> dict[int, tuple[Photo, str | None]]:
        """Return photos with their alt text by id, without those that do not exist."""
        with self._catalog.read() as db:
            return {
                photo.id: (photo, text.text if (text := captions.alt_text(db, photo.id)) else None)
                for photo in photos.photos(db, ids)
            }

    def proposal(self, photo_id: int) -> Proposal | None:
        """Return the caption that the latest run proposes for a photo, if nobody rejected it."""
        with self._catalog.read() as db:
            found = captions.proposal(db, photo_id)
            if found is not None and found.text in captions.rejected(db).get(photo_id, ()):
                return None
            return found

    def forget_alt_text(self, photo_id: int) -> None:
        """Forget what a person decided about the alt text of a photo.

        Raises: PhotoNotFoundError.
        """
        found = self.photo(photo_id)
        with self._catalog.write() as db:
            decisions.forget(db, photo_id, found.facts.description)

    def tagged(self, label: str) -> list[Tagged]:
        """Return the photos that have a tag, or one below it, the surest first.

        Tags by hand and from files have no score and come before all others.
        """
        with self._catalog.read() as db:
            found = []
            for photo_id in filters.passing(db, [Filter("tag", (label,))]).tolist():
                of_photo = [
                    tag
                    for tag in tags.of_photo(db, photo_id)
                    if (names.fold(tag.label) + "/").startswith(names.fold(label) + "/")
                ]
                if of_photo:
                    found.append(Tagged(photo_id, max(of_photo, key=_sureness)))
        return sorted(found, key=lambda each: (*(-x for x in _sureness(each.tag)), each.id))

    @_again
    def preview_tags(
        self, vocabulary: Vocabulary, query: str | None = None, *, sample: int = 60
    ) -> list[Effect]:
        """Say what a vocabulary would do to a sample of photos; nothing is stored.

        The sample is spread evenly over all photos, or over those that answer `query`. Labels
        are calibrated on the whole library, as a run does.

        Raises: VocabularyError, LibraryError, QueryError.
        """
        from clipsearch import labelling, tagging

        if len(vocabulary.labels) > labelling.MAX_LABELS:
            raise VocabularyError(f"{vocabulary.name}: too many labels for a preview")
        model = self._space.model_in_use()
        chosen = np.sort(np.array(self._chosen(query, None), np.int64))
        labels, background = labelling.embedded(partial(self._space.texts, model), vocabulary)
        with self._catalog.read() as db:
            library = vectors.ids(db, model.id)
            scale = library[tagging.sample_positions(len(library))]
            parts = list(vectors.blocks(db, model.id, model.dimensions, scale))
            calibration = tagging.calibrate(
                np.concatenate([part[1] for part in parts]).astype(np.float32), labels, background
            )
            scope = np.intersect1d(library, chosen)
            spread = np.linspace(0, max(0, len(scope) - 1), min(sample, len(scope)))
            scope = scope[spread.astype(np.int64)]
            blocks = vectors.blocks(db, model.id, model.dimensions, scope)
            found = list(tagging.tag_blocks(blocks, labels, background, calibration))
        names = [label.name for label in vocabulary.labels]
        given: dict[int, list[ScoredLabel]] = {photo_id: [] for photo_id in scope.tolist()}
        for photo_id, label, score in labelling.rows(found, names):
            given[photo_id].append(ScoredLabel(label, 0.0, score))
        return [
            Effect(photo_id, tuple(sorted(tags, key=lambda tag: (-tag.probability, tag.label))))
            for photo_id, tags in given.items()
        ]


def _sureness(tag: Tag) -> tuple[bool, float]:
    return tag.score is None, tag.score or 0.0
