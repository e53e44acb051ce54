"""Neural codecs with a speech model inside: X-Codec (HuBERT), XCodec2 and NeuCodec (wav2vec 2.0 BERT).

Their latent mixes what the speech model says with what the convolutions hear, so it is less purely acoustic than the
latent of EnCodec or DAC.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.codec import CodecEncoder


class XcodecEncoder(CodecEncoder):
    """X-Codec (Ye et al., 2024, "Codec Does Matter"): DAC's encoder beside the mean of HuBERT's layers, 16 kHz.

    50 frames a second of 1024 values. See `CodecEncoder` for arguments and errors.
    """

    kind, model_class, model_type = "xcodec", "XcodecModel", "xcodec"
    unused = ("acoustic_decoder", "decoder_semantic", "fc1", "fc2")

    @property
    def sampling_rate(self) -> int:
        return self.model.config.sample_rate

    def _continuous(self, samples: Tensor) -> Tensor:
        model = self.model
        padded = nn.functional.pad(samples, (model.pad, model.pad))
        layers = model.semantic_model(padded[:, 0], output_hidden_states=True).hidden_states
        semantic = model.encoder_semantic(torch.stack(layers).mean(0).transpose(1, 2))
        acoustic = model.acoustic_encoder(samples)
        if acoustic.shape[-1] != semantic.shape[-1]:  # the lengths at which X-Codec pads this half too
            acoustic = model.acoustic_encoder(padded)
        return model.fc(torch.cat([acoustic, semantic], dim=1).transpose(1, 2)).transpose(1, 2)


class Xcodec2Encoder(CodecEncoder):
    """XCodec2 (Ye et al., 2025, "Llasa"): wav2vec 2.0 BERT beside convolutions, one codebook, 16 kHz.

    50 frames a second of 2048 values: what enters the finite scalar quantiser, or its projected codes ("quantised").
    The log-mel of the speech model comes from transformers' SeamlessM4TFeatureExtractor, which XCodec2 was published
    with; transformers' Xcodec2FeatureExtractor computes the same but needs torchaudio. See `CodecEncoder` for
    arguments and errors.
    """

    kind, model_class, model_type = "xcodec2", "Xcodec2Model", "xcodec2"
    unused = ("acoustic_decoder",)

    @cached_property
    def mel(self) -> SeamlessM4TFeatureExtractor:
        return SeamlessM4TFeatureExtractor(padding_value=1.0)

    @property
    def dimension(self) -> int:
        return self.model.config.quantization_dim

    def _pad(self, samples: np.ndarray) -> np.ndarray:
        return super()._pad(np.append(samples, np.float32(0)))  # its processor appends one zero before

    def _continuous(self, samples: Tensor) -> Tensor:
        model = self.model
        semantic = model.semantic_encoder(**self._semantic_inputs(samples)).last_hidden_state
        semantic = model.semantic_adapter(semantic.transpose(1, 2))
        acoustic = model.acoustic_encoder(samples)
        frames = min(acoustic.shape[-1], semantic.shape[-1])
        both = torch.cat([semantic[..., :frames], acoustic[..., :frames]], dim=1)
        return model.fc_encoder(both.transpose(1, 2)).transpose(1, 2)

    def _semantic_inputs(self, samples: Tensor) -> dict[str, Tensor]:
        """(1, 1, n) -> features (1, n / hop, 160) and their mask: pairs of log-mel frames of 10 ms, normalised."""
        heard = nn.functional.pad(samples, self._mel_padding)[0, 0].cpu().numpy()
        inputs = self.mel(heard, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return {name: value.to(self.device) for name, value in inputs.items()}

    @property
    def _mel_padding(self) -> tuple[int, int]:
        return self.hop // 2, self.hop // 2

    def _quantise(self, latent: Tensor) -> Tensor:
        return self.model.quantizer(latent.transpose(1, 2))[0].transpose(1, 2)


class NeuCodecEncoder(Xcodec2Encoder):
    """NeuCodec (Neuphonic, 2025): XCodec2's encoder trained anew, 16 kHz in, 50 frames a second of 2048 values.

    Its mel sees the clip without XCodec2's padding. See `CodecEncoder` for arguments and errors.
    """

    kind, model_class, model_type = "neucodec", "NeuCodecModel", "neucodec"

    @property
    def sampling_rate(self) -> int:
        return self.model.config.input_sampling_rate

    @property
    def hop(self) -> int:
        return self.model.config.encoder_hop_length

    @property
    def _mel_padding(self) -> tuple[int, int]:
        return 0, 0


CODECS = {codec.kind: codec for codec in (XcodecEncoder, Xcodec2Encoder, NeuCodecEncoder)}


def build(config: dict, device=None) -> CodecEncoder:
    """For the registry."""
    options = {key: value for key, value in config.items() if key not in ("type", "model")}
    return CODECS[config["type"]](config["model"], device=device, **options)
