"""Checkpoint files of open_clip models: read without running code, and refused when they differ."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsearch.errors import WeightsError

if TYPE_CHECKING:
    import torch

MEBIBYTE = 1 << 20


def fingerprint(path: Path) -> str:
    """Hash the size, the first and the last MiB of a file: quick, whatever its size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(MEBIBYTE))
        file.seek(max(0, size - MEBIBYTE))
        digest.update(file.read(MEBIBYTE))
    return digest.hexdigest()[:16]


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read the named tensors of a `.safetensors` file or of one written by `torch.save`.

    Checkpoints of open_clip's trainer, with `state_dict` and a `module.` prefix, count too.

    Raises:
        WeightsError: the file is missing, damaged or holds anything else.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; check the path of the weights")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise WeightsError(f"{path}: the file may not be read; check its permissions") from error
    except Exception as error:  # these readers raise whatever the bytes make them stumble over
        raise WeightsError(
            f"{path}: this is no checkpoint, or a damaged one; expected are .safetensors files "
            "and state dictionaries saved by torch.save, so download or export it again"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not _all_tensors(content):
        raise WeightsError(
            f"{path}: this file holds no weights of a model; "
            "expected is a state dictionary of names and tensors"
        )
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value for name, value in content.items()}


def load_strictly(model: Any, state: dict[str, torch.Tensor], complaint: str) -> None:
    """Load named tensors into an open_clip model, all of them or none.

    open_clip's own loader fills gaps: it stretches position embeddings to another image size
    and invents a logit bias. Such weights belong to another architecture; here they are refused.

    Raises:
        WeightsError: `complaint` and what is wrong: the tensors are not the architecture's.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        state = convert_state_dict(model, state)
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = convert_to_custom_text_state_dict(state)
    except (KeyError, AttributeError, RuntimeError, ValueError):
        pass  # a foreign layout; the comparison below says so
    expected = model.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in expected and state[name].numel() == expected[name].numel():
            state[name] = state[name].reshape(expected[name].shape)
    # Saved by older transformers, computed by newer ones.
    state.pop("text.transformer.embeddings.position_ids", None)
    wrong = sorted(
        name
        for name in expected.keys() | state.keys()
        if name not in expected or name not in state or expected[name].shape != state[name].shape
    )
    if wrong:
        raise WeightsError(
            f"{complaint}, for {wrong[0]} and {len(wrong) - 1} other tensors are missing, unknown "
            "or of another shape; name the architecture that the file was trained with"
        )
    model.load_state_dict(state, strict=True)


def _all_tensors(content: dict[Any, Any]) -> bool:
    import torch

    return all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    )
