"""HuBERT, WavLM, wav2vec 2.0 and data2vec: convolutions over the waveform, then a transformer; any of its layers.

Hsu et al. 2021 (HuBERT), Chen et al. 2022 (WavLM), Baevski et al. 2020 (wav2vec 2.0), Baevski et al. 2022 (data2vec).
One class serves the four, because transformers gives them the same parts.

A frame looks at 25 ms (400 samples) and comes every 20 ms (320), both read from the model's configuration; so n
samples have floor((n - 400) / 320) + 1 frames, one less than Whisper's. In a batch (on a GPU) padding is masked out where
the network can do so. It cannot where a group norm averages over the whole input ("group", the base models), or where further
layers of positional convolutions (data2vec) or a batch norm before them see what an earlier one made of the padding:
there only clips of equal length share a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoFeatureExtractor, AutoModel

from fas_core.audio import SAMPLE_RATE
from fas_core.encoders.base import check_waveforms, length_batches
from fas_core.encoders.layers import LAST, LayeredEncoder
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
MODEL_TYPES = {"hubert": "hubert", "wavlm": "wavlm", "wav2vec2": "wav2vec2", "data2vec": "data2vec-audio"}
UNUSED = ("masked_spec_embed", "adapter")  # for training, and behind the last layer
# of audio in one forward pass, padding included. On a CPU each clip runs alone: that is 1.7 times faster (8 layers of
# WavLM large, clips of 2 to 4 s, one thread) and a clip's frames are then the same to the bit in any company
BATCH_SECONDS = {"cpu": 0, "cuda": 600}
WINDOW_SECONDS = 30  # longer clips are cut, because attention's memory grows with the square of the length


class SpeechBackbone:
    """One of these models, loaded once and shared by every stream that reads one of its layers.

    Args:
        kind: a name of `MODEL_TYPES`.
        model: hub id or directory, with the feature extractor's preprocessor_config.json.
        revision: branch, tag or commit of the hub.
        dtype: "float32", "bfloat16" or "float16", of weights and arithmetic. Frames are float32 in any case.
        device: torch device; a GPU when there is one, if None.

    Raises:
        FASError: an unknown dtype.
        CheckpointError: the model cannot be loaded, is of another kind, or lacks weights.
    """

    def __init__(self, kind: str, model: str, revision: str | None = None, dtype: str = "float32", device=None):
        module = load_frozen(AutoModel, model, revision, kinds=(MODEL_TYPES[kind],), dtype=dtype, unused=UNUSED)
        try:
            self.extractor = AutoFeatureExtractor.from_pretrained(model, revision=revision, trust_remote_code=False)
        except LOADING_ERRORS as error:
            raise cannot_load(model, error, MODEL_TYPES[kind]) from error
        if getattr(module, "adapter", None) is not None:  # it would merge frames behind the last layer
            module.adapter, module.config.add_adapter = None, False
        self.kind, self.name, self.revision, self.dtype = kind, public_name(model), revision, dtype
        self.model = module.to(find_device(device))
        config = module.config
        self.num_layers, self.dimension = config.num_hidden_layers, config.hidden_size
        self.sampling_rate = self.extractor.sampling_rate
        self.stride = math.prod(config.conv_stride)
        steps = [math.prod(config.conv_stride[:i]) for i in range(len(config.conv_stride))]
        self.receptive = 1 + sum((k - 1) * step for k, step in zip(config.conv_kernel, steps, strict=True))
        batch_norm = getattr(config, "conv_pos_batch_norm", False)
        group_norm = getattr(config, "feat_extract_norm", "layer") == "group"
        self.masks_padding = kind != "data2vec" and not group_norm and not batch_norm

    @property
    def device(self) -> torch.device:
        return self.model.device

    @cached_property
    def weights_sha256(self) -> str:
        """Of what frames depend on."""
        state = self.model.state_dict()
        return tensors_sha256({key: value for key, value in state.items() if UNUSED[0] not in key})

    def prepare(self, samples: np.ndarray) -> np.ndarray:
        """One clip at the model's rate, normalised as in its training, not shorter than one frame."""
        if self.sampling_rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, self.sampling_rate)
        samples = np.pad(samples, (0, max(0, self.receptive - len(samples))))
        return self.extractor(samples, sampling_rate=self.sampling_rate, padding=False).input_values[0]

    def forward(self, windows: Sequence[np.ndarray], layers: Sequence[int]) -> dict[int, list[Tensor]]:
        """Prepared samples (n_i,) -> layer -> frames (T_i, D) float32 of each. Higher layers are not computed."""
        values = [torch.from_numpy(np.asarray(window)).to(self.device, self.model.dtype) for window in windows]
        sizes = torch.tensor([len(value) for value in values])
        lengths = self.model._get_feat_extract_output_lengths(sizes).tolist()
        mask = None
        if len(set(lengths)) > 1:
            mask = (torch.arange(int(sizes.max())) < sizes[:, None]).long().to(self.device)
        with torch.no_grad(), exact_convolutions(self.device), self._recording(layers) as outputs:
            last = self.model(pad_sequence(values, batch_first=True), attention_mask=mask).last_hidden_state
        outputs = outputs | ({LAST: last} if LAST in layers else {})
        return {
            layer: [clip[:length].float() for clip, length in zip(output, lengths, strict=True)]
            for layer, output in outputs.items()
        }

    @contextmanager
    def _recording(self, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
        """Keeps the outputs of layers, by number; those above the highest are left out of the pass."""
        encoder, outputs = self.model.encoder, {}
        everything = encoder.layers

        def keep(number: int):
            def hook(module, inputs, output):
                outputs[number] = output[0] if isinstance(output, tuple) else output

            return hook

        encoder.layers = everything if LAST in layers else everything[: max(layers)]
        hooks = [everything[number - 1].register_forward_hook(keep(number)) for number in layers if number != LAST]
        try:
            yield outputs
        finally:
            encoder.layers = everything
            for hook in hooks:
                hook.remove()


class SpeechEncoder(LayeredEncoder):
    """One layer of HuBERT, WavLM, wav2vec 2.0 or data2vec, or several stacked along the feature axis.

    Args:
        backbone: the loaded model.
        layer: 1..L for the output of that transformer layer; -1 or "last" for the last, after the final norm of models
            that have one (the large ones); a list of them is stacked along the feature axis, in its order.

    A clip is normalised as a whole. One longer than 30 s is encoded in consecutive windows, joined in time; they overlap
    by what the convolutions look ahead, so that no frame is lost.

    Raises:
        FASError: a layer that the model does not have.
    """

    backbone: SpeechBackbone

    @property
    def frame_rate(self) -> float:
        return self.backbone.sampling_rate / self.backbone.stride

    @property
    def weights(self) -> str:
        return weights_kind(self.backbone.model)

    def identity(self) -> dict:
        backbone = self.backbone
        return {
            "type": backbone.kind,
            "model": backbone.name,
            "revision": backbone.revision,
            "layer": self.layer,
            "dtype": backbone.dtype,
            "normalise": bool(backbone.extractor.do_normalize),
            "sampling_rate": backbone.sampling_rate,
            "dimension": self.dimension,
            "weights_sha256": backbone.weights_sha256,
            "code_version": CODE_VERSION,
        }

    def _cut(self, waveforms: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        backbone = self.backbone
        hop = round(WINDOW_SECONDS * self.frame_rate) * backbone.stride
        size = hop + backbone.receptive - backbone.stride
        clips = [backbone.prepare(waveform) for waveform in check_waveforms(waveforms, shortest=1)]
        starts = [range(0, max(1, len(clip) - backbone.receptive + 1), hop) for clip in clips]
        return [[clip[start : start + size] for start in each] for clip, each in zip(clips, starts, strict=True)]

    def _encode_windows(self, windows: list[np.ndarray], layers: list[int]) -> dict[int, list[Tensor]]:
        encoded: dict[int, list] = {layer: [None] * len(windows) for layer in layers}
        for batch in self._batches([len(window) for window in windows]):
            for layer, outputs in self.backbone.forward([windows[index] for index in batch], layers).items():
                for index, output in zip(batch, outputs, strict=True):
                    encoded[layer][index] = output
        return encoded

    def _batches(self, sizes: list[int]) -> list[list[int]]:
        """Indices of windows that share a pass: of similar length, or of equal length where padding would be heard."""
        seconds = BATCH_SECONDS.get(self.backbone.device.type, BATCH_SECONDS["cpu"])
        batches = length_batches(sizes, seconds * self.backbone.sampling_rate)
        if self.backbone.masks_padding:
            return batches
        equal: dict[tuple[int, int], list[int]] = {}
        for number, batch in enumerate(batches):
            for index in batch:
                equal.setdefault((number, sizes[index]), []).append(index)
        return list(equal.values())


def build(config: dict, device=None, shared: dict | None = None) -> SpeechEncoder:
    """For the registry; `shared` holds a backbone for each model, revision and dtype."""
    key = config["type"], config["model"], config.get("revision"), config.get("dtype", "float32")
    backbones = {} if shared is None else shared
    if key not in backbones:
        backbones[key] = SpeechBackbone(*key, device=device)
    return SpeechEncoder(backbones[key], config.get("layer", LAST))
