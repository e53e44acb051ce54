"""From FAS's tokens to the LLM's width."""

from torch import Tensor, nn


class MultiModalProjector(nn.Module):
    """Linear, GELU, Linear (LLaVA 1.5's connector, Liu et al. 2024).

    Args:
        audio_size: d, width of FAS's tokens.
        hidden_size: H, width of the LLM.
    """

    def __init__(self, audio_size: int, hidden_size: int):
        super().__init__()
        self.linear_1 = nn.Linear(audio_size, hidden_size)
        self.activation = nn.GELU()
        self.linear_2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:  # (..., d) -> (..., H)
        return self.linear_2(self.activation(self.linear_1(tokens)))
