"""Tiny open_clip models with seeded random weights, saved to files and loaded by path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipsearch.models.starter import StarterEmbedder

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-clip": {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT},
    # The same network with parameters under other names.
    "tiny-custom": {
        "embed_dim": 48,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407},
    },
    # Attends in both directions and was trained with a sigmoid.
    "tiny-sigmoid": {
        "embed_dim": 48,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": VISION,
        "text_cfg": {
            **TEXT,
            "context_length": 16,
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        },
    },
    "tiny-wide": {"embed_dim": 48, "vision_cfg": {**VISION, "image_size": 64}, "text_cfg": TEXT},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that gives the checkpoint of a tiny architecture: `tiny("tiny-clip")`."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from clipsearch.models.architectures import quiet

    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)

    def checkpoint(architecture: str, suffix: str = ".pt") -> Path:
        path = folder / f"{architecture}{suffix}"
        if not path.exists():
            with quiet(), torch.random.fork_rng():
                torch.manual_seed(7)
                state = open_clip.create_model(architecture).state_dict()
            if suffix == ".safetensors":
                save_file(state, path)
            else:
                torch.save(state, path)
        return path

    return checkpoint


@pytest.fixture(scope="session")
def starter() -> StarterEmbedder:
    """The starter model in float32, the same on every machine."""
    return StarterEmbedder("cpu", "float32")


@pytest.fixture
def pictures() -> list[Image.Image]:
    """Random pictures of odd sizes, tall and wide, smaller and larger than a model's input."""
    random = np.random.default_rng(3)
    sizes = [(33, 32), (32, 32), (17, 90), (301, 77), (5, 4), (64, 129), (250, 31)]
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
        for width, height in sizes
    ]
