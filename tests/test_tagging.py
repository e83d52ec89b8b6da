"""Laws of tagging, and its quality on photos whose objects are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipsearch import prompts, tagging
from clipsearch.models.starter import StarterEmbedder
from clipsearch.tagging import Labels
from tests.benchmarks import tagging_quality as quality
from tests.benchmarks.starter_retrieval import embed_photos

Vectors = NDArray[np.float32]
Tags = dict[tuple[int, int], float]
DIMENSIONS = 12


def units(random: np.random.Generator, count: int) -> Vectors:
    rows = random.standard_normal((count, DIMENSIONS)) + np.eye(DIMENSIONS)[0]
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


class World:
    """A small library and vocabulary: clusters of photos, some labels near to one of them."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.random = random
        topics = units(random, 6)
        photos = int(random.integers(1, 90))
        near = topics[random.integers(0, 6, photos)]
        away = near + random.uniform(0.2, 0.6) * units(random, photos)
        self.photos = (away / np.linalg.norm(away, axis=1, keepdims=True)).astype(np.float32)
        count = int(random.integers(1, 9))
        self.owner = np.sort(np.append(np.arange(count), random.integers(0, count, 5)))
        rows = topics[random.integers(0, 6, count + 5)] + 0.4 * units(random, count + 5)
        self.rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        self.groups = random.integers(-1, 2, count)
        self.thresholds = random.choice([0.1, 0.3, 0.5, 0.8], count)
        self.background = units(random, 3)

    def labels(self) -> Labels:
        return tagging.pool(self.rows, self.owner, groups=self.groups, thresholds=self.thresholds)


worlds = st.builds(World, st.integers(0, 2**32 - 1))


def tag(photos: Vectors, labels: Labels, background: Vectors, *, step: int = 1000) -> Tags:
    calibration = tagging.calibrate(photos, labels, background)

    def blocks() -> Iterator[tagging.Block]:
        for start in range(0, len(photos), step):
            part = photos[start : start + step]
            yield np.arange(start, start + len(part)), part

    return {
        (int(photo), int(label)): float(score)
        for ids, found, scores in tagging.tag_blocks(blocks(), labels, background, calibration)
        for photo, label, score in zip(ids, found, scores, strict=True)
    }


@given(worlds, st.integers(1, 100))
def test_the_size_of_a_block_does_not_matter(world: World, step: int) -> None:
    labels = world.labels()
    whole = tag(world.photos, labels, world.background)
    assert tag(world.photos, labels, world.background, step=step) == whole


@given(worlds)
def test_tags_are_in_order_and_above_their_threshold(world: World) -> None:
    tags = tag(world.photos, world.labels(), world.background)
    assert list(tags) == sorted(tags)
    for (_, label), score in tags.items():
        assert world.thresholds[label] - 1e-6 <= score <= 1


@given(worlds)
def test_independent_tags_follow_from_how_far_labels_stand_out(world: World) -> None:
    world.groups[:] = -1
    labels = world.labels()
    calibration = tagging.calibrate(world.photos, labels, world.background)
    spreads = tagging.standardise(world.photos, labels, calibration)
    posterior = 1 / (1 + np.exp(-tagging.SEPARATION * (spreads - calibration.cut)))
    directions = world.photos - calibration.mean
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)
    neutral = directions @ (world.background - calibration.centre).T - calibration.background
    clear = posterior >= world.thresholds
    clear &= spreads > neutral.max(axis=1, keepdims=True) / calibration.scale
    tags = tag(world.photos, labels, world.background)
    borderline = np.abs(posterior - world.thresholds) < 1e-4
    borderline |= np.abs(spreads - neutral.max(axis=1, keepdims=True) / calibration.scale) < 1e-3
    for photo, label in np.ndindex(*spreads.shape):
        if not borderline[photo, label]:
            assert ((photo, label) in tags) == clear[photo, label]
            if clear[photo, label]:
                assert tags[photo, label] == pytest.approx(posterior[photo, label], abs=1e-3)


@given(worlds)
def test_an_exclusive_group_gives_one_label_at_most(world: World) -> None:
    given_ = [
        (photo, world.groups[label])
        for photo, label in tag(world.photos, world.labels(), world.background)
        if world.groups[label] >= 0
    ]
    assert len(given_) == len(set(given_))


@given(worlds)
def test_the_order_of_labels_does_not_matter(world: World) -> None:
    count = len(world.groups)
    place = world.random.permutation(count)  # label i becomes label place[i]
    moved = tagging.pool(
        world.rows,
        place[world.owner],
        groups=world.groups[np.argsort(place)],
        thresholds=world.thresholds[np.argsort(place)],
    )
    before = tag(world.photos, world.labels(), world.background)
    after = tag(world.photos, moved, world.background)
    renamed = {(photo, int(place[label])): score for (photo, label), score in before.items()}
    assert_same_but_for_rounding(renamed, after, moved)


@given(worlds, st.data())
def test_a_synonym_given_twice_changes_nothing(world: World, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(world.rows) - 1))
    before = tag(world.photos, world.labels(), world.background)
    world.rows = np.insert(world.rows, row, world.rows[row], axis=0)
    world.owner = np.insert(world.owner, row, world.owner[row])
    assert tag(world.photos, world.labels(), world.background) == before


@given(worlds, st.integers(0, 2**32 - 1))
def test_a_constant_on_all_scores_of_a_label_changes_little(world: World, seed: int) -> None:
    """The constant is a dimension of its own, in which all photos are 1.

    Only the imaginary photo that joins a sample knows it: its share is one in n + 1.
    """
    photos = np.concatenate([world.photos] * 40)
    constant = np.random.default_rng(seed).normal(0, 0.03, len(world.groups))
    plain = tagging.pool(world.rows, world.owner)
    shifted = tagging.pool(np.column_stack([world.rows, constant[world.owner]]), world.owner)
    wide = np.column_stack([photos, np.ones(len(photos))]).astype(np.float32)
    neutral = np.column_stack([world.background, np.zeros(3)]).astype(np.float32)
    before = tagging.standardise(photos, plain, tagging.calibrate(photos, plain, world.background))
    after = tagging.standardise(wide, shifted, tagging.calibrate(wide, shifted, neutral))
    if len(world.photos) > 1:
        assert np.abs(before - after).max() < 0.05 + 2 * np.abs(before).max() / len(photos)


@given(worlds, st.data())
def test_a_higher_threshold_gives_fewer_tags(world: World, data: st.DataObject) -> None:
    world.groups[:] = -1
    label = data.draw(st.integers(0, len(world.groups) - 1))
    before = tag(world.photos, world.labels(), world.background)
    world.thresholds[label] = 0.95
    after = tag(world.photos, world.labels(), world.background)
    assert after == {key: score for key, score in before.items() if key in after}
    assert {key for key in before if key[1] != label} == {key for key in after if key[1] != label}
    world.thresholds[label] = 1
    assert not [key for key in tag(world.photos, world.labels(), world.background)
                if key[1] == label]  # fmt: skip


def assert_same_but_for_rounding(one: Tags, other: Tags, labels: Labels) -> None:
    """The mean of the texts is summed in another order: a score on its threshold may cross it."""
    for key in one.keys() | other.keys():
        if key in one and key in other:
            assert one[key] == pytest.approx(other[key], abs=1e-3)
        else:
            score = one[key] if key in one else other[key]
            assert score == pytest.approx(labels.thresholds[key[1]], abs=1e-3)


def planted(count: int, share: float) -> tuple[Vectors, NDArray[np.bool_]]:
    """Random photos in 64 dimensions; a share of them leans towards the first axis."""
    random = np.random.default_rng(7)
    rows = random.standard_normal((count, 64)) / 8
    shown = np.arange(count) < round(count * share)
    rows[shown, 0] += 0.6
    photos = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return photos.astype(np.float32), shown


def axes(count: int) -> Vectors:
    return np.eye(64, dtype=np.float32)[:count]


@pytest.mark.parametrize(("count", "share"), [(20, 0.1), (400, 0.05), (20_000, 0.01)])
def test_what_a_few_photos_show_is_found(count: int, share: float) -> None:
    photos, shown = planted(count, share)
    labels = tagging.pool(axes(20), np.arange(20))
    tags = tag(photos, labels, axes(64)[60:])
    found = np.isin(np.arange(count), [photo for photo, label in tags if label == 0])
    assert found[shown].mean() > 0.8
    assert found[~shown].mean() < 0.01


def test_a_label_that_no_photo_shows_gets_next_to_no_tags() -> None:
    photos, _ = planted(20_000, 0)
    tags = tag(photos, tagging.pool(axes(20), np.arange(20)), axes(64)[60:])
    assert len(tags) < 20_000 * 20 * 1e-3


def test_a_label_that_every_photo_shows_is_no_news() -> None:
    photos, _ = planted(2_000, 1)
    tags = tag(photos, tagging.pool(axes(20), np.arange(20)), axes(64)[60:])
    assert sum(label == 0 for _, label in tags) < 20


@pytest.mark.parametrize("labels", [1, 300])
@pytest.mark.parametrize("photos", [0, 1, 2])
def test_the_smallest_libraries_are_tagged(photos: int, labels: int) -> None:
    random = np.random.default_rng(0)
    vocabulary = tagging.pool(units(random, labels), np.arange(labels))
    tags = tag(units(random, photos), vocabulary, units(random, 4))
    assert len(tags) <= 0.1 * photos * labels


def test_identical_photos_do_not_stand_out() -> None:
    random = np.random.default_rng(0)
    photos = np.repeat(units(random, 1), 50, axis=0)
    tags = tag(photos, tagging.pool(units(random, 5), np.arange(5)), units(random, 4))
    assert not tags


def test_an_exclusive_group_divides_what_independent_labels_share() -> None:
    photos, shown = planted(400, 0.25)
    rows = np.stack([axes(1)[0], -axes(1)[0], axes(2)[1]])
    tags = tag(photos, tagging.pool(rows, np.arange(3), groups=np.zeros(3, int)), axes(64)[60:])
    found = np.isin(np.arange(400), [photo for photo, label in tags if label == 0])
    assert found[shown].mean() > 0.5
    assert found[~shown].mean() < 0.01


def test_equal_labels_of_a_group_tie_to_the_first() -> None:
    photos, _ = planted(400, 0.25)
    rows = np.stack([axes(2)[1], axes(1)[0], axes(1)[0]])
    thresholds = np.array([0.5, 0.3, 0.3])
    labels = tagging.pool(rows, np.arange(3), groups=np.zeros(3, int), thresholds=thresholds)
    tags = tag(photos, labels, axes(64)[60:])
    assert {label for _, label in tags} >= {1}
    assert all(label != 2 for _, label in tags)


def test_the_sample_is_the_same_each_time() -> None:
    assert tagging.sample_positions(5).tolist() == [0, 1, 2, 3, 4]
    first, second = tagging.sample_positions(100, 10), tagging.sample_positions(100, 10)
    assert first.tolist() == second.tolist() == sorted(set(first.tolist()))
    assert len(first) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": axes(2), "owner": np.arange(3)}, "do not fit"),
        ({"rows": axes(0), "owner": np.arange(0)}, "do not fit"),
        ({"rows": axes(2) * np.nan, "owner": np.arange(2)}, "not finite"),
        ({"rows": axes(2), "owner": np.array([0, 2])}, "has no text"),
        ({"rows": axes(2), "owner": np.arange(2), "groups": np.zeros(3, int)}, "do not fit"),
        ({"rows": axes(2), "owner": np.arange(2), "thresholds": np.array([0.5, 2])}, "0..1"),
    ],
)
def test_a_vocabulary_that_makes_no_sense_is_refused(
    arguments: dict[str, NDArray[np.floating]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tagging.pool(**arguments)  # type: ignore[arg-type]


def test_vectors_that_do_not_fit_are_refused() -> None:
    labels = tagging.pool(axes(2), np.arange(2))
    with pytest.raises(ValueError, match="do not fit"):
        tagging.calibrate(np.ones((3, 5), np.float32), labels, axes(3))
    with pytest.raises(ValueError, match="neutral sentences"):
        tagging.calibrate(axes(3), labels, axes(0))
    with pytest.raises(ValueError, match="not finite"):
        tagging.calibrate(axes(3) * np.nan, labels, axes(3))
    calibration = tagging.calibrate(axes(9), labels, axes(3))
    with pytest.raises(ValueError, match="3 photos"):
        list(tagging.tag_blocks([(np.arange(3), axes(2))], labels, axes(3), calibration))


def test_real_photos_are_tagged_about_as_well_as_with_hindsight(shared: Path) -> None:
    """The decision sees no objects; those that it is compared with are fitted to them."""
    folder = shared / "captions"
    if not folder.is_dir():
        pytest.skip("needs the photos of ../shared/data/captions")
    embedder = StarterEmbedder(head=False)  # the head was trained on these photos
    paths, known, truth = quality.read_objects(folder)
    library = embed_photos(embedder, paths)
    background = embedder.texts(prompts.background())
    chosen = truth.any(axis=0)
    names = [quality.COCO[column] for column in np.flatnonzero(chosen)]
    rows = prompts.embed_labels(embedder.texts, names)
    setting = (library, library[known], rows, background, truth[:, chosen])
    figures = quality.compare(*setting, embedder.logit_scale)
    assert figures["mAP calibrated"] >= 0.53
    assert figures["F1 calibrated"] >= 0.95 * figures["F1 flat"]
    assert figures["F1 calibrated"] > figures["F1 argmax"]
    losses = quality.shifted(*setting)
    assert losses["calibrated loses"] <= 0.25 * losses["flat loses"]
