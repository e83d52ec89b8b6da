"""Models of open_clip: published weights by their tag, or a checkpoint file of one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clipsearch.errors import UnknownModelError, WeightsError
from clipsearch.models import architectures, checkpoint, hub, texttower
from clipsearch.models.embedder import Vectors
from clipsearch.models.runtime import choose_device, choose_precision, keep_freed_memory
from clipsearch.models.texts import batches_by_length, encodable

if TYPE_CHECKING:
    import torch

Encode = Callable[["torch.Tensor"], "torch.Tensor"]

CPU_BATCH = 16
CARD_BATCH = 64
BATCH_TOKENS = 2048
LARGEST_RESIZE = 32_000_000  # pixels; a strip of 1 x 10,000 would be scaled to gigabytes


def canonical_tag(architecture: str, tag: str) -> str:
    """Return the tag as open_clip spells it.

    Raises:
        UnknownModelError: open_clip has no such architecture, or no such weights for it.
    """
    import open_clip

    architectures.check(architecture)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    wanted = tag.lower().replace("-", "_")
    if wanted in tags:
        return wanted
    name = f"{architecture}/{tag}"
    if not tags:
        raise UnknownModelError(
            f"{name}: no weights of {architecture} are published; "
            f"give a checkpoint file as {architecture}//path/to/weights.pt"
        )
    near = get_close_matches(wanted, tags, n=3, cutoff=0.3) or tags[:5]
    raise UnknownModelError(
        f"{name}: {architecture} has no such weights; "
        f"did you mean {', '.join(f'{architecture}/{tag}' for tag in near)}?"
    )


def fetch(architecture: str, tag: str) -> Path:
    """Return the weights file of a tag, from the cache or else downloaded into it.

    What the cache has is used as it is: no question to the hub, no wait when it is out of reach.

    Raises:
        ModelError: the weights are not in the cache and cannot be downloaded.
    """
    from open_clip.pretrained import download_pretrained

    settings = architectures.published_settings(architecture, tag)
    name = f"{architecture}/{tag}"
    if location := settings.get("hf_hub", ""):
        repository, files = hub.files_of(location)
        if path := hub.cached(repository, files):
            return path
        if not hub.answers(repository):
            raise architectures.unreachable(name)
    try:
        with architectures.quiet():
            return Path(download_pretrained(settings))
    except (OSError, RuntimeError, ValueError) as error:
        raise architectures.unreachable(name) from error


class OpenClipEmbedder:
    """Embeds photos and texts with an open_clip model: an `Embedder`.

    The image tower computes in the chosen precision on the chosen device, the text tower in
    float32 on the processor: prompts are few, and precision is cheap there. One file holds both
    towers, so both are loaded at once.
    """

    def __init__(
        self,
        architecture: str,
        weights: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """Load a model. `weights` is a tag of open_clip, or an absolute path of a checkpoint.

        Files are preprocessed for as the published weights of their architecture are. Weights
        of OpenAI, DFN and MetaCLIP need an architecture whose name ends in `-quickgelu` when
        they come as files; their tags are recognised.

        Raises:
            UnknownModelError: open_clip has no such architecture or tag.
            WeightsError: the file is missing, damaged or belongs to another architecture.
            ModelError: the weights cannot be downloaded, or the device is not present.
        """
        self._device = choose_device(device)
        self._precision = choose_precision(precision, self._device)
        if isinstance(weights, Path) or weights.startswith("/"):
            architectures.check(architecture)
            path = Path(weights).absolute()
            self._name = f"{architecture}/{path}"
            state = checkpoint.read(path)
            model = architectures.build(architecture, quick_gelu=False)
            checkpoint.load_strictly(
                model, state, f"{path}: these are not weights of {architecture}"
            )
            settings = architectures.common_settings(architecture)
        else:
            tag = canonical_tag(architecture, weights)
            self._name = f"{architecture}/{tag}"
            settings = architectures.published_settings(architecture, tag)
            path = fetch(architecture, tag)
            quick_gelu = bool(settings.get("quick_gelu", False))
            model = architectures.build(architecture, quick_gelu=quick_gelu)
            _load_published(model, path)
        self._fingerprint = checkpoint.fingerprint(path)
        self._tokenizer = architectures.tokenizer_of(architecture)
        self._tokenizer_lock = threading.Lock()
        self._resize, self._mean, self._std, self._size = _preprocessing(model, settings)
        self._dimensions = int(architectures.config_of(architecture)["embed_dim"])
        self._logit_scale = float(model.logit_scale.detach().exp())
        bias = getattr(model, "logit_bias", None)
        self._logit_bias = None if bias is None else float(bias.detach())
        self._place(model)
        self._text_tower = tower = texttower.causal_tower(model)
        # The tower has packed the text weights; the visual part alone lets go of the originals.
        self._encode_image: Encode = model.encode_image if tower is None else model.visual
        self._encode_text: Encode = (
            model.encode_text if tower is None else partial(texttower.encode, tower)
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the weights file: its size, its first and its last MiB."""
        return self._fingerprint

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def image_size(self) -> int:
        return max(self._size)

    @property
    def batch_size(self) -> int:
        return CPU_BATCH if self._device.type == "cpu" else CARD_BATCH

    @property
    def logit_scale(self) -> float:
        return self._logit_scale

    @property
    def logit_bias(self) -> float | None:
        return self._logit_bias

    def prepare(self, image: Image.Image) -> Image.Image:
        """Resize and crop an upright image as the model's own evaluation does."""
        image = image.convert("RGB")
        if image.size == self._size:
            return image
        prepared: Image.Image = self._resize(_shorten(image, self._size))
        return prepared

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed RGB images, prepared or not, as (n, dimensions) float32 rows of unit length."""
        import torch
        from torch.nn import functional

        vectors = np.empty((len(images), self.dimensions), np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = [self.prepare(image) for image in images[start : start + self.batch_size]]
            with torch.inference_mode():
                pixels = torch.from_numpy(np.stack([np.asarray(image) for image in batch]))
                x = pixels.to(self._device).permute(0, 3, 1, 2).to(torch.float32).div(255)
                x = x.sub_(self._mean).div_(self._std).to(self._precision)
                encoded = self._encode_image(x).to(torch.float32)
                vectors[start : start + len(batch)] = (
                    functional.normalize(encoded, dim=-1).cpu().numpy()
                )
        return vectors

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as (n, dimensions) float32 rows of unit length; longer ones are cut."""
        import torch
        from torch.nn import functional

        vectors = np.empty((len(texts), self.dimensions), np.float32)
        if not texts:
            return vectors
        with self._tokenizer_lock:  # tokenizers of transformers change their settings in a call
            tokens = self._tokenizer([encodable(text) for text in texts])
        tower = self._text_tower
        with torch.inference_mode():
            if tower is None:
                lengths = [tokens.shape[1]] * len(texts)
            else:
                lengths = (texttower.end_positions(tower, tokens) + 1).tolist()
            for rows in batches_by_length(lengths, BATCH_TOKENS):
                vectors[rows] = functional.normalize(
                    self._encode_text(tokens[rows]), dim=-1
                ).numpy()
        return vectors

    def _place(self, model: Any) -> None:
        import torch

        if self._device.type == "cpu":
            keep_freed_memory()
        model.eval().requires_grad_(False)
        model.visual.to(
            device=self._device, dtype=self._precision, memory_format=torch.channels_last
        )
        self._mean = self._mean.to(self._device)
        self._std = self._std.to(self._device)


def _load_published(model: Any, path: Path) -> None:
    from open_clip.factory import load_checkpoint

    try:
        with architectures.quiet():
            load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:  # the readers raise whatever damaged bytes make them stumble over
        raise WeightsError(
            f"{path}: the downloaded weights are damaged; delete the file and try again"
        ) from error


def _preprocessing(
    model: Any, settings: dict[str, Any]
) -> tuple[Any, torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Split open_clip's evaluation transform into its PIL part, mean, deviation and size."""
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
    from torchvision.transforms import Compose, ToTensor

    config = merge_preprocess_dict(PreprocessCfg(), settings)
    config["size"] = model.visual.image_size
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    steps = transform.transforms
    to_tensor = next(i for i, step in enumerate(steps) if isinstance(step, ToTensor))
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return Compose(steps[:to_tensor]), mean, std, (width, height)


def _shorten(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut the ends off a strip that would be scaled to more than `LARGEST_RESIZE` pixels."""
    short, long = sorted(image.size)
    limit = max(1, LARGEST_RESIZE // max(size) ** 2) * short
    if long <= limit:
        return image
    cut = (long - limit) // 2
    width, height = image.size
    if width > height:
        return image.crop((cut, 0, width - cut, height))
    return image.crop((0, cut, width, height - cut))
