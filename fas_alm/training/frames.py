"""What the connector hears of each file: the patches of its windows, and FAS's tokens beside them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fas_alm.configuration import FASAudioConfig
from fas_alm.training.audio import AudioInputs, FrozenTokens, WindowFeatures


class FrameInputs(AudioInputs):
    """Patches of the streams that the connector reads; encoders are frozen, and so they come from the feature cache.

    Args:
        features: of the files.
        streams: that the connector reads.
        tokens: of a frozen FAS, where fused tokens are heard too.
        zero: zeros in the place of the patches, to train without hearing. How long a clip is can be heard all the same: its
            patches are as many as before.
    """

    def __init__(
        self, features: WindowFeatures, streams: Sequence[str], tokens: FrozenTokens | None = None, zero: bool = False
    ):
        self.features, self.streams, self.tokens, self.zero = features, streams, tokens, zero

    def windows(self, file: str) -> int:
        return self.features.windows(file)

    def frames(self, file: str) -> list[int]:
        return self.features.frames(file)

    def batch(self, files: Sequence[str]) -> dict[str, Tensor]:
        found = self.features.batch(files)
        frames = {stream: found[stream] * 0 if self.zero else found[stream] for stream in self.streams}
        masks = {f"{stream}_mask": found[f"{stream}_mask"] for stream in self.streams}
        return frames | masks | (self.tokens.batch(files) if self.tokens else {})


def frozen_inputs(
    features: WindowFeatures, fas: torch.nn.Module, config: FASAudioConfig, zero: bool = False
) -> FrozenTokens | FrameInputs:
    """What a model hears of the files while its FAS is frozen.

    Args:
        fas, config: of the model.
        zero: zeros in the place of all that is heard.
    """
    kind = config.audio_tokens
    tokens = None if kind == "frames" else FrozenTokens(features, fas, kind, zero)
    return FrameInputs(features, config.connector_config.streams, tokens, zero) if config.hears_frames else tokens
