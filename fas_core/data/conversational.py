"""Corpora with transcripts and annotations beside the audio: ESD, MELD, IEMOCAP."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data.reading import Clip, audio_files, by_name
from fas_core.data.splits import fold_splits
from fas_core.data.tables import Row, read_table
from fas_core.walk import walk_files

_ESD = re.compile(r"(\d{4})_(\d{6})")
_ESD_EMOTIONS = ("angry", "happy", "neutral", "sad", "surprise")

# Folder names of the archives, and the plain ones that people extract them to.
_MELD_FOLDERS = {
    "train_splits": "train",
    "train": "train",
    "dev_splits_complete": "dev",
    "dev": "dev",
    "output_repeated_splits_test": "test",
    "test": "test",
}
_MELD_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_MELD_NAME = re.compile(r"dia(\d+)_utt(\d+)")

_IEMOCAP_LABEL = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(Ses(\d\d)[FM]_\w+_([FM])\w*)\t(\w+)\t")
_IEMOCAP_TEXT = re.compile(r"(Ses\d\d[FM]_\w+) \[[\d.]+-[\d.]+\]: ?(.*)")


def esd(root: Path) -> Iterator[Clip]:
    """speaker/Emotion/[train|evaluation|test/]speaker_number with speaker/speaker.txt; 1-10 speak Mandarin.

    The official split divides the 350 sentences of each emotion (20 evaluation, 30 test, 300 train), not the
    speakers: every speaker is on every side, with other words. Releases without split folders number alike.
    """
    texts = {name: text for path in walk_files(root, "0*.txt") for name, text in _esd_texts(path)}

    def parse(path: Path) -> Clip | None:
        match = _ESD.fullmatch(path.stem)
        emotion = next((p.name for p in path.parents if p.name.lower() in _ESD_EMOTIONS), None)
        if match is None or emotion is None:
            return None
        speaker, number = match.groups()
        split = _esd_split(int(number))
        return Clip(path.stem, path, emotion, speaker, split, texts.get(path.stem), _esd_language(speaker))

    return by_name(root, parse)


def _esd_split(number: int) -> str:
    position = (number - 1) % 350
    return "validation" if position < 20 else "test" if position < 50 else "train"


def _esd_language(speaker: str) -> str:
    return "zh" if int(speaker) <= 10 else "en"


def _esd_texts(path: Path) -> Iterator[tuple[str, str]]:
    chinese = path.stem.isdigit() and _esd_language(path.stem) == "zh"
    for line in _decode(path.read_bytes(), "gb18030" if chinese else "cp1252").splitlines():
        fields = line.strip().split("\t")
        if len(fields) >= 2 and _ESD.fullmatch(fields[0].strip()):
            yield fields[0].strip(), fields[1].strip()


def _decode(content: bytes, fallback: str) -> str:
    """The transcripts come in UTF-16, UTF-8 and the national code page, by speaker."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode(fallback, errors="replace")


def meld(root: Path) -> Iterator[Clip]:
    """train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv with diaX_uttY clips (mp4, wav or flac).

    The official split divides dialogues, not speakers: the main cast speaks on every side.
    """
    audio = _meld_audio(root)
    for part in _MELD_SPLITS:
        table = next(iter(walk_files(root, f"{part}_sent_emo.csv")), None)
        for row in read_table(table) if table else ():
            yield _meld_clip(part, row, audio)


def _meld_audio(root: Path) -> dict[tuple[str, str, str], Path]:
    """(part, dialogue, utterance) -> file, the preferred format first."""
    found: dict[tuple[str, str, str], Path] = {}
    for path in audio_files(root):
        match = _MELD_NAME.fullmatch(path.stem)  # not the final_videos_test copies of the test archive
        part = next((_MELD_FOLDERS[p.name] for p in path.parents if p.name in _MELD_FOLDERS), None)
        if match and part:
            found.setdefault((part, *match.groups()), path)
    return found


def _meld_clip(part: str, row: Row, audio: dict[tuple[str, str, str], Path]) -> Clip:
    dialogue, utterance = row.need(("dialogue_id",)), row.need(("utterance_id",))
    path = audio.get((part, dialogue, utterance))
    return Clip(
        name=f"{part}_dia{dialogue}_utt{utterance}",
        path=path or Path(),
        label=row.need(("emotion",)),
        speaker=row.get(("speaker",)),
        split=_MELD_SPLITS[part],
        text=row.get(("utterance",)),
        language="en",
        problem=None if path else "audio file missing",
    )


def iemocap(root: Path, *, fold: int | None = None) -> Iterator[Clip]:
    """SessionN/dialog/EmoEvaluation/*.txt with SessionN/sentences/wav/DIALOGUE/TURN.wav.

    The two speakers of a session talk to each other, so that sessions stay whole: one is test, the next one
    validation, as in the usual five-fold protocol.

    Args:
        fold: 1 to 5, the session that is tested on; None is fold 1.
    """
    side = fold_splits({number: [f"Ses{number:02d}"] for number in range(1, 6)}, 1 if fold is None else fold)
    audio = {path.stem: path for path in reversed(audio_files(root)) if "sentences" in path.parts}
    texts = dict(_iemocap_texts(root))
    for table in walk_files(root, "dialog/EmoEvaluation/Ses*.txt"):
        for match in _IEMOCAP_LABEL.finditer(table.read_text(encoding="utf-8", errors="replace")):
            turn, session, voice, label = match.groups()
            path = audio.get(turn)
            # The first letter, Ses01F, is the actor who wears the markers; the speaker's is the last one.
            speaker, split = f"Ses{session}{voice}", side[f"Ses{session}"]
            clip = Clip(turn, path or Path(), label, speaker, split, texts.get(turn), "en")
            yield clip if path else replace(clip, problem="audio file missing")


def _iemocap_texts(root: Path) -> Iterator[tuple[str, str]]:
    for path in walk_files(root, "dialog/transcriptions/Ses*.txt"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _IEMOCAP_TEXT.match(line.strip())
            if match:
                yield match[1], match[2]
