"""Labels on their way into the space of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipsearch.models.embedder import Vectors
from clipsearch.prompts import Texts, embed_labels
from clipsearch.vocabularies.values import Label, Vocabulary


def embed(texts: Texts, vocabulary: Vocabulary) -> tuple[Vectors, NDArray[np.intp]]:
    """Embed every synonym of every label with the templates that apply to it.

    Returns the vectors, (synonyms, dimensions) float32 rows of unit length in the order of
    `vocabulary.labels`, and for each row the position of its label there.
    """
    labels = vocabulary.labels
    words, owners = spoken(labels)
    templates = [labels[owner].templates or vocabulary.templates for owner in owners]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, used in enumerate(templates):
        groups.setdefault(used, []).append(row)
    if len(groups) == 1:
        return embed_labels(texts, words, templates[0]), owners
    parts = [embed_labels(texts, [words[row] for row in rows], t) for t, rows in groups.items()]
    order = np.argsort(np.concatenate([np.array(rows) for rows in groups.values()]))
    return np.concatenate(parts)[order], owners


def spoken(labels: Sequence[Label]) -> tuple[list[str], NDArray[np.intp]]:
    """Return all synonyms of all labels, and for each the position of its label."""
    words = [word for label in labels for word in label.synonyms]
    owners = np.repeat(np.arange(len(labels)), [len(label.synonyms) for label in labels])
    return words, owners
