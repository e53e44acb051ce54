"""The log-mels of an audio's windows, and a batch of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature

from fas_core.audio import AudioLimits
from fas_core.encoders.base import SAMPLES_PER_FRAME, check_waveforms
from fas_core.encoders.whisper import LogMel
from fas_core.errors import AudioError
from fas_core.frontend import FrontEnd, FrontEndConfig
from fas_core.windows import cut_windows


class WindowMels:
    """Cuts an audio into windows of 30 s, and computes the log-mel of each by itself.

    Args:
        num_mel_bins, window_frames, padding, front_end: as of `FASAudioProcessor`.
    """

    def __init__(self, num_mel_bins: int, window_frames: int, padding: str, front_end: dict):
        self.padding = padding
        self.front_end = FrontEnd(FrontEndConfig.from_dict(front_end))
        self.log_mel = LogMel(num_mel_bins, window_frames)

    def __call__(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """As `FASAudioProcessor.prepare_audio`."""
        samples = np.asarray(samples)
        windows = cut_windows(samples) if samples.ndim == 1 else []
        if not windows:
            problem = f"samples of shape {samples.shape}"
            raise AudioError("<array>", problem, f"expected (n,), at least {AudioLimits().min_seconds} s at 16 kHz")
        heard = check_waveforms([self.front_end(window).samples for window in windows])
        mels = [self.log_mel(window, self.padding) for window in heard]
        return torch.cat(mels, dim=-1), torch.tensor([2 * (len(window) // SAMPLES_PER_FRAME) for window in heard])


class AudioBatch(BatchFeature):
    """A batch whose `to` moves the lists of audios as well, and never changes their type: log-mels stay float32."""

    def to(self, *args, **kwargs) -> AudioBatch:
        audio = {key: self.data.pop(key) for key in ("audio_mels", "audio_window_lengths") if key in self.data}
        super().to(*args, **kwargs)
        device = next((v.device for v in self.data.values() if isinstance(v, Tensor)), None)
        self.data.update({key: [item.to(device) for item in items] for key, items in audio.items()})
        return self
