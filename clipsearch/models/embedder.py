"""What every room above knows of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Vectors = NDArray[np.float32]
"""(n, dimensions) float32, rows of unit length."""


class Embedder(Protocol):
    """A pair of encoders with one embedding space.

    Encoders that come as files of their own are loaded when first used: a search by phrase with
    the starter never loads its image tower. A file that holds both is loaded at once, so that
    damaged weights are refused before anything is embedded.
    All methods may be called from several threads.
    """

    @property
    def name(self) -> str:
        """`ARCHITECTURE/WEIGHTS`, or `starter`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the same name stands for other weights; vectors of two fingerprints
        are never compared."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels: what to ask of a decoder."""
        ...

    @property
    def batch_size(self) -> int:
        """Number of images that embed fastest together."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor of the cosine before a softmax or sigmoid (about 100 for CLIP)."""
        ...

    @property
    def logit_bias(self) -> float | None:
        """Added before the sigmoid; `None` for models trained with a softmax."""
        ...

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize and crop an upright RGB image to the input of the image encoder.

        Safe and useful to run in decoding threads: `images` leaves prepared images as they are.
        """
        ...

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed RGB images, prepared or not, as (n, dimensions) float32 rows of unit length."""
        ...

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as (n, dimensions) float32 rows of unit length."""
        ...
