"""What open_clip knows of an architecture: its network, its tokenizer, its preprocessing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clipsearch.errors import ModelError, UnknownModelError
from clipsearch.models import hub


def check(architecture: str) -> None:
    """Refuse an architecture that open_clip does not have.

    Raises:
        UnknownModelError: with the nearest names.
    """
    import open_clip

    names = open_clip.list_models()
    if architecture in names:
        return
    near = get_close_matches(architecture, names, n=3, cutoff=0.4)
    advice = f"did you mean {', '.join(near)}?" if near else "see `clipsearch models`"
    raise UnknownModelError(f"{architecture}: open_clip has no such architecture; {advice}")


def config_of(architecture: str) -> dict[str, Any]:
    """Return open_clip's configuration of an architecture, a copy of one's own."""
    import open_clip

    config: dict[str, Any] = open_clip.get_model_config(architecture)
    return config


def build(architecture: str, *, quick_gelu: bool) -> Any:
    """Build the network of an architecture with random weights, in float32 on the processor.

    `quick_gelu` is the activation of the first CLIPs, x * sigmoid(1.702 x), in place of GELU.

    Raises:
        ModelError: the network needs a package or a configuration that cannot be had.
    """
    import open_clip

    text = config_of(architecture)["text_cfg"]
    if hosted := text.get("hf_model_name", ""):
        _require_transformers(architecture)
        if not hub.cached(hosted, ("config.json",)) and not hub.answers(hosted):
            raise unreachable(architecture)
    try:
        with quiet():
            return open_clip.create_model(
                architecture,
                pretrained=None,
                force_quick_gelu=quick_gelu,
                pretrained_hf=False,  # or a text tower of transformers fetches its first weights
            )
    except (OSError, RuntimeError, ValueError, ImportError, TypeError, KeyError) as error:
        raise ModelError(f"{architecture}: open_clip cannot build this model ({error})") from error


def tokenizer_of(architecture: str) -> Any:
    """Return the tokenizer of an architecture: called with texts, it gives (n, positions) ids.

    Raises:
        ModelError: it needs a package or files that cannot be had.
    """
    import open_clip

    hosted = config_of(architecture)["text_cfg"].get("hf_tokenizer_name", "")
    with quiet():
        if not hosted:
            try:
                return open_clip.get_tokenizer(architecture)
            except ImportError as error:
                raise _needs_transformers(architecture) from error
            except (OSError, RuntimeError, ValueError) as error:
                raise unreachable(architecture) from error
        _require_transformers(architecture)
        try:
            return open_clip.get_tokenizer(architecture, local_files_only=True)
        except ImportError as error:
            raise _needs_transformers(architecture) from error
        except Exception as missing:  # transformers raises many kinds for an absent file
            if not hub.answers(hosted):
                raise unreachable(f"the tokenizer of {architecture}") from missing
        try:
            return open_clip.get_tokenizer(architecture)
        except Exception as error:
            raise unreachable(f"the tokenizer of {architecture}") from error


def published_settings(architecture: str, tag: str) -> dict[str, Any]:
    """Return where the weights of a tag are, and how images are preprocessed for them."""
    import open_clip

    settings: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag)
    return settings


def common_settings(architecture: str) -> dict[str, Any]:
    """Return the preprocessing that all published weights of an architecture agree on."""
    import open_clip
    from open_clip.transform import merge_preprocess_dict

    settings = [
        merge_preprocess_dict({}, published_settings(architecture, tag))
        for tag in open_clip.list_pretrained_tags_by_model(architecture)
    ]
    first: dict[str, Any] = settings[0] if settings else {}
    return first if all(other == first for other in settings) else {}


def unreachable(name: str) -> ModelError:
    """Word the error of a download that is needed and cannot be made."""
    return ModelError(
        f"{name} is not in the cache and cannot be downloaded, for the Hugging Face hub does not "
        "answer; use --model starter or a local checkpoint (ARCHITECTURE//path/to/weights.pt)"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's messages from the root logger, where the user would see them.

    It logs to the root logger itself, and such a call installs a handler where none is.
    """

    def is_foreign(record: logging.LogRecord) -> bool:
        return "open_clip" not in Path(record.pathname).parts

    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(is_foreign)
    try:
        yield
    finally:
        root.removeFilter(is_foreign)
        root.removeHandler(handler)


def _require_transformers(architecture: str) -> None:
    if find_spec("transformers") is None:
        raise _needs_transformers(architecture)


def _needs_transformers(architecture: str) -> ModelError:
    return ModelError(
        f"{architecture} reads texts with the tokenizer of another package; "
        'install it with `pip install "clipsearch[siglip]"`'
    )
