"""The product with the whole vocabulary that ends each step of a decoder, without reading all of it in float32.

On a CPU the time of that product is the time to read its weights: 106 MB of Whisper base, more than the rest of a step. In 8
bits it takes a tenth. The best `CANDIDATES` of that product are computed again in float32, so that the token is the one that
float32 chooses; only the normaliser of its log-probability is rounded, by some thousandths.
"""

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

CANDIDATES = 16
AVAILABLE = hasattr(torch, "quantize_per_channel") and torch.backends.quantized.engine in ("x86", "fbgemm")


class TokenHead:
    """Log-probabilities of tokens from hidden states.

    Args:
        weight: (V, D), the embeddings of the V tokens.
        eight_bits: whether the first look is one in 8 bits; by default on a CPU, where torch can.
    """

    def __init__(self, weight: Tensor, eight_bits: bool | None = None):
        self.weight = weight
        self._packed = _packed(weight) if (_can(weight) if eight_bits is None else eight_bits) else None

    def mask(self, tokens: Iterable[int] | None) -> Tensor:
        """(V,) what suppresses those tokens when it is added."""
        mask = self.weight.new_zeros(len(self.weight))
        mask[[token for token in tokens or () if token < len(mask)]] = -torch.inf
        return mask

    def best(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B,) the most probable tokens, and their log-probabilities."""
        logits = self._logits(hidden) + mask
        candidates = logits.topk(min(CANDIDATES, logits.shape[1])).indices  # (B, C)
        exact = self.exact(hidden, candidates) + mask[candidates]
        total = logits.scatter(1, candidates, exact).logsumexp(1)
        values, places = exact.max(1)
        return candidates.gather(1, places[:, None])[:, 0], values - total

    def log_probability(self, hidden: Tensor, token: int) -> Tensor:
        """(B, D) -> (B,) of one token among all."""
        wanted = self.exact(hidden, torch.full((len(hidden), 1), token, device=hidden.device))[:, 0]
        return wanted - self._logits(hidden).logsumexp(1)

    def exact(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """(B, D), (B, C) -> (B, C) logits of these tokens in float32."""
        return torch.einsum("bd,bcd->bc", hidden, self.weight[tokens])

    def _logits(self, hidden: Tensor) -> Tensor:
        if self._packed is None:
            return hidden @ self.weight.T
        # row by row: one scale for all would let the rows of a batch round each other
        product = (
            torch.ops.quantized.linear_dynamic
        )  # `True`: 7 bits of the row, for processors whose sums of 8 overflow
        return torch.cat([product(row[None], self._packed, True) for row in hidden])


def _can(weight: Tensor) -> bool:
    return AVAILABLE and weight.device.type == "cpu" and weight.dtype == torch.float32


def _packed(weight: Tensor):
    scales = weight.abs().amax(1).clamp(min=1e-8) / 127
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():  # torch will drop these tensors one day; `AVAILABLE` is false from then on
        warnings.simplefilter("ignore", UserWarning)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)
