"""Models of open_clip, by the true path: a file is loaded and must do what open_clip does."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.errors import ModelError, UnknownModelError, WeightsError
from clipsearch.models import architectures, hub, registry, texttower
from clipsearch.models.embedder import Embedder, Vectors
from clipsearch.models.openclip import OpenClipEmbedder, canonical_tag, fetch

Tiny = Callable[..., Path]

TEXTS = [
    "a dog",
    "",
    "a very long caption of a dog that runs along the beach " * 12,
    "the red ball, the blue ball; and a cat's tail!",
    "ünïcödé 犬 🐕",
]


def load(
    tiny: Tiny, architecture: str, suffix: str = ".pt", precision: str = "float32"
) -> Embedder:
    path = tiny(architecture, suffix)
    return registry.load(f"{architecture}/{path}", device="cpu", precision=precision)


def theirs(
    path: Path, architecture: str, pictures: list[Image.Image], texts: list[str]
) -> tuple[Vectors, Vectors]:
    """What open_clip itself computes, one picture and one text at a time."""
    import open_clip
    import torch

    with architectures.quiet():
        model, _, preprocess = open_clip.create_model_and_transforms(
            architecture, pretrained=str(path)
        )
        tokenizer = open_clip.get_tokenizer(architecture)
    model.eval()
    with torch.inference_mode():
        images = [model.encode_image(preprocess(image)[None], normalize=True) for image in pictures]
        words = [model.encode_text(tokenizer([text]), normalize=True) for text in texts]
    return torch.cat(images).numpy(), torch.cat(words).numpy()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("architecture", ["tiny-clip", "tiny-custom", "tiny-sigmoid"])
def test_vectors_are_those_of_open_clip(
    tiny: Tiny, pictures: list[Image.Image], architecture: str, suffix: str
) -> None:
    embedder = load(tiny, architecture, suffix)
    images, texts = theirs(tiny(architecture, suffix), architecture, pictures, TEXTS)
    np.testing.assert_allclose(embedder.images(pictures), images, atol=1e-5)
    np.testing.assert_allclose(embedder.texts(TEXTS), texts, atol=1e-5)


@pytest.mark.parametrize("architecture", ["tiny-clip", "tiny-custom", "tiny-sigmoid"])
def test_a_batch_is_its_members(tiny: Tiny, pictures: list[Image.Image], architecture: str) -> None:
    embedder = load(tiny, architecture)
    many = pictures * 4  # more than one batch
    images, texts = embedder.images(many), embedder.texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32
    assert images.shape == (len(many), embedder.dimensions)
    one_by_one = np.concatenate([embedder.images([image]) for image in many])
    np.testing.assert_allclose(images, one_by_one, atol=1e-5)
    np.testing.assert_allclose(
        texts, np.concatenate([embedder.texts([text]) for text in TEXTS]), atol=1e-5
    )
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_prepared_pictures_embed_as_unprepared_ones(
    tiny: Tiny, pictures: list[Image.Image]
) -> None:
    embedder = load(tiny, "tiny-clip")
    prepared = [embedder.prepare(image) for image in pictures]
    assert {image.size for image in prepared} == {(32, 32)}
    assert all(embedder.prepare(image).tobytes() == image.tobytes() for image in prepared)
    np.testing.assert_array_equal(embedder.images(prepared), embedder.images(pictures))


@pytest.mark.parametrize("size", [(60_000, 2), (2, 60_000)])
def test_endless_strips_are_cut_not_scaled_to_gigabytes(tiny: Tiny, size: tuple[int, int]) -> None:
    assert load(tiny, "tiny-clip").prepare(Image.new("RGB", size)).size == (32, 32)


def test_nothing_in_gives_nothing_out(tiny: Tiny) -> None:
    embedder = load(tiny, "tiny-clip")
    assert embedder.images([]).shape == (0, 48)
    assert embedder.texts([]).shape == (0, 48)


def test_facts_of_a_loaded_file(tiny: Tiny) -> None:
    clip, sigmoid = load(tiny, "tiny-clip"), load(tiny, "tiny-sigmoid")
    assert clip.name == f"tiny-clip/{tiny('tiny-clip')}"
    assert "//" in clip.name
    assert (clip.dimensions, clip.image_size) == (48, 32)
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert clip.logit_bias is None
    assert sigmoid.logit_bias == -10
    assert clip.fingerprint
    assert clip.fingerprint != sigmoid.fingerprint
    assert clip.fingerprint == load(tiny, "tiny-clip").fingerprint


def test_bfloat16_sees_nearly_the_same(tiny: Tiny, pictures: list[Image.Image]) -> None:
    exact = load(tiny, "tiny-clip").images(pictures)
    rough = load(tiny, "tiny-clip", precision="bfloat16").images(pictures)
    assert (exact * rough).sum(1).min() > 0.999


def test_two_threads_may_share_a_model(tiny: Tiny, pictures: list[Image.Image]) -> None:
    embedder = load(tiny, "tiny-clip")
    images, texts = embedder.images(pictures), embedder.texts(TEXTS)
    with ThreadPoolExecutor(2) as threads:
        looks = [threads.submit(embedder.images, pictures) for _ in range(6)]
        reads = [threads.submit(embedder.texts, TEXTS[: n + 1]) for n in range(5)]
        for look in looks:
            np.testing.assert_allclose(look.result(), images, atol=1e-5)
        for n, read in enumerate(reads):
            np.testing.assert_allclose(read.result(), texts[: n + 1], atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "lengths"),
    [("tiny-clip", range(1, 78)), ("tiny-custom", range(1, 78)), ("ViT-B-32", (1, 2, 8, 40, 77))],
)
def test_short_prompts_skip_the_positions_after_their_end(
    tiny: Tiny, architecture: str, lengths: Sequence[int]
) -> None:
    import open_clip
    import torch

    tiny("tiny-clip")  # registers the architectures
    config = open_clip.get_model_config(architecture)
    config["vision_cfg"] = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32}
    custom = config.pop("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = kind(**config).eval()
        tokens = torch.randint(1, 49406, (len(lengths), 77))
    for row, length in enumerate(lengths):
        tokens[row, 0], tokens[row, length - 1], tokens[row, length:] = 49406, 49407, 0
    tower = texttower.causal_tower(model)
    assert tower is not None
    assert texttower.end_positions(tower, tokens).tolist() == [length - 1 for length in lengths]
    normalize = torch.nn.functional.normalize
    with torch.inference_mode():
        full = normalize(model.encode_text(tokens), dim=-1)
        for row in range(len(lengths)):
            short = normalize(texttower.encode(tower, tokens[row : row + 1]), dim=-1)
            torch.testing.assert_close(short, full[row : row + 1], atol=1e-5, rtol=0)
        ragged = normalize(texttower.encode(tower, tokens), dim=-1)
    torch.testing.assert_close(ragged, full, atol=1e-5, rtol=0)


def test_towers_that_look_both_ways_run_in_full(tiny: Tiny) -> None:
    tiny("tiny-sigmoid")
    model = architectures.build("tiny-sigmoid", quick_gelu=False)
    assert texttower.causal_tower(model) is None


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing", "directory"])
def test_damaged_files_are_refused(tiny: Tiny, tmp_path: Path, damage: str, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if damage == "truncated":
        content = tiny("tiny-clip", suffix).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("these are no weights", encoding="utf-8")
    elif damage == "empty":
        path.touch()
    elif damage == "directory":
        path.mkdir()
    with pytest.raises(WeightsError, match=r"weights\.(pt|safetensors): ") as caught:
        registry.load(f"tiny-clip/{path}")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_code_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps({"weights": Bomb()}))
    tiny("tiny-clip")
    with pytest.raises(WeightsError, match="no checkpoint"):
        registry.load(f"tiny-clip/{path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["numbers", "list", "nothing"])
def test_files_of_something_else_are_refused(tiny: Tiny, tmp_path: Path, content: str) -> None:
    import torch

    path = tmp_path / "foreign.pt"
    torch.save({"numbers": {"epoch": 3}, "list": [torch.zeros(2)], "nothing": {}}[content], path)
    tiny("tiny-clip")
    with pytest.raises(WeightsError, match="no weights of a model"):
        registry.load(f"tiny-clip/{path}")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("architecture", "trained"),
    [("tiny-wide", "tiny-clip"), ("tiny-sigmoid", "tiny-clip"), ("tiny-clip", "tiny-sigmoid")],
)
def test_weights_of_another_architecture_are_refused(
    tiny: Tiny, architecture: str, trained: str, suffix: str
) -> None:
    with pytest.raises(WeightsError, match=f"not weights of {architecture}, "):
        registry.load(f"{architecture}/{tiny(trained, suffix)}")


def test_checkpoints_of_the_trainer_load(
    tiny: Tiny, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    import torch

    state = torch.load(tiny("tiny-clip"), weights_only=True)
    path = tmp_path / "epoch_3.pt"
    prefixed = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": prefixed}, path)
    trained = registry.load(f"tiny-clip/{path}", precision="float32")
    np.testing.assert_array_equal(
        trained.images(pictures), load(tiny, "tiny-clip").images(pictures)
    )


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean ViT-B-32, "):
        registry.load("ViT-B32/openai")
    with pytest.raises(UnknownModelError, match="ViT-B-32/openai"):
        registry.load("ViT-B-32/opnai")
    with pytest.raises(UnknownModelError, match="no weights of ViT-S-32 are published"):
        registry.load("ViT-S-32/openai")
    assert canonical_tag("ViT-B-32", "LAION2B-s34b-b79k") == "laion2b_s34b_b79k"


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "ViT-B-16-SigLIP/webli"])
def test_an_unreachable_hub_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(hub, "cached", lambda *_: None)
    monkeypatch.setattr(hub, "answers", lambda *_: False)
    with pytest.raises(ModelError, match=r"cannot be downloaded.*--model starter"):
        registry.load(name)


def test_the_cache_is_used_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask(*_: object) -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "cached", lambda *_: tmp_path / "weights.safetensors")
    monkeypatch.setattr(hub, "answers", ask)
    assert fetch("ViT-B-32", "openai") == tmp_path / "weights.safetensors"


def test_published_weights_get_their_activation_and_preprocessing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import open_clip
    from safetensors.torch import save_file

    quick = architectures.build("ViT-B-32", quick_gelu=True)
    weights = tmp_path / "open_clip_model.safetensors"
    save_file(quick.state_dict(), weights)
    monkeypatch.setattr(hub, "cached", lambda *_: weights)
    embedder = OpenClipEmbedder("ViT-B-32", "openai", device="cpu", precision="float32")
    assert embedder.name == "ViT-B-32/openai"
    quick.eval()
    import torch

    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("ViT-B-32")(["a dog"])
        expected = quick.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(embedder.texts(["a dog"]), expected, atol=1e-5)


def test_a_siglip_file_is_preprocessed_as_its_published_weights() -> None:
    settings = architectures.common_settings("ViT-B-16-SigLIP")
    assert (settings["mean"], settings["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
    assert architectures.common_settings("ViT-L-14") == {}  # its weights disagree


def test_missing_transformers_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r'pip install "clipsearch\[siglip\]"'):
        architectures.tokenizer_of("ViT-B-16-SigLIP")


def test_open_clip_does_not_speak_to_the_user(
    tiny: Tiny, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        load(tiny, "tiny-clip")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


@pytest.mark.weights
def test_the_recommended_model_knows_a_dog(shared: Path) -> None:
    if not registry.recommended_is_cached():
        pytest.skip("needs real CLIP weights, which only the Hugging Face hub has")
    embedder = registry.load(registry.RECOMMENDED)
    with Image.open(shared / "captions" / "coco" / "000000000285.jpg") as image:
        cosines = embedder.images([image.convert("RGB")]) @ embedder.texts(["a bear", "a car"]).T
    assert cosines[0, 0] > cosines[0, 1]
