"""Laws of relevance on random libraries, and what it is worth on real photos."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipsearch import relevance
from clipsearch.models.starter import StarterEmbedder
from clipsearch.relevance import LIKELY, STRONG, WEAK, Backdrop, Coefficients, Judge
from tests.benchmarks import relevance as bench
from tests.benchmarks.tagging_quality import COCO
from training import fit_relevance

Vectors = NDArray[np.float32]

DIMENSIONS = 12
KNOWN = Coefficients(
    -3.6, 0.7, 0.5, 0.5, 1.0, 0.5, 0.1, -0.5, 0.8, False, datetime.date(2026, 1, 1), "test"
)


def units(random: np.random.Generator, count: int) -> Vectors:
    rows = random.standard_normal((count, DIMENSIONS)) + np.eye(DIMENSIONS)[0]
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


class World:
    """A library of 1 to 60 photos, some of them equal, with a query and a model."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.random = random
        different = int(random.integers(1, 60))
        self.photos = units(random, different)[random.integers(0, different, different)]
        self.background = units(random, int(random.integers(1, 6)))
        self.query = units(random, 1)[0]
        self.known = replace(
            KNOWN,
            level=float(random.choice([0, 0.7, 3])),
            standing=float(random.choice([0, 0.5, 3])),
            soft=float(random.choice([0.2, 1, 6])),
            hub=float(random.choice([0, 0.5, 1])),
            echo=float(random.choice([0, 0.5, 1])),
            unit=float(random.choice([0, 0.1])),
        )

    def backdrop(self) -> Backdrop:
        return relevance.backdrop(self.photos, self.background, self.known)

    def judge(self) -> Judge:
        return relevance.judge(self.query, self.backdrop())


worlds = st.builds(World, st.integers(0, 2**32 - 1))


def cosines(photos: Vectors, query: Vectors) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = photos.astype(np.float64) @ query.astype(np.float64)
    return scores


def relevance_of(judge: Judge, scores: NDArray[np.float64], photos: Vectors) -> NDArray[np.float64]:
    return relevance.relevance(judge, scores, relevance.hubs(judge.backdrop, photos))


def evidence_of(
    judge: Judge, scores: NDArray[np.float64], photos: Vectors
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return relevance.evidence(judge, scores, relevance.hubs(judge.backdrop, photos))


def judged(world: World, photos: Vectors) -> NDArray[np.float64]:
    return relevance_of(world.judge(), cosines(photos, world.query), photos)


@given(worlds)
def test_relevance_is_a_probability_in_any_library(world: World) -> None:
    found = judged(world, np.concatenate([world.photos, units(world.random, 5), -world.photos]))
    assert ((found >= 0) & (found <= 1)).all()


@given(worlds, st.integers(0, 2**32 - 1))
def test_other_photos_asked_for_change_nothing(world: World, seed: int) -> None:
    photos = np.concatenate([world.photos, units(world.random, 20)])
    scores = cosines(photos, world.query)
    whole = relevance_of(world.judge(), scores, photos)
    random = np.random.default_rng(seed)
    some = random.permutation(len(photos))[: random.integers(0, len(photos))]
    part = relevance_of(world.judge(), scores[some], photos[some])
    assert part.tolist() == whole[some].tolist()


@given(worlds)
def test_a_higher_cosine_is_never_less_relevant(world: World) -> None:
    rising: NDArray[np.float64] = np.linspace(-1, 1, 201, dtype=np.float64)
    photos = np.repeat(units(world.random, 1), len(rising), axis=0)
    found = relevance_of(world.judge(), rising, photos)
    assert (np.diff(found) >= 0).all()


@given(worlds, st.one_of(st.floats(0, 1), st.sampled_from([0.0, WEAK, LIKELY, STRONG, 1.0])))
def test_no_photo_below_the_lowest_cosine_is_that_relevant(world: World, wanted: float) -> None:
    judge = world.judge()
    lowest = relevance.lowest_cosine(judge, wanted)
    photos = np.concatenate([world.photos, units(world.random, 50)])
    for scores in (
        cosines(photos, world.query),
        np.full(len(photos), np.nextafter(np.clip(lowest, -1, 1), -np.inf)),
        world.random.uniform(-1, 1, len(photos)),
    ):
        found = relevance_of(judge, scores, photos)
        assert (found[scores < lowest] < wanted).all()


@given(worlds, st.sampled_from([WEAK, LIKELY, STRONG]))
def test_the_lowest_cosine_leaves_out_no_more_than_it_must(world: World, wanted: float) -> None:
    """The least hub of the library reaches the relevance a little above it, hubs aside."""
    world.known = replace(world.known, echo=0.0)
    judge = world.judge()
    lowest = relevance.lowest_cosine(judge, wanted)
    least = world.photos[[int(judge.backdrop.hubs.argmin())]]
    if math.isfinite(lowest):
        above = relevance_of(judge, np.array([lowest + 1e-6]), least)
        assert above[0] >= wanted - 1e-12
    elif lowest > 0:
        assert relevance_of(judge, np.array([1.0]), least)[0] < wanted


@given(worlds)
def test_the_explanation_adds_up_to_the_relevance(world: World) -> None:
    judge = world.judge()
    photo = units(world.random, 1)[0]
    cosine = float(cosines(photo[None], world.query)[0])
    hub = float(relevance.hubs(judge.backdrop, photo[None])[0])
    logit = sum(part.contribution for part in relevance.explain(judge, cosine, hub))
    small = math.exp(-abs(logit))
    expected = (1 if logit >= 0 else small) / (1 + small)
    found = relevance_of(judge, np.array([cosine]), photo[None])[0]
    assert found == pytest.approx(expected, rel=1e-15)


@given(worlds, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_what_stands_out_ignores_offsets_of_a_query_and_of_all_photos(
    world: World, of_query: float, of_photos: float
) -> None:
    """In a library large enough to speak for itself."""
    random = world.random
    photos = units(random, 1500)

    def widened(rows: Vectors, first: float, second: float) -> Vectors:
        extra = np.tile(np.array([first, second]), (len(rows), 1))
        wider: Vectors = np.concatenate([rows, extra], axis=1).astype(np.float32)
        return wider

    def standing(first: float, second: float) -> NDArray[np.float64]:
        wide = widened(photos, second, 1)
        query = widened(world.query[None], 1, first)[0]
        neutral = widened(world.background, 1, 0)
        judge = relevance.judge(query, relevance.backdrop(wide, neutral, world.known))
        away: NDArray[np.float64] = np.sinh(evidence_of(judge, cosines(wide, query), wide)[1])
        return away * world.known.soft

    assert standing(of_query, of_photos) == pytest.approx(standing(0, 0), abs=0.05)


@given(worlds)
def test_a_hub_is_taken_down_and_its_cosine_does_not_matter(world: World) -> None:
    """A photo whose cosines with all texts are higher by the same stands out as before."""
    known = replace(KNOWN, hub=1.0, soft=1.0)
    offsets = world.random.normal(0, 0.1, len(world.photos))
    ones = np.ones((len(world.photos), 1), np.float32)
    plain = np.concatenate([world.photos, 0 * ones], axis=1)
    moved = np.concatenate([world.photos, offsets[:, None].astype(np.float32)], axis=1)
    query = np.append(world.query, np.float32(1))
    background = np.concatenate(
        [world.background, np.ones((len(world.background), 1), np.float32)], axis=1
    )

    def away(photos: Vectors) -> tuple[NDArray[np.float64], float]:
        scene = relevance.backdrop(photos, background, known)
        judge = relevance.judge(query, scene)
        standing = evidence_of(judge, cosines(photos, query), photos)[1]
        differences: NDArray[np.float64] = np.sinh(standing) * judge.spread
        return differences - differences[0], judge.spread

    (before, spread), (after, wider) = away(plain), away(moved)
    assert after == pytest.approx(before, abs=1e-5)
    assert wider == pytest.approx(spread, abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 10, 30])
def test_a_subject_is_found_in_a_small_library(count: int) -> None:
    """One photo shows it, the others something else."""
    axes = np.eye(DIMENSIONS, dtype=np.float32)
    photos = np.repeat(axes[[1]], count, axis=0)
    photos[0] = axes[0]
    background = (axes[[2, 3]] + axes[[0, 1]] / 4).astype(np.float32)
    judge = relevance.judge(axes[0], relevance.backdrop(photos, background, KNOWN))
    found = relevance_of(judge, cosines(photos, axes[0]), photos)
    assert relevance.band(found[0]) == "strong"
    assert [relevance.band(other) for other in found[1:]] == [None] * (count - 1)


@pytest.mark.parametrize("model", ["starter", "no such model"])
@pytest.mark.parametrize("count", [1, 2, 10, 30, 500])
def test_photos_all_alike_are_judged_by_level(model: str, count: int) -> None:
    axes = np.eye(DIMENSIONS, dtype=np.float32)
    photos = np.repeat(axes[[0]], count, axis=0)
    known = relevance.coefficients(model)
    scene = relevance.backdrop(photos, (axes[[2, 3]] + axes[0] / 4).astype(np.float32), known)
    found = [
        relevance_of(relevance.judge(query, scene), cosines(photos, query), photos)
        for query in (axes[0], axes[1])
    ]
    assert len(np.unique(found[0])) == len(np.unique(found[1])) == 1
    assert found[0][0] > found[1][0]


def test_bands() -> None:
    named = [relevance.band(value) for value in (1, STRONG, LIKELY, WEAK, WEAK - 1e-9, 0)]
    assert named == ["strong", "strong", "likely", "weak", None, None]
    assert STRONG > LIKELY > WEAK


def test_coefficients_are_of_the_model_or_general() -> None:
    fitted, other = relevance.coefficients("starter"), relevance.coefficients("ViT-B-32/openai")
    assert not fitted.general
    assert "81 photos" in fitted.data
    assert other.general
    # What was never fitted is judged by what stands out, far more than by its level.
    assert other.standing > 5 * other.level


def test_vectors_that_do_not_fit_are_refused() -> None:
    photos = units(np.random.default_rng(0), 4)
    scene = relevance.backdrop(photos, photos[:2], KNOWN)
    broken = photos.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="neutral sentences"):
        relevance.backdrop(photos, photos[:2, :5], KNOWN)
    with pytest.raises(ValueError, match="0 photos"):
        relevance.backdrop(photos[:0], photos, KNOWN)
    with pytest.raises(ValueError, match="not finite"):
        relevance.backdrop(broken, photos, KNOWN)
    with pytest.raises(ValueError, match="query of shape"):
        relevance.judge(photos[0, :5], scene)
    with pytest.raises(ValueError, match="not finite"):
        relevance.judge(broken[0], scene)
    with pytest.raises(ValueError, match="3 cosines"):
        relevance_of(relevance.judge(photos[0], scene), np.zeros(3), photos)


def test_a_fit_finds_the_weights_that_made_the_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (40_000, 2))
    chance = 1 / (1 + np.exp(-(-1 + 2 * values[:, 0] + 0.5 * values[:, 1])))
    labels = random.uniform(0, 1, len(values)) < chance
    found = fit_relevance.regress(values, labels)
    assert found == pytest.approx((-1, 2, 0.5), abs=0.07)
    # Evidence that speaks against a photo is left out, never turned round.
    assert fit_relevance.regress(-values, labels)[1:] == (0, 0)
    document = {"general": replace(KNOWN, general=True), 'a "b"/c': KNOWN}
    fit_relevance.write(tmp_path / "x.toml", document)
    assert relevance.read(tmp_path / "x.toml") == document


def test_the_benchmark_measures_what_it_says() -> None:
    scores = np.array([[0.1, 0.4], [0.35, 0.8]])
    truth = np.array([[False, False], [True, True]])
    assert bench.auc(scores, truth) == 0.75
    assert bench.auc(np.zeros((2, 2)), truth) == 0.5
    sure = np.array([0.0, 0.0, 1.0, 1.0])
    assert bench.calibration_error(sure, np.array([False, False, True, True])) == 0
    assert bench.calibration_error(sure, np.array([False, True, True, True])) == 0.25
    assert bench.calibration_error(sure, ~np.array([False, False, True, True])) == 1


def test_real_photos_are_judged_as_promised(shared: Path, unseen: Vectors) -> None:
    """Out of fold: neither the heads nor the coefficients have seen the photo that is judged."""
    folder, embedder = shared / "captions", StarterEmbedder("cpu")
    scene = fit_relevance.scene_of(folder, embedder, COCO, unseen)
    known = relevance.coefficients("starter")
    found, occurs = bench.judged(scene, known), scene.truth.any(axis=0)
    scores = scene.library.astype(np.float64) @ scene.texts.T
    fitted = bench.fits_by_photo(scene)
    out = bench.by_photo(scene, fitted)
    assert bench.auc(out, scene.truth) >= bench.auc(scores[scene.known], scene.truth)
    assert bench.calibration_error(out, scene.truth) < 0.05
    strong = bench.precision(out, scene.truth, STRONG)
    weak = bench.precision(out, scene.truth, WEAK, LIKELY)
    assert strong >= 3 * weak
    texts = embedder.texts(bench.absent_names(folder))
    figures = bench.best_hits(
        scores[:, occurs],
        found[:, occurs],
        scene.library.astype(np.float64) @ texts.T,
        bench.judged(replace(scene, texts=texts), known),
    )
    assert figures["ROC AUC of the best relevance"].value >= 0.75
    assert figures["  their difference"].value >= 0
    offsets = bench.offsets(scene, fitted, seeds=20)
    assert offsets["  share of its F1 that the cut keeps"].value >= 0.9
    assert offsets["  lead over the best flat cosine"].value >= 0
