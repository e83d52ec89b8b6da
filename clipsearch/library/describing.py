"""Labels and texts for the photos of a library, and the way out for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsearch.catalog import captions, runs, tags
from clipsearch.errors import RunError, TextError
from clipsearch.library.duplicates import Comparing
from clipsearch.records import (
    AltText,
    Caption,
    CaptionReport,
    Classification,
    OnProgress,
    Proposal,
    RankedCaptions,
    Run,
    ScoredLabel,
    Skipped,
    Tag,
    TagReport,
    ignore_progress,
)
from clipsearch.space import AnyPhoto

if TYPE_CHECKING:
    from clipsearch.captioning import RankedText
    from clipsearch.exporting import Described, SidecarReport
    from clipsearch.vocabularies import Vocabulary


class Describing(Comparing):
    """The questions that are answered with words, and the runs that write them down."""

    def captions(
        self, photo: AnyPhoto, texts: Sequence[str], *, temperature: float | None = None
    ) -> RankedCaptions:
        """Rank candidate captions for one photo: a photo's id, or the path of any image.

        `temperature` divides the cosines before the softmax; without it, the model's own.

        Raises: TextError, PhotoNotFoundError, PhotoError, ModelError.
        """
        from clipsearch import captioning, prompts

        prompts.require(texts, "captions")
        vector = self._space.subject(photo)
        candidates = self.embedder.texts(texts)
        ranked = self._rank(vector, candidates, temperature)
        return RankedCaptions(
            str(photo),
            self.embedder.name,
            captioning.fits(vector, candidates, self.embedder.texts(prompts.background())),
            captioning.margin(ranked),
            tuple(Caption(texts[one.position], one.cosine, one.probability) for one in ranked),
        )

    def classify(
        self,
        photo: AnyPhoto,
        labels: Sequence[str],
        *,
        template: str | None = None,
        temperature: float | None = None,
    ) -> Classification:
        """Score labels for one photo, zero-shot; one of them should say "something else".

        `template` has one `{}` for the label ("a photo of a {}."); without it the labels are
        put into seven templates and their vectors averaged.

        Raises: TextError, PhotoNotFoundError, PhotoError, ModelError.
        """
        from clipsearch import captioning, prompts

        prompts.require(labels, "labels", least=2)
        templates = prompts.TEMPLATES if template is None else (template,)
        prompts.fill(templates[0], "")
        vector = self._space.subject(photo)
        candidates = prompts.embed_labels(self.embedder.texts, labels, templates)
        ranked = self._rank(vector, candidates, temperature)
        return Classification(
            str(photo),
            self.embedder.name,
            tuple(ScoredLabel(labels[one.position], one.cosine, one.probability) for one in ranked),
            captioning.fits(vector, candidates, self.embedder.texts(prompts.background())),
            captioning.margin(ranked),
        )

    def tag(
        self,
        vocabulary: Vocabulary | str | os.PathLike[str] | None = None,
        query: str | None = None,
        *,
        k: int | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> TagReport:
        """Tag all photos, or those that answer `query`, with a vocabulary or a file of one.

        Works from stored vectors. Without a vocabulary, the default one is used. Tags set or
        removed by hand stay as they are; `undo` takes the run back.

        Raises: VocabularyError, LibraryError, QueryError.
        """
        from clipsearch import labelling, vocabularies

        if vocabulary is None:
            vocabulary = vocabularies.default()
        elif not isinstance(vocabulary, vocabularies.Vocabulary):
            vocabulary = vocabularies.read(vocabulary)
        model = self._space.model_in_use()
        return labelling.tag_library(
            self._catalog,
            model,
            partial(self._space.texts, model),
            vocabulary,
            chosen=self._chosen(query, k),
            on_progress=on_progress,
        )

    def tags(self, photo: AnyPhoto) -> list[Tag]:
        """Return the tags of one photo of the library.

        Raises: PhotoNotFoundError.
        """
        photo_id = self._space.id_of(photo)
        with self._catalog.read() as db:
            return tags.of_photo(db, photo_id)

    def tag_counts(self) -> list[tuple[str, int]]:
        """Count the photos of each tag, the most frequent first."""
        with self._catalog.read() as db:
            return tags.counts(db)

    def edit_tags(
        self,
        photo: AnyPhoto,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        reset: Sequence[str] = (),
    ) -> list[Tag]:
        """Decide tags of one photo by hand; runs never change them again.

        `reset` gives labels back to the photo's metadata and to runs. Returns all its tags.

        Raises: TextError, PhotoNotFoundError.
        """
        from clipsearch import prompts

        photo_id = self._space.id_of(photo)
        prompts.require([*add, *remove, *reset], "tags")
        with self._catalog.write() as db:
            for labels, holds in ((add, True), (remove, False), (reset, None)):
                for label in labels:
                    tags.set_by_hand(db, photo_id, label.strip(), holds)
            return tags.of_photo(db, photo_id)

    def runs(self) -> list[Run]:
        """List tagging, captioning and export runs, the latest first."""
        with self._catalog.read() as db:
            return runs.all_of(db)

    def undo(self, run: int) -> tuple[Skipped, ...]:
        """Take a run back: what it changed is again as if it had never been.

        Returns the sidecars of an export that others have changed since; those stay.

        Raises: RunError.
        """
        from clipsearch import exporting

        with self._catalog.read() as db:
            known = runs.get(db, run)
        if known is not None and not known.undone:
            self._back_up("undo")
        with self._catalog.write() as db:
            found = runs.get(db, run)
            if found is None:
                raise RunError(f"there is no run {run}; `clipsearch runs` lists them")
            if found.undone:
                raise RunError(f"run {run} is undone already")
            if found.kind != "export":
                runs.set_undone(db, run)
                if found.kind == "tag":
                    tags.withdraw_run(db, run)
                return ()
            if later := runs.later_export(db, run):
                raise RunError(f"run {later} wrote the same sidecars since; undo {later} first")
        with self._exclusive():
            return exporting.take_back(self._catalog, run)

    def propose_alt_text(
        self,
        texts: Sequence[str] | str | os.PathLike[str] | None = None,
        query: str | None = None,
        *,
        k: int | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> CaptionReport:
        """Propose the best caption for all photos, or for those that answer `query`, at most `k`.

        `texts` are captions, or a file with one a line; without it the shipped bank is used.

        Raises: TextError, LibraryError, QueryError.
        """
        from clipsearch import alttext, prompts

        source = "default captions"
        if texts is None:
            texts = prompts.captions()
        elif isinstance(texts, str | os.PathLike):
            source = os.fsencode(texts).decode("utf-8", "replace")
            texts = prompts.sentences(texts)
        prompts.require(texts, "captions")
        model = self._space.model_in_use()
        return alttext.caption_library(
            self._catalog,
            model,
            partial(self._space.texts, model),
            texts,
            source=source,
            chosen=self._chosen(query, k),
            on_progress=on_progress,
        )

    def proposals(self, *, min_margin: float = 0) -> list[Proposal]:
        """List the proposed captions that wait for a decision, the surest first."""
        with self._catalog.read() as db:
            return captions.undecided(db, min_margin=min_margin)

    def alt_text(self, photo: AnyPhoto) -> AltText | None:
        """Return the alt text of a photo, if it has one."""
        photo_id = self._space.id_of(photo)
        with self._catalog.read() as db:
            return captions.alt_text(db, photo_id)

    def accept_alt_text(self, photo: AnyPhoto, text: str | None = None) -> AltText:
        """Make the proposal the alt text of a photo, or `text` in its place.

        Raises: TextError where nothing is proposed, PhotoNotFoundError.
        """
        from clipsearch import prompts

        photo_id = self._space.id_of(photo)
        with self._catalog.write() as db:
            proposed = captions.proposal(db, photo_id)
            if text is not None:
                prompts.require([text], "captions")
            elif proposed is None:
                raise TextError(
                    f"nothing is proposed for photo {photo_id}; run `clipsearch alt-text`"
                )
            chosen = text if text is not None else proposed.text  # type: ignore[union-attr]
            same = proposed is not None and chosen == proposed.text
            captions.decide(db, photo_id, chosen, "accepted" if same else "edited")
            return AltText(chosen, "accepted" if same else "edited")

    def reject_alt_text(self, photo: AnyPhoto) -> None:
        """Never propose the present caption for this photo again.

        Raises: TextError where nothing is proposed, PhotoNotFoundError.
        """
        photo_id = self._space.id_of(photo)
        with self._catalog.write() as db:
            proposed = captions.proposal(db, photo_id)
            if proposed is None:
                raise TextError(
                    f"nothing is proposed for photo {photo_id}; run `clipsearch alt-text`"
                )
            captions.reject(db, photo_id, proposed.text)

    def described(self, query: str | None = None, *, k: int | None = None) -> list[Described]:
        """Return all photos, or those that answer `query`, with tags and alt text, for export."""
        from clipsearch import exporting

        return exporting.describe(self._catalog, self._chosen(query, k))

    def export_sidecars(
        self,
        query: str | None = None,
        *,
        k: int | None = None,
        dry_run: bool = False,
        on_progress: OnProgress = ignore_progress,
    ) -> SidecarReport:
        """Merge tags and alt text into XMP sidecars beside the photos; `undo` takes it back.

        Raises: LibraryError, LibraryBusyError, SidecarError.
        """
        from clipsearch import exporting

        with self._exclusive():
            self._take_back_killed_exports()
            return exporting.export_sidecars(
                self._catalog,
                self._space.model_in_use(),
                self._chosen(query, k),
                dry_run=dry_run,
                on_progress=on_progress,
            )

    def _rank(
        self, vector: NDArray[np.float32], texts: NDArray[np.float32], temperature: float | None
    ) -> list[RankedText]:
        from clipsearch import captioning

        if temperature is not None and not 0 < temperature < float("inf"):
            raise TextError(f"the temperature must be above 0, not {temperature}")
        scale = self.embedder.logit_scale if temperature is None else 1 / temperature
        return captioning.rank(
            vector, texts, logit_scale=scale, logit_bias=self.embedder.logit_bias
        )
