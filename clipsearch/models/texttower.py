"""CLIP's text tower, run only as far as the prompt goes.

The tower is causal and its vector is read at the end token, so the positions after it change
nothing (Radford et al. 2021, arXiv 2103.00020, section 2.4): eight tokens need not pay for 77.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsearch.models.linear import Linear, pack

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Layer:
    """A residual block: attention and a perceptron, each after a normalisation."""

    heads: int
    norm_1: Any
    project_in: Linear
    project_out: Linear
    scale_1: Any
    norm_2: Any
    widen: Linear
    activation: Any
    narrow: Linear
    scale_2: Any

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        parts = self.project_in(self.norm_1(x)).view(*x.shape[:2], 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended = attended.transpose(1, 2).flatten(2)
        x = x + self.scale_1(self.project_out(attended))
        inner = self.activation(self.widen(self.norm_2(x)))
        result: torch.Tensor = x + self.scale_2(self.narrow(inner))
        return result


@dataclass(frozen=True, slots=True)
class CausalTower:
    """The parts of a causal text tower, wherever the model keeps them."""

    token_embedding: Any
    positional_embedding: torch.Tensor
    layers: Callable[[torch.Tensor], torch.Tensor]
    final_norm: Any
    projection: Any
    end_id: int | None  # None: the end token is the largest of the row


def causal_tower(model: Any) -> CausalTower | None:
    """Return the text tower of an open_clip model, or None where it must run in full.

    It must when it attends in both directions, ends in a class token or pools anything but
    the end token; towers of a type not known here run in full as well.
    """
    import torch
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
    mask = tower.attn_mask
    if mask is None or pool not in ("argmax", "eos") or (pool == "eos" and end_id is None):
        return None
    if not torch.equal(mask, torch.full_like(mask, -torch.inf).triu(1)):
        return None
    return CausalTower(
        tower.token_embedding,
        tower.positional_embedding,
        _layers(tower.transformer, mask),
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
    x = tower.layers(x)
    vectors: torch.Tensor = tower.final_norm(x[torch.arange(len(x)), ends])
    if isinstance(tower.projection, torch.nn.Linear):
        vectors = tower.projection(vectors)
    elif tower.projection is not None:
        vectors = vectors @ tower.projection
    return vectors


def _layers(transformer: Any, mask: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the blocks of a transformer as one function, with packed weights where they are
    CLIP's own kind of block."""
    layers = [_layer(block) for block in transformer.resblocks]
    known = [layer for layer in layers if layer is not None]

    def packed(x: torch.Tensor) -> torch.Tensor:
        for layer in known:
            x = layer(x)
        return x

    def ordinary(x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        result: torch.Tensor = transformer(x, attn_mask=mask[:length, :length])
        return result

    return packed if len(known) == len(layers) else ordinary


def _layer(block: Any) -> Layer | None:
    from open_clip.transformer import ResidualAttentionBlock
    from torch import nn

    if type(block) is not ResidualAttentionBlock or type(block.attn) is not nn.MultiheadAttention:
        return None
    attention, perceptron = block.attn, block.mlp
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        return None
    return Layer(
        attention.num_heads,
        block.ln_1,
        pack(attention.in_proj_weight, attention.in_proj_bias),
        pack(attention.out_proj.weight, attention.out_proj.bias),
        block.ls_1,
        block.ln_2,
        pack(perceptron.c_fc.weight, perceptron.c_fc.bias),
        perceptron.gelu,
        pack(perceptron.c_proj.weight, perceptron.c_proj.bias),
        block.ls_2,
    )
