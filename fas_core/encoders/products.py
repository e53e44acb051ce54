"""Matrix products of frozen encoders by oneDNN, where they run on a CPU in float32.

torch gives float32 products to MKL; oneDNN, which torch carries as well, was faster on the AMD processor at hand. Results agree
up to rounding. docs/results.md (Speed) has extraction with both.
"""

import torch
from torch import Tensor, nn

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class OneDNNLinear(nn.Linear):
    """A linear layer whose product oneDNN computes; where it cannot (a GPU, other types, gradients), torch's own."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., D) -> (..., D')."""
        is_plain = rows.device.type == "cpu" and rows.dtype == self.weight.dtype == torch.float32
        learns = torch.is_grad_enabled() and (rows.requires_grad or self.weight.requires_grad)
        if AVAILABLE and is_plain and not learns and not torch.is_autocast_enabled("cpu"):
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return super().forward(rows)


def use_onednn(module: nn.Module) -> nn.Module:
    """Let its linear layers be `OneDNNLinear`; names, weights and hooks stay. Returns the module."""
    for layer in module.modules():
        if type(layer) is nn.Linear:  # a subclass has a way of its own
            layer.__class__ = OneDNNLinear
    return module
