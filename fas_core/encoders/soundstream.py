"""SoundStream, the acoustic encoder of Lyra V2 (Zeghidour et al., 2021): 64 values every 20 ms (tflite).

The user gives the weights. The network is a stream: it takes 320 samples a step and keeps its past inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from fas_core.encoders.base import SAMPLES_PER_FRAME, Encoder, EncoderOutput, check_waveforms
from fas_core.errors import CheckpointError, MissingDependencyError

CODE_VERSION = 1  # raise it whenever the features of the same weights change


class SoundStreamEncoder(Encoder):
    """SoundStream's embeddings before quantisation, one clip after the other, on one CPU thread.

    Args:
        model: path of the encoder's `.tflite` file (input (1, 320) float32, output (1, 1, D) float32).

    Raises:
        MissingDependencyError: the tflite runtime is not installed.
        CheckpointError: no such file, not tflite, or not a model with that input.
    """

    frame_rate = 50.0

    def __init__(self, model: str | Path):
        self.path = Path(model)
        try:
            self._content = self.path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"encoder model {self.path.name!r}: {error.strerror}; expected the path of the SoundStream "
                "encoder's .tflite file (option 'model')"
            ) from error
        interpreter = self._interpreter()
        shape = tuple(interpreter.get_input_details()[0]["shape"])
        if shape != (1, SAMPLES_PER_FRAME):
            raise CheckpointError(
                f"encoder model {self.path.name!r}: input shape {shape}, expected (1, {SAMPLES_PER_FRAME}), "
                "as the encoder of SoundStream at 16 kHz has it (option 'model')"
            )
        self.dimension = int(interpreter.get_output_details()[0]["shape"][-1])

    @cached_property
    def weights_sha256(self) -> str:
        return hashlib.sha256(self._content).hexdigest()

    def identity(self) -> dict:
        return {
            "type": "soundstream",
            "model": self.path.name,
            "dimension": self.dimension,
            "weights_sha256": self.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        return EncoderOutput.from_clips([self._encode_clip(clip) for clip in check_waveforms(waveforms)])

    def _encode_clip(self, samples: np.ndarray) -> torch.Tensor:
        # A new interpreter for each clip (8 ms): `reset_all_variables` leaves the resource variables of this
        # network as they are, and the clip before would be heard for a second.
        interpreter = self._interpreter()
        source = interpreter.get_input_details()[0]["index"]
        target = interpreter.get_output_details()[0]["index"]
        frames = np.empty((len(samples) // SAMPLES_PER_FRAME, self.dimension), dtype=np.float32)
        for number, frame in enumerate(frames):
            start = number * SAMPLES_PER_FRAME
            interpreter.set_tensor(source, samples[None, start : start + SAMPLES_PER_FRAME])
            interpreter.invoke()
            frame[:] = interpreter.get_tensor(target).reshape(-1)
        return torch.from_numpy(frames)

    def _interpreter(self):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingDependencyError(
                "the SoundStream encoder needs the tflite runtime: pip install 'fas-alm[soundstream]'"
            ) from error
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"encoder model {self.path.name!r}: not a tflite model: {error} (option 'model')"
            ) from error
        return interpreter


def build(config: dict, device=None) -> SoundStreamEncoder:
    """For the registry. tflite runs on the CPU, whatever the device."""
    return SoundStreamEncoder(config["model"])
