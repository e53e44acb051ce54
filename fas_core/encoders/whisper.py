"""Whisper's encoder as a frozen feature extractor: any size, any of its layers, only the real frames.

Whisper (Radford et al., 2022) was trained on windows padded to 30 s. Its encoder runs as well on the clip
alone: the log-mel of the clip, two convolutions, the first T position embeddings, the transformer layers.
That is an order of magnitude less work for the short clips of emotion corpora. The frames differ from those
of a padded window (the log-mel knows the clip's own maximum only, and attention sees no padding), so the mode
is part of the identity.

A batch is packed, not padded: the frames of all clips are the rows of one matrix. Linear layers and norms
work on rows; convolutions and attention run clip by clip. No clip can see another one or any padding, nothing
is computed for padding, and the rounding is the same as alone. (A padded and masked batch was tried: slower
on CPU, and the deep layers of a real Whisper amplify its other rounding to 3e-4.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoConfig, WhisperFeatureExtractor, WhisperModel

from fas_core.encoders.base import (
    SAMPLES_PER_FRAME,
    Encoder,
    check_waveforms,
    length_batches,
)
from fas_core.encoders.layers import LAST, LayeredEncoder
from fas_core.encoders.lora import merge_lora
from fas_core.encoders.products import use_onednn
from fas_core.encoders.weights import LOADING_ERRORS, exact_convolutions, public_name, tensors_sha256, weights_kind
from fas_core.errors import CheckpointError, FASError, first_line
from fas_core.hub import OFFLINE_PREFIX
from fas_core.model_files import check_model_files

CODE_VERSION = 1  # raise it whenever the features of the same weights change by more than rounding
PADDINGS = ("clip", "30s")
BATCH_SECONDS = {"cpu": 30, "cuda": 600}  # of audio in one forward pass; more is not faster
PACKED_ATTENTION = "fas_packed"  # the attention implementation that a backbone's encoder must have
MIN_ROWS = 32  # products of fewer rows take other kernels, with other rounding


def packed_attention(module, query, key, value, attention_mask, scaling=None, *, lengths, **kwargs):
    """Attention of each clip over itself; query, key, value are (1, H, sum of lengths, d)."""
    clips = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling) for q, k, v in clips]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)


class LogMel:
    """Whisper's log-mel spectrogram of one window of samples.

    Args:
        num_mel_bins: M, 80 or 128.
        window: frames of 20 ms of a padded window (Whisper: 1500, 30 s).
    """

    def __init__(self, num_mel_bins: int = 80, window: int = 1500):
        self.window = window
        self.extractor = WhisperFeatureExtractor(feature_size=num_mel_bins)

    def __call__(self, samples: np.ndarray, padding: str) -> Tensor:
        """(n,) samples at 16 kHz -> (M, 2T) of the real frames ("clip"), or (M, 2 * window) padded with silence."""
        options = {"padding": "max_length", "max_length": self.window * SAMPLES_PER_FRAME}
        if padding == "clip":
            samples = samples[: len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
            options = {"padding": False}
        output = self.extractor(samples, sampling_rate=16_000, truncation=False, return_tensors="pt", **options)
        return output.input_features[0]


class WhisperBackbone:
    """The encoder of one Whisper, loaded once and shared by every stream that reads one of its layers.

    Args:
        model: hub id, directory, or "offline:NAME" for weights that an installed package carries.
        revision: branch, tag or commit of the hub.
        device: torch device; a GPU when there is one, if None.
        adapter: file of `train/encoder_lora.py`, whose changes are added to the weights.

    Raises:
        CheckpointError: the model cannot be loaded, is not a Whisper, or lacks encoder weights; an adapter that is not one of it.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        device: str | torch.device | None = None,
        adapter: str | Path | None = None,
    ):
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        encoder = _load_encoder(model, revision)
        if adapter is not None:
            merge_lora(encoder, adapter, tensors_sha256(encoder.state_dict()))
        self._wrap(encoder.to(device), public_name(model), revision)

    @classmethod
    def from_module(cls, encoder: nn.Module, name: str = "whisper", revision: str | None = None) -> WhisperBackbone:
        """A backbone around transformers' Whisper encoder, whose attention must be `PACKED_ATTENTION`.

        The module stays the caller's: it may move to another device or get other weights later.
        """
        backbone = cls.__new__(cls)
        backbone._wrap(encoder, name, revision)
        return backbone

    def _wrap(self, encoder: nn.Module, name: str, revision: str | None) -> None:
        self.encoder, self.name, self.revision = encoder, name, revision
        config = encoder.config
        self.num_layers, self.dimension = config.encoder_layers, config.d_model
        self.window = config.max_source_positions  # frames: 1500 of 20 ms, 30 s
        self.mel = LogMel(config.num_mel_bins, self.window)

    @property
    def device(self) -> torch.device:
        return self.encoder.conv1.weight.device

    @cached_property
    def weights_sha256(self) -> str:
        return tensors_sha256(self.encoder.state_dict())

    def forward(self, mels: Sequence[Tensor], layers: Sequence[int]) -> dict[int, list[Tensor]]:
        """Log-mels of (M, 2T_i) -> layer -> (T_i, D) of each. Layers above the highest are not computed."""
        with torch.no_grad(), exact_convolutions(self.device):
            clips = [self._embed(mel.to(self.device)) for mel in mels]
            filler = clips[0].new_zeros(max(0, MIN_ROWS - sum(map(len, clips))), self.dimension)
            packed = [*clips, filler] if len(filler) else clips
            lengths = [len(clip) for clip in packed]
            outputs = self._transform(torch.cat(packed)[None], lengths, layers)
        return {layer: list(output[0].split(lengths)[: len(clips)]) for layer, output in outputs.items()}

    def _transform(self, hidden: Tensor, lengths: list[int], layers: Sequence[int]) -> dict[int, Tensor]:
        """Transformer layers over a packed batch, (1, sum of lengths, D)."""
        highest = self.num_layers if LAST in layers else max(layers)
        outputs = {}
        for number, layer in enumerate(self.encoder.layers[:highest], start=1):
            hidden = layer(hidden, None, lengths=lengths)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden  # a tuple in some transformers
            if number in layers:
                outputs[number] = hidden
        if LAST in layers:
            outputs[LAST] = self.encoder.layer_norm(hidden)
        return outputs

    def _embed(self, mel: Tensor) -> Tensor:
        """(M, 2T) -> (T, D): convolutions and position embeddings."""
        hidden = nn.functional.gelu(self.encoder.conv1(mel[None]))
        hidden = nn.functional.gelu(self.encoder.conv2(hidden))[0].T
        return hidden + self.encoder.embed_positions.weight[: len(hidden)]


class WhisperEncoder(LayeredEncoder):
    """One layer of Whisper's encoder, or several stacked along the feature axis.

    Args:
        model: hub id, directory, "offline:NAME", or a `WhisperBackbone` that is already loaded.
        revision: branch, tag or commit of the hub.
        layer: 1..L for the output of that transformer layer; -1 or "last" for the last after the final norm; a list
            of them is stacked along the feature axis, in its order.
        padding: "clip" encodes the clip's real frames only; "30s" pads the clip to the window as in training,
            and the frames of the clip are kept.
        device: torch device; a GPU when there is one, if None.

    A clip longer than the window (30 s) is encoded in consecutive windows, joined in time.

    Raises:
        FASError: a layer that the model does not have, or an unknown padding.
        CheckpointError: the model cannot be loaded.
    """

    frame_rate = 50.0

    def __init__(
        self,
        model: str | WhisperBackbone,
        *,
        revision: str | None = None,
        layer: int | str | Sequence[int | str] = LAST,
        padding: str = "clip",
        device: str | torch.device | None = None,
    ):
        if padding not in PADDINGS:
            raise FASError(f"encoder option 'padding': {padding!r}, expected one of {', '.join(PADDINGS)}")
        self.padding = padding
        is_loaded = isinstance(model, WhisperBackbone)
        backbone = model if is_loaded else WhisperBackbone(model, revision, device)
        super().__init__(backbone, layer)

    @property
    def weights(self) -> str:
        return weights_kind(self.backbone.encoder)

    def identity(self) -> dict:
        return {
            "type": "whisper",
            "model": self.backbone.name,
            "revision": self.backbone.revision,
            "layer": self.layer,
            "padding": self.padding,
            "dimension": self.dimension,
            "weights_sha256": self.backbone.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def shares_pass(self, other: Encoder) -> bool:
        return super().shares_pass(other) and self.padding == other.padding

    def _cut(self, waveforms: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        return [self._windows(waveform) for waveform in check_waveforms(waveforms)]

    def _windows(self, samples: np.ndarray) -> list[np.ndarray]:
        size = self.backbone.window * SAMPLES_PER_FRAME
        windows = [samples[start : start + size] for start in range(0, len(samples), size)]
        # a rest of less than a frame after a full window holds no frame
        return [window for window in windows if len(window) >= SAMPLES_PER_FRAME]

    def _encode_windows(self, windows: list[np.ndarray], layers: list[int]) -> dict[int, list[Tensor]]:
        frames = [len(window) // SAMPLES_PER_FRAME for window in windows]
        return self.encode_mels(lambda index: self.backbone.mel(windows[index], self.padding), frames, layers)

    def encode_mels(
        self, mel: Callable[[int], Tensor], frames: Sequence[int], layers: Sequence[int]
    ) -> dict[int, list[Tensor]]:
        """Windows whose log-mels there are, in batches by length.

        Args:
            mel: index of a window -> its log-mel as `LogMel` gives it with this encoder's padding.
            frames: T_i, real frames of each window.
            layers: numbers as in `layers` of this encoder.

        Returns:
            layer -> the real frames (T_i, D) of each window.
        """
        work = frames if self.padding == "clip" else [self.backbone.window] * len(frames)
        budget = BATCH_SECONDS.get(self.backbone.device.type, BATCH_SECONDS["cpu"]) * 50
        encoded: dict[int, list] = {layer: [None] * len(frames) for layer in layers}
        for batch in length_batches(work, budget):
            mels = [mel(index) for index in batch]
            for layer, outputs in self.backbone.forward(mels, layers).items():
                for index, output in zip(batch, outputs, strict=True):
                    encoded[layer][index] = output[: frames[index]]
        return encoded


def build(config: dict, device=None, shared: dict | None = None) -> WhisperEncoder:
    """For the registry; `shared` holds a backbone for each model, revision and adapter."""
    key = "whisper", config["model"], config.get("revision"), config.get("adapter")
    backbones = {} if shared is None else shared
    if key not in backbones:
        backbones[key] = WhisperBackbone(*key[1:3], device=device, adapter=key[3])
    return WhisperEncoder(backbones[key], layer=config.get("layer", "last"), padding=config.get("padding", "clip"))


def _load_encoder(model: str, revision: str | None) -> nn.Module:
    source = model
    if model.startswith(OFFLINE_PREFIX):
        from fas_core.encoders.offline import offline_whisper_dir

        source, revision = str(offline_whisper_dir(model.removeprefix(OFFLINE_PREFIX))), None
    try:
        check_model_files(source, revision)
        kind = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False).model_type
        if kind != "whisper":
            raise OSError(f"it is a {kind!r} model")
        whisper, report = WhisperModel.from_pretrained(
            source,
            revision=revision,
            dtype=torch.float32,
            attn_implementation=PACKED_ATTENTION,
            use_safetensors=True,
            output_loading_info=True,
        )
        missing = sorted(key for key in report["missing_keys"] if key.startswith("encoder."))
        if missing:  # transformers would go on with random values
            raise OSError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
    except LOADING_ERRORS as error:
        raise CheckpointError(
            f"encoder model {model!r}: cannot be loaded: {first_line(error)}; expected a hub id or "
            "a directory with config.json and safetensors weights of a Whisper (option 'model')"
        ) from error
    return use_onednn(whisper.encoder.eval().requires_grad_(False))
