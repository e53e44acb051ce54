"""Who speaks which item: voices dealt out so that no voice and no gender gives an emotion away.

`voices.json` holds two lists. "espeak": variants that the synthetic conflict corpus keeps from its train side. "openai": voices
of OpenAI's models; their maker states no gender, it is the one they are commonly heard as.
"""

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fas_core.errors import FASError
from fas_eval.case.scenarios import Scenario

SHIPPED = Path(__file__).with_name("voices.json")


@dataclass(frozen=True)
class Voice:
    """A voice of a generator: its name there, perceived gender, and the languages (ISO codes) that it speaks."""

    name: str
    gender: str
    languages: tuple[str, ...]


def shipped_voices(generator: str) -> list[Voice]:
    """The voices of "espeak" or "openai"."""
    return [_voice(SHIPPED.name, values) for values in json.loads(SHIPPED.read_text(encoding="utf-8"))[generator]]


def load_voices(path: str | Path) -> list[Voice]:
    """Voices of a JSON list of {"name", "gender", "languages"}.

    Raises:
        FASError: cannot be read, another form, no voice, or a name twice.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FASError(f"{path}: cannot be read ({error}); expected a JSON list of voices (--voices)") from None
    voices = [_voice(path.name, values) for values in content] if isinstance(content, list) else []
    if not voices or len({voice.name for voice in voices}) < len(voices):
        raise FASError(f"{path.name}: {len(voices)} voices; expected a JSON list of at least one, each name once")
    return voices


def _voice(where: str, values) -> Voice:
    try:
        voice = Voice(values["name"], values["gender"], tuple(values["languages"]))
    except (TypeError, KeyError):
        voice = None
    if voice is None or not all(isinstance(s, str) and s for s in (voice.name, voice.gender, *voice.languages)):
        example = '{"name": "nova", "gender": "female", "languages": ["en"]}'
        raise FASError(f"{where}: voice {values!r}; expected the form {example}")
    return voice


def assign_speakers(items: Sequence[Scenario], voices: Sequence[Voice], seed: int = 42) -> dict[str, Voice]:
    """A voice for every item; the same arguments give the same assignment, in whatever order the items come.

    Within a language the genders of an acoustic emotion differ by at most one item, the voices of a gender by at most one item
    over all; the emotions of tone and words are spread over the voices as evenly as they can be dealt. Where a gender
    has fewer voices, each of them speaks more: an even gender comes before even voices.

    Args:
        voices: of the generator. seed: of every tie.

    Returns:
        Item id -> voice.

    Raises:
        FASError: an item's language that no voice speaks.
    """
    assigned: dict[str, Voice] = {}
    for language in sorted({item.language for item in items}):
        able = sorted((v for v in voices if language in v.languages), key=lambda voice: voice.name)
        if not able:
            raise FASError(f"{language}: no voice speaks it; give voices that do (--voices), or leave the language out")
        rng = np.random.default_rng([seed, zlib.crc32(language.encode())])  # alone or beside others, the same
        assigned |= _deal([item for item in items if item.language == language], able, rng)
    return assigned


def _deal(items: Sequence[Scenario], voices: Sequence[Voice], rng: np.random.Generator) -> dict[str, Voice]:
    """One language: item by item, the gender that the pair and the emotion had least, then the least used voice."""
    genders = sorted({voice.gender for voice in voices})
    used: Counter = Counter()
    assigned = {}
    for item in _shuffled_by_pair(items, rng):
        tone, words = ("tone", item.acoustic_emotion), ("words", item.semantic_emotion)
        gender = _least(genders, lambda g, tone=tone, words=words: (used[g, tone], used[g, words], used[g]), rng)
        able = [voice for voice in voices if voice.gender == gender]
        voice = _least(able, lambda v, tone=tone, words=words: (used[v], used[v, tone], used[v, words]), rng)
        used.update([gender, (gender, tone), (gender, words), voice, (voice, tone), (voice, words)])
        assigned[item.id] = voice
    return assigned


def _shuffled_by_pair(items: Sequence[Scenario], rng: np.random.Generator) -> list[Scenario]:
    """Tone by tone and pair by pair, each in random order: a round over the voices then falls within one emotion."""
    ordered = sorted(items, key=lambda item: item.id)
    order = {
        name: rng.random() for name in sorted({x for i in items for x in (i.acoustic_emotion, i.semantic_emotion)})
    }
    ties = dict(zip([item.id for item in ordered], rng.random(len(ordered)), strict=True))
    return sorted(ordered, key=lambda i: (order[i.acoustic_emotion], order[i.semantic_emotion], ties[i.id]))


def _least(choices: Sequence, cost, rng: np.random.Generator):
    """The choice of least cost; of several, one by chance."""
    costs = [cost(choice) for choice in choices]
    best = [choice for choice, c in zip(choices, costs, strict=True) if c == min(costs)]
    return best[int(rng.integers(len(best)))]
