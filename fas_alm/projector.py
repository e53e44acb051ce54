"""From what is heard to the LLM's width: FAS's tokens by an MLP, frames by C²SER's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from fas_alm.configuration import FASAudioConfig
from fas_alm.connector import FrameConnector


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


class FusedAndFrames(nn.Module):
    """Both projectors of a model that hears FAS's fused tokens and frames."""

    def __init__(self, fused: MultiModalProjector, frames: FrameConnector):
        super().__init__()
        self.fused, self.frames = fused, frames


def make_projector(config: FASAudioConfig) -> nn.Module:
    """A new projector for what a model hears (`FASAudioConfig.audio_tokens`)."""
    if not config.hears_frames:
        return MultiModalProjector(config.audio_token_size, config.hidden_size)
    frames = FrameConnector(config.connector_config, config.frame_sizes, config.hidden_size)
    if config.audio_tokens == "frames":
        return frames
    return FusedAndFrames(MultiModalProjector(config.audio_token_size, config.hidden_size), frames)


def project(
    projector: nn.Module, kind: str, tokens: Tensor | None, mask: Tensor | None, frames: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """What the LLM reads of N windows, in the projector's own precision.

    Args:
        projector: of `make_projector`.
        kind: `FASAudioConfig.audio_tokens`.
        tokens, mask: FAS's tokens (N, K, d) and (N, K), where they are heard (`fas_alm.tower.audio_tokens`).
        frames: of `AudioTower.forward`, where frames are heard.

    Returns:
        Embeddings (N, R, H): FAS's tokens, zeros where a short window has none, then the frames; and (N, R), True for those
        that the LLM reads, False for frames that a window lacks against the longest of the batch.
    """
    both = kind == "fused+frames"
    fused = cast(nn.Module, projector.fused) if both else projector
    connector = cast(nn.Module, projector.frames) if both else projector
    dtype = next(projector.parameters()).dtype
    found = []
    with torch.autocast(next(projector.parameters()).device.type, enabled=False):
        if tokens is not None and mask is not None:
            rows = fused(tokens.to(dtype)) * mask[..., None]
            found.append((rows, torch.ones_like(mask)))
        if tokens is None or both:
            inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in frames.items()}
            found.append(connector(inputs))
    rows, read = zip(*found, strict=True)
    return torch.cat(rows, 1), torch.cat(read, 1)
