"""A Whisper of random weights with decoder and tokenizer, for the tests of transcripts: bytes are its tokens."""

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

WINDOW = 50  # frames, 1 s
SPECIAL = "endoftext startoftranscript en pl translate transcribe startofprev nospeech notimestamps".split()


def save_tiny_transcriber(path: Path, multilingual: bool = True, seed: int = 0) -> Path:
    """Two layers of 16 on each side, windows of 1 s, 20 tokens at most."""
    tokenizer = _tokenizer(path)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in SPECIAL}
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ids["endoftext"])
    special["decoder_start_token_id"] = ids["startoftranscript"]
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 2)
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=WINDOW,
        max_target_positions=40, **sizes, **special,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():  # the initial values are so small that all layers would be alike
        for parameter in model.parameters():
            parameter.mul_(8)
    model.save_pretrained(path)
    settings = {"is_multilingual": multilingual, "no_timestamps_token_id": ids["notimestamps"]}
    if multilingual:
        settings["lang_to_id"] = {f"<|{code}|>": ids[code] for code in ("en", "pl")}
        settings["task_to_id"] = {task: ids[task] for task in ("transcribe", "translate")}
    suppressed = [value for name, value in ids.items() if name != "endoftext"]
    GenerationConfig(**special, **settings, suppress_tokens=suppressed, begin_suppress_tokens=[7]).save_pretrained(path)
    return path


def _tokenizer(path: Path) -> WhisperTokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in SPECIAL])
    path.mkdir(parents=True, exist_ok=True)
    (path / "tokenizer.json").write_text(tokenizer.to_str())
    special = [token["content"] for token in json.loads(tokenizer.to_str())["added_tokens"]]
    written = WhisperTokenizer.from_pretrained(path, extra_special_tokens=special)
    written.save_pretrained(path)
    return written
