"""Tag a library with a vocabulary, from its stored vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from clipsearch import prompts, tagging, vocabularies
from clipsearch.catalog import Catalog, photos, runs, tags, vectors
from clipsearch.catalog.archive import Model
from clipsearch.errors import VocabularyError
from clipsearch.prompts import Texts
from clipsearch.records import OnProgress, Progress, TagReport, ignore_progress
from clipsearch.vocabularies import Vocabulary, ancestors

MAX_LABELS = 20_000


def tag_library(
    catalog: Catalog,
    model: Model,
    texts: Texts,
    vocabulary: Vocabulary,
    *,
    chosen: Sequence[int] | None = None,
    on_progress: OnProgress = ignore_progress,
) -> TagReport:
    """Tag all photos, or `chosen` ones, in one transaction; no image is opened.

    `texts` embeds phrases as (n, dimensions). Labels are calibrated on the whole library whichever
    photos are chosen. A label brings its ancestors along: `animal/dog` also tags `animal`, with
    the best score below it.

    Raises: VocabularyError for too many labels, LibraryError.
    """
    labels = vocabulary.labels
    if len(labels) > MAX_LABELS:
        raise VocabularyError(
            f"{vocabulary.name}: {len(labels)} labels are more than {MAX_LABELS}; "
            "split the vocabulary and tag with one part after the other"
        )
    on_progress(Progress("labels", 0, len(labels)))
    pooled, background = embedded(texts, vocabulary)
    on_progress(Progress("labels", len(labels), len(labels)))
    with catalog.read() as db:
        library = vectors.ids(db, model.id)
        sample = library[tagging.sample_positions(len(library))]
        parts = list(vectors.blocks(db, model.id, model.dimensions, sample))
        calibration = tagging.calibrate(
            np.concatenate([part[1] for part in parts]).astype(np.float32), pooled, background
        )
        scope = library if chosen is None else np.intersect1d(library, np.array(chosen, np.int64))
        blocks = vectors.blocks(db, model.id, model.dimensions, scope)
        found = list(
            tagging.tag_blocks(
                _watched(blocks, len(scope), on_progress), pooled, background, calibration
            )
        )
    names = [label.name for label in labels]
    every = sorted({*names, *(above for name in names for above in ancestors(name))})
    with catalog.write() as db:
        there = set(photos.all_ids(db))  # an index run may have dropped some meanwhile
        run_id = runs.begin(
            db,
            "tag",
            model,
            source=vocabulary.name,
            source_hash=vocabulary.hash,
            settings={
                "templates": vocabulary.templates,
                "thresholds": {x.name: x.threshold for x in labels if x.threshold is not None},
                "calibrated_on": calibration.photos,
                "spread": round(calibration.scale, 6),
            },
            photos=(photo_id for photo_id in scope.tolist() if photo_id in there),
        )
        count = tags.put_run(
            db, run_id, every, (row for row in rows(found, names) if row[0] in there)
        )
        runs.finish(db, run_id, count)
    return TagReport(run_id, len(labels), len(scope), count)


def embedded(texts: Texts, vocabulary: Vocabulary) -> tuple[tagging.Labels, NDArray[np.float32]]:
    """Return the labels as vectors, and the neutral sentences that they have to beat.

    The background of an exclusive group competes inside the group, as a label behind all others
    that is never given; that of other groups joins the neutral sentences.
    """
    labels = vocabulary.labels
    rows, owner = vocabularies.embed(texts, vocabulary)
    groups: NDArray[np.int64] = np.full(len(labels), -1)
    thresholds = np.array([0.5 if x.threshold is None else x.threshold for x in labels])
    neutral = list(prompts.background())
    start = 0
    for number, group in enumerate(vocabulary.groups):
        stop = start + len(group.labels)
        if group.choose == "any":
            neutral += group.background
        else:
            groups[start:stop] = number
            if group.background:
                others = prompts.embed_labels(texts, group.background, vocabulary.templates)
                rows = np.concatenate([rows, others])
                owner = np.append(owner, np.full(len(others), len(groups)))
                groups, thresholds = np.append(groups, number), np.append(thresholds, 1.0)
        start = stop
    background = texts(list(dict.fromkeys(neutral)))
    return tagging.pool(rows, owner, groups=groups, thresholds=thresholds), background


def _watched(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]],
    total: int,
    on_progress: OnProgress,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    done = 0
    on_progress(Progress("tag", 0, total))
    for ids, block in blocks:
        yield ids, block
        done += len(ids)
        on_progress(Progress("tag", done, total))


def rows(found: Sequence[tagging.Tags], names: Sequence[str]) -> Iterator[tuple[int, str, float]]:
    """Yield (photo id, label, score), ancestors included, each label once a photo."""
    above = [ancestors(name) for name in names]
    photo = 0  # no photo has this id
    scores: dict[str, float] = {}
    for ids, labels, values in found:
        for photo_id, label, score in zip(
            ids.tolist(), labels.tolist(), values.tolist(), strict=True
        ):
            if label >= len(names):  # the background of an exclusive group won
                continue
            if photo_id != photo:
                yield from ((photo, name, value) for name, value in scores.items() if photo)
                photo, scores = photo_id, {}
            for name in (*above[label], names[label]):
                scores[name] = max(score, scores.get(name, 0))
    yield from ((photo, name, value) for name, value in scores.items() if photo)
