"""The two models that `benchmarks.serving` compares, as directories: one LLM, two ways to hear.

Both have the same language model, a Qwen2 of SmolLM2-135M's dimensions, because vLLM's class for Qwen2-Audio takes
that architecture only. Where the package with SmolLM2 is installed, its weights are in it (Qwen2 is Llama with biases
for queries, keys and values; they are zero here), else random ones: they decide what is said, not how fast.
"""

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    PreTrainedTokenizerBase,
    Qwen2AudioConfig,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from fas_alm.language_models import load_language_model
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_core.shipped import SMALL

QWEN2_AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
SAME_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "rms_norm_eps", "rope_parameters", "tie_word_embeddings",
    "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip


def save_models(folder: Path, language_model: str, layers: int | None = None) -> dict[str, Path]:
    """Write both directories.

    Args:
        folder: where they go.
        language_model: a Llama or Qwen2 and its tokenizer: hub id, directory, or "offline:smollm2".
        layers: keep the first ones only.

    Returns:
        "fas_alm" and "qwen2_audio" -> directory.
    """
    llm, tokenizer = as_qwen2(*load_language_model(language_model, dtype=torch.float32), layers)
    ours, processor = FASAudioForConditionalGeneration.from_parts(SMALL, (copy.deepcopy(llm), tokenizer))
    paths = {name: folder / name for name in ("fas_alm", "qwen2_audio")}
    ours.save_pretrained(paths["fas_alm"])
    processor.save_pretrained(paths["fas_alm"])
    save_qwen2_audio(paths["qwen2_audio"], llm, tokenizer, ours.config.encoder_config)
    return paths


def as_qwen2(
    llm: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, layers: int | None = None
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerBase]:
    """The same function as a Qwen2."""
    fields = {field: getattr(llm.config, field) for field in SAME_FIELDS}
    fields["num_hidden_layers"] = layers or fields["num_hidden_layers"]
    config = Qwen2Config(**fields)
    model = Qwen2ForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.bias"):
            parameter.data.zero_()
    known = model.state_dict()
    model.load_state_dict({name: t for name, t in llm.state_dict().items() if name in known}, strict=False)
    return model, tokenizer


def save_qwen2_audio(
    folder: Path, llm: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, whisper: WhisperConfig
) -> None:
    """Qwen2-Audio (Chu et al. 2024) with this LLM, an audio tower of Whisper's dimensions, and random weights in it.

    As released, it pads every clip to 30 s and reads 25 tokens for each second of the clip.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens(list(QWEN2_AUDIO_TOKENS), special_tokens=True)
    llm = copy.deepcopy(llm)
    llm.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    sizes = {
        field: getattr(whisper, field)
        for field in ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins")
    }
    config = Qwen2AudioConfig(
        audio_config=Qwen2AudioEncoderConfig(**sizes),
        text_config=llm.config,
        audio_token_index=tokenizer.convert_tokens_to_ids(QWEN2_AUDIO_TOKENS[0]),
        tie_word_embeddings=llm.config.tie_word_embeddings,
    )
    torch.manual_seed(0)
    model = Qwen2AudioForConditionalGeneration(config).model
    parts = {
        "audio_tower": model.audio_tower,
        "multi_modal_projector": model.multi_modal_projector,
        "language_model": llm,
    }
    weights = {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.state_dict().items()}
    if llm.config.tie_word_embeddings:
        del weights["language_model.lm_head.weight"]
    config.architectures = [Qwen2AudioForConditionalGeneration.__name__]
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    features = WhisperFeatureExtractor(feature_size=whisper.num_mel_bins)
    Qwen2AudioProcessor(features, tokenizer).save_pretrained(folder)
