"""Neural codecs of tiny widths with random weights, in the layout of published checkpoints. Nothing here is trained.

`save_tiny_codec(kind, directory, seed)` writes one; `CODEC_KINDS` are the kinds that there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

RATIOS = (2, 4, 5, 8)  # 320 samples a frame
HUBERT = dict(
    model_type="hubert",
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=2,
)
WAV2VEC2_BERT = dict(
    model_type="wav2vec2-bert",
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    feature_projection_input_dim=160,
)
XCODEC2 = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=16,
    encoder_hidden_size=2,
    quantization_dim=64,
    semantic_model_config=WAV2VEC2_BERT,
)
BACKBONE = dict(  # as a published MingTok names it, with an attention that is not installed
    model_type="qwen2",
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=4096,
    rope_theta=10000.0,
    vocab_size=11,
    pad_token_id=3,
    _attn_implementation="flash_attention_2",
)


def _encodec() -> nn.Module:
    from transformers import EncodecConfig, EncodecModel

    return EncodecModel(EncodecConfig(num_filters=4, hidden_size=16, codebook_size=32, target_bandwidths=(1.5, 3.0)))


def _dac() -> nn.Module:
    from transformers import DacConfig, DacModel

    sizes = dict(encoder_hidden_size=4, decoder_hidden_size=32, codebook_size=32, codebook_dim=4, n_codebooks=3)
    return DacModel(DacConfig(downsampling_ratios=RATIOS, sampling_rate=16000, **sizes))


def _mimi() -> nn.Module:
    from transformers import MimiConfig, MimiModel

    widths = dict(hidden_size=16, num_filters=4, codebook_size=32, codebook_dim=8, upsample_groups=16)
    layers = dict(num_hidden_layers=2, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2)
    vectors = dict(num_quantizers=4, vector_quantization_hidden_dimension=8)
    return MimiModel(MimiConfig(**widths, **layers, **vectors))


def _vibevoice() -> nn.Module:
    from transformers import VibeVoiceAcousticTokenizerConfig, VibeVoiceAcousticTokenizerModel

    sizes = dict(hidden_size=16, num_filters=2, depths=(1,) * 7, layer_scale_init_value=0.1)
    return VibeVoiceAcousticTokenizerModel(VibeVoiceAcousticTokenizerConfig(**sizes))


def _xcodec() -> nn.Module:
    from transformers import XcodecConfig, XcodecModel

    dac = dict(encoder_hidden_size=2, downsampling_ratios=[8, 5, 4, 2], decoder_hidden_size=32, hidden_size=16)
    return XcodecModel(XcodecConfig(acoustic_model_config=dac, semantic_model_config=HUBERT, codebook_size=32))


def _xcodec2() -> nn.Module:
    from transformers import Xcodec2Config, Xcodec2Model

    return Xcodec2Model(Xcodec2Config(**XCODEC2))


def _neucodec() -> nn.Module:
    from transformers import NeuCodecConfig, NeuCodecModel

    return NeuCodecModel(NeuCodecConfig(**XCODEC2))


def save_tiny_mingtok(directory: Path, latent_dim: int = 8) -> None:
    """The layout of MingTok-Audio: encoder, its unused norm and embedding, and something of the decoder."""
    from transformers import Qwen2Config, Qwen2Model

    known = {key: value for key, value in BACKBONE.items() if not key.startswith("_")}
    parts = {
        "encoder.encoder": Qwen2Model(Qwen2Config(**known)),
        "encoder.fc1": nn.Linear(320, 32, bias=False),
        "encoder.fc2": nn.Linear(32, 32),
        "encoder.fc3": nn.Linear(32, 2 * latent_dim),
        "encoder.norm": nn.LayerNorm(32),
        "decoder.fc1": nn.Linear(latent_dim, 32),
    }
    weights = {f"{part}.{key}": value for part, module in parts.items() for key, value in module.state_dict().items()}
    encoder = {"backbone": BACKBONE, "input_dim": 320, "hop_size": 320, "latent_dim": latent_dim}
    config = {"architectures": ["AudioVAE"], "sample_rate": 16000, "enc_kwargs": encoder, "patch_size": -1}
    (directory / "config.json").write_text(json.dumps({**config, "random_weights": True}))
    save_file(weights, directory / "model.safetensors")


_MODELS: dict[str, Callable[[], nn.Module]] = {
    "encodec": _encodec,
    "dac": _dac,
    "mimi": _mimi,
    "vibevoice": _vibevoice,
    "xcodec": _xcodec,
    "xcodec2": _xcodec2,
    "neucodec": _neucodec,
}
CODEC_KINDS = (*_MODELS, "mingtok")


def _randomise(model: nn.Module) -> None:
    """Wide enough that the latent, and the codes of it, change with the sound: codebooks start as zeros otherwise."""
    for name, values in model.state_dict().items():
        if name.endswith("original0"):  # norms of weights
            values.mul_(3)
        elif values.dim() >= 2 and not name.endswith("alpha"):  # a divisor
            values.normal_(std=1.2 * (values.numel() / len(values)) ** -0.5)
        elif values.is_floating_point() and not values.any() and "cluster" not in name:
            values.normal_(std=0.1)


def tiny_codec(kind: str) -> Callable[[Path, int], dict]:
    """For `TINY` of tiny_encoders.py."""
    return lambda directory, seed=0: {"type": kind, "model": str(save_tiny_codec(kind, directory, seed))}


def save_tiny_codec(kind: str, directory: Path, seed: int = 0) -> Path:
    """Writes config.json, model.safetensors and, where there is one, the processor's file. Returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    if kind == "mingtok":
        save_tiny_mingtok(directory)
        return directory
    model = _MODELS[kind]()
    model.config.random_weights = True
    _randomise(model)
    model.save_pretrained(directory)
    if kind == "vibevoice":
        from transformers import VibeVoiceAcousticTokenizerFeatureExtractor

        VibeVoiceAcousticTokenizerFeatureExtractor().save_pretrained(directory)
    return directory
