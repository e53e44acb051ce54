"""A linear text model: weighted n-grams of words and letters, softmax; numpy alone, far under a millisecond a sentence.

    term weight   tf = 1 + ln(count), idf from training, each of the two kinds of n-grams scaled to length 1
    logits        sum over terms of weight * row of coefficients + bias

Files of a directory: `config.json` (kind, order of the emotions, languages, temperature), `vocabulary.json` (n-grams of words,
of letters), `model.safetensors` (coefficients in 8 bits with a scale for each emotion, idf, bias).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS
from fas_core.model_files import read_object, reads_checkpoint

KIND = "fas-words-ngrams"
FILES = ("config.json", "vocabulary.json", "model.safetensors")
MOST_CHARACTERS = 20_000  # of a text; what follows is not read
UNKNOWN = (
    5.0  # logit of neutral over the others for a text in which no word is known: what says nothing carries no emotion
)
WORD_NGRAMS, LETTER_NGRAMS = (1, 2, 3), (2, 3, 4, 5)
_TOKENS = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[!?]+")
_LONG = re.compile(r"(\w)\1{2,}")
_QUOTES = str.maketrans("’‘ʼ`´", "'''''")


def tokens_of(text: str) -> list[str]:
    """Words and marks of exclamation and question, in small letters; "soooo" is "soo".

    Examples:
        >>> tokens_of("It’s SOOOO nice!!!")
        ["it's", 'soo', 'nice', '!']
    """
    text = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).casefold().translate(_QUOTES)
    found = _TOKENS.findall(_LONG.sub(r"\1\1", text))
    return [each[0] if each[0] in "!?" else each for each in found]


def word_ngrams(tokens: Sequence[str]) -> Counter[str]:
    """One to three in a row, with a space between."""
    return Counter(
        " ".join(tokens[start : start + size]) for size in WORD_NGRAMS for start in range(len(tokens) - size + 1)
    )


def letter_ngrams(tokens: Sequence[str]) -> Counter[str]:
    """Two to five in a row inside a word, the spaces around it counted."""
    counts: Counter[str] = Counter()
    for token in tokens:
        padded = f" {token} "
        counts.update(padded[at : at + size] for size in LETTER_NGRAMS for at in range(len(padded) - size + 1))
    return counts


KINDS = {"words": word_ngrams, "letters": letter_ngrams}


@dataclass
class NgramModel:
    """What the files hold. V terms in all; those of words come first.

    Attributes:
        vocabulary: kind -> its terms. idf: (V,). coefficients: (V, 7). bias: (7,). temperature: divides the logits.
        languages: codes of the languages that it reads.
    """

    vocabulary: dict[str, list[str]]
    idf: np.ndarray
    coefficients: np.ndarray
    bias: np.ndarray
    temperature: float = 1.0
    languages: tuple[str, ...] = ("en",)
    _places: dict[str, dict[str, int]] = field(init=False, repr=False)

    def __post_init__(self):
        self._places, start = {}, 0
        for kind in KINDS:
            self._places[kind] = {term: place for place, term in enumerate(self.vocabulary[kind], start)}
            start += len(self.vocabulary[kind])

    def terms(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Places and weights of the terms of a text that the vocabulary has."""
        tokens = tokens_of(text)
        parts = [self._weighted(self._places[kind], count(tokens)) for kind, count in KINDS.items()]
        return np.concatenate([places for places, _ in parts]), np.concatenate([weights for _, weights in parts])

    def _weighted(self, known: dict[str, int], counts: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
        found = [(known[term], count) for term, count in counts.items() if term in known]
        places = np.array([place for place, _ in found], dtype=np.int64)
        weights = (1 + np.log([count for _, count in found])) * self.idf[places]
        return places, weights / max(np.linalg.norm(weights), 1e-9)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 7), divided by the temperature; a text without a known word is neutral and nothing else."""
        return np.stack([self._logits(text) for text in texts]) if texts else np.empty((0, len(EMOTIONS)))

    def _logits(self, text: str) -> np.ndarray:
        places, weights = self.terms(text)
        if not len(places) or places.min() >= len(self.vocabulary["words"]):
            return np.where(np.array(EMOTIONS) == "neutral", UNKNOWN, 0.0)
        return (weights @ self.coefficients[places] + self.bias) / self.temperature

    def save(self, directory: str | Path) -> None:
        """The three files, with coefficients in 8 bits."""
        scale = np.maximum(np.abs(self.coefficients).max(0), 1e-9) / 127
        tensors = {
            "coefficients": np.round(self.coefficients / scale).astype(np.int8),
            "scale": scale.astype(np.float32),
            "idf": self.idf.astype(np.float16),
            "bias": self.bias.astype(np.float32),
        }
        config = {"kind": KIND, "emotions": EMOTIONS, "languages": self.languages, "temperature": self.temperature}
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILES[0]).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (directory / FILES[1]).write_text(
            json.dumps(self.vocabulary, ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
        )
        (directory / FILES[2]).write_bytes(save(tensors))

    @classmethod
    def load(cls, directory: str | Path) -> NgramModel:
        """What `save` wrote.

        Raises:
            CheckpointError: a file is missing or damaged, of another kind or order of emotions, or its parts do not fit.
        """
        config_path, vocabulary_path, weights_path = (Path(directory) / name for name in FILES)
        config, vocabulary = read_object(config_path), read_object(vocabulary_path)
        _expect(config.get("kind") == KIND, config_path, f"kind {config.get('kind')!r}", repr(KIND))
        _expect(config.get("emotions") == list(EMOTIONS), config_path, "emotions of another order", ", ".join(EMOTIONS))
        languages, temperature = config.get("languages"), config.get("temperature")
        _expect(_are_strings(languages) and languages, config_path, f"languages {languages!r}", "codes such as 'en'")
        is_positive = isinstance(temperature, float | int) and 0 < temperature < np.inf
        _expect(is_positive, config_path, f"temperature {temperature!r}", "a positive number")
        has_terms = set(vocabulary) == set(KINDS) and all(map(_are_strings, vocabulary.values()))
        _expect(has_terms, vocabulary_path, "other fields", f"lists of terms: {', '.join(KINDS)}")
        tensors = _tensors(weights_path, sum(map(len, vocabulary.values())))
        coefficients = tensors["coefficients"].astype(np.float32) * tensors["scale"]
        idf = tensors["idf"].astype(np.float32)
        return cls(vocabulary, idf, coefficients, tensors["bias"], float(temperature), tuple(languages))


def _tensors(path: Path, terms: int) -> dict[str, np.ndarray]:
    emotions = len(EMOTIONS)
    shapes = {"coefficients": (terms, emotions), "scale": (emotions,), "idf": (terms,), "bias": (emotions,)}
    with reads_checkpoint(path, "weights of a text model"), safe_open(str(path), "np") as file:
        tensors = {name: file.get_tensor(name) for name in shapes}
    for name, shape in shapes.items():
        _expect(tensors[name].shape == shape, path, f"{name} of shape {tensors[name].shape}", str(shape))
        _expect(np.isfinite(tensors[name]).all(), path, f"{name} that are not finite", "numbers")
    return tensors


def _are_strings(values) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) for each in values)


def _expect(is_right: bool, path: Path, found: str, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"{path}: {found}; expected {expected}")
