"""What every neural codec shares as a frozen encoder: its own sampling rate, whole frames, one clip at a time.

A codec gives its latent: what its encoder says before the quantiser ("continuous"), or what the quantiser leaves of
it ("quantised"). Convolutions that look ahead would see a shorter clip's padding, so clips are not padded to a batch:
each runs alone, and a batch is the same as single clips to the bit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import soxr
import torch
import transformers
from torch import Tensor, nn

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.base import Encoder, EncoderOutput, check_waveforms
from fas_core.encoders.weights import (
    exact_convolutions,
    find_device,
    load_frozen,
    public_name,
    tensors_sha256,
    weights_kind,
)
from fas_core.errors import FASError, MissingDependencyError

CODE_VERSION = 1  # raise it whenever the features of the same weights change
WINDOW_SECONDS = 30  # a longer clip is encoded in consecutive windows: memory of attention and convolutions
CONTINUOUS, QUANTISED = "continuous", "quantised"


class CodecEncoder(Encoder):
    """The encoder half of a neural codec.

    A clip of n samples at 16 kHz is resampled to the codec's rate (soxr, HQ) and has floor(n' / hop) frames, at least
    one; what is left of the last hop is seen by codecs that look ahead, and has no frame of its own. A clip of more
    than 30 s is encoded in consecutive windows, joined in time.

    Args:
        model: hub id or directory.
        revision: branch, tag or commit of the hub.
        latent: "continuous", before the quantiser; "quantised", the sum of all codebooks' vectors, where there are.
        device: torch device; a GPU when there is one, if None.

    Raises:
        FASError: a latent that this codec does not have.
        CheckpointError: the model cannot be loaded, or is of another kind.
        MissingDependencyError: the installed transformers does not know this codec.
    """

    kind = ""  # "type" in configurations
    model_class = ""  # in transformers
    model_type = ""  # in config.json
    unused: tuple[str, ...] = ()  # modules of the decoder half, which are dropped
    latents: tuple[str, ...] = (CONTINUOUS, QUANTISED)

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        latent: str = CONTINUOUS,
        device: str | torch.device | None = None,
    ):
        if latent not in self.latents:
            raise FASError(f"encoder option 'latent': {latent!r}, expected {' or '.join(self.latents)} for {self.kind}")
        self.latent, self.name, self.revision = latent, public_name(model), revision
        self.model = self._load(model, revision).to(find_device(device))
        self.weights = weights_kind(self.model)

    def _load(self, model: str, revision: str | None) -> nn.Module:
        model_class = getattr(transformers, self.model_class, None)
        if model_class is None:
            raise MissingDependencyError(
                f"encoder type {self.kind!r}: transformers {transformers.__version__} has no {self.model_class}: "
                "pip install -U 'transformers>=5.19'"
            )
        # a missing mask embedding of a speech model inside is of training only
        kinds, unused = (self.model_type,), (*(f"{name}." for name in self.unused), "masked_spec_embed")
        loaded = load_frozen(model_class, model, revision, kinds=kinds, unused=unused)
        for name in self.unused:
            setattr(loaded, name, None)
        return loaded

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def sampling_rate(self) -> int:
        """Samples per second that the codec hears."""
        return self.model.config.sampling_rate

    @property
    def hop(self) -> int:
        """Samples per frame at `sampling_rate`."""
        return self.model.config.hop_length

    @property
    def frame_rate(self) -> float:
        return self.sampling_rate / self.hop

    @property
    def dimension(self) -> int:
        return self.model.config.hidden_size

    @cached_property
    def weights_sha256(self) -> str:
        """Of the encoder half and the quantiser."""
        return tensors_sha256(self.model.state_dict())

    def identity(self) -> dict:
        return {
            "type": self.kind,
            "model": self.name,
            "revision": self.revision,
            "latent": self.latent,
            "sampling_rate": self.sampling_rate,
            "frame_rate": self.frame_rate,
            "dimension": self.dimension,
            "weights_sha256": self.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        return EncoderOutput.from_clips([self._encode_clip(clip) for clip in check_waveforms(waveforms)])

    def _encode_clip(self, samples: np.ndarray) -> Tensor:
        """(n,) at 16 kHz -> (T, D)."""
        samples = self._prepare(resample(samples, self.sampling_rate))
        frames = max(1, len(samples) // self.hop)
        window = WINDOW_SECONDS * self.sampling_rate // self.hop * self.hop
        windows = [samples[start : start + window] for start in range(0, frames * self.hop, window)]
        return torch.cat([self._encode_window(each) for each in windows])[:frames]

    def _encode_window(self, samples: np.ndarray) -> Tensor:
        frames = max(1, len(samples) // self.hop)
        padded = torch.from_numpy(self._pad(samples)).to(self.device)
        with torch.no_grad(), exact_convolutions(self.device):
            latent = self._continuous(padded[None, None])
            latent = self._quantise(latent) if self.latent == QUANTISED else latent
        return latent[0].T[:frames].float()

    def _prepare(self, samples: np.ndarray) -> np.ndarray:
        """What the codec's processor does to a whole clip at its sampling rate."""
        return samples

    def _pad(self, samples: np.ndarray) -> np.ndarray:
        """Zeros up to whole frames, as the processors of most codecs append them."""
        return np.pad(samples, (0, -len(samples) % self.hop))

    @abstractmethod
    def _continuous(self, samples: Tensor) -> Tensor:
        """(1, 1, n), whole frames -> (1, D, n / hop or more) before the quantiser."""

    def _quantise(self, latent: Tensor) -> Tensor:
        """(1, D, T) -> (1, D, T): the vectors of all codebooks, summed."""
        quantiser = self.model.quantizer
        return quantiser.decode(quantiser.encode(latent))


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """(n,) float32 at 16 kHz -> (about n * rate / 16000,) float32."""
    if rate == SAMPLE_RATE:
        return samples
    return soxr.resample(samples, SAMPLE_RATE, rate, quality="HQ").astype(np.float32)
