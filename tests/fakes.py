"""A real embedder without weights: its space is the colour cube, so "red" finds red pictures."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "orange": (255, 128, 0),
}


class ColourEmbedder:
    """Embeds an image as its mean colour and a text as the mean of the colours it names.

    `embedded` counts the images that went through, as a test of what is not embedded again.
    """

    name = "colours"
    dimensions = 4
    image_size = 16
    batch_size = 3
    logit_scale = 10.0
    logit_bias: float | None = None

    def __init__(self, name: str = "colours", fingerprint: str = "1") -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.embedded = 0
        self._lock = threading.Lock()

    def prepare(self, image: Image.Image) -> Image.Image:
        return image.resize((self.image_size, self.image_size))

    def images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        with self._lock:
            self.embedded += len(images)
        rows = [
            np.asarray(self.prepare(image), np.float32).reshape(-1, 3).mean(axis=0)
            for image in images
        ]
        return _unit(np.array(rows, np.float32).reshape(-1, 3))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        for text in texts:
            named = [COLOURS[word] for word in text.lower().split() if word in COLOURS]
            rows.append(np.mean(named or [COLOURS["grey"]], axis=0))
        return _unit(np.array(rows, np.float32).reshape(-1, 3))


def _unit(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centre the cube on grey; a fourth axis keeps grey itself off the origin."""
    centred = colours / 127.5 - 1
    rows = np.concatenate([centred, np.full((len(colours), 1), 0.25, np.float32)], axis=1)
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
