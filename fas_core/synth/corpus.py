"""A synthetic corpus in which the words may carry one emotion and the tone another.

Sentences of `sentences`, spoken by espeak-ng with the prosody of `prosody`. It is a test bench for conflict,
with the emotion of tone and words both known; it is synthetic and says nothing about accuracy on people.
"""

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from fas_core.errors import FASError
from fas_core.synth.espeak import Synthesizer
from fas_core.synth.prosody import EMOTIONS, Prosody, apply_timbre, espeak_parameters, sample_prosody
from fas_core.synth.sentences import SPLITS, VOICES, load_sentences

SAMPLE_RATE = 16_000
SPLIT_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
MIN_CLIPS = 10
_VOLUME = 60  # headroom, so that loud emotions do not clip
_CORPUS = "synthetic-conflict"


@dataclass(frozen=True)
class ClipPlan:
    """One clip to render: `emotion` is that of the tone, `semantic_emotion` that of the words."""

    id: str
    split: str
    emotion: str
    semantic_emotion: str
    text: str
    voice: str
    prosody: Prosody

    @property
    def audio(self) -> str:
        return f"audio/{self.split}/{self.id}.flac"

    def row(self) -> dict:
        """The clip's line of the manifest."""
        return {
            "id": self.id,
            "audio": self.audio,
            "emotion": self.emotion,
            "semantic_emotion": self.semantic_emotion,
            "text": f"{self.text}.",
            "speaker": self.voice,
            "language": "en",
            "corpus": _CORPUS,
            "split": self.split,
            "conflict": self.emotion != self.semantic_emotion,
        }


def plan_corpus(
    clips: int, seed: int = 0, conflict_share: float = 0.5, train_conflict_share: float | None = None
) -> list[ClipPlan]:
    """Decide every clip of the corpus; the same arguments give the same plan.

    Within each split and each half (congruent, conflicting) the emotions of the tone, those of the words, and
    their pairs are as equal in number as they can be: a conflicting clip's tone says nothing about its words
    beyond that they differ. At a share of 6/7 tone and words are independent over the whole split, which
    takes from a head the short cut of guessing one from the other.

    Args:
        clips: clips in all, at least `MIN_CLIPS`; 70 % train, 10 % validation, 20 % test.
        seed: of every random choice.
        conflict_share: share of conflicting clips, 0 to 1.
        train_conflict_share: another share for the train split; None: the same.

    Raises:
        FASError: too few clips, or a share outside 0 to 1.
    """
    shares = dict.fromkeys(SPLITS, conflict_share)
    if train_conflict_share is not None:
        shares["train"] = train_conflict_share
    if clips < MIN_CLIPS:
        raise FASError(f"clips={clips}: too few; expected at least {MIN_CLIPS}")
    for split, share in shares.items():
        if not 0 <= share <= 1:
            raise FASError(f"conflict share of {split}: {share}; expected 0 to 1")
    sizes = {split: round(share * clips) for split, share in SPLIT_SHARES.items()}
    sizes["train"] += clips - sum(sizes.values())
    rngs = np.random.default_rng(seed).spawn(len(SPLITS))
    return [
        plan
        for split, rng in zip(SPLITS, rngs, strict=True)
        for plan in _plan_split(split, sizes[split], shares[split], rng)
    ]


def _plan_split(split: str, clips: int, conflict_share: float, rng: np.random.Generator) -> Iterator[ClipPlan]:
    conflicting = round(conflict_share * clips)
    pairs = [*itertools.islice(_pairs(range(1, 7), rng), conflicting)]
    pairs += itertools.islice(_pairs([0], rng), clips - conflicting)
    rng.shuffle(pairs)
    sentences = {emotion: _endless(by_split[split], rng) for emotion, by_split in load_sentences().items()}
    voices = _endless(VOICES[split], rng)
    for i, (tone, words) in enumerate(pairs):
        yield ClipPlan(
            id=f"{split}-{i:05d}",
            split=split,
            emotion=EMOTIONS[tone],
            semantic_emotion=EMOTIONS[words],
            text=next(sentences[EMOTIONS[words]]),
            voice=next(voices),
            prosody=sample_prosody(EMOTIONS[tone], rng),
        )


def _pairs(shifts: Sequence[int], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Endless (tone, words): in each round of seven every tone and every word emotion comes once."""
    count = len(EMOTIONS)
    for shift in _endless(shifts, rng):
        for tone in rng.permutation(count):
            yield int(tone), int(tone + shift) % count


def _endless(items: Sequence, rng: np.random.Generator) -> Iterator:
    """The items in random order, again and again, each as often as the others."""
    while True:
        for i in rng.permutation(len(items)):
            yield items[i]


def render_clip(plan: ClipPlan, synthesizer: Synthesizer) -> np.ndarray:
    """Samples (n,) float32 of a clip, 16 kHz, peak at most 0.99."""
    text = plan.text + plan.prosody.ending
    parameters = espeak_parameters(plan.prosody)
    samples, rate = synthesizer.speak(text, plan.voice, volume=_VOLUME, **parameters)
    samples = apply_timbre(soxr.resample(samples, rate, SAMPLE_RATE), plan.prosody)
    return (samples * min(1.0, 0.99 / np.abs(samples).max())).astype(np.float32)


def render_corpus(
    out_dir: str | os.PathLike,
    *,
    clips: int = 1000,
    seed: int = 0,
    conflict_share: float = 0.5,
    train_conflict_share: float | None = None,
    progress: bool = True,
) -> Path:
    """Render the corpus into `out_dir` (FLAC, 16 kHz, 16 bit, mono) with its `manifest.jsonl`.

    The folder appears whole or not at all. The same arguments give the same bytes with the same versions of
    espeak-ng, soxr and libsndfile. Manifest columns: id, audio (relative to the manifest), emotion (of the
    tone), semantic_emotion (of the words), text, speaker (the voice), language, corpus, split, conflict.

    Args:
        out_dir: a folder that is new, empty, or an earlier corpus of this function (then replaced).
        clips, seed, conflict_share, train_conflict_share: see `plan_corpus`.
        progress: show a progress bar.

    Returns:
        The manifest.

    Raises:
        FASError: another kind of folder, or arguments that `plan_corpus` refuses.
        MissingDependencyError: espeak-ng is not installed; the message says how to install it.
    """
    out = Path(out_dir)
    if out.exists() and not (out / "corpus.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise FASError(f"{out}: not empty and not an earlier synthetic corpus; expected a new folder (out_dir)")
    plans, synthesizer = plan_corpus(clips, seed, conflict_share, train_conflict_share), Synthesizer()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        new = Path(scratch) / "new"
        for plan in tqdm(plans, desc="rendering", unit="clip", disable=not progress):
            path = new / plan.audio
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, render_clip(plan, synthesizer), SAMPLE_RATE, subtype="PCM_16")
        (new / "manifest.jsonl").write_text("".join(json.dumps(p.row()) + "\n" for p in plans), "utf-8")
        settings = {
            "corpus": _CORPUS,
            "clips": clips,
            "seed": seed,
            "conflict_share": conflict_share,
            "train_conflict_share": train_conflict_share,
        }
        (new / "corpus.json").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
        if out.exists():
            shutil.move(out, Path(scratch) / "old")
        os.replace(new, out)
    return out / "manifest.jsonl"
