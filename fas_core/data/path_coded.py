"""More corpora whose paths say everything: CASIA, EmoV-DB, ASVP-ESD, MESD.

None has an official split: all clips are "test", for zero-shot use.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data.reading import Clip, by_name

# The two parts of the release (300 sentences for all, 100 of each speaker's own) spell the speakers differently.
_CASIA_SPEAKERS = {
    "chang.liu": "liuchanhg",
    "zhe.wang": "wangzhe",
    "quanyin.zhao": "zhaoquanyin",
    "zuoxiang.zhao": "zhaozuoxiang",
}
_CASIA_NUMBER = re.compile(r"\d+")
_EMOV_DB_FOLDER = re.compile(r"(?:^|/)(bea|jenie|josh|sam)[_/]([a-z]+)")
_EMOV_DB_FILE = re.compile(r"[A-Za-z]+_.*\d{4}")
# What follows the eighth field (language, resemblance to other emotions, marks of noise) is not always there.
_ASVP_ESD = re.compile(r"03-(0[12])-(\d\d)-\d+-\d+-(\d+)-\d\d-\d\d(?:-(\d\d))?(?:-.*)?")
_ASVP_ESD_LANGUAGES = {"01": "zh", "02": "en", "04": "fr"}
_MESD = re.compile(r"([A-Z][a-z]+)_[FMC]_[AB]_(\d_)?(\D+)")


def casia(root: Path) -> Iterator[Clip]:
    """speaker/emotion/number, four speakers; the folder above may name the part of the release."""

    def parse(path: Path) -> Clip | None:
        folders = path.relative_to(root).parts[:-1]
        if len(folders) < 2 or not _CASIA_NUMBER.fullmatch(path.stem):
            return None
        folder, emotion = folders[-2:]
        speaker = _CASIA_SPEAKERS.get(folder.lower(), folder.lower())
        return Clip(f"{folder}_{emotion}_{path.stem}", path, emotion, speaker, "test", None, "zh")

    return by_name(root, parse)


def emov_db(root: Path) -> Iterator[Clip]:
    """speaker_Emotion/emotion_range_sentence, as in the sorted release and in openslr's archives, each extracted
    to a folder of its name; or speaker/Emotion/.... Sentence numbers are those of CMU Arctic, whose texts are not
    part of the corpus.
    """

    def parse(path: Path) -> Clip | None:
        folders = path.relative_to(root).parent.as_posix().lower()
        match = _EMOV_DB_FOLDER.search(folders)
        if match is None or not _EMOV_DB_FILE.fullmatch(path.stem):
            return None
        speaker, emotion = match.groups()
        return Clip(f"{speaker}_{emotion}_{path.stem}", path, emotion, speaker, "test", None, "en")

    return by_name(root, parse)


def asvp_esd(root: Path, *, speech_only: bool = False) -> Iterator[Clip]:
    """modality-channel-emotion-intensity-statement-actor-age-source[-language[-...]], as on its Zenodo page.

    Args:
        speech_only: leave out laughter, cries and other sounds without words (channel 02), which are counted.
    """

    def parse(path: Path) -> Clip | None:
        match = _ASVP_ESD.fullmatch(path.stem.replace("_", "-"))
        if match is None:
            return None
        channel, emotion, actor, language = match.groups()
        spoken = _ASVP_ESD_LANGUAGES.get(language) if channel == "01" else None
        clip = Clip(path.stem, path, emotion, actor, "test", None, spoken)
        return replace(clip, problem="not speech") if speech_only and channel == "02" else clip

    return by_name(root, parse)


def mesd(root: Path) -> Iterator[Clip]:
    """Emotion_Voice_Corpus_word. The voice (F, M, C) is one of eleven people, and no name says which: no speaker.

    The release also holds copies of female voices whose naturalness was reduced, with the level (1, 2) before the
    word; they are counted apart.
    """

    def parse(path: Path) -> Clip | None:
        match = _MESD.fullmatch(path.stem)
        if match is None:
            return None
        emotion, level, word = match.groups()
        clip = Clip(path.stem, path, emotion, None, "test", word.replace("_", " "), "es")
        return replace(clip, problem="copy of reduced naturalness") if level else clip

    return by_name(root, parse)
