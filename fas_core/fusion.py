"""The three fusions of the paper: learnable queries (eq. 4), concatenation, gate (Table 4)."""

import torch
from torch import Tensor, nn

from fas_core.configuration_fas import FASConfig


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real positions: x (B, P, D), mask (B, P) -> (B, D). A clip without any gives zeros."""
    weight = mask.to(x.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(weight[:, None], x)[:, 0]


def masked_statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and deviation over the real positions: (B, P, D), (B, P) -> (B, 2 D)."""
    mean = masked_mean(x, mask)
    variance = masked_mean(((x - mean[:, None]) * mask[..., None]).square(), mask)
    return torch.cat([mean, (variance + 1e-6).sqrt()], -1)


def mlp(width_in: int, width: int, num_labels: int, dropout: float) -> nn.Sequential:
    """The classification head: one hidden layer."""
    return nn.Sequential(nn.Linear(width_in, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, num_labels))


class QueryFusion(nn.Module):
    """N_q learnable queries attend to the distilled tokens (eq. 4).

    A decoder layer: self-attention over the queries, cross-attention to the context, feed-forward of width 512. With
    the 512-256-7 head and two projections it has the 3.45 M parameters of the paper's Table 4.
    """

    def __init__(self, config: FASConfig):
        super().__init__()
        d = config.hidden_size
        self.queries = nn.Parameter(torch.randn(config.num_queries, d) * d**-0.5)
        self.layer = nn.TransformerDecoderLayer(
            d, config.num_attention_heads, config.intermediate_size, config.dropout, batch_first=True
        )

    def forward(self, context: Tensor, mask: Tensor, summary: Tensor | None = None) -> Tensor:
        """context (B, K, d), mask (B, K), summary (B, d) or None -> fused tokens (B, N_q, d)."""
        queries = self.queries.expand(context.shape[0], -1, -1)
        if summary is not None:
            queries = queries + summary[:, None]
        # A row without any token would make attention NaN; it attends to one zero token instead.
        empty = ~mask.any(1, keepdim=True)
        blocked = ~mask & ~(empty & (torch.arange(mask.shape[1], device=mask.device) == 0))
        return self.layer(queries, context, memory_key_padding_mask=blocked)


class GatedFusion(nn.Module):
    """A sigmoid gate from both raw pooled streams mixes the two projected ones (1,645,063 parameters in all)."""

    def __init__(self, config: FASConfig):
        super().__init__()
        self.gate = nn.Linear(config.acoustic_dim + config.semantic_dim, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, acoustic: Tensor, semantic: Tensor, raw_acoustic: Tensor, raw_semantic: Tensor) -> Tensor:
        """Pooled tokens (B, d) twice and pooled patches (B, D_a), (B, D_s) -> (B, d)."""
        gate = torch.sigmoid(self.gate(torch.cat([raw_acoustic, raw_semantic], -1)))
        return self.norm(gate * acoustic + (1 - gate) * semantic)
