"""Neural codecs of convolutions: EnCodec, DAC, Mimi, and the acoustic tokenizer of VibeVoice."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from fas_core.encoders.codec import CONTINUOUS, CodecEncoder
from fas_core.encoders.weights import LOADING_ERRORS, cannot_load


class EncodecEncoder(CodecEncoder):
    """EnCodec (Défossez et al., 2022, "High Fidelity Neural Audio Compression"): causal convolutions and an LSTM.

    24 kHz: 75 frames a second of 128 values. The stereo model of 48 kHz normalises and mixes chunks of a second, and
    is refused. See `CodecEncoder` for arguments and errors.
    """

    kind, model_class, model_type = "encodec", "EncodecModel", "encodec"
    unused = ("decoder",)

    def _load(self, model: str, revision: str | None) -> nn.Module:
        loaded = super()._load(model, revision)
        config = loaded.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            problem = OSError(f"it has {config.audio_channels} channels, or hears chunks of the clip")
            raise cannot_load(model, problem, "a mono EnCodec, as facebook/encodec_24khz")
        return loaded

    def _continuous(self, samples: Tensor) -> Tensor:
        return self.model.encoder(samples)


class DacEncoder(CodecEncoder):
    """Descript Audio Codec (Kumar et al., 2023, "High-Fidelity Audio Compression with Improved RVQGAN").

    16 kHz: 50 frames a second of 1024 values; the models of 24 and 44.1 kHz have 75 and about 86. See `CodecEncoder`
    for arguments and errors.
    """

    kind, model_class, model_type = "dac", "DacModel", "dac"
    unused = ("decoder",)

    def _continuous(self, samples: Tensor) -> Tensor:
        return self.model.encoder(samples)

    def _quantise(self, latent: Tensor) -> Tensor:
        return self.model.quantizer(latent)[0]


class MimiEncoder(CodecEncoder):
    """Mimi (Défossez et al., 2024, "Moshi", section 3.3): convolutions and a causal transformer, 24 kHz.

    12.5 frames a second of 512 values. "quantised" sums the semantic codebook and all acoustic ones. See `CodecEncoder`
    for arguments and errors.
    """

    kind, model_class, model_type = "mimi", "MimiModel", "mimi"
    unused = ("decoder", "decoder_transformer", "upsample")

    @property
    def hop(self) -> int:
        return self.model.config.frame_size

    def _continuous(self, samples: Tensor) -> Tensor:
        hidden = self.model.encoder(samples).transpose(1, 2)
        hidden = self.model.encoder_transformer(hidden, return_dict=True).last_hidden_state
        return self.model.downsample(hidden.transpose(1, 2))

    def _quantise(self, latent: Tensor) -> Tensor:
        codes = self.model.quantizer.encode(latent)  # (codebooks, 1, T)
        return self.model.quantizer.decode(codes.transpose(0, 1))


class VibeVoiceEncoder(CodecEncoder):
    """VibeVoice's acoustic tokenizer (Peng et al., 2025, "VibeVoice Technical Report"): a VAE of causal convolutions.

    24 kHz: 7.5 frames a second of 64 values, the mean that the model would add noise to. There is no quantiser. Its
    processor (preprocessor_config.json) brings the whole clip to -25 dBFS; so does this. See `CodecEncoder` for
    arguments and errors.
    """

    kind, model_class = "vibevoice", "VibeVoiceAcousticTokenizerModel"
    model_type = "vibevoice_acoustic_tokenizer"
    unused = ("decoder",)
    latents = (CONTINUOUS,)

    def _load(self, model: str, revision: str | None) -> nn.Module:
        loaded = super()._load(model, revision)
        from transformers import VibeVoiceAcousticTokenizerFeatureExtractor as Processor

        try:
            self.processor = Processor.from_pretrained(model, revision=revision)
        except LOADING_ERRORS as error:
            raise cannot_load(model, error, self.model_type) from error
        return loaded

    @property
    def sampling_rate(self) -> int:
        return self.processor.sampling_rate

    def identity(self) -> dict:
        level = self.processor.target_dB_FS if self.processor.normalize_audio else None
        return {**super().identity(), "level_dbfs": level}

    def _prepare(self, samples: np.ndarray) -> np.ndarray:
        prepared = self.processor(samples, sampling_rate=self.sampling_rate, pad_to_multiple_of=1)
        return prepared["input_values"][0, 0].numpy()

    def _continuous(self, samples: Tensor) -> Tensor:
        return self.model.encode(samples, sample=False).latents.transpose(1, 2)


CODECS = {codec.kind: codec for codec in (EncodecEncoder, DacEncoder, MimiEncoder, VibeVoiceEncoder)}


def build(config: dict, device=None) -> CodecEncoder:
    """For the registry."""
    options = {key: value for key, value in config.items() if key not in ("type", "model")}
    return CODECS[config["type"]](config["model"], device=device, **options)
