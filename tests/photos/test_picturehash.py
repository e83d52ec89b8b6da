from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from clipsearch.duplicates import NEAR_BITS
from clipsearch.photos.decode import open_photo
from clipsearch.photos.picturehash import STRUCTURELESS, near_pairs, picture_hash

Copying = Callable[[Image.Image], Image.Image]


def scene(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Paint soft blobs of colour, another picture for each seed."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, form: str, quality: int = 75) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, form, quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def distance(one: Image.Image, other: Image.Image) -> int:
    return (picture_hash(one) ^ picture_hash(other)).bit_count()


COPIES: dict[str, Copying] = {
    "jpeg": lambda picture: encoded(picture, "JPEG", 50),
    "webp": lambda picture: encoded(picture, "WEBP", 50),
    "half": lambda picture: scaled(picture, 0.5),
    "double": lambda picture: scaled(picture, 2),
    "squeezed": lambda picture: picture.resize((300, 300)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.15),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_has_nearly_the_same_hash(kind: str) -> None:
    assert all(distance(scene(seed), COPIES[kind](scene(seed))) <= NEAR_BITS for seed in range(20))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.sampled_from(["JPEG", "WEBP"]), st.integers(30, 95), st.floats(0.3, 3)
)
def test_encoding_and_scaling_stay_within_the_bound(
    seed: int, form: str, quality: int, factor: float
) -> None:
    copy = encoded(scaled(scene(seed), factor), form, quality)
    assert distance(scene(seed), copy) <= NEAR_BITS


def test_different_pictures_are_far_apart() -> None:
    scenes = [scene(seed) for seed in range(60)]
    pairs = [distance(one, other) for n, one in enumerate(scenes) for other in scenes[:n]]
    assert min(pairs) > NEAR_BITS
    assert 28 < np.mean(pairs) < 36  # as of independent bits


def test_another_picture_and_the_mirrored_one_differ() -> None:
    picture = scene(1)
    assert distance(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 2 * NEAR_BITS
    assert distance(picture, picture.transpose(Image.Transpose.ROTATE_180)) > 2 * NEAR_BITS


def test_a_photo_turned_by_its_metadata_has_the_hash_of_the_upright_one(tmp_path: Path) -> None:
    picture = scene(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "upright.jpg", quality=90)
    lying = picture.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.jpg", quality=90, exif=exif)
    upright, turned = (
        open_photo(tmp_path / name, size=128).image for name in ("upright.jpg", "lying.jpg")
    )
    assert distance(upright, turned) <= 2
    assert distance(upright, lying) > NEAR_BITS


def grain(level: float) -> Image.Image:
    noise = np.random.default_rng(5).normal(128, level, (300, 400, 3))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def gradient() -> Image.Image:
    ramp = np.linspace(20, 240, 400)[None, :, None]
    return Image.fromarray(np.broadcast_to(ramp, (300, 400, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (400, 300), "white"),
        Image.new("RGB", (1, 1), "red"),
        encoded(Image.new("RGB", (400, 300), (200, 90, 40)), "JPEG", 30),
        gradient(),
        encoded(gradient(), "JPEG", 50),
        grain(8),
    ],
    ids=["white", "pixel", "flat jpeg", "gradient", "gradient jpeg", "grain"],
)
def test_a_picture_without_structure_says_so(picture: Image.Image) -> None:
    assert picture_hash(picture) == STRUCTURELESS


def test_a_page_of_text_has_structure() -> None:
    page = Image.new("RGB", (600, 800), "white")
    draw = ImageDraw.Draw(page)
    words = np.random.default_rng(1).integers(2, 12, 400)
    text = "\n".join(
        " ".join("x" * length for length in words[line * 10 : line * 10 + 10]) for line in range(40)
    )
    draw.multiline_text((50, 50), text, fill="black")
    assert picture_hash(page) != STRUCTURELESS


def test_half_of_the_bits_are_set() -> None:
    assert {picture_hash(scene(seed)).bit_count() for seed in range(30)} == {32}


def test_real_photos_are_told_apart_and_their_copies_known(shared: Path) -> None:
    originals, copies = [], []
    for path in sorted((shared / "captions").glob("*/*.jpg"))[::3]:
        picture = open_photo(path, size=256).image
        originals.append(picture_hash(picture))
        copies.append(picture_hash(encoded(scaled(picture, 0.7), "JPEG", 60)))
    distances = np.array([[(one ^ other).bit_count() for other in copies] for one in originals])
    assert len(originals) > 50
    assert np.diag(distances).max() <= NEAR_BITS
    assert (distances + 64 * np.eye(len(copies), dtype=int)).min() > NEAR_BITS


def brute_force(hashes: NDArray[np.uint64], bits: int) -> list[list[int]]:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= bits
    pairs: list[list[int]] = np.argwhere(np.triu(near, 1)).tolist()
    return pairs


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=14)), max_size=24),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_near_pairs_are_all_pairs_within_the_bound(
    bases: list[int], flips: list[tuple[int, set[int]]], bits: int, random: object
) -> None:
    found = set(bases)
    for base, places in flips:
        if base < len(bases):
            found.add(bases[base] ^ sum(1 << place for place in places))
    hashes = list(found)
    random.shuffle(hashes)  # type: ignore[attr-defined]
    values = np.array(hashes, np.uint64)
    assert near_pairs(values, bits).tolist() == brute_force(values, bits)


def test_near_pairs_of_many_are_those_of_brute_force() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 1500, np.uint64)
    for _ in range(6):
        flipped = np.uint64(1) << random.integers(0, 64, 500).astype(np.uint64)
        hashes[random.choice(1500, 500, replace=False)] ^= flipped
    near = hashes[:700] ^ (np.uint64(1) << random.integers(0, 64, 700).astype(np.uint64))
    values = random.permutation(np.unique(np.concatenate([hashes, near])))
    pairs = near_pairs(values, 8)
    assert len(pairs) >= 700
    assert pairs.tolist() == brute_force(values, 8)


def test_a_bound_that_would_miss_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 12 bits"):
        near_pairs(np.array([1, 2], np.uint64), 13)
