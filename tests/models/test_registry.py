"""Names of models, and what `auto` stands for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clipsearch.errors import UnknownModelError
from clipsearch.models import hub, registry


@pytest.mark.parametrize(
    ("name", "halves"),
    [
        ("ViT-B-32-256/datacomp_s34b_b86k", ("ViT-B-32-256", "datacomp_s34b_b86k")),
        ("ViT-B-32//path/to/weights.pt", ("ViT-B-32", "/path/to/weights.pt")),
        ("a/b/c", ("a", "b/c")),
    ],
)
def test_names_have_two_halves(name: str, halves: tuple[str, str]) -> None:
    assert registry.parse(name) == halves


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("strater", "starter"),
        ("ViT-B-32-256", "ViT-B-32-256/datacomp_s34b_b86k"),
        ("", "starter"),
        ("/weights.pt", "ARCHITECTURE/WEIGHTS"),
        ("ViT-B-32/", "ViT-B-32/openai"),
    ],
)
def test_other_names_offer_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownModelError, match=near):
        registry.load(name)


def test_known_models_exist() -> None:
    import open_clip

    names = [model.name for model in registry.KNOWN]
    assert names[:2] == ["starter", registry.RECOMMENDED]
    assert len(set(names)) == len(names)
    for known in registry.KNOWN[1:]:
        architecture, tag = registry.parse(known.name)
        assert tag in open_clip.list_pretrained_tags_by_model(architecture)
        config = open_clip.get_model_config(architecture)
        assert known.dimensions == config["embed_dim"]
        assert known.image_size == config["vision_cfg"]["image_size"]
    for known in registry.KNOWN:
        assert known.licence
        assert known.source


def test_the_probe_asks_for_what_open_clip_loads() -> None:
    import open_clip

    location = open_clip.get_pretrained_cfg(*registry.parse(registry.RECOMMENDED))["hf_hub"]
    assert location == registry.RECOMMENDED_LOCATION
    repository, files = hub.files_of(location)
    assert repository == location.rstrip("/")
    assert files == ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    assert hub.files_of("owner/name/a.bin") == ("owner/name", ("a.safetensors", "a.bin"))
    assert hub.files_of("owner/name/a.npz") == ("owner/name", ("a.npz",))


@pytest.mark.parametrize(("cached", "online"), [(True, False), (False, True), (True, True)])
def test_auto_is_the_recommended_model_where_it_can_be_had(cached: bool, online: bool) -> None:
    choice = registry.resolve_auto(is_cached=lambda: cached, answers=lambda: online)
    assert choice == registry.Choice(registry.RECOMMENDED, None)


def test_auto_does_not_ask_the_hub_for_what_the_cache_has() -> None:
    def ask() -> bool:
        raise AssertionError("the hub was asked")

    assert registry.resolve_auto(is_cached=lambda: True, answers=ask).reason is None


def test_auto_is_the_starter_elsewhere_and_says_why() -> None:
    choice = registry.resolve_auto(is_cached=lambda: False, answers=lambda: False)
    assert choice.name == "starter"
    assert choice.reason is not None
    assert "\n" not in choice.reason
    assert f"`clipsearch models use {registry.RECOMMENDED}`" in choice.reason


def test_a_hub_out_of_reach_does_not_answer() -> None:
    assert registry.hub_answers() is False
    assert registry.recommended_is_cached() is False


def test_importing_the_registry_imports_no_torch() -> None:
    code = (
        "import sys, clipsearch.models.registry;"
        "heavy = {'torch', 'open_clip', 'timm', 'tokenizers', 'safetensors', 'huggingface_hub'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
