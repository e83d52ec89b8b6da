"""CLIP's text tower, run only as far as the prompt goes.

The tower is causal and its vector is read at the end token, so the positions after it change
nothing (Radford et al. 2021, arXiv 2103.00020, section 2.4): eight tokens need not pay for 77.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class CausalTower:
    """The parts of a causal text tower, wherever the model keeps them."""

    token_embedding: Any
    positional_embedding: torch.Tensor
    transformer: Any
    mask: torch.Tensor
    final_norm: Any
    projection: Any
    end_id: int | None  # None: the end token is the largest of the row


def causal_tower(model: Any) -> CausalTower | None:
    """Return the text tower of an open_clip model, or None where it must run in full.

    It must when it attends in both directions, ends in a class token or pools anything but
    the end token; towers of a type not known here run in full as well.
    """
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import TextTransformer

    if type(model) is CLIP:
        tower, pool = model, model.text_pool_type
        end_id = getattr(model, "text_eos_id", None)
    elif type(model) is CustomTextCLIP and type(model.text) is TextTransformer:
        tower, pool = model.text, model.text.pool_type
        end_id = getattr(tower, "eos_id", None)
        if tower.cls_emb is not None or getattr(tower, "use_pad_mask", False):
            return None
    else:
        return None
    if tower.attn_mask is None or pool not in ("argmax", "eos"):
        return None
    if pool == "eos" and end_id is None:
        return None
    return CausalTower(
        tower.token_embedding,
        tower.positional_embedding,
        tower.transformer,
        tower.attn_mask,
        tower.ln_final,
        tower.text_projection,
        end_id if pool == "eos" else None,
    )


def end_positions(tower: CausalTower, tokens: torch.Tensor) -> torch.Tensor:
    """Return the position of the end token of each row, (n,)."""
    if tower.end_id is None:
        return tokens.argmax(-1)
    return (tokens == tower.end_id).int().argmax(-1)


def encode(tower: CausalTower, tokens: torch.Tensor) -> torch.Tensor:
    """Encode token rows (n, positions) as (n, d), over the positions up to the last end token."""
    import torch

    ends = end_positions(tower, tokens)
    length = int(ends.max()) + 1
    x = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]
    x = tower.transformer(x, attn_mask=tower.mask[:length, :length])
    x = tower.final_norm(x[torch.arange(len(x)), ends])
    if tower.projection is None:
        return x
    if isinstance(tower.projection, torch.nn.Linear):
        projected: torch.Tensor = tower.projection(x)
        return projected
    return x @ tower.projection
