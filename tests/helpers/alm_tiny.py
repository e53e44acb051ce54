"""Tiny models of random weights for the tests of FAS-ALM: real classes, a real tokenizer, no network, no package."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from synthetic import noise
from tiny_fas import save_tiny_checkpoint
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from fas_alm.chat import CHATML
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor

KINDS = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# What matters of Qwen3's template: it thinks unless told not to.
THINKING = CHATML.removesuffix("{%- endif -%}") + (
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}"
    "{%- endif -%}"
)
TEXTS = (
    "Which emotion does the voice express? A angry, B disgust, C fear, D happy, E neutral, F sad, G surprise",
    "Answer with one letter. The tone says sad, the words say happy; they do not agree.",
    "说话人的语气表达了什么情绪？愤怒 厌恶 恐惧 高兴 中性 悲伤 惊讶",
    "system user assistant You are a helpful assistant.",
)


def tiny_tokenizer(kind: str = "qwen2") -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 tokens with ChatML's special ones; single letters are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        chat_template=THINKING if kind == "qwen3" else CHATML, extra_special_tokens=["<|im_start|>"],
    )  # fmt: skip


def tiny_language_model(
    kind: str = "qwen2", rows: int | None = None, tie: bool = True, seed: int = 0, width: int = 32
) -> PreTrainedModel:
    """Two layers of width 32; `rows` of the embedding table, by default just those of the tokenizer.

    Kernels for 4 bits on processors with bf16 products take layers of at least 64.
    """
    config_class, model_class = KINDS[kind]
    tokenizer = tiny_tokenizer(kind)
    torch.manual_seed(seed)
    config = config_class(
        vocab_size=rows or len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, head_dim=width // 4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=tie,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )  # fmt: skip
    model = model_class(config).eval()
    model.generation_config.do_sample = False
    return model


def save_tiny_language_model(folder: Path, kind: str = "qwen2", **options) -> Path:
    """A directory as the hub has it."""
    tiny_language_model(kind, **options).save_pretrained(folder)
    tiny_tokenizer(kind).save_pretrained(folder)
    return folder


def save_tiny_whisper(folder: Path, seed: int = 0) -> Path:
    """A Whisper of two encoder layers of width 32 and windows of 30 s, as the hub has it."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    config = WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=len(tokenizer), max_target_positions=16,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():  # the initial values are so small that all layers would be alike
        for parameter in model.model.encoder.parameters():
            parameter.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def save_tiny_fas(folder: Path, **overrides) -> Path:
    """A FAS checkpoint in `folder`/fas, whose streams name the Whisper in `folder`/whisper."""
    whisper = Path(folder) / "whisper"
    if not whisper.is_dir():
        save_tiny_whisper(whisper)
    return save_tiny_checkpoint(Path(folder) / "fas", whisper, **overrides)


@functools.cache
def shared_fas() -> Path:
    """One tiny FAS for the tests of a process."""
    _KEEP.append(tempfile.TemporaryDirectory(prefix="alm-tiny-"))
    return save_tiny_fas(Path(_KEEP[-1].name))


_KEEP: list = []  # the folder lives as long as the process


def tiny_model(
    kind: str = "qwen2", audio_tokens: str = "fused", fas: Path | None = None, **language_model
) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
    """A whole model and its processor. `language_model`: options of `tiny_language_model`."""
    parts = tiny_language_model(kind, **language_model), tiny_tokenizer(kind)
    return FASAudioForConditionalGeneration.from_parts(fas or shared_fas(), parts, audio_tokens)


def clip(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Synthetic audio, 16 kHz."""
    return noise(seconds, seed)


def user(*parts) -> dict:
    """A user message: text as str, audio as array."""
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "audio", "audio": p} for p in parts]
    return {"role": "user", "content": content}
