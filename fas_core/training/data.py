"""From corpora to clips with features: reading, extraction, splits, what failed."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fas_core.audio import audio_digest
from fas_core.data import assign_speaker_splits, load_corpus
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import AudioError, FASError
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features
from fas_core.training.arguments import DataArguments, parse_pairs
from fas_core.training.clips import UNKNOWN, Clips, concatenate, label_indices

log = logging.getLogger(__name__)


class FeatureSource:
    """Features of a data set's clips: extracted where they are missing, then kept in memory in fp16.

    Args:
        rows: rows with `audio`.
        extractor, cache: of one identity.
        variants: "" and names of augmentation variants.
        process: (index, number) of this process.

    Attributes:
        failed: {"file", "error"} of clips without features.
    """

    def __init__(
        self,
        rows: Iterable[dict],
        extractor: FeatureExtractor,
        cache: FeatureCache,
        variants: list[str],
        process: tuple[int, int] = (0, 1),
        wait=lambda: None,
    ):
        rows = list(rows)
        self.cache, self.failed = cache, []
        for variant in variants:
            report = extract_features(
                rows, extractor, cache, augmentation=variant or None, process_index=process[0], num_processes=process[1]
            )
            self.failed += [f for f in report.failed if f not in self.failed]
        wait()
        cache.refresh()
        self.digests = [_digest(row["audio"]) for row in rows]
        self.held: dict[tuple[str, str], ClipFeatures] = {}
        self.usable = [i for i, d in enumerate(self.digests) if d and self._has_all(d, variants)]

    def _has_all(self, digest: str, variants: list[str]) -> bool:
        try:
            return all(self.get(digest, v) is not None for v in variants)
        except FASError:
            return False

    def get(self, digest: str, variant: str = "") -> ClipFeatures:
        """Features by content."""
        key = (digest, variant)
        if key not in self.held:
            self.held[key] = self.cache.get(digest, variant or None)
        return self.held[key]

    def clips(self, chosen: list[int], ids: list[str], labels, words, variants: list[str]) -> Clips:
        """The chosen rows as `Clips`."""
        digests = [self.digests[i] for i in chosen]
        return Clips(
            ids=[ids[i] for i in chosen],
            labels=np.asarray(labels)[chosen],
            semantic_labels=np.asarray(words)[chosen],
            features=lambda i, variant: self.get(digests[i], variant),
            variants=variants,
        )


def load_clips(
    data: DataArguments, seed: int, extractor: FeatureExtractor, process: tuple[int, int] = (0, 1), wait=lambda: None
) -> tuple[Clips, Clips | None, dict]:
    """Training and validation clips of the corpora, and a JSON-ready account of what was used.

    Raises:
        FASError: no corpus given, or a folder without the corpus's layout.
    """
    if not data.corpora:
        raise FASError("--corpora is empty: give training corpora as NAME=FOLDER, e.g. ravdess=data/ravdess")
    cache = FeatureCache(Path(data.cache_dir).expanduser(), extractor.identity())
    train, validation, account = [], [], []
    named = [(n, p, True) for n, p in parse_pairs(data.corpora, "--corpora")]
    named += [(n, p, False) for n, p in parse_pairs(data.words_corpora, "--words_corpora")]
    for name, folder, tone in named:
        dataset = _load(name, folder, data)
        source = FeatureSource(dataset, extractor, cache, ["", *data.augmentation], process, wait)
        parts = _split(dataset, source, tone, data.augmentation)
        train.append(parts["train"])
        validation.append(parts["validation"])
        account.append(
            dict(corpus=name, learns="tone and words" if tone else "words", failed=source.failed)
            | {split: len(clips) for split, clips in parts.items()}
        )
    train_clips, validation_clips = concatenate(train), concatenate(validation)
    if not (validation_clips.labels != UNKNOWN).any():
        validation_clips = None
    return train_clips, validation_clips, {"corpora": account, "identity": extractor.digest}


def _load(name: str, folder: Path, data: DataArguments):
    """One corpus; where no split says "validation", speakers are put aside for it."""
    fold = data.fold if name in ("ravdess", "iemocap") else None
    return load_corpus(name, folder, fold=fold, exclude=data.exclude)


def with_validation_speakers(dataset, fraction: float, seed: int):
    """Move whole speakers from train to validation.

    Raises:
        FASError: with fewer than two training speakers.
    """
    rows = [r for r in dataset if r["split"] == "train"]
    speakers = sorted({r["speaker"] for r in rows})
    if len(speakers) < 2:
        raise FASError("validation needs at least two training speakers; give a corpus with a validation split")
    sides = assign_speaker_splits(speakers, (1 - fraction, fraction, 0.0), seed)
    split = [sides[r["speaker"]] if r["split"] == "train" else r["split"] for r in dataset]
    return dataset.remove_columns("split").add_column("split", split)


def _split(dataset, source: FeatureSource, tone: bool, augmentation: list[str]) -> dict[str, Clips]:
    labels = label_indices(dataset["emotion"]) if tone else np.full(len(dataset), UNKNOWN)
    words = label_indices(dataset["semantic_emotion"])
    splits, ids = dataset["split"], dataset["id"]
    parts = {}
    for split in ("train", "validation"):
        chosen = [i for i in source.usable if splits[i] == split]
        parts[split] = source.clips(chosen, ids, labels, words, ["", *augmentation])
    return parts


def _digest(path: str) -> str | None:
    try:
        return audio_digest(path)
    except AudioError:
        return None
