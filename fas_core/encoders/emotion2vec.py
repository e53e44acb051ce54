"""emotion2vec (Ma et al., 2024), pre-trained on emotional speech: 50 frames a second, through FunASR.

FunASR reads the published `model.pt` itself. That is a PyTorch file, no safetensors: take weights of a source that you
trust. It also installs whatever a model directory's requirements.txt says, so a directory with one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fas_core.encoders.base import Encoder, EncoderOutput, check_waveforms
from fas_core.encoders.weights import LOADING_ERRORS, find_device, first_line, public_name, tensors_sha256
from fas_core.errors import CheckpointError, MissingDependencyError
from fas_core.paths import is_dir

CODE_VERSION = 1  # raise it whenever the features of the same weights change
WINDOW = 30 * 16_000  # samples; longer clips are cut, because attention's memory grows with the square of the length
RECEPTIVE, STRIDE = 400, 320  # samples that a frame looks at, and between frames, as in wav2vec 2.0
FILES = ("config.yaml", "model.pt")


class Emotion2vecEncoder(Encoder):
    """The last layer of emotion2vec, clip by clip.

    Args:
        model: hub id (of the Hugging Face hub) or directory with config.yaml and model.pt.
        revision: branch, tag or commit of the hub.
        device: torch device; a GPU when there is one, if None.

    Raises:
        MissingDependencyError: FunASR is not installed.
        CheckpointError: the model cannot be loaded.
    """

    frame_rate = 50.0

    def __init__(self, model: str, *, revision: str | None = None, device: str | torch.device | None = None):
        try:
            from funasr import AutoModel
        except ImportError as error:
            raise MissingDependencyError(
                "the emotion2vec encoder needs FunASR: pip install 'fas-alm[emotion2vec]'"
            ) from error
        self.name, self.revision = public_name(model), revision
        folder = _folder(model, revision)
        options = dict(disable_update=True, disable_pbar=True, log_level="ERROR", ncpu=torch.get_num_threads())
        try:
            self.engine = AutoModel(
                model=str(folder), hub="hf", device=str(find_device(device)), trust_remote_code=False, **options
            )
        except (*LOADING_ERRORS, AssertionError) as error:
            raise _cannot_load(model, first_line(error)) from error

    @cached_property
    def dimension(self) -> int:
        return self._encode_window(np.zeros(RECEPTIVE, np.float32)).shape[-1]

    @cached_property
    def weights_sha256(self) -> str:
        return tensors_sha256(self.engine.model.state_dict())

    def identity(self) -> dict:
        return {
            "type": "emotion2vec",
            "model": self.name,
            "revision": self.revision,
            "dimension": self.dimension,
            "weights_sha256": self.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def encode(self, waveforms: Sequence[np.ndarray]) -> EncoderOutput:
        return EncoderOutput.from_clips([self._encode_clip(clip) for clip in check_waveforms(waveforms, RECEPTIVE)])

    def _encode_clip(self, samples: np.ndarray) -> Tensor:
        size = WINDOW + RECEPTIVE - STRIDE  # windows overlap by what a frame looks ahead
        starts = range(0, len(samples) - RECEPTIVE + 1, WINDOW)
        return torch.cat([self._encode_window(samples[start : start + size]) for start in starts])

    def _encode_window(self, samples: np.ndarray) -> Tensor:
        """(n,) -> (T, D); FunASR normalises."""
        (result,) = self.engine.generate(samples, granularity="frame", extract_embedding=True)
        return torch.from_numpy(np.asarray(result["feats"], dtype=np.float32))


def _folder(model: str, revision: str | None) -> Path:
    """The model's directory, fetched from the hub where it is none."""
    try:
        folder = Path(model) if is_dir(model) else Path(_download(model, revision))
    except LOADING_ERRORS as error:
        raise _cannot_load(model, first_line(error)) from error
    if missing := [name for name in FILES if not (folder / name).is_file()]:  # FunASR would go on with random values
        raise _cannot_load(model, f"no {missing[0]}")
    if (folder / "requirements.txt").exists():
        raise _cannot_load(model, "it has a requirements.txt, which FunASR would install; delete it first")
    return folder


def _download(model: str, revision: str | None) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(model, revision=revision, allow_patterns=[*FILES, "*.json", "tokens.txt"])


def _cannot_load(model: str, problem: str) -> CheckpointError:
    return CheckpointError(
        f"encoder model {model!r}: cannot be loaded: {problem}; expected a directory with {' and '.join(FILES)} of "
        "emotion2vec (option 'model'), or its hub id: `hf download ID --local-dir DIR` where there is a network, then "
        "name DIR"
    )


def build(config: dict, device=None) -> Emotion2vecEncoder:
    """For the registry."""
    return Emotion2vecEncoder(config["model"], revision=config.get("revision"), device=device)
