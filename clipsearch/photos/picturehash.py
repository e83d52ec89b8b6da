"""Perceptual hashes: 64 bits that stay nearly the same while a picture is copied about.

The DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
(2010): of the 32 x 32 grey picture, the 64 lowest frequencies without a constant part, each
against their median. Measured on 18 copies of each of 351 photos, and on all 1.6 million pairs
of 1,796 different ones, before it was chosen:

    hash                                    copies found      other pairs taken for one
    this one, at 8 bits                     95.5 %            46
    with the constant parts, at 6, 8 bits   94.7 %, 96.5 %    41, 64
    of gradients (dHash), at 6, 8 bits      94.1 %, 96.4 %    94, 430
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

STRUCTURELESS = 0
"""The hash of a picture that gives no ground to compare it: never near to anything.

Half the bits of every other hash are set, so that none of them is this one.
"""

_SIDE = 32
_FREQUENCIES = np.arange(1, 9)
_DCT = np.sqrt(2 / _SIDE) * np.cos(
    np.pi / _SIDE * np.outer(_FREQUENCIES, np.arange(_SIDE) + 0.5)
)  # (8, 32): DCT-II, orthonormal
# Half the coefficients of a picture have to lie this far from their median, in grey levels of
# the orthonormal transform. Photos have 5 and more (5.2 was the least of 1,796), a page of
# text 3.7; grain on one colour leaves 0.3, gradients and flat pictures 0.
_LEAST_STRUCTURE = 1.0


def picture_hash(picture: Image.Image) -> int:
    """Return 64 bits that tell an upright RGB picture, whatever its size, shape and encoding.

    Pictures of one colour, plain gradients and mere grain are `STRUCTURELESS`: what decided
    their bits would be rounding, and all of them would be near to each other.
    """
    small = picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, reducing_gap=2).convert("L")
    coefficients = (_DCT @ np.asarray(small, np.float64) @ _DCT.T).ravel()
    from_median = coefficients - np.median(coefficients)
    if np.median(np.abs(from_median)) < _LEAST_STRUCTURE:
        return STRUCTURELESS
    return int.from_bytes(np.packbits(from_median > 0).tobytes(), "big")


def near_pairs(hashes: Hashes, bits: int) -> NDArray[np.int64]:
    """Return all pairs (m, 2) of positions whose hashes differ in at most `bits` bits.

    Each pair comes once, the smaller position first; `hashes` are (n,), each only once.

    Hashes that differ in few bits agree in whole blocks of bits: of `bits` + 3 blocks, three at
    least are equal. Sorted by three blocks, near hashes are neighbours, for one of the choices
    of three (Manku, Jain and Das Sarma, "Detecting Near-Duplicates for Web Crawling", 2007).
    """
    if not 0 <= bits <= 12:
        raise ValueError(f"pairs are found up to 12 bits apart, not {bits}")
    masks = _blocks(bits + 3)
    found = [
        _agreeing(hashes, masks, chosen, bits) for chosen in combinations(range(len(masks)), 3)
    ]
    pairs = np.concatenate(found)
    pairs.sort(axis=1)
    ordered: NDArray[np.int64] = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


def _blocks(count: int) -> Hashes:
    """Cut 64 bits into blocks of nearly the same length, as masks."""
    edges = [64 * number // count for number in range(count + 1)]
    return np.array(
        [(1 << stop) - (1 << start) for start, stop in pairwise(edges)],
        np.uint64,
    )


def _agreeing(hashes: Hashes, masks: Hashes, chosen: Sequence[int], bits: int) -> NDArray[np.int64]:
    """Return the near pairs (m, 2) whose first three equal blocks are the chosen ones."""
    keys = hashes & np.bitwise_or.reduce(masks[list(chosen)])
    order = np.argsort(keys)
    keys, ordered = keys[order], hashes[order]
    unequal = [mask for number, mask in enumerate(masks[: chosen[-1]]) if number not in chosen]
    first: NDArray[np.int64] = np.arange(len(keys))
    found = [np.empty((0, 2), np.int64)]
    for distance in range(1, len(keys)):
        first = first[: np.searchsorted(first, len(keys) - distance)]
        first = first[keys[first] == keys[first + distance]]
        if not len(first):
            break
        differing = ordered[first] ^ ordered[first + distance]
        near = np.bitwise_count(differing) <= bits
        for mask in unequal:  # another choice of blocks finds these as well
            near &= (differing & mask) != 0
        found.append(np.stack([order[first[near]], order[first[near] + distance]], axis=1))
    return np.concatenate(found)
