"""Propose a caption for every photo of a library, from its stored vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clipsearch import captioning, prompts
from clipsearch.catalog import Catalog, captions, photos, runs, vectors
from clipsearch.catalog.archive import Model
from clipsearch.prompts import Texts
from clipsearch.records import CaptionReport, OnProgress, Progress, Proposal, ignore_progress


def caption_library(
    catalog: Catalog,
    model: Model,
    embed: Texts,
    texts: Sequence[str],
    *,
    source: str,
    chosen: Sequence[int] | None = None,
    on_progress: OnProgress = ignore_progress,
) -> CaptionReport:
    """Propose the best of `texts` for all photos, or `chosen` ones; no image is opened.

    Raises: LibraryError, ModelError.
    """
    on_progress(Progress("labels", 0, len(texts)))
    candidates = embed(texts)
    neutral = embed(prompts.background())
    on_progress(Progress("labels", len(texts), len(texts)))
    proposals: list[Proposal] = []
    with catalog.read() as db:
        scope = vectors.ids(db, model.id)
        if chosen is not None:
            scope = np.intersect1d(scope, np.array(chosen, np.int64))
        rejected = captions.rejected(db)
        on_progress(Progress("tag", 0, len(scope)))
        for ids, block in vectors.blocks(db, model.id, model.dimensions, scope):
            proposals += _best(ids, block.astype(np.float32), texts, candidates, neutral, rejected)
            on_progress(Progress("tag", len(proposals), len(scope)))
    with catalog.write() as db:
        there = set(photos.all_ids(db))  # an index run may have dropped some meanwhile
        proposals = [each for each in proposals if each.photo_id in there]
        run_id = runs.begin(
            db,
            "caption",
            model,
            source=source,
            source_hash=hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            settings={"candidates": len(texts)},
            photos=[each.photo_id for each in proposals],
        )
        captions.put_run(db, run_id, proposals)
        fitting = sum(each.fits for each in proposals)
        runs.finish(db, run_id, fitting)
    return CaptionReport(run_id, len(proposals), fitting, len(proposals) - fitting)


def _best(
    ids: NDArray[np.int64],
    block: NDArray[np.float32],
    texts: Sequence[str],
    candidates: NDArray[np.float32],
    neutral: NDArray[np.float32],
    rejected: Mapping[int, set[str]],
) -> Iterator[Proposal]:
    """Yield the best text of each photo that nobody rejected for it.

    Whether it fits is decided as in `captioning.fits`.
    """
    scores = block @ candidates.T
    for row, photo_id in enumerate(ids.tolist()):
        for refused in rejected.get(photo_id, ()):
            scores[row, [index for index, text in enumerate(texts) if text == refused]] = -1
    best = scores.argmax(axis=1)
    top = scores[np.arange(len(block)), best]
    if len(texts) > 1:
        margins = top - np.partition(scores, -2, axis=1)[:, -2]
    else:
        margins = np.zeros_like(top)
    level = np.quantile(block @ neutral.T, captioning.FITTING_QUANTILE, axis=1)
    for row, photo_id in enumerate(ids.tolist()):
        yield Proposal(
            photo_id,
            texts[int(best[row])],
            float(top[row]),
            float(margins[row]),
            bool(top[row] > level[row]),
        )
