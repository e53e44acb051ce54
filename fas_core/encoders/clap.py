"""CLAP's audio tower (Wu et al., 2023; HTSAT of Chen et al., 2022): a transformer over images of 10 s of audio at 48 kHz.

It gives few frames: 32 for a window of 10 s, 3.2 a second, from a Swin transformer over the log-mel spectrogram, here
averaged over what is left of the frequency axis. A shorter clip is repeated until it fills the window, as in CLAP's training;
the frames that begin within the clip are kept. A longer clip is cut into windows of 10 s. (The original draws random crops
of it, or fuses three of them with the shrunken whole; here no frame depends on chance, so fused models run as they do on
clips of 10 s or less.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import soxr
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, ClapAudioModelWithProjection

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.base import Encoder, EncoderOutput, check_waveforms
from fas_core.encoders.weights import (
    LOADING_ERRORS,
    cannot_load,
    exact_convolutions,
    find_device,
    load_frozen,
    public_name,
    tensors_sha256,
    weights_kind,
)

CODE_VERSION = 1  # raise it whenever the features of the same weights change
BATCH_WINDOWS = {"cpu": 4, "cuda": 64}


class AudioTower(ClapAudioModelWithProjection):
    """It reads a whole CLAP without a word about the text tower that it leaves out."""

    _keys_to_ignore_on_load_unexpected = ["text_model", "text_projection", "logit_scale"]


class ClapEncoder(Encoder):
    """The last layer of CLAP's audio tower, a frame every 312.5 ms.

    Args:
        model: hub id or directory of a CLAP, with its preprocessor_config.json; fused or not.
        revision: branch, tag or commit of the hub.
        dtype: "float32", "bfloat16" or "float16", of weights and arithmetic.
        device: torch device; a GPU when there is one, if None.

    Raises:
        FASError: an unknown dtype.
        CheckpointError: the model cannot be loaded, is no CLAP, or lacks weights.
    """

    def __init__(self, model: str, *, revision: str | None = None, dtype: str = "float32", device=None):
        loaded = load_frozen(AudioTower, model, revision, kinds=("clap", "clap_audio_model"), dtype=dtype)
        try:
            self.extractor = AutoFeatureExtractor.from_pretrained(model, revision=revision, trust_remote_code=False)
        except LOADING_ERRORS as error:
            raise cannot_load(model, error, "CLAP") from error
        self.model = loaded.audio_model.to(find_device(device))
        self.name, self.revision, self.dtype = public_name(model), revision, dtype
        config = self.model.config
        self.truncation = "fusion" if config.enable_fusion else "rand_trunc"  # which mel filters, how many copies
        self.window = self.extractor.nb_max_samples
        stride = config.patch_stride[1] if isinstance(config.patch_stride, list | tuple) else config.patch_stride
        ratio = config.spec_size // config.num_mel_bins
        self.window_frames = config.spec_size // 2 ** (len(config.depths) - 1) // stride * ratio
        self.frame_rate = self.window_frames * self.extractor.sampling_rate / self.window
        self.dimension = config.patch_embeds_hidden_size * 2 ** (len(config.depths) - 1)

    @property
    def weights(self) -> str:
        return weights_kind(self.model)

    @cached_property
    def weights_sha256(self) -> str:
        return tensors_sha256(self.model.state_dict())

    def identity(self) -> dict:
        return {
            "type": "clap",
            "model": self.name,
            "revision": self.revision,
            "dtype": self.dtype,
            "mel": {key: getattr(self.extractor, key) for key in ("frequency_min", "frequency_max", "hop_length")},
            "padding": self.extractor.padding,
            "dimension": self.dimension,
            "weights_sha256": self.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        clips = [self._windows(waveform) for waveform in check_waveforms(waveforms)]
        flat = [window for clip in clips for window in clip]
        size = BATCH_WINDOWS.get(self.model.device.type, BATCH_WINDOWS["cpu"])
        frames = [f for start in range(0, len(flat), size) for f in self._encode(flat[start : start + size])]
        pieces = iter(frames)
        return EncoderOutput.from_clips([torch.cat([next(pieces) for _ in clip]) for clip in clips])

    def _windows(self, samples: np.ndarray) -> list[np.ndarray]:
        """10 s each, at 48 kHz."""
        samples = soxr.resample(samples, SAMPLE_RATE, self.extractor.sampling_rate)
        return [samples[start : start + self.window] for start in range(0, len(samples), self.window)]

    def _encode(self, windows: list[np.ndarray]) -> list[Tensor]:
        """The frames (T_i, D) of windows that begin within their audio."""
        rate = self.extractor.sampling_rate
        inputs = self.extractor(windows, truncation=self.truncation, sampling_rate=rate, return_tensors="pt")
        mels = inputs.input_features.to(self.model.device, self.model.dtype)
        longer = torch.zeros(
            len(windows), 1, dtype=torch.bool, device=mels.device
        )  # the extractor calls a random one so
        with torch.no_grad(), exact_convolutions(mels.device):
            hidden = self.model(input_features=mels, is_longer=longer).last_hidden_state  # (B, D, frequencies, T)
        frames = hidden.mean(dim=2).transpose(1, 2).float()
        lengths = [math.ceil(len(window) * self.window_frames / self.window) for window in windows]
        return [clip[:length] for clip, length in zip(frames, lengths, strict=True)]


def build(config: dict, device=None) -> ClapEncoder:
    """For the registry."""
    options = {key: config[key] for key in ("revision", "dtype") if key in config}
    return ClapEncoder(config["model"], device=device, **options)
