"""Synthetic stand-ins for tests: a Whisper of random weights, and noise that swells and fades."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import WhisperConfig, WhisperModel

WINDOW = 100  # frames of the tiny Whisper: 2 s


def save_tiny_whisper(path: Path, seed: int = 0) -> Path:
    """A Whisper of random weights, two encoder layers of 32, windows of 2 s."""
    torch.manual_seed(seed)
    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=50,
        max_source_positions=WINDOW,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    model = WhisperModel(config)
    with torch.no_grad():  # the initial values are so small that all layers would be alike
        for parameter in model.encoder.parameters():
            parameter.mul_(3)
    model.save_pretrained(path)
    return path


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """(n,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * 16_000)) * 0.1
    return (samples * np.abs(np.sin(np.arange(len(samples)) / 3000 + seed))).astype(np.float32)


def write_clips(folder: Path, seconds: list[float]) -> list[dict]:
    """Rows of a data set: one wav of noise for each duration."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed, duration in enumerate(seconds):
        path = folder / f"{seed:03}.wav"
        soundfile.write(path, noise(duration, seed), 16_000)
        rows.append({"id": path.stem, "audio": str(path)})
    return rows
