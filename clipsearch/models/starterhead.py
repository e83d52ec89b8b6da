"""The head of the starter model: a small learnt correction of where ConSE places a photo.

Both towers stay as they are (LiT: Zhai et al. 2021, arXiv 2111.07991). One hidden layer reads
the features of the image tower and the vector that ConSE gives, and adds a correction to that
vector; texts are not touched. `training/train_starter_head.py` makes the weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import WeightsError

if TYPE_CHECKING:
    import torch

HEAD_FILE = Path(__file__).with_name("data") / "starter-head.npz"
FEATURES = 1280
DIMENSIONS = 384


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The head as it is stored: `h` hidden units, float16.

    `hidden` is (h, 1280 + 384) and `hidden_bias` (h,), `output` (384, h) and `output_bias`
    (384,). `logit_scale` is that of the model with this head.
    """

    hidden: NDArray[np.float16]
    hidden_bias: NDArray[np.float16]
    output: NDArray[np.float16]
    output_bias: NDArray[np.float16]
    logit_scale: float

    @property
    def sha256(self) -> str:
        """Hash of everything that changes a vector."""
        parts = (self.hidden, self.hidden_bias, self.output, self.output_bias)
        content = b"".join(part.astype("<f2").tobytes() for part in parts)
        return hashlib.sha256(content).hexdigest()

    def save(self, path: Path) -> None:
        np.savez(
            path,
            hidden=self.hidden,
            hidden_bias=self.hidden_bias,
            output=self.output,
            output_bias=self.output_bias,
            logit_scale=np.float32(self.logit_scale),
        )


def read_weights(path: Path = HEAD_FILE) -> Weights:
    """Read a head from a file.

    Raises:
        WeightsError: the file is missing, damaged or no head of this model.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            weights = Weights(
                hidden=archive["hidden"],
                hidden_bias=archive["hidden_bias"],
                output=archive["output"],
                output_bias=archive["output_bias"],
                logit_scale=float(archive["logit_scale"]),
            )
        units = len(weights.hidden)
        if (
            weights.hidden.shape != (units, FEATURES + DIMENSIONS)
            or weights.hidden_bias.shape != (units,)
            or weights.output.shape != (DIMENSIONS, units)
            or weights.output_bias.shape != (DIMENSIONS,)
        ):
            raise ValueError("shapes that do not fit")
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise WeightsError(
            f"{path}: the head of the starter model cannot be read; reinstall clipsearch"
        ) from error
    return weights


class StarterHead:
    """Corrects the vectors of photos; safe to use from several threads."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        import torch

        self._hidden, self._hidden_bias, self._output, self._output_bias = (
            torch.from_numpy(part.astype(np.float32)).to(device)
            for part in (
                weights.hidden, weights.hidden_bias, weights.output, weights.output_bias,
            )
        )  # fmt: skip

    def correct(self, features: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
        """Add the correction to vectors of ConSE and normalise: (n, 384) float32.

        `features` is (n, 1280) from the image tower, `joined` (n, 384) of unit length. Of the
        features only the direction counts.
        """
        import torch
        from torch.nn import functional

        seen = torch.cat([functional.normalize(features, dim=-1), joined], dim=-1)
        active = functional.linear(seen, self._hidden, self._hidden_bias).relu()
        correction = functional.linear(active, self._output, self._output_bias)
        return functional.normalize(joined + correction, dim=-1)
