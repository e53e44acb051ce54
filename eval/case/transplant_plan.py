"""Which tone goes onto which sentence in which voice: sides that share nothing, tones and words in balance.

Sentences are those of the synthetic conflict corpus on their own sides, and on the test side also the English texts of FAS-CASE, a
test set. Voices and actors are on one side each. Half the clips are congruent, the other half are spread evenly over
the pairs of two different emotions.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fas_core.data.splits import SPLITS
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.synth.sentences import load_sentences
from fas_eval.case.scenarios import SHIPPED, read_scenarios
from fas_eval.case.tones import Tone, by_emotion

SHARES = {"train": 0.5, "validation": 0.15, "test": 0.35}
CORPUS = "transplants"
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Sentence:
    """What is read: `emotion` is that of the words."""

    id: str
    text: str
    emotion: str
    split: str


@dataclass(frozen=True)
class Transplant:
    """One clip of the set to make."""

    id: str
    tone: Tone
    sentence: Sentence
    reader: str
    voice: str
    seed: int

    @property
    def conflict(self) -> bool:
        """The words carry an emotion and the tone another; a sentence without emotion contradicts no tone."""
        return self.sentence.emotion not in (NEUTRAL, self.tone.emotion)

    @property
    def audio(self) -> str:
        return f"audio/{self.tone.split}/{self.id}.flac"

    @property
    def reading(self) -> str:
        return f"readings/{self.reader}-{self.voice.replace('+', '-')}-{self.sentence.id}.flac"

    def row(self) -> dict:
        """The clip's line of the manifest."""
        return {
            "id": self.id,
            "audio": self.audio,
            "emotion": self.tone.emotion,
            "semantic_emotion": self.sentence.emotion,
            "text": self.sentence.text,
            "speaker": f"{self.voice}+{self.tone.actor}",
            "language": "en",
            "corpus": CORPUS,
            "split": self.tone.split,
            "conflict": self.conflict,
            "disagreement": self.sentence.emotion != self.tone.emotion,
            "sentence": self.sentence.id,
            "reader": self.reader,
            "voice": self.voice,
            "reading": self.reading,
            "actor": self.tone.actor,
            "tone_corpus": self.tone.corpus,
            "tone_clip": self.tone.id,
            "seed": self.seed,
            "synthetic": True,
        }


def load_texts() -> list[Sentence]:
    """All sentences with the side that each is on; read as statements, so that punctuation gives no tone away."""
    found = [
        Sentence(f"{emotion}-{split}-{i:02d}", f"{text.rstrip(' .!?…')}.", emotion, split)
        for emotion, by_split in load_sentences().items()
        for split, texts in by_split.items()
        for i, text in enumerate(texts)
    ]
    ours = (item for item in read_scenarios(SHIPPED) if item.language == "en")
    return found + [Sentence(i.id, f"{i.text.rstrip(' .!?…')}.", i.semantic_emotion, "test") for i in ours]


def plan_set(
    tones: Sequence[Tone],
    voices: Mapping[str, Mapping[str, Sequence[str]]],
    clips: int,
    seed: int = 0,
    conflict_share: float = 0.5,
    voices_per_sentence: int = 1,
) -> list[Transplant]:
    """Decide every clip; the same arguments give the same plan.

    Within a side, tones and words are as equal in number as they can be, the corpora that have a tone take turns, and so do
    readers, voices, actors and sentences.

    Args:
        tones: acted clips. voices: reader -> split -> names. clips: in all, divided 50/15/35. seed: of every choice.
        conflict_share: share of clips whose tone and words differ.
        voices_per_sentence: of each reader; a reading serves for several tones, which keeps natural readings few.

    Raises:
        FASError: too few clips, a share outside 0 to 1, or a side without any tone.
    """
    if clips < 10 or not 0 <= conflict_share <= 1:
        raise FASError(f"clips={clips}, conflict share {conflict_share}; expected at least 10, and a share of 0 to 1")
    rngs = np.random.default_rng(seed).spawn(len(SPLITS))
    sizes = {split: round(SHARES[split] * clips) for split in SPLITS}
    sizes["train"] += clips - sum(sizes.values())
    return [
        transplant
        for split, rng in zip(SPLITS, rngs, strict=True)
        for transplant in _plan_side(
            split, sizes[split], by_emotion(tones, split), voices, conflict_share, voices_per_sentence, seed, rng
        )
    ]


def _plan_side(split, clips, tones, voices, conflict_share, voices_per_sentence, seed, rng) -> Iterator[Transplant]:
    emotions = [emotion for emotion in EMOTIONS if tones.get(emotion)]
    if clips and len(emotions) < 2:
        raise FASError(
            f"{split}: tones of {len(emotions)} emotions; expected speakers of two or more on each side (--tones)"
        )
    texts = [sentence for sentence in load_texts() if sentence.split == split]
    said = {emotion: _turns([s for s in texts if s.emotion == emotion], rng) for emotion in EMOTIONS}
    clip = {
        emotion: _turns([_turns(_by_actor(of), rng) for of in tones[emotion].values()], rng) for emotion in emotions
    }
    of_reader = {reader: _turns(of[split], rng) for reader, of in voices.items()}
    reader_of = _turns(list(voices), rng)
    reads = {  # (reader, sentence) -> its voices in turn
        (reader, sentence.id): itertools.cycle([*itertools.islice(of_reader[reader], voices_per_sentence)])
        for sentence in texts
        for reader in voices
    }
    conflicting = round(conflict_share * clips)
    pairs = [*itertools.islice(_pairs(emotions, rng), conflicting)]
    pairs += [(emotion, emotion) for emotion in itertools.islice(_turns(emotions, rng), clips - conflicting)]
    for i, (tone, words) in enumerate(pairs[k] for k in rng.permutation(len(pairs))):
        of_actor, sentence, reader = next(next(clip[tone])), next(said[words]), next(reader_of)
        chosen, voice = of_actor[rng.integers(len(of_actor))], next(reads[reader, sentence.id])
        yield Transplant(f"{split}-{i:05d}", chosen, sentence, reader, voice, seed)


def _by_actor(tones: Sequence[Tone]) -> list[list[Tone]]:
    return [
        list(of) for _, of in itertools.groupby(sorted(tones, key=lambda t: (t.actor, t.id)), key=lambda t: t.actor)
    ]


def _pairs(emotions: Sequence[str], rng) -> Iterator[tuple[str, str]]:
    """Endless (tone, words) that differ, all pairs in each round."""
    return _turns([(tone, words) for tone in emotions for words in EMOTIONS if tone != words], rng)


def _turns(items: Sequence, rng: np.random.Generator) -> Iterator:
    """The items in random order, again and again, each as often as the others."""
    while True:
        for i in rng.permutation(len(items)):
            yield items[i]
