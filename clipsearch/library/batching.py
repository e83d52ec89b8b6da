"""A model that many ask at once: their texts go through it together, and are remembered."""

from __future__ import annotations

import hashlib
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
"""Texts that are embedded as one batch; between two of one request come those of others."""

REMEMBERED = 8192
"""Texts whose vectors are kept: the last ones asked for, 16 MB at 512 dimensions."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A caller's texts, and what became of them."""

    texts: Sequence[str]
    vectors: Vectors | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None


class BatchingEmbedder:
    """An embedder whose texts of concurrent callers go through the model together.

    Whoever finds the model free takes along all that wait; a text costs no extra wait when
    nobody else asks. A large request goes through in parts, and whoever asks meanwhile comes
    before its next part. The last texts are remembered: a person who moves a slider asks with the
    same words again and again. Everything else is the model's own.
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._queue: list[_Waiting] = []
        self._changed = threading.Condition()
        self._busy = False
        self._known: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

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
        keys = {text: _key(text) for text in texts}
        with self._changed:
            found = {text: self._known[key] for text, key in keys.items() if key in self._known}
            for text in found:
                self._known.move_to_end(keys[text])
        missing = [text for text in keys if text not in found]
        for start in range(0, len(missing), MOST_TOGETHER):
            part = missing[start : start + MOST_TOGETHER]
            # Copies: a row of a large batch would keep all of it in memory.
            rows = [row.copy() for row in self._embedded(part)]
            found |= zip(part, rows, strict=True)
            with self._changed:
                self._known.update((keys[text], found[text]) for text in part)
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return np.array([found[text] for text in texts], np.float32).reshape(
            len(texts), self.dimensions
        )

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        mine = _Waiting(texts)
        with self._changed:
            self._queue.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.done or not self._busy)
                if mine.done:
                    break
                # Not mine first: who came before me is embedded before me.
                batch = _together(self._queue)
                self._queue = [each for each in self._queue if each not in batch]
                self._busy = True
            try:
                self._embed(batch)
            finally:
                with self._changed:
                    # Some are left where the thread itself was interrupted.
                    self._queue[:0] = [each for each in batch if not each.done and each is not mine]
                    self._busy = False
                    self._changed.notify_all()
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


def _together(queue: list[_Waiting]) -> list[_Waiting]:
    """Return those that wait, the first one first, until the batch is full."""
    batch, count = queue[:1], sum(len(each.texts) for each in queue[:1])
    for each in queue[1:]:
        if count + len(each.texts) <= MOST_TOGETHER:
            batch.append(each)
            count += len(each.texts)
    return batch


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
