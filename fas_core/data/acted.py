"""Acted corpora whose file names say everything: RAVDESS, TESS, EmoDB, URDU, EMOVO, CREMA-D, SAVEE.

`semantic_emotion` stays None in all of them. The sentences of RAVDESS, TESS and EmoDB are neutral by design,
but nobody annotated them, and a column full of "neutral" would teach a model that words are neutral.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data import sentences
from fas_core.data.reading import Clip, by_name
from fas_core.data.splits import assign_speaker_splits, fold_splits, ravdess_folds
from fas_core.errors import CorpusError

_RAVDESS = re.compile(r"(\d\d)-(\d\d)-(\d\d)-\d\d-(\d\d)-\d\d-(\d\d)")
_TESS = re.compile(r"(OAF?|YAF)_(.+)_([A-Za-z]+)")
_EMODB = re.compile(r"(\d\d)([ab]\d\d)([A-Z])[a-z]?")
_URDU = re.compile(r"(S[FM]\d+)_F\d+_([A-Z])\d+")
_EMOVO = re.compile(r"([a-z]{3})-([fm]\d)-([a-z]\d)", re.IGNORECASE)
_CREMA_D = re.compile(r"(1\d{3})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2}|X)")
_SAVEE = re.compile(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)(\d\d)")
_SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")


def ravdess(root: Path, *, fold: int | None = None) -> Iterator[Clip]:
    """modality-channel-emotion-intensity-statement-repetition-actor; odd actors are male, even ones female.

    Args:
        fold: 1 to 6 as in EmoBox; None is fold 1, so that a plain reading has three sides too.
    """
    side = fold_splits(ravdess_folds(), 1 if fold is None else fold)

    def parse(path: Path) -> Clip | None:
        match = _RAVDESS.fullmatch(path.stem)
        if match is None or match[5] not in side:
            return None
        modality, channel, emotion, statement, actor = match.groups()
        clip = Clip(path.stem, path, emotion, actor, side[actor], sentences.RAVDESS.get(statement), "en")
        if channel == "02":
            return replace(clip, problem="song")
        # Full video (01) holds the same speech as the audio-only file (03): one of them is enough.
        return clip if modality == "03" else replace(clip, problem="video of an audio-only clip")

    return by_name(root, parse)


def tess(root: Path, *, split_by: str | None = None) -> Iterator[Clip]:
    """actress_word_emotion, flat, by actress, or in the official folders by actress and emotion.

    Args:
        split_by: None puts all on the train side, as an addition to another corpus; "speaker" trains on one
            actress and tests on the other.
    """
    if split_by not in (None, "speaker"):
        raise CorpusError(f"split_by={split_by!r}: expected None (all train) or 'speaker'")
    fractions = (0.5, 0.0, 0.5) if split_by == "speaker" else (1.0, 0.0, 0.0)
    side = assign_speaker_splits(("OAF", "YAF"), fractions)

    def parse(path: Path) -> Clip | None:
        match = _TESS.fullmatch(path.stem)
        if match is None:
            return None
        actress = "OAF" if match[1] == "OA" else match[1]  # one file of the release is named OA_bite_neutral
        name = f"{actress}_{match[2]}_{match[3]}"
        return Clip(name, path, match[3], actress, side[actress], f"Say the word {match[2]}", "en")

    return by_name(root, parse)


def emodb(root: Path) -> Iterator[Clip]:
    """Speaker (2 digits), sentence (3), emotion letter, version; all "test", the corpus is used zero-shot."""

    def parse(path: Path) -> Clip | None:
        match = _EMODB.fullmatch(path.stem)
        if match is None:
            return None
        return Clip(path.stem, path, match[3], match[1], "test", sentences.EMODB.get(match[2]), "de")

    return by_name(root, parse)


def urdu(root: Path) -> Iterator[Clip]:
    """GENDERSPEAKER_FILE_EMOTION; all "test": the development set of zero-shot choices, never trained on."""

    def parse(path: Path) -> Clip | None:
        match = _URDU.fullmatch(path.stem)
        return match and Clip(path.stem, path, match[2], match[1], "test", None, "ur")

    return by_name(root, parse)


def emovo(root: Path) -> Iterator[Clip]:
    """emotion-actor-sentence; all "test", the corpus is used zero-shot."""

    def parse(path: Path) -> Clip | None:
        match = _EMOVO.fullmatch(path.stem)
        if match is None:
            return None
        emotion, actor, sentence = (field.lower() for field in match.groups())
        return Clip(path.stem.lower(), path, emotion, actor, "test", sentences.EMOVO.get(sentence), "it")

    return by_name(root, parse)


def crema_d(root: Path) -> Iterator[Clip]:
    """actor_sentence_emotion_level; the 91 actors 70/15/15, the same division for a part of the corpus."""
    side = assign_speaker_splits(str(actor) for actor in range(1001, 1092))

    def parse(path: Path) -> Clip | None:
        match = _CREMA_D.fullmatch(path.stem)
        if match is None or match[1] not in side:
            return None
        text = sentences.CREMA_D.get(match[2])
        return Clip(path.stem, path, match[3], match[1], side[match[1]], text, "en")

    return by_name(root, parse)


def savee(root: Path) -> Iterator[Clip]:
    """DC_a01 or DC/a01; two of the four men train, one validation, one test. No file name gives the words."""
    side = assign_speaker_splits(_SAVEE_SPEAKERS)

    def parse(path: Path) -> Clip | None:
        match = _SAVEE.fullmatch(path.stem)
        speaker = match and (match[1] or path.parent.name)
        if speaker not in side:
            return None
        return Clip(f"{speaker}_{match[2]}{match[3]}", path, match[2], speaker, side[speaker], None, "en")

    return by_name(root, parse)
