"""The head of the starter model: what it does to vectors, and its file when it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clipsearch.errors import WeightsError
from clipsearch.models import starterhead
from clipsearch.models.starterhead import DIMENSIONS, FEATURES, StarterHead, Weights
from training.train_starter_head import Photos, Recipe, cross_validate, symmetric_loss, train

CPU = torch.device("cpu")


def made(units: int = 8, seed: int = 3, size: float = 0.1) -> Weights:
    """Return a head with random weights."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float16]:
        return (size * random.standard_normal(shape)).astype(np.float16)

    return Weights(
        draw(units, FEATURES + DIMENSIONS), draw(units), draw(DIMENSIONS, units), draw(DIMENSIONS),
        logit_scale=12.5,
    )  # fmt: skip


def inputs(count: int, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    joined = torch.nn.functional.normalize(
        torch.randn(count, DIMENSIONS, generator=generator), dim=-1
    )
    return torch.rand(count, FEATURES, generator=generator), joined


def test_a_correction_is_added_to_the_vector() -> None:
    features, joined = inputs(5)
    weights = made()
    corrected = StarterHead(weights, CPU).correct(features, joined).numpy()
    length = np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    seen = np.hstack([features.numpy() / length, joined.numpy()])
    active = np.maximum(seen @ weights.hidden.T.astype(np.float64) + weights.hidden_bias, 0)
    expected = joined.numpy() + active @ weights.output.T.astype(np.float64) + weights.output_bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(corrected, expected, atol=1e-5)
    assert corrected.dtype == np.float32
    assert not np.allclose(corrected, joined, atol=0.01)


def test_a_head_without_weights_changes_nothing() -> None:
    features, joined = inputs(5)
    unchanged = StarterHead(made(size=0), CPU).correct(features, joined)
    torch.testing.assert_close(unchanged, joined)


def test_only_the_direction_of_features_counts() -> None:
    features, joined = inputs(4)
    head = StarterHead(made(), CPU)
    torch.testing.assert_close(head.correct(7 * features, joined), head.correct(features, joined))


def test_a_batch_is_its_members() -> None:
    features, joined = inputs(9)
    head = StarterHead(made(), CPU)
    alone = [head.correct(features[row : row + 1], joined[row : row + 1]) for row in range(9)]
    torch.testing.assert_close(head.correct(features, joined), torch.cat(alone), atol=1e-6, rtol=0)


def test_a_saved_head_is_the_same(tmp_path: Path) -> None:
    weights = made()
    weights.save(tmp_path / "head.npz")
    read = starterhead.read_weights(tmp_path / "head.npz")
    assert (read.sha256, read.logit_scale) == (weights.sha256, 12.5)
    assert read.sha256 != made(seed=4).sha256


def test_the_shipped_head_is_small_and_whole() -> None:
    weights = starterhead.read_weights()
    assert starterhead.HEAD_FILE.stat().st_size < 6_000_000
    assert weights.hidden.dtype == weights.output.dtype == np.float16
    assert 5 < weights.logit_scale < 50
    assert np.isfinite(weights.hidden.astype(np.float32)).all()
    assert np.isfinite(weights.output.astype(np.float32)).all()


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "foreign", "shape"])
def test_a_damaged_head_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "head.npz"
    made().save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        np.savez(path, other=np.zeros(3))
    else:
        weights = made()
        Weights(
            weights.hidden[:, 1:], weights.hidden_bias, weights.output, weights.output_bias, 9.0
        ).save(path)
    with pytest.raises(WeightsError, match=r"head\.npz: the head .* cannot be read; reinstall"):
        starterhead.read_weights(path)


def test_captions_of_a_photo_are_no_rivals() -> None:
    own = torch.tensor([[True, True, False], [False, False, True]])
    cosines = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.0, 0.5]])
    # By hand: from a photo each own caption competes with the other photo's alone.
    to_text = [np.log1p(np.exp(0.0 - 0.9)), np.log1p(np.exp(0.0 - 0.1)), np.log1p(2 * np.exp(-0.5))]
    to_photo = [np.log1p(np.exp(-0.9)), np.log1p(np.exp(-0.1)), np.log1p(np.exp(-0.5))]
    both = np.add(to_text, to_photo)
    expected = ((both[0] + both[1]) / 2 + both[2]) / 2 / 2
    assert float(symmetric_loss(cosines, own, 1.0)) == pytest.approx(expected, abs=1e-6)


def synthetic(count: int) -> Photos:
    """Photos whose captions are a linear function of their features, which ConSE misses."""
    generator = torch.Generator().manual_seed(1)
    kinds = torch.randint(0, 6, (count,), generator=generator)
    features = torch.rand(6, FEATURES, generator=generator)[kinds]
    features = (features + 0.1 * torch.rand(count, FEATURES, generator=generator))[:, None]
    texts = torch.nn.functional.normalize(
        torch.randn(6, DIMENSIONS, generator=generator)[kinds]
        + 0.3 * torch.randn(count, DIMENSIONS, generator=generator),
        dim=-1,
    )
    _, joined = inputs(count)
    return Photos(
        [str(row) for row in range(count)], features, joined[:, None], texts, torch.arange(count)
    )


def test_the_same_seed_trains_the_same_head() -> None:
    photos = synthetic(40)
    recipe = Recipe(heads=2, units=16, steps=5)
    rows = np.arange(40)
    first, second, other = (train(photos, rows, recipe, seed) for seed in (1, 1, 2))
    assert first.sha256 == second.sha256 != other.sha256
    assert first.hidden.shape == (32, FEATURES + DIMENSIONS)


def test_unseen_photos_come_nearer_to_their_captions() -> None:
    photos = synthetic(60)
    vectors, heads = cross_validate(
        photos, 60, Recipe(heads=1, units=64, rate=0.005), folds=3, seed=0
    )
    assert len(heads) == 3
    before = (photos.joined[:, 0] * photos.captions).sum(1).numpy()
    after = (vectors * photos.captions.numpy()).sum(1)
    assert after.mean() > before.mean() + 0.1


def test_a_fold_learns_nothing_of_its_own_captions() -> None:
    photos = synthetic(30)
    recipe = Recipe(heads=1, units=16, steps=5)
    rows = np.arange(10, 30)
    before = train(photos, rows, recipe, 0).sha256
    photos.captions[:10] = photos.captions[:10].flip(1)
    photos.features[:10] = 0
    assert train(photos, rows, recipe, 0).sha256 == before
