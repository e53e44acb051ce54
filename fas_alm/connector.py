"""C²SER's connection module (Zhao et al. 2025): frames of the encoders to the LLM's width, a Transformer and a linear layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from fas_core.errors import CheckpointError

STREAMS = ("semantic", "acoustic")
JOINT = "joint"


@dataclass(frozen=True)
class ConnectorConfig:
    """Shape of a `FrameConnector`. The defaults are C²SER's; heads, and that it is one, are those of its published code.

    Attributes:
        streams: whose frames the LLM hears, in the order in which it reads them: "semantic" (Whisper's last layer, say)
            and "acoustic", as the FAS checkpoint names its encoders.
        joint: one Transformer over the frames of all streams; False: one, and one linear layer, for each.
        num_layers, num_heads, intermediate_size: of each Transformer.
        hidden_size: its width; None: that of the semantic stream's frames.
        dropout: in training.

    Raises:
        CheckpointError: a value of the wrong kind or range; the message names the field.
    """

    streams: tuple[str, ...] = STREAMS
    joint: bool = True
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 2560
    hidden_size: int | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        given = list(self.streams) if isinstance(self.streams, list | tuple) else self.streams
        is_right = isinstance(given, list) and len(given) > 0 and set(map(str, given)) <= set(STREAMS)
        _expect(
            "streams",
            is_right and len(set(given)) == len(given),
            given,
            f"one or both of {', '.join(STREAMS)}, each once",
        )
        object.__setattr__(self, "streams", tuple(given))
        _expect("joint", isinstance(self.joint, bool), self.joint, "true or false")
        for name in ("num_layers", "num_heads", "intermediate_size", "hidden_size"):
            value = getattr(self, name)
            is_size = isinstance(value, int) and not isinstance(value, bool) and value > 0
            _expect(name, is_size or (name == "hidden_size" and value is None), value, "an integer of 1 or more")
        is_share = (
            isinstance(self.dropout, int | float) and not isinstance(self.dropout, bool) and 0 <= self.dropout < 1
        )
        _expect("dropout", is_share, self.dropout, "at least 0 and below 1")

    @classmethod
    def from_dict(cls, values: Mapping | None) -> ConnectorConfig:
        """Fields that are absent have their defaults. Raises as the class does, and for an unknown field."""
        _expect("fields", values is None or isinstance(values, Mapping), values, "fields with values")
        names = [item.name for item in fields(cls)]
        for name in values or ():
            _expect(name, name in names, "an unknown field", f"one of {', '.join(names)}")
        return cls(**(values or {}))

    def to_dict(self) -> dict:
        """JSON-ready."""
        return asdict(self) | {"streams": list(self.streams)}

    def width(self, sizes: Mapping[str, int]) -> int:
        """Width of the Transformer, for frames of these sizes.

        Raises:
            CheckpointError: the heads do not divide it.
        """
        width = self.hidden_size or sizes["semantic"]
        _expect(
            "num_heads", width % self.num_heads == 0, self.num_heads, f"a divisor of the width {width} (hidden_size)"
        )
        return width


class FrameConnector(nn.Module):
    """Frames of a window to as many embeddings of the LLM; a window's do not depend on the others of the batch.

    Each stream has a linear layer to the Transformer's width, with layer norm, and position embeddings that begin at the
    window's start. Then either one Transformer lets the frames of all streams attend to each other, or each stream has one.

    Args:
        config: the shape.
        sizes: width of the frames of "semantic" and "acoustic".
        hidden_size: H, width of the LLM.
    """

    def __init__(self, config: ConnectorConfig, sizes: Mapping[str, int], hidden_size: int):
        super().__init__()
        self.streams, self.joint, width = config.streams, config.joint, config.width(sizes)
        parts = (JOINT,) if config.joint else config.streams
        self.inputs = nn.ModuleDict(
            {s: nn.Sequential(nn.Linear(sizes[s], width), nn.LayerNorm(width)) for s in config.streams}
        )
        self.transformers = nn.ModuleDict({part: _transformer(config, width) for part in parts})
        self.outputs = nn.ModuleDict({part: nn.Linear(width, hidden_size) for part in parts})

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of N windows.

        Args:
            features: `semantic`, `acoustic` (N, P, D) and their masks (N, P), as of `AudioTower.forward`.

        Returns:
            (N, sum of P, H), stream by stream; and (N, sum of P), False where a window is shorter than another.
        """
        masks = [features[f"{stream}_mask"] for stream in self.streams]
        frames = [self._placed(stream, features[stream]) for stream in self.streams]  # (N, P, width) each
        if self.joint:
            mask = torch.cat(masks, 1)
            return self._connect(JOINT, torch.cat(frames, 1), mask), mask
        connected = [self._connect(*each) for each in zip(self.streams, frames, masks, strict=True)]
        return torch.cat(connected, 1), torch.cat(masks, 1)

    def _placed(self, stream: str, frames: Tensor) -> Tensor:
        hidden = self.inputs[stream](frames)
        return hidden + sinusoids(*hidden.shape[1:]).to(hidden)

    def _connect(self, part: str, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.outputs[part](self.transformers[part](hidden, src_key_padding_mask=~mask))


def _transformer(config: ConnectorConfig, width: int) -> nn.TransformerEncoder:
    """Norms before each block and one at the end. The library copies its first layer: each gets values of its own here."""
    layer = nn.TransformerEncoderLayer(
        width, config.num_heads, config.intermediate_size, config.dropout, "relu", batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(layer, config.num_layers, nn.LayerNorm(width), enable_nested_tensor=False)
    for parameter in stack.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    return stack


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width) position embeddings (Vaswani et al. 2017). Computed, not kept: a model's weights do not hold them."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]


def _expect(name: str, is_right: bool, value: Any, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"FASAudioConfig.connector: {name} is {value!r}; expected {expected}")
