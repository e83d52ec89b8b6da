"""The starter model: two small encoders in every install, and what joins them.

The image tower is a classifier of the 1,000 ImageNet classes, the text tower a sentence
encoder. An image is the probability-weighted mean of the text vectors of its likely classes
(ConSE: Norouzi et al. 2013, "Zero-Shot Learning by Convex Combination of Semantic Embeddings",
arXiv 1312.5650), corrected by a small head that was trained on captioned photos
(`starterhead.py`). It is a true joint space, and a weaker one than CLIP's: see `data/README.md`
for what it cannot see.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.errors import WeightsError
from clipsearch.models import efficientnet, minilm, packaged, starterhead
from clipsearch.models.embedder import Vectors
from clipsearch.models.runtime import choose_device, choose_precision, keep_freed_memory

if TYPE_CHECKING:
    import torch

NAME = "starter"
LIKELY_CLASSES = 30
TEMPERATURE = 2.0  # of the class probabilities: the classifier is too sure of itself
INPUT_VERSION = 1  # raise it when the same photo gives another vector than before
BATCH_SIZE = 8  # the activations of more do not stay in the processor's cache
CLASSES_FILE = Path(__file__).with_name("data") / "starter-classes.npz"


def join(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Place images in the space of texts by the text vectors of their likely classes.

    ConSE (arXiv 1312.5650, equation 4): the mean of the vectors of the `LIKELY_CLASSES`
    most likely classes, weighted by their probability. `logits` is (n, 1000), `classes`
    (1000, d); returns (n, d) float32, rows of unit length.
    """
    from torch.nn import functional

    probability, likely = (logits / TEMPERATURE).softmax(-1).topk(LIKELY_CLASSES, dim=-1)
    return functional.normalize((probability[..., None] * classes[likely]).sum(-2), dim=-1)


def read_classes(path: Path = CLASSES_FILE) -> tuple[NDArray[np.float16], float]:
    """Return the text vectors of the classes, (1000, 384) float16, and the logit scale.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive["vectors"], float(archive["logit_scale"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise WeightsError(
            f"{path}: the class vectors of the starter model cannot be read; reinstall clipsearch"
        ) from error


class StarterEmbedder:
    """Embeds photos and texts with the starter model: an `Embedder` that needs no download."""

    def __init__(
        self,
        device: str = "auto",
        precision: str = "auto",
        *,
        weights: Path | None = None,
        head: bool = True,
    ) -> None:
        """Find the weights; each tower is loaded and verified when first used.

        `weights` is a folder with the weights files in place of the installed packages.
        `head=False` leaves ConSE as it is, which no captioned photo has taught anything: what
        to measure on photos that the head was trained on. It is another space, so another
        fingerprint.

        Raises:
            WeightsError: the weights are not installed.
            ModelError: this machine has no such device or precision.
        """
        self._device = choose_device(device)
        self._precision = choose_precision(precision, self._device)
        self._folder = weights
        for file in (efficientnet.WEIGHTS, minilm.WEIGHTS, minilm.TOKENIZER):
            packaged.locate(file, weights)
        classes, self._logit_scale = read_classes()
        self._head_weights = starterhead.read_weights() if head else None
        if self._head_weights is not None:
            self._logit_scale = self._head_weights.logit_scale
        self._classes_sha256 = hashlib.sha256(classes.astype("<f2").tobytes()).hexdigest()
        self._classes = classes.astype(np.float32)
        self._classes /= np.linalg.norm(self._classes, axis=1, keepdims=True)
        self._lock = threading.Lock()
        self._image_tower: efficientnet.EfficientNetLite2 | None = None
        self._text_tower: minilm.MiniLM | None = None
        self._head: starterhead.StarterHead | None = None

    @property
    def name(self) -> str:
        return NAME

    @property
    def fingerprint(self) -> str:
        """Hash of all weights, the class vectors and the version of the preprocessing."""
        parts = (
            self._classes_sha256,
            *(() if self._head_weights is None else (self._head_weights.sha256,)),
            efficientnet.WEIGHTS.sha256,
            minilm.WEIGHTS.sha256,
            minilm.TOKENIZER.sha256,
            f"{INPUT_VERSION} {LIKELY_CLASSES} {TEMPERATURE}",
        )
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    @property
    def dimensions(self) -> int:
        return minilm.DIMENSIONS

    @property
    def image_size(self) -> int:
        return efficientnet.IMAGE_SIZE

    @property
    def batch_size(self) -> int:
        return BATCH_SIZE

    @property
    def logit_scale(self) -> float:
        return self._logit_scale

    @property
    def logit_bias(self) -> None:
        return None

    def prepare(self, image: Image.Image) -> Image.Image:
        """Scale the centre square of an upright image to 260 x 260 pixels.

        Percent found without the head on 181 photos with 749 captions, in float32, and the
        cost of an image:

        | input                     | text to image R@1, 5, 10 | image to text R@1, 10 | cost |
        |---------------------------|--------------------------|-----------------------|------|
        | centre square             | 33.9  69.8  80.1         | 22.7  53.6            | 1    |
        | centre 89 % of the square | 31.5  68.2  78.8         | 18.8  51.9            | 1    |
        | two squares, both ends    | 34.2  69.8  80.6         | 20.4  50.3            | 2    |
        | whole photo, padded       | 29.9  65.2  78.9         | 18.8  53.6            | 1    |
        | whole photo, squashed     | 30.6  67.6  79.0         | 18.8  49.7            | 1    |
        """
        return efficientnet.crop(image)

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed RGB images, prepared or not, as (n, 384) float32 rows of unit length.

        Raises:
            WeightsError: the weights of the image tower are damaged.
        """
        import torch

        vectors = np.empty((len(images), self.dimensions), np.float32)
        if not images:
            return vectors
        tower = self._images()
        classes = torch.from_numpy(self._classes).to(self._device)
        head = self._head
        for start in range(0, len(images), BATCH_SIZE):
            batch = [self.prepare(image) for image in images[start : start + BATCH_SIZE]]
            with torch.inference_mode():
                features, logits = tower.classify(batch)
                joined = join(logits, classes)
                if head is not None:
                    joined = head.correct(features, joined)
                vectors[start : start + len(batch)] = joined.cpu().numpy()
        return vectors

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as (n, 384) float32 rows of unit length; the image tower stays unloaded.

        Raises:
            WeightsError: the weights of the text tower are damaged.
        """
        with self._lock:
            if self._text_tower is None:
                self._text_tower = minilm.MiniLM(self._folder)
        return self._text_tower.encode(texts)

    def _images(self) -> efficientnet.EfficientNetLite2:
        with self._lock:
            if self._image_tower is None:
                if self._device.type == "cpu":
                    keep_freed_memory()
                if self._head_weights is not None:
                    self._head = starterhead.StarterHead(self._head_weights, self._device)
                self._image_tower = efficientnet.EfficientNetLite2(
                    self._device, self._precision, self._folder
                )
            return self._image_tower
