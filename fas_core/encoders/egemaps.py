"""Low-level descriptors of eGeMAPS (Eyben et al., 2016) by openSMILE: 25 measured values every 10 ms, no learned weights.

Loudness, spectrum, the first mel cepstra, pitch, jitter, shimmer, harmonics, formants. The package `opensmile` is for research
use only, see its licence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.base import Encoder, EncoderOutput, check_waveforms
from fas_core.errors import MissingDependencyError

CODE_VERSION = 1  # raise it whenever the features change
SHORTEST = SAMPLE_RATE * 6 // 100  # pitch is measured over 60 ms
FEATURE_SET = "eGeMAPSv02"


class EgemapsEncoder(Encoder):
    """eGeMAPS v02 descriptors, smoothed over three frames, on the CPU, one clip after the other.

    Frame i is measured on the 20 to 60 ms that begin at i / 100 s; so a clip has about four frames less than its
    duration says. Silence has the values that openSMILE gives it.

    Raises:
        MissingDependencyError: the package opensmile is not installed.
    """

    frame_rate = 100.0

    def __init__(self):
        try:
            import opensmile
        except ImportError as error:
            raise MissingDependencyError(
                "the eGeMAPS encoder needs opensmile (research licence): pip install 'fas-alm[egemaps]'"
            ) from error
        self.version = opensmile.__version__
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[FEATURE_SET], feature_level=opensmile.FeatureLevel.LowLevelDescriptors
        )
        self.dimension = self.smile.num_features

    def identity(self) -> dict:
        return {
            "type": "egemaps",
            "model": FEATURE_SET,
            "feature_set": FEATURE_SET,
            "opensmile": self.version,
            "dimension": self.dimension,
            "code_version": CODE_VERSION,
        }

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        return EncoderOutput.from_clips([self._encode_clip(clip) for clip in check_waveforms(waveforms, SHORTEST)])

    def _encode_clip(self, samples: np.ndarray) -> Tensor:
        values = self.smile.process_signal(samples, SAMPLE_RATE).to_numpy(dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(values))


def build(config: dict, device=None) -> EgemapsEncoder:
    """For the registry. openSMILE runs on the CPU, whatever the device."""
    return EgemapsEncoder()
