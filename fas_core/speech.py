"""What of a clip is speech: Silero's voice activity detector, with the weights that lie beside this project.

Its own package runs TorchScript, frame by frame, and sets the number of threads of whoever imports it. The network is small:
it stands here in full. Source: Silero Team, "Silero VAD", version 6, MIT (`pretrained_speech/README.md`).
"""

import functools
import math
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from fas_core.errors import FASError
from fas_core.frontend import FrontEnd, FrontEndConfig

WEIGHTS = Path(__file__).parent / "pretrained_speech" / "silero_vad_16k.safetensors"
THRESHOLD = 0.5  # probability from which a frame is speech; with SHORTEST chosen by `benchmarks.speech_check`
FRAME = 512  # samples, 32 ms: what the network was trained on
CONTEXT = 64  # samples before a frame that the network hears with it
BLOCK = 1024  # frames of one pass, 33 s: memory does not grow with the clip
SHORTEST = 8  # frames, 256 ms: speech that lasts less is a click, a note or a bark; in short clips a quarter is enough
LEVEL_DBFS = -20.0  # the network hears whispers from afar as noise: every clip is brought to one level before


class SileroVAD(nn.Module):
    """Magnitudes of a short-time Fourier transform, four convolutions within a frame, and an LSTM over the frames."""

    def __init__(self):
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTM(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, frames: torch.Tensor, state: tuple | None = None) -> tuple[torch.Tensor, tuple]:
        """(T, CONTEXT + FRAME) samples -> (T,) probability of speech in each frame, and the LSTM's state after them."""
        x = self.stft_conv(F.pad(frames[:, None], (0, CONTEXT), mode="reflect"))  # (T, 258, 4)
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()  # (T, 129, 4)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()
        x, state = self.lstm_cell(x.squeeze(-1), state)  # (T, 128)
        return self.final_conv(x.relu()[..., None]).sigmoid().flatten(), state

    @torch.inference_mode()
    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz -> (ceil(n / FRAME),) probability of speech; of the last frame, filled with zeros, too."""
        padded = F.pad(torch.from_numpy(np.ascontiguousarray(samples)), (CONTEXT, -len(samples) % FRAME))
        found, state = [], None
        for frames in padded.unfold(0, CONTEXT + FRAME, FRAME).split(BLOCK):
            probabilities, state = self(frames, state)
            found.append(probabilities)
        return torch.cat(found).numpy()


class SpeechCheck:
    """Says what share of a clip is speech.

    One clip at a time, on the CPU: the share is the same to the bit whatever else is asked, and silence around a clip
    changes the share but not whether there is speech.

    Args:
        threshold: probability, over 0 to 1, from which a frame of 32 ms is speech.

    Raises:
        FASError: another threshold.

    Examples:
        >>> SpeechCheck()(np.zeros(16000, np.float32))
        0.0
    """

    def __init__(self, threshold: float = THRESHOLD):
        if not isinstance(threshold, Real) or not 0 < threshold <= 1:
            raise FASError(
                f"speech threshold {threshold!r}: expected a probability, over 0 to 1; 0 turns the check off "
                "(speech_threshold=..., --speech-threshold)"
            )
        self.threshold, self.model = threshold, _load()
        self.front_end = FrontEnd(FrontEndConfig(level_dbfs=LEVEL_DBFS))

    def __call__(self, samples: np.ndarray) -> float:
        """(n,) float32 at 16 kHz -> share of its frames that are speech, 0 where there is none.

        Raises:
            AudioError: samples that `FrontEnd` refuses.
        """
        probabilities, shortest = self.hear(samples)
        return share(probabilities, shortest, self.threshold)

    def hear(self, samples: np.ndarray) -> tuple[np.ndarray, int]:
        """(n,) float32 -> (T,) probability of speech in each frame, and of how many frames in a row speech is at least."""
        clip = self.front_end(samples)
        levelled = samples * np.float32(10 ** (clip.gain_db / 20))
        heard = math.ceil((clip.end - clip.start) / FRAME)  # frames between the silences at both ends
        probabilities = self.model.probabilities(levelled.astype(np.float32, copy=False))
        return probabilities, min(SHORTEST, max(1, round(heard / 4)))


def share(probabilities: np.ndarray, shortest: int, threshold: float) -> float:
    """Share of the frames that are speech, by what `SpeechCheck.hear` gives."""
    return float(_long_runs(probabilities >= threshold, shortest).mean())


def _long_runs(is_speech: np.ndarray, shortest: int) -> np.ndarray:
    """(T,) bool, without the runs of less than `shortest` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_speech, [False]]).astype(np.int8)))
    kept = np.zeros_like(is_speech)
    for start, end in edges.reshape(-1, 2):
        kept[start:end] = end - start >= shortest
    return kept


@functools.cache
def _load() -> SileroVAD:
    model = SileroVAD()
    model.load_state_dict({f"{n}_l0" if n.startswith("lstm") else n: x for n, x in load_file(WEIGHTS).items()})
    return model.eval().requires_grad_(False)
