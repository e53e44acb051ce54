"""All corpora by name: `read_corpus` counts what is left out, `load_corpus` gives the clips."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fas_core.data import acted, annotated, conflicting, conversational, path_coded, scripted, wild, world
from fas_core.data import manifest as tabled
from fas_core.data.exclusions import ExclusionList
from fas_core.data.reading import CorpusReader, Reading
from fas_core.data.tables import TABLE_SUFFIXES, find_table
from fas_core.errors import CorpusError
from fas_core.paths import expanded, is_dir, is_file

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)
_OWN_NAME = re.compile(r"\w[\w.-]*")

CORPORA: dict[str, CorpusReader] = {
    reader.name: reader
    for reader in (
        CorpusReader(
            "ravdess",
            acted.ravdess,
            "the folders Actor_01 to Actor_24",
            "Actor_01/03-01-05-01-01-01-01.wav",
        ),
        CorpusReader("tess", acted.tess, "files actress_word_emotion", "OAF_Fear/OAF_back_fear.wav"),
        CorpusReader("emodb", acted.emodb, "files speaker, text, emotion letter, version", "wav/03a01Fa.wav"),
        CorpusReader("urdu", acted.urdu, "the folders Angry, Happy, Neutral, Sad", "Angry/SM1_F10_A010.wav"),
        CorpusReader("emovo", acted.emovo, "the folders f1 to m3", "f1/dis-f1-b1.wav"),
        CorpusReader("crema-d", acted.crema_d, "the folder AudioWAV", "AudioWAV/1001_DFA_ANG_XX.wav"),
        CorpusReader("savee", acted.savee, "the folders DC, JE, JK, KL, or files DC_a01.wav", "DC/a01.wav"),
        CorpusReader(
            "esd",
            conversational.esd,
            "the folders 0001 to 0020 by emotion",
            "0011/Angry/train/0011_000401.wav",
        ),
        CorpusReader(
            "meld",
            conversational.meld,
            "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv and their clips",
            "train_splits/dia0_utt0.mp4",
        ),
        CorpusReader(
            "iemocap",
            conversational.iemocap,
            "the folders Session1 to Session5 with dialog/EmoEvaluation and sentences/wav",
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
        ),
        CorpusReader("casia", path_coded.casia, "the folders of the speakers by emotion", "liuchanhg/angry/201.wav"),
        CorpusReader(
            "m3ed",
            annotated.m3ed,
            "annotation.json, the folder splitInfo and the clips of speech",
            "modality_speech/A_anjia_1_1.wav",
        ),
        CorpusReader(
            "emov-db",
            path_coded.emov_db,
            "the folders bea_Amused to sam_Sleepy",
            "bea_Amused/amused_1-28_0001.wav",
        ),
        CorpusReader(
            "asvp-esd",
            path_coded.asvp_esd,
            "the folder Audio with actor_0 and following",
            "Audio/actor_12/03-01-06-01-02-12-02-01-01-16.wav",
        ),
        CorpusReader("mesd", path_coded.mesd, "files Emotion_Voice_Corpus_word", "Anger_C_A_abajo.wav"),
        CorpusReader(
            "fau-aibo",
            annotated.fau_aibo,
            "the folder wav and chunk_labels_5cl_corpus.txt of the Interspeech 2009 challenge",
            "wav/Ohm_01_000_00.wav",
        ),
        CorpusReader(
            "cmu-mosei",
            wild.cmu_mosei,
            "the folder Raw with Audio, Transcript and Labels",
            "Raw/Audio/Full/WAV_16000/--qXJuDtHPw.wav",
        ),
        CorpusReader(
            "mer2024",
            wild.mer2024,
            "label-disdim.csv and the labelled clips",
            "video-labeled/sample_00000001.mp4",
        ),
        CorpusReader("nemo", world.nemo, "files SPEAKER_emotion_sentence and data.tsv", "samples/EB0_anger_1.wav"),
        CorpusReader("ased", world.ased, "the folders 01Neutral to 05Angry", "01Neutral/n1-01-01-01-01.wav"),
        CorpusReader(
            "korean",
            world.korean,
            "the folders emotional-to-emotional and plain-to-emotional of emotiontts_open_db",
            "plain-to-emotional/ema/wav/ema00001.wav",
        ),
        CorpusReader(
            "emota", world.emota, "the folders angry to sad of files speaker_sentence_emotion", "angry/19_18_ang.wav"
        ),
        CorpusReader("subesco", world.subesco, "files such as the example", "F_02_MONIKA_S_1_NEUTRAL_5.wav"),
        CorpusReader("banglaser", world.banglaser, "the folders of the 34 actors", "Actor_01/03-01-01-01-01-01-01.wav"),
        CorpusReader("aesdd", world.aesdd, "the folders anger to sadness", "anger/a01 (1).wav"),
        CorpusReader("cafe", world.cafe, "files actor-emotion-intensity-sentence", "Colère/Faible/01-C-1-1.wav"),
        CorpusReader("shemo", world.shemo, "the folders female and male", "female/F21A05.wav"),
        CorpusReader("resd", scripted.resd, "train.csv, test.csv and the clips that they name", "train.csv"),
        CorpusReader("emns", scripted.emns, "metadata.csv and the clips that it names", "metadata.csv"),
        CorpusReader(
            "jvnv",
            scripted.jvnv,
            "the folders F1, F2, M1, M2 and transcription.csv",
            "F1/anger/free/F1_anger_free_01.wav",
        ),
        CorpusReader(
            "emozionalmente",
            scripted.emozionalmente,
            "metadata/samples.csv and the folder audio",
            "metadata/samples.csv",
        ),
        CorpusReader("case", tabled.case, "a table of file, text, acoustic and semantic emotion", "case.csv"),
        CorpusReader(
            "emis",
            conflicting.emis,
            "files sentence_words_voice_speaker_tts",
            "12_happy_explicit_sad_0011_cosyvoice.wav",
        ),
        CorpusReader("listen", conflicting.listen, "metadata.jsonl and the clips that it names", "metadata.jsonl"),
        CorpusReader(
            "humdial-conflict", conflicting.humdial, "metadata.jsonl and the clips of task 4", "en/metadata.jsonl"
        ),
        CorpusReader(
            "neutral-words",
            conflicting.neutral_words,
            "the folders ravdess, tess, nemo, emodb, some or all, and transplants",
            "ravdess/Actor_01/03-01-05-01-01-01-01.wav",
        ),
        CorpusReader("emo-emilia", tabled.emo_emilia, "Emo-Emilia-ALL.jsonl", "Emo-Emilia-ALL.jsonl"),
        CorpusReader("manifest", tabled.manifest, "a table with columns audio and emotion", "manifest.jsonl"),
    )
}


def has_folds(name: str) -> bool:
    """Whether a corpus is divided into folds, each with its own test speakers; False for one that is not known."""
    return name in CORPORA and "fold" in CORPORA[name].options


def read_corpus(name: str, root: str | Path, **options: Any) -> Reading:
    """Reads a corpus in its official layout; the table is in memory, audio is not opened.

    Args:
        name: a key of `CORPORA`.
        root: the corpus's folder; for a corpus that is a table also the table itself.
        options: of that corpus (`CORPORA[name].options`), such as fold for RAVDESS; of all corpora `exclude_labels`, raw labels
            whose clips are left out, "*" for all that no table knows.

    A name of the user's own is that of a corpus whose folder holds a manifest.

    Raises:
        CorpusError: unknown name or option, a folder of another layout, or a label that is not known.
    """
    reader = _reader(name, root)
    if "table" in reader.options and is_file(root):
        root, options = Path(root).parent, {**options, "table": Path(root).name}
    return reader(root, **options)


def is_own_corpus(name: str, root: str | Path) -> bool:
    """Whether NAME=FOLDER is a corpus of the user's own: no reader has the name, and a manifest lies there."""
    if name in CORPORA or not _OWN_NAME.fullmatch(name):
        return False
    place = expanded(root)
    return (is_file(place) and place.suffix.lower() in TABLE_SUFFIXES) or (is_dir(place) and _holds_manifest(place))


def _holds_manifest(folder: Path) -> bool:
    return _why_no_manifest(folder) is None


def _why_no_manifest(folder: Path) -> str | None:
    try:
        find_table(folder, tabled.MANIFESTS)
    except (ValueError, OSError) as error:  # CorpusError is one, and so is what a name that cannot be one gives
        return str(error)
    return None


def _reader(name: str, root: str | Path) -> CorpusReader:
    if name in CORPORA:
        return CORPORA[name]
    if is_own_corpus(name, root):
        return replace(CORPORA["manifest"], name=name)
    raise CorpusError(
        f"corpus {name!r} is not known; expected one of {', '.join(sorted(CORPORA))}, or a name of your own (letters, digits, . _ -) "
        f"for a folder with a table manifest.csv; {_why_no_manifest(expanded(root))}"
    )


def load_corpus(
    name: str, root: str | Path, *, fold: int | None = None, exclude: str | Path | None = None, **options: Any
) -> Dataset:
    """The clips of a corpus with columns id, audio (absolute path), emotion, semantic_emotion, text, speaker,
    language, corpus, split; all strings, None where the corpus does not say. What is left out is logged.

    Args:
        fold: for corpora with folds (RAVDESS 1 to 6, IEMOCAP 1 to 5).
        exclude: an exclusion list that `python -m fas_core.data check` wrote for the same folder.

    Raises:
        CorpusError: as `read_corpus`; a list that cannot be read, or that leaves nothing.
    """
    if fold is not None:
        options["fold"] = fold
    reading = read_corpus(name, root, **options)
    if exclude is None:
        return reading.dataset
    listed = ExclusionList.load(exclude)
    kept = listed.apply(reading, root if os.path.isdir(root) else Path(root).parent)
    left_out = len(reading.dataset) - len(kept.dataset)
    # A list of another folder would be a silent no-op: say so.
    level = logging.WARNING if listed.files and not left_out else logging.INFO
    logger.log(level, "%s: %d clips left out by %s (%d entries)", name, left_out, exclude, len(listed.files))
    if len(kept.dataset) == 0:
        raise CorpusError(f"exclude={exclude}: leaves no clip of {name} in {root}")
    return kept.dataset
