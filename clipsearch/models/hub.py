"""What the Hugging Face hub and its cache on this machine have, asked quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

PATIENCE = 3.0  # seconds; the hub's own client retries for most of a minute
DEFAULT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def files_of(location: str) -> tuple[str, tuple[str, ...]]:
    """Split open_clip's `owner/repository/[file]` into repository and files, best first."""
    repository, _, file = location.rpartition("/")
    if not file:
        return repository, DEFAULT_FILES
    safe = PurePosixPath(file).with_suffix(".safetensors").name
    return repository, (safe, file) if file.endswith((".bin", ".pth")) else (file,)


def cached(repository: str, files: Sequence[str]) -> Path | None:
    """Return the first of the files that the cache has, without asking the hub."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        path = try_to_load_from_cache(repository, file)
        if isinstance(path, str):
            return Path(path)
    return None


def answers(repository: str, timeout: float = PATIENCE) -> bool:
    """Say whether the hub answers for a repository; never when the hub is switched off.

    `HF_HUB_OFFLINE` and `HF_ENDPOINT` are the hub library's own settings, and it heeds them.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(repository, timeout=timeout)
    except Exception:  # the client's errors come from whichever HTTP library it has
        return False
    return True
