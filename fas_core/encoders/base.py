"""The interface of every frozen encoder, and the types that cross its boundary."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fas_core.errors import FASError

SAMPLES_PER_FRAME = 320  # 20 ms at 16 kHz: the frames of Whisper and SoundStream


@dataclass
class EncoderOutput:
    """Frames of a batch of clips.

    Attributes:
        frames: (B, T, D) float32, zero where a clip is shorter than the longest of the batch.
        lengths: (B,) int64, real frames of each clip.
    """

    frames: Tensor
    lengths: Tensor

    @classmethod
    def from_clips(cls, clips: Sequence[Tensor]) -> EncoderOutput:
        """Pads clips of (T_i, D) to one batch."""
        lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.long)
        return cls(pad_sequence(list(clips), batch_first=True), lengths)

    def clip(self, index: int) -> Tensor:
        """(T_i, D): the real frames of one clip."""
        return self.frames[index, : self.lengths[index]]


@dataclass
class ClipFeatures:
    """What FAS sees of one clip: the patches of both streams (paper, section "patchification").

    Attributes:
        acoustic, semantic: (P, D) float32, each row the mean of `patch_size` frames.
        acoustic_frames, semantic_frames: real frames before patchification.
        acoustic_deviation, semantic_deviation: (D,) float32, deviation over the clip's frames. Patches smooth
            away what changes within 100 ms (Whisper's), and that is a good part of what a voice's tone is: without it a linear
            probe loses 2 points on RAVDESS and 5 on EmoDB. Taken over the patches where not given.
        offset: seconds that the front end trimmed from the start of the clip.
        front_end: what was done to the audio: `start` and `end` in samples of the input, `gain_db`.
    """

    acoustic: np.ndarray
    semantic: np.ndarray
    acoustic_frames: int
    semantic_frames: int
    offset: float = 0.0
    front_end: dict = field(default_factory=dict)
    acoustic_deviation: np.ndarray | None = None
    semantic_deviation: np.ndarray | None = None

    def __post_init__(self) -> None:
        for stream in ("acoustic", "semantic"):
            if getattr(self, f"{stream}_deviation") is None:
                patches = np.asarray(getattr(self, stream), dtype=np.float32)
                setattr(self, f"{stream}_deviation", patches.std(0))


class Encoder(ABC):
    """A frozen speech encoder.

    Attributes:
        dimension: D, values per frame.
        frame_rate: frames per second of audio; frame i stands for the time from i / frame_rate on.
        weights: "real", or "random" for a model that says so of itself (`random_weights` in its configuration),
            which stands in for weights that cannot be had: its answers mean nothing.
    """

    dimension: int
    frame_rate: float
    weights: str = "real"

    @abstractmethod
    def identity(self) -> dict:
        """JSON-ready description of everything that decides the features, without paths of the machine."""

    @abstractmethod
    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        """Encodes clips of (n_i,) float32 samples, mono, 16 kHz.

        A clip has about n / 16000 * `frame_rate` frames (floor, where the network pads nothing) and at least one; a
        clip's frames do not depend on the others in the batch. Raises `FASError` for a clip that is empty or not
        one-dimensional.
        """

    def shares_pass(self, other: Encoder) -> bool:
        """Whether one pass gives the frames of both; then both have `layers`, `encode_layers` and `stack`."""
        return False


def identity_digest(identity: dict) -> str:
    """sha256 (hex) of an identity.

    The names `model` and `revision` do not enter it: the digest of the weights says the same, and a model is
    the same whether it came from a hub or from a directory.
    """
    text = json.dumps(_without_names(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_names(item) for key, item in value.items() if key not in ("model", "revision")}


def check_waveforms(waveforms: Sequence[np.ndarray], shortest: int = SAMPLES_PER_FRAME) -> list[np.ndarray]:
    """The clips as float32, each at least `shortest` samples long (zeros are appended to a shorter one)."""
    if isinstance(waveforms, np.ndarray) or len(waveforms) == 0:
        raise FASError("waveforms: expected a list with at least one array of samples")
    checked = []
    for index, waveform in enumerate(waveforms):
        samples = np.asarray(waveform, dtype=np.float32)
        if samples.ndim != 1 or samples.size == 0:
            raise FASError(f"waveform {index}: shape {samples.shape}, expected (samples,), mono, not empty")
        checked.append(np.pad(samples, (0, max(0, shortest - len(samples)))))
    return checked


def length_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices grouped by similar length, so that each padded batch holds at most `budget` units.

    An item longer than the budget is a batch of its own. The longest come first, so that a machine with too
    little memory fails at once and not after hours.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
