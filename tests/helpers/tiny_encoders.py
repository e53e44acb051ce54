"""A small model of random weights for every encoder, written in the layout of the published ones. Nothing is trained.

`TINY[name](directory, seed)` writes it and returns the encoder's configuration. A name may have a variant behind a comma;
what is before it is the type in the registry. Another encoder: one function, one line of `TINY`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from synthetic import save_tiny_whisper
from tiny_codecs import CODEC_KINDS, tiny_codec
from torch import nn

SMALL = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(8,) * 7,
    num_conv_pos_embedding_groups=4, random_weights=True,
)  # fmt: skip


def _save(model: nn.Module, directory: Path, factor: float = 3) -> None:
    """The initial weights are so small that all layers and clips would be alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    model.save_pretrained(directory)


def tiny_speech_model(kind: str, **options) -> Callable[[Path, int], dict]:
    def make(directory: Path, seed: int = 0) -> dict:
        from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

        model_type = "data2vec-audio" if kind == "data2vec" else kind
        positions = {} if kind == "data2vec" else {"num_conv_pos_embeddings": 16}
        torch.manual_seed(seed)
        config = AutoConfig.for_model(model_type, **SMALL | positions | options)
        _save(AutoModel.from_config(config), directory)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(directory)
        return {"type": kind, "model": str(directory)}

    return make


def tiny_clap(fused: bool) -> Callable[[Path, int], dict]:
    def make(directory: Path, seed: int = 0) -> dict:
        from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

        text = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=50)
        audio = dict(
            patch_embeds_hidden_size=16, hidden_size=32, depths=[1, 1], num_attention_heads=[2, 2], aff_block_r=4,
            enable_fusion=fused, random_weights=True,
        )  # fmt: skip
        torch.manual_seed(seed)
        _save(ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)), directory)
        ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc").save_pretrained(directory)
        return {"type": "clap", "model": str(directory)}

    return make


def tiny_whisper(**options) -> Callable[[Path, int], dict]:
    return lambda directory, seed=0: {"type": "whisper", "model": str(save_tiny_whisper(directory, seed)), **options}


def tiny_soundstream(directory: Path, seed: int = 0) -> dict:
    directory.mkdir(parents=True)
    (directory / "stand_in.tflite").write_bytes(bytes([seed]))  # read by the interpreter of `stand_in_tflite`
    return {"type": "soundstream", "model": str(directory / "stand_in.tflite")}


def tiny_emotion2vec(directory: Path, seed: int = 0) -> dict:
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("model: stand-in\n")
    (directory / "model.pt").write_bytes(bytes([seed]))  # read by the AutoModel of `stand_in_funasr`
    return {"type": "emotion2vec", "model": str(directory)}


def stand_in_tflite() -> types.ModuleType:
    """`ai_edge_litert.interpreter`: a network with SoundStream's input and output, and a memory of the last step."""

    class Interpreter:
        def __init__(self, model_content: bytes, num_threads: int):
            self.matrix = np.random.default_rng(model_content[0]).standard_normal((320, 64)).astype(np.float32)
            self.past = np.zeros(64, np.float32)

        def allocate_tensors(self): ...

        def get_input_details(self):
            return [{"index": 0, "shape": np.array([1, 320])}]

        def get_output_details(self):
            return [{"index": 1, "shape": np.array([1, 1, 64])}]

        def set_tensor(self, index, values):
            self.values = values

        def invoke(self):
            self.past = self.values[0] @ self.matrix + 0.5 * self.past

        def get_tensor(self, index):
            return self.past[None, None]

    module = types.ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = Interpreter
    return module


def stand_in_funasr() -> types.ModuleType:
    """`funasr`: an AutoModel that takes and gives what FunASR's takes and gives for emotion2vec, from one convolution."""

    class AutoModel:
        def __init__(self, model: str, hub: str, device: str, **options):
            assert {"disable_update", "disable_pbar", "ncpu"} <= set(options)
            torch.manual_seed(Path(model, "model.pt").read_bytes()[0])
            self.model, self.device = nn.Conv1d(1, 32, 400, stride=320).to(device), device

        def generate(self, input, granularity: str, extract_embedding: bool):
            assert granularity == "frame" and extract_embedding
            source = torch.from_numpy(np.asarray(input)).to(self.device)
            source = nn.functional.layer_norm(source, source.shape)
            with torch.no_grad():
                feats = self.model(source[None, None])[0].T
            return [{"key": "rand_key", "labels": [], "scores": [], "feats": feats.cpu().numpy()}]

    module = types.ModuleType("funasr")
    module.AutoModel = AutoModel
    return module


def install_stand_ins(monkeypatch) -> None:
    """The two packages whose models cannot be made small: their weights come in files of their own runtimes."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", stand_in_tflite())
    monkeypatch.setitem(sys.modules, "funasr", stand_in_funasr())


def egemaps(directory: Path, seed: int = 0) -> dict:
    return {"type": "egemaps"}


LARGE = dict(do_stable_layer_norm=True, feat_extract_norm="layer")
TINY: dict[str, Callable[[Path, int], dict]] = {
    "whisper": tiny_whisper(layer=[1, "last"]),
    "soundstream": tiny_soundstream,
    "hubert": tiny_speech_model("hubert", **LARGE),
    "hubert, base": tiny_speech_model("hubert", feat_extract_norm="group"),
    "wavlm": tiny_speech_model("wavlm", **LARGE),
    "wavlm, base": tiny_speech_model("wavlm", feat_extract_norm="group"),
    "wav2vec2": tiny_speech_model("wav2vec2", **LARGE),
    "wav2vec2, adapter": tiny_speech_model("wav2vec2", add_adapter=True, **LARGE),
    "data2vec": tiny_speech_model("data2vec"),
    "clap": tiny_clap(fused=False),
    "clap, fused": tiny_clap(fused=True),
    "emotion2vec": tiny_emotion2vec,
    "egemaps": egemaps,
    **{kind: tiny_codec(kind) for kind in CODEC_KINDS},
}
