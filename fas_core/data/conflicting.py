"""Sets whose words carry an emotion of their own: EMIS, LISTEN, HumDial-EIBench task 4, and corpora of neutral sentences as the side
without conflict. CASE is in `manifest`.

None of the three releases was at hand: layouts are those of their pages and code, as each reader says.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data import acted, world
from fas_core.data.manifest import MANIFESTS, manifest
from fas_core.data.reading import Clip, by_name
from fas_core.data.tables import Row, read_table
from fas_core.paths import is_dir, is_file
from fas_core.walk import walk_files

# Of aggregate_results.py in github.com/AI-Unicamp/SLM-ER-Evaluation: neutral sentences are neither explicit nor implicit.
_EMIS = re.compile(r"([^_]+)_([a-z]+)(?:_(?:explicit|implicit))?_([a-z]+)_([^_]+)_([^_]+)")
_TABLES = ("metadata.jsonl", "metadata.csv", *MANIFESTS)
_AUDIO = ("file_name", "audio", "file", "path", "audio_path")
_NEUTRAL_WORDS = {"ravdess": acted.ravdess, "tess": acted.tess, "nemo": world.nemo, "emodb": acted.emodb}
TRANSPLANTS = "transplants"


def emis(root: Path) -> Iterator[Clip]:
    """sentence_textemotion[_explicit|_implicit]_voiceemotion_speaker_tts (Corrêa et al., ICASSP 2026; zenodo.org/records/19207001 and the
    script that reads the names). Synthetic voices after ESD's English speakers; angry, happy, neutral, sad; a quarter is congruent.
    All "test". No name gives the words.
    """

    def parse(path: Path) -> Clip | None:
        match = _EMIS.fullmatch(path.stem)
        if match is None:
            return None
        _, words, tone, speaker, tts = match.groups()
        return Clip(path.stem, path, tone, f"{tts}-{speaker}", "test", None, "en", words)

    return by_name(root, parse)


def listen(root: Path) -> Iterator[Clip]:
    """The columns of VibeCheck1/LISTEN_full on the hub, written out as audio and metadata.jsonl in the form of `datasets`' audiofolder:
    file_name, id, experiment_type, answer, explicit_emotion, transcription (docs/case.md has the lines that write it). All "test".

    Spoken: 1, neutral words; 2B, words of the same emotion; 3B, of another, in explicit_emotion. The answer is the voice's. Rows
    of the text experiments and of sounds without words (4) are counted and left out. Columns and experiments are those of
    github.com/DeliJingyiC/LISTEN and of its authors' cards; the labels' spelling was not seen.
    """
    for folder, row in _rows(root):
        experiment, answer = row.need(("experiment_type",)).upper(), row.need(("answer",))
        words = {"1": "neutral", "2B": answer, "3B": row.get(("explicit_emotion",))}
        clip = replace(_clip(folder, row, answer, words.get(experiment), "en"), text=row.get(("transcription",)))
        yield clip if experiment in words else replace(clip, problem=f"experiment {experiment}: no words are heard")


def humdial(root: Path) -> Iterator[Clip]:
    """Task 4 (acoustic-semantic conflict, 100 clips each of Chinese and English) of ASLP-lab/HumDial-EIBench on the hub. All "test".

    Its files could not be seen; its page says that the folders are `en` and `zh`. Expected is the hub's own form of a folder of
    audio: metadata.jsonl (or .csv) with file_name, the emotion of the voice (emotion, acoustic_emotion or answer) and that of
    the words (semantic_emotion or text_emotion), text; a column language, or a folder `en` or `zh` above.
    """
    for folder, row in _rows(root):
        above = reversed(folder.relative_to(root).parts)
        written = row.get(("language", "lang")) or next((part for part in above if part in ("en", "zh")), None)
        tone = row.need(("acoustic_emotion", "emotion", "answer"))
        words = row.get(("semantic_emotion", "text_emotion"))
        yield replace(_clip(folder, row, tone, words, written), text=row.get(("text", "transcription", "transcript")))


def neutral_words(root: Path, *, fold: int | None = None) -> Iterator[Clip]:
    """Corpora of sentences that are neutral by design, each in a folder of its name: ravdess, tess, nemo, emodb, as their own readers take
    them; their words count as neutral, so that nothing in them contradicts a tone. A folder `transplants` beside them, of `python -m
    eval.case.transplant`, adds its test side: clips that conflict, and the whole becomes a set for detection.

    Args:
        fold: of RAVDESS.
    """
    for corpus, clips in _NEUTRAL_WORDS.items():
        if is_dir(root / corpus):
            options = {"fold": fold} if corpus == "ravdess" else {}
            for clip in clips(root / corpus, **options):
                yield replace(clip, corpus=corpus, semantic_label="neutral")
    if is_dir(root / TRANSPLANTS):
        yield from (clip for clip in manifest(root / TRANSPLANTS) if clip.split == "test")


def _rows(root: Path) -> Iterator[tuple[Path, Row]]:
    """Rows of the tables below a folder, each with its table's folder."""
    for name in _TABLES:
        for table in walk_files(root, name):
            for row in read_table(table):
                yield table.parent, row


def _clip(folder: Path, row: Row, tone: str, words: str | None, language: str | None) -> Clip:
    written = row.need(_AUDIO)
    path = folder / written
    return Clip(
        row.get(("id",)) or written,
        path,
        tone,
        speaker=row.get(("speaker", "speaker_id")),
        language=language,
        semantic_label=words,
        where=row.where,
        problem=None if is_file(path) else "audio file missing",
    )
