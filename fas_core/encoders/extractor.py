"""From waveforms to the patches of both streams: front end, encoders, patchification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.base import (
    ClipFeatures,
    Encoder,
    EncoderOutput,
    identity_digest,
    length_batches,
)
from fas_core.encoders.layers import LAST, LayeredEncoder
from fas_core.encoders.registry import build_encoder, check_encoder_config
from fas_core.encoders.whisper import WhisperEncoder
from fas_core.errors import FASError
from fas_core.features.patches import frame_deviation, patchify
from fas_core.frontend import FrontEnd, FrontEndConfig, FrontEndResult

CODE_VERSION = 2
BATCH_SAMPLES = 60 * SAMPLE_RATE  # a batch of clips: one minute of audio, padding included


@dataclass
class StreamConfig:
    """What turns audio into features.

    Attributes:
        acoustic, semantic: an encoder each, {"type": "whisper", "model": ..., "revision": ..., "layer": ...,
            "padding": ...}, {"type": "soundstream", "model": "<path.tflite>"}, or another of the registry.
        front_end: options of `FrontEndConfig`.
        patch_size: s, frames per patch.
    """

    acoustic: dict
    semantic: dict
    front_end: dict = field(default_factory=dict)
    patch_size: int = 5

    def __post_init__(self) -> None:
        for stream in ("acoustic", "semantic"):
            check_encoder_config(getattr(self, stream), stream)
        if not isinstance(self.patch_size, int) or self.patch_size < 1:
            raise FASError(f"stream config 'patch_size': {self.patch_size!r}, expected an integer of 1 or more")

    @classmethod
    def whisper(
        cls,
        model: str = "offline:tiny.en",
        *,
        acoustic_layer: int | str = 2,
        semantic_layer: int | str = "last",
        padding: str = "clip",
        revision: str | None = None,
    ) -> StreamConfig:
        """A shallow and a deep layer of one Whisper: both streams from one pass."""
        common = {"type": "whisper", "model": model, "revision": revision, "padding": padding}
        return cls({**common, "layer": acoustic_layer}, {**common, "layer": semantic_layer})

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> StreamConfig:
        """Raises `FASError` for an unknown or missing field."""
        if not isinstance(values, dict):
            raise FASError(f"stream config: a {type(values).__name__}, expected fields with values")
        names = {item.name for item in fields(cls)}
        unknown, missing = sorted(set(values) - names), sorted({"acoustic", "semantic"} - set(values))
        if unknown or missing:
            problem = f"unknown field {unknown[0]!r}" if unknown else f"field {missing[0]!r} is missing"
            raise FASError(f"stream config: {problem}, expected {', '.join(sorted(names))}")
        return cls(**values)


class FeatureExtractor:
    """Front end and both encoders; one pass where both streams are layers of the same model.

    A clip's features do not depend on which clips are extracted with it.
    """

    def __init__(self, acoustic: Encoder, semantic: Encoder, front_end: FrontEnd, patch_size: int = 5):
        self.acoustic, self.semantic = acoustic, semantic
        self.front_end, self.patch_size = front_end, patch_size
        self._shared = acoustic.shares_pass(semantic)

    @classmethod
    def from_config(cls, config: StreamConfig | dict, device: torch.device | str | None = None) -> FeatureExtractor:
        """Loads the encoders.

        Raises:
            FASError: a bad field of the configuration.
            CheckpointError: a model that cannot be loaded.
            MissingDependencyError: a package that an encoder needs.
        """
        config = config if isinstance(config, StreamConfig) else StreamConfig.from_dict(config)
        shared: dict = {}
        acoustic = build_encoder(config.acoustic, device, shared)
        is_one = config.semantic == config.acoustic  # a baseline of one encoder
        semantic = acoustic if is_one else build_encoder(config.semantic, device, shared)
        front_end = FrontEnd(FrontEndConfig.from_dict(config.front_end))
        return cls(acoustic, semantic, front_end, config.patch_size)

    @property
    def dimensions(self) -> dict[str, int]:
        return {"acoustic": self.acoustic.dimension, "semantic": self.semantic.dimension}

    @property
    def frame_rates(self) -> dict[str, float]:
        return {"acoustic": self.acoustic.frame_rate, "semantic": self.semantic.frame_rate}

    def identity(self) -> dict:
        """Everything that decides the features, JSON-ready, without paths of the machine."""
        return {
            "acoustic": self.acoustic.identity(),
            "semantic": self.semantic.identity(),
            "front_end": self.front_end.identity(),
            "patch_size": self.patch_size,
            "code_version": CODE_VERSION,
        }

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of `identity()`, names of models apart (`identity_digest`)."""
        return identity_digest(self.identity())

    def __call__(self, waveforms: Sequence[np.ndarray]) -> list[ClipFeatures]:
        """Features of clips of (n,) float32 samples, mono, 16 kHz, in their order."""
        prepared = [self.front_end(waveform) for waveform in waveforms]
        features: dict[int, ClipFeatures] = {}
        for batch in self.batches(prepared):
            for index, clip in zip(batch, self.encode([prepared[i] for i in batch]), strict=True):
                features[index] = clip
        return [features[index] for index in range(len(prepared))]

    @staticmethod
    def batches(prepared: Sequence[FrontEndResult]) -> list[list[int]]:
        """Indices of clips of similar length, at most a minute of audio together."""
        return length_batches([len(clip.samples) for clip in prepared], BATCH_SAMPLES)

    @property
    def whisper(self) -> WhisperEncoder | None:
        """The Whisper among the encoders, whose decoder can write down what its last layer heard; None without one."""
        return next((e for e in (self.semantic, self.acoustic) if isinstance(e, WhisperEncoder)), None)

    def encode(self, prepared: Sequence[FrontEndResult]) -> list[ClipFeatures]:
        """Features of clips that went through the front end, as one batch."""
        return self._features(prepared, *self._frames([clip.samples for clip in prepared])[:2])

    def with_frames(self, waveforms: Sequence[np.ndarray]) -> tuple[list[ClipFeatures], list[Tensor]]:
        """As `__call__`, with each clip's frames (T, D) of the last layer of `whisper`, of the same pass.

        Its decoder writes a transcript from them.

        Raises:
            FASError: there is no Whisper among the encoders.
        """
        if self.whisper is None:
            raise FASError(
                "encoders: none of them is a Whisper; expected one, whose last layer a transcript is written from"
            )
        prepared = [self.front_end(waveform) for waveform in waveforms]
        found: dict[int, tuple[ClipFeatures, Tensor]] = {}
        for batch in self.batches(prepared):
            clips = [prepared[i] for i in batch]
            acoustic, semantic, last = self._frames([clip.samples for clip in clips], self.whisper)
            for row, features in enumerate(self._features(clips, acoustic, semantic)):
                found[batch[row]] = features, cast(EncoderOutput, last).clip(row)
        return [found[i][0] for i in range(len(found))], [found[i][1] for i in range(len(found))]

    def _features(
        self, prepared: Sequence[FrontEndResult], acoustic: EncoderOutput, semantic: EncoderOutput
    ) -> list[ClipFeatures]:
        return [
            ClipFeatures(
                acoustic=patchify(acoustic.clip(index), self.patch_size).cpu().numpy(),
                semantic=patchify(semantic.clip(index), self.patch_size).cpu().numpy(),
                acoustic_deviation=frame_deviation(acoustic.clip(index)).cpu().numpy(),
                semantic_deviation=frame_deviation(semantic.clip(index)).cpu().numpy(),
                acoustic_frames=int(acoustic.lengths[index]),
                semantic_frames=int(semantic.lengths[index]),
                offset=clip.start / SAMPLE_RATE,
                front_end={"start": int(clip.start), "end": int(clip.end), "gain_db": float(clip.gain_db)},
            )
            for index, clip in enumerate(prepared)
        ]

    def _frames(
        self, waveforms: list[np.ndarray], whisper: WhisperEncoder | None = None
    ) -> tuple[EncoderOutput, EncoderOutput, EncoderOutput | None]:
        """Of both streams, and of the last layer of `whisper`, which is one of them."""
        if self.acoustic is self.semantic:
            frames, last = _encoded(self.acoustic, waveforms, whisper)
            return frames, frames, last
        if not self._shared:
            acoustic, first = _encoded(self.acoustic, waveforms, whisper)
            semantic, second = _encoded(self.semantic, waveforms, whisper)
            return acoustic, semantic, first or second
        first_one, second_one = cast(LayeredEncoder, self.acoustic), cast(LayeredEncoder, self.semantic)
        layers = [*first_one.layers, *second_one.layers]
        outputs = first_one.encode_layers(waveforms, [*layers, LAST] if whisper else layers)
        return first_one.stack(outputs), second_one.stack(outputs), outputs.get(LAST)


def _encoded(
    encoder: Encoder, waveforms: list[np.ndarray], whisper: WhisperEncoder | None
) -> tuple[EncoderOutput, EncoderOutput | None]:
    """A stream's frames; where it is `whisper`, its last layer of the same pass."""
    if whisper is None or encoder is not whisper:
        return encoder.encode(waveforms), None
    outputs = whisper.encode_layers(waveforms, [*whisper.layers, LAST])
    return whisper.stack(outputs), outputs[LAST]
