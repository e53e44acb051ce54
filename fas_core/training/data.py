"""From corpora to clips with features: reading, extraction, splits, what failed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate.utils import gather_object
from datasets import Dataset

from fas_core.data import assign_speaker_splits, has_folds, load_corpus
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import AudioError, FASError
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_core.training.arguments import DataArguments, parse_pairs
from fas_core.training.clips import UNKNOWN, Clips, concatenate, label_indices

log = logging.getLogger(__name__)
Teacher = Callable[[Sequence[Mapping], Sequence[str]], tuple[np.ndarray, Counter]]


class FeatureSource:
    """Features of a data set's clips: extracted where they are missing, then kept in memory in fp16.

    Args:
        rows: rows with `audio`.
        extractor, cache: of one identity.
        variants: "" and names of augmentation variants.
        process: (index, number) of this process.
        wait: returns once every process has called it.

    Attributes:
        failed: {"file", "error"} of clips without features, whichever process met them.
        usable: indices of the rows that have all variants.
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
        self.cache, self.variants, self.failed = cache, variants, []
        for variant in variants:
            report = extract_features(
                rows, extractor, cache, augmentation=variant or None, process_index=process[0], num_processes=process[1]
            )
            self.failed += [f for f in gather_object(report.failed) if f not in self.failed]
        wait()
        cache.refresh()
        self.digests = [_digest(row["audio"]) for row in rows]
        self.held: dict[tuple[str, str], ClipFeatures] = {}
        self.usable = [i for i, d in enumerate(self.digests) if d and self._has_all(d)]

    def _has_all(self, digest: str) -> bool:
        try:
            return all(self.get(digest, v) is not None for v in self.variants)
        except FASError:
            return False

    def get(self, digest: str, variant: str = "") -> ClipFeatures:
        """Features by content."""
        key = (digest, variant)
        if key not in self.held:
            clip = self.cache.get(digest, variant or None)
            # fp16 on disk already: nothing is lost
            halves = {s: getattr(clip, s).astype(np.float16) for s in ("acoustic", "semantic")}
            self.held[key] = replace(clip, **halves)
        return self.held[key]

    def clips(
        self, chosen: list[int], ids: list[str], labels, words, variants: list[str], speakers, corpora=None
    ) -> Clips:
        """The chosen rows as `Clips`."""
        digests = [self.digests[i] for i in chosen]
        return Clips(
            ids=[ids[i] for i in chosen],
            labels=np.asarray(labels)[chosen],
            semantic_labels=np.asarray(words)[chosen],
            features=lambda i, variant: self.get(digests[i], variant),
            variants=variants,
            speakers=[speakers[i] for i in chosen],
            digests=digests,
            corpora=None if corpora is None else [corpora[i] for i in chosen],
        )


def load_clips(
    data: DataArguments,
    seed: int,
    extractor: FeatureExtractor,
    process: tuple[int, int] = (0, 1),
    wait=lambda: None,
    augment_validation: bool = False,
    teacher_for: Callable[[FeatureCache], Teacher | None] = lambda cache: None,
) -> tuple[Clips, Clips | None, dict]:
    """Training and validation clips of the corpora, and a JSON-ready account of what was used.

    Corpora that teach only words are not augmented: augmentation is there for the tone.

    Args:
        augment_validation: extract the variants of validation clips too, because they are to be trained on later.
        teacher_for: the feature cache -> what teaches the words of clips (`fas_core.training.words`); None: the corpora's labels.

    Raises:
        FASError: no corpus given, a folder without the corpus's layout, or no speakers for validation.
    """
    if not data.corpora:
        raise FASError("--corpora is empty: give training corpora as NAME=FOLDER, e.g. ravdess=data/ravdess")
    cache = FeatureCache(expanded(data.cache_dir), extractor.identity())
    teacher = teacher_for(cache)
    parts: dict[str, list[Clips]] = {"train": [], "validation": []}
    account = []
    for name, dataset, tone in read_corpora(data, seed):
        entry = dict(corpus=name, learns="tone and words" if tone else "words", failed=[], words=Counter())
        for split, clips in parts.items():
            rows = dataset.select([i for i, s in enumerate(dataset["split"]) if s == split])
            augmented = tone and (split == "train" or augment_validation)
            variants = ["", *data.augmentation] if augmented else [""]
            source = FeatureSource(rows, extractor, cache, variants, process, wait)
            labels = label_indices(rows["emotion"] if tone else [None] * len(rows))
            words = label_indices(rows["semantic_emotion"])
            names = dict(speakers=rows["speaker"], corpora=rows["corpus"])
            clips.append(source.clips(source.usable, list(rows["id"]), labels, words, variants, **names))
            clips[-1].synthesizers = [rows[i]["synthesizer"] for i in source.usable]
            if teacher is not None:
                targets, found = teacher([rows[i] for i in source.usable], clips[-1].digests)
                clips[-1], entry["words"] = clips[-1].with_words(targets), entry["words"] + found
            entry["failed"] += source.failed
            entry[split] = len(clips[-1])
        account.append(entry)
    train, validation = concatenate(parts["train"]), concatenate(parts["validation"])
    has_validation = (validation.labels != UNKNOWN).any()
    return train, validation if has_validation else None, {"corpora": account, "identity": extractor.digest}


def read_corpora(data: DataArguments, seed: int) -> list[tuple[str, Dataset, bool]]:
    """(name, clips, whether they teach the tone) of every corpus, before anything is extracted."""
    if data.fold is not None and not any(has_folds(name) for name, _ in parse_pairs(data.corpora, "--corpora")):
        log.warning("--fold %d is not used: none of these corpora has folds", data.fold)
    corpora = [(n, _load(n, p, data), True) for n, p in parse_pairs(data.corpora, "--corpora")]
    words = [(n, _load(n, p, data), False) for n, p in parse_pairs(data.words_corpora, "--words_corpora")]
    return _with_validation(corpora, data.validation_fraction, seed) + words


def _load(name: str, folder: Path, data: DataArguments) -> Dataset:
    fold = data.fold if has_folds(name) else None
    return load_corpus(name, folder, fold=fold, exclude=data.exclude, exclude_labels=data.exclude_labels)


def _with_validation(corpora: list[tuple[str, Dataset, bool]], fraction: float, seed: int) -> list:
    """Where no corpus has a validation split, speakers of each are put aside for it.

    Raises:
        FASError: none of them has two training speakers.
    """
    if fraction == 0 or _have_validation(corpora):
        return corpora
    divided = [(name, with_validation_speakers(rows, fraction, seed), tone) for name, rows, tone in corpora]
    if not _have_validation(divided):
        raise FASError(
            "--corpora: none has a validation split, or two training speakers to make one; add one that has, or "
            "give --validation_fraction 0 to train without validation"
        )
    return divided


def _have_validation(corpora: list[tuple[str, Dataset, bool]]) -> bool:
    return any("validation" in rows.unique("split") for _, rows, _ in corpora)


def with_validation_speakers(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Move whole speakers from train to validation; nothing where there are fewer than two."""
    speakers = {r["speaker"] for r in dataset if r["split"] == "train"} - {None}
    if len(speakers) < 2:
        return dataset
    sides = assign_speaker_splits(speakers, (1 - fraction, fraction, 0.0), seed)
    split = [sides.get(r["speaker"], "train") if r["split"] == "train" else r["split"] for r in dataset]
    return dataset.remove_columns("split").add_column("split", split)


def _digest(path: str) -> str | None:
    try:
        return audio_digest(path)
    except AudioError:
        return None
