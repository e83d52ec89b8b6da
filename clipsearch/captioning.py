"""Rank texts for one photo: captions or class names, and whether any of them fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FITTING_QUANTILE = 0.75
"""Of the neutral sentences' cosines: what the best text has to exceed; see `fits`."""


class RankedText(NamedTuple):
    """A text in rank order: `position` is its place in the list that was ranked."""

    position: int
    cosine: float
    probability: float


def cosines(image: NDArray[np.floating], texts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (n,) cosines of one image, (d,), with texts, (n, d), all of unit length.

    Each is summed by itself in float64, so that it has the same bits whatever else is in the
    list; a BLAS product may round a row otherwise when the number of rows changes.
    """
    if image.ndim != 1 or texts.ndim != 2 or texts.shape[1] != len(image):
        raise ValueError(f"an image of shape {image.shape} and texts of shape {texts.shape}")
    wide = np.ascontiguousarray(texts, np.float64)
    sums = np.einsum("ij,j->i", wide, image.astype(np.float64))
    result: NDArray[np.float64] = np.clip(sums, -1, 1)
    return result


def rank(
    image: NDArray[np.floating],
    texts: NDArray[np.floating],
    *,
    logit_scale: float,
    logit_bias: float | None = None,
) -> list[RankedText]:
    """Return the texts in rank order, ties by index.

    `image` is (d,), `texts` (n, d), of unit length. The probability is the softmax of
    `logit_scale` times the cosine over the list (CLIP: Radford et al. 2021, arXiv 2103.00020,
    section 3.1.2) or, with `logit_bias`, a sigmoid for each text by itself (SigLIP: Zhai et
    al. 2023, arXiv 2303.15343, section 3.2). A temperature divides `logit_scale`.
    """
    scores = cosines(image, texts)
    if not len(scores):
        return []
    logits = logit_scale * scores
    if logit_bias is None:
        weights = np.exp(logits - logits.max())
        probabilities = weights / weights.sum()
    else:  # exp of a negative number never overflows
        logits += logit_bias
        small = np.exp(-np.abs(logits))
        probabilities = np.where(logits >= 0, 1, small) / (1 + small)
    order = np.lexsort((np.arange(len(scores)), -scores))
    return [
        RankedText(int(index), float(scores[index]), float(probabilities[index])) for index in order
    ]


def margin(ranked: list[RankedText]) -> float | None:
    """Return by how much cosine the first text beats the second; `None` where there is none."""
    return ranked[0].cosine - ranked[1].cosine if len(ranked) > 1 else None


def fits(
    image: NDArray[np.floating], texts: NDArray[np.floating], background: NDArray[np.floating]
) -> bool:
    """Tell whether the best text says more of the photo than neutral sentences do.

    `image` is (d,), `texts` (n, d), `background` (m, d): sentences such as "a photo of
    something" that are true of every photo. The best cosine has to exceed the upper quartile of
    the background's cosines with the same photo. A quantile, unlike the maximum, does not move
    when the bank grows or holds one odd sentence.

    Captions that fit, in percent, one at a time, with the starter model and the 40 sentences
    that ship with clipsearch: 181 photos with 749 captions, and 40 others with 80
    (`tests/benchmarks/caption_ranking.py`).

    | the cosine exceeds        | own | other photos' | own | other photos' |
    |---------------------------|-----|---------------|-----|---------------|
    | maximum                   | 52  | 3             | 45  | 6             |
    | quantile 0.9              | 65  | 5             | 59  | 11            |
    | quantile 0.75 (chosen)    | 70  | 8             | 65  | 15            |
    | median                    | 76  | 11            | 76  | 20            |
    | mean + 1 deviation        | 66  | 6             | 60  | 12            |
    | mean + 2 deviations       | 55  | 3             | 50  | 6             |

    The more texts are offered, the likelier one of them fits by chance.
    """
    if not len(background):
        raise ValueError("no neutral sentences to compare with")
    scores = cosines(image, texts)
    neutral = np.quantile(cosines(image, background), FITTING_QUANTILE)
    return bool(len(scores) and scores.max() > neutral)
