"""BERT that classifies a text by its first token (Devlin, Chang, Lee and Toutanova, NAACL 2019), in torch alone.

Parameters are named as in transformers' BertForSequenceClassification, without the leading "bert.".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12  # of the normalisations
DROPOUT = 0.1


class Bert(nn.Module):
    """(B, T) token numbers -> (B, classes) logits.

    Args:
        pieces: word pieces. positions: tokens that it can read. width: of a token, a multiple of `heads`. inner: of the layers between.
    """

    def __init__(self, pieces: int, positions: int, width: int, inner: int, layers: int, heads: int, classes: int):
        super().__init__()
        self.heads = heads
        rows = {"word": pieces, "position": positions, "token_type": 1}
        self.embeddings = nn.ModuleDict(
            {f"{name}_embeddings": nn.Embedding(count, width) for name, count in rows.items()}
        )
        self.embeddings["LayerNorm"] = nn.LayerNorm(width, EPSILON)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_layer(width, inner) for _ in range(layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(width, width)})
        self.classifier = nn.Linear(width, classes)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: (B, T), true where there is a token; None where there is one everywhere."""
        parts = self.embeddings
        x = parts["word_embeddings"](ids) + parts["position_embeddings"].weight[: ids.shape[1]]
        x = self._dropped(parts["LayerNorm"](x + parts["token_type_embeddings"].weight[0]))  # (B, T, width)
        heard = None if mask is None else mask[:, None, None].bool()  # (B, 1, 1, T)
        for layer in self.encoder["layer"]:
            x = self._through(layer, x, heard)
        return self.classifier(self._dropped(torch.tanh(self.pooler["dense"](x[:, 0]))))

    def _through(self, layer: nn.ModuleDict, x: Tensor, heard: Tensor | None) -> Tensor:
        of, after = layer["attention"]["self"], layer["attention"]["output"]
        q, k, v = (of[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value"))
        found = F.scaled_dot_product_attention(q, k, v, heard, dropout_p=DROPOUT if self.training else 0.0)
        x = after["LayerNorm"](x + self._dropped(after["dense"](found.transpose(1, 2).flatten(2))))
        wide = F.gelu(layer["intermediate"]["dense"](x))
        return layer["output"]["LayerNorm"](x + self._dropped(layer["output"]["dense"](wide)))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, DROPOUT, self.training)


def _layer(width: int, inner: int) -> nn.ModuleDict:
    def then_normalised(size: int) -> nn.ModuleDict:
        return nn.ModuleDict({"dense": nn.Linear(size, width), "LayerNorm": nn.LayerNorm(width, EPSILON)})

    attention = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
    return nn.ModuleDict(
        {
            "attention": nn.ModuleDict({"self": attention, "output": then_normalised(width)}),
            "intermediate": nn.ModuleDict({"dense": nn.Linear(width, inner)}),
            "output": then_normalised(inner),
        }
    )
