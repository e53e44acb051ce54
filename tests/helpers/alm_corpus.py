"""A synthetic corpus for the tests of FAS-ALM's training: each emotion is noise of another colour and rhythm."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from fas_core.batching import collate
from fas_core.data import load_corpus
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline

RATE = 16_000


def colored_noise(emotion: str, seconds: float, seed: int) -> np.ndarray:
    """(n,) float32: a band of noise that swells, its place and rhythm by the emotion."""
    number = EMOTIONS.index(emotion)
    rng = np.random.default_rng([seed, number])
    spectrum = np.fft.rfft(rng.standard_normal(round(seconds * RATE)))
    frequency = np.linspace(0, RATE / 2, len(spectrum))
    band = np.exp(-(((frequency - 300 - 900 * number) / 250) ** 2))
    samples = np.fft.irfft(spectrum * band, round(seconds * RATE))
    swell = 0.6 + 0.4 * np.sin(np.arange(len(samples)) / RATE * 2 * np.pi * (1 + number))
    return (0.3 * samples * swell / np.abs(samples).max()).astype(np.float32)


def write_corpus(
    folder: Path,
    per_emotion: dict[str, int],
    emotions: tuple[str, ...] = EMOTIONS,
    words: bool = False,
    seconds: float = 0.6,
) -> Path:
    """A manifest corpus; `per_emotion` maps a split to clips of each emotion, each split with a speaker of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count in per_emotion.items():
        for number in range(count * len(emotions)):
            emotion = emotions[number % len(emotions)]
            name = f"{split}-{number:03}.wav"
            soundfile.write(folder / name, colored_noise(emotion, seconds, 1000 * len(rows) + number), RATE)
            row = dict(audio=name, emotion=emotion, speaker=f"speaker of {split}", split=split, language="en")
            if words:
                row["semantic_emotion"] = emotions[(number // len(emotions)) % len(emotions)]
            rows.append(row)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def train_fas(checkpoint: Path, corpus: Path, steps: int = 80) -> None:
    """Make a tiny FAS hear the corpus; tokens of random weights hardly differ between clips."""
    pipeline = EmotionPipeline.from_pretrained(checkpoint, device="cpu")
    rows = [row for row in load_corpus("manifest", corpus) if row["split"] == "train"]
    batch = collate(pipeline.extractor([soundfile.read(row["audio"], dtype="float32")[0] for row in rows]))
    labels = torch.tensor([EMOTIONS.index(row["emotion"]) for row in rows])
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(pipeline.model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        pipeline.model(**batch, labels=labels).loss.backward()
        optimizer.step()
    pipeline.model.save_pretrained(checkpoint)
