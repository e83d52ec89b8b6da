"""A model that many ask at once: their texts go through it together, and are remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsearch.models.embedder import Embedder, Vectors

MOST_TOGETHER = 64
"""Texts of several callers that are embedded as one batch; larger requests go alone."""

REMEMBERED = 8192
"""Texts whose vectors are kept: the last ones asked for, 16 MB at 512 dimensions."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A caller's texts, and what became of them."""

    texts: Sequence[str]
    vectors: Vectors | None = None
    error: Exception | None = None


class BatchingEmbedder:
    """An embedder whose texts of concurrent callers go through the model together.

    Whoever finds the model free takes along all that wait; a text costs no extra wait when
    nobody else asks. The last texts are remembered: a person who moves a slider asks with the
    same words again and again. Everything else is the model's own.
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._queue: list[_Waiting] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def dimensions(self) -> int:
        return self._model.dimensions

    @property
    def image_size(self) -> int:
        return self._model.image_size

    @property
    def batch_size(self) -> int:
        return self._model.batch_size

    @property
    def logit_scale(self) -> float:
        return self._model.logit_scale

    @property
    def logit_bias(self) -> float | None:
        return self._model.logit_bias

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize and crop as the model does."""
        return self._model.prepare(image)

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed images as the model does."""
        return self._model.images(images)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as (n, dimensions) float32 rows of unit length, with those of others."""
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
            for text in found:
                self._known.move_to_end(text)
        if missing := [text for text in dict.fromkeys(texts) if text not in found]:
            rows = self._embedded(missing)
            # Copies: a row of a large batch would keep all of it in memory.
            found |= {text: row.copy() for text, row in zip(missing, rows, strict=True)}
            with self._lock:
                self._known.update((text, found[text]) for text in missing)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return np.array([found[text] for text in texts], np.float32).reshape(
            len(texts), self.dimensions
        )

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        mine = _Waiting(texts)
        with self._lock:
            self._queue.append(mine)
        with self._turn:
            if mine.vectors is None and mine.error is None:
                with self._lock:
                    batch = _together(self._queue, mine)
                    self._queue = [each for each in self._queue if each not in batch]
                self._embed(batch)
        if mine.error is not None:
            raise mine.error
        assert mine.vectors is not None  # noqa: S101 - one of the two is set above
        return mine.vectors

    def _embed(self, batch: list[_Waiting]) -> None:
        try:
            rows = self._model.texts([text for each in batch for text in each.texts])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for each in batch:  # one caller's bad text is not the others' fault
                self._embed([each])
            return
        start = 0
        for each in batch:
            each.vectors = rows[start : start + len(each.texts)]
            start += len(each.texts)


def _together(queue: list[_Waiting], mine: _Waiting) -> list[_Waiting]:
    """Return those that wait, `mine` first, until the batch is full."""
    batch, count = [mine], len(mine.texts)
    for each in queue:
        if each is not mine and count + len(each.texts) <= MOST_TOGETHER:
            batch.append(each)
            count += len(each.texts)
    return batch
