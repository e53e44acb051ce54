"""What encoders that give any of their transformer layers share: the option `layer`, stacking, one pass for two streams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from fas_core.encoders.base import Encoder, EncoderOutput
from fas_core.errors import FASError

LAST = -1  # the last layer, after the final norm where the model has one


class Backbone(Protocol):
    """Weights that several encoders may read: L layers of D values."""

    name: str
    num_layers: int
    dimension: int


class LayeredEncoder(Encoder):
    """One layer of a transformer, or several stacked along the feature axis.

    Args:
        backbone: the loaded model.
        layer: 1..L for the output of that transformer layer; -1 or "last" for the last after the final norm; a list
            of them is stacked along the feature axis, in its order.

    Raises:
        FASError: a layer that the model does not have, or the same twice.
    """

    def __init__(self, backbone: Backbone, layer: int | str | Sequence[int | str] = LAST):
        self.backbone = backbone
        layers = list(layer) if isinstance(layer, list | tuple) else [layer]
        if not layers or len({self._layer_number(each) for each in layers}) < len(layers):
            raise FASError(f"encoder option 'layer': {layer!r}, expected a layer or a list of different layers")
        self.layers = [self._layer_number(each) for each in layers]

    @property
    def layer(self) -> int | list[int]:
        """As in the configuration: a number, or a list of several."""
        return self.layers[0] if len(self.layers) == 1 else self.layers

    @property
    def dimension(self) -> int:
        return self.backbone.dimension * len(self.layers)

    def shares_pass(self, other: Encoder) -> bool:
        return type(other) is type(self) and self.backbone is other.backbone

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        return self.stack(self.encode_layers(waveforms, self.layers))

    def stack(self, outputs: dict[int, EncoderOutput]) -> EncoderOutput:
        """This encoder's output from those of its layers (`encode_layers`)."""
        frames = torch.cat([outputs[layer].frames for layer in self.layers], dim=-1)
        return EncoderOutput(frames, outputs[self.layers[0]].lengths)

    def encode_layers(self, waveforms: Sequence[np.ndarray], layers: Sequence[int | str]) -> dict[int, EncoderOutput]:
        """Several layers in one pass: layer number (-1 for "last") -> output. See `encode`.

        A clip longer than the backbone's window is encoded in consecutive windows, joined in time.
        """
        numbers = sorted({self._layer_number(layer) for layer in layers})
        windows = self._cut(waveforms)
        encoded = self._encode_windows([window for clip in windows for window in clip], numbers)
        outputs = {}
        for number in numbers:
            pieces = iter(encoded[number])
            outputs[number] = EncoderOutput.from_clips([torch.cat([next(pieces) for _ in clip]) for clip in windows])
        return outputs

    @abstractmethod
    def _cut(self, waveforms: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """The windows of each clip, after the checks of `check_waveforms`."""

    @abstractmethod
    def _encode_windows(self, windows: list[np.ndarray], layers: list[int]) -> dict[int, list[torch.Tensor]]:
        """layer -> the real frames (T_i, D) of each window."""

    def _layer_number(self, layer: int | str) -> int:
        if layer in ("last", LAST):
            return LAST
        if isinstance(layer, int) and not isinstance(layer, bool) and 1 <= layer <= self.backbone.num_layers:
            return layer
        raise FASError(
            f"encoder option 'layer': {layer!r}, expected 1 to {self.backbone.num_layers}, -1 or 'last' "
            f"for {self.backbone.name}"
        )
