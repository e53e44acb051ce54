"""The clips that baselines are trained on here: the same that a FAS of the same run is trained on."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from fas_core.errors import AudioError
from fas_core.segments import file_of
from fas_core.sources import audio_digest
from fas_core.training.clips import label_indices
from fas_core.training.data import read_corpora
from fas_eval.systems.context import BuildContext

UNREADABLE = "unreadable"
SPLIT_SEED = 42  # of the validation speakers, where the corpora have none


@dataclass
class TrainingSet:
    """Labelled clips.

    Attributes:
        rows: {"id", "audio"} each. labels: (N,) indices into `EMOTIONS`. validation: (N,) whether a clip is put aside to choose
            settings and temperature; the system is then trained on all clips.
    """

    rows: list[dict]
    labels: np.ndarray
    validation: np.ndarray

    @cached_property
    def digest(self) -> str:
        """sha256 over content, label and side of every clip."""
        parts = sorted(
            f"{content_digest(row['audio'])} {label} {side}"
            for row, label, side in zip(self.rows, self.labels, self.validation, strict=True)
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def only(self, chosen: list[int]) -> "TrainingSet":
        return TrainingSet([self.rows[i] for i in chosen], self.labels[chosen], self.validation[chosen])


def content_digest(path: str) -> str:
    """sha256 of a file, read again only where it changed; a file that cannot be opened counts as such."""
    try:
        status = os.stat(file_of(path))
        return _digest(path, status.st_mtime_ns, status.st_size)
    except (AudioError, OSError):
        return UNREADABLE


@lru_cache(maxsize=1 << 20)
def _digest(path: str, *stamp: int) -> str:
    return audio_digest(path)


def training_set(context: BuildContext) -> TrainingSet:
    """Training and validation clips of the run's training corpora.

    Raises:
        FASError: as `BuildContext.data_arguments`.
    """
    data = context.data_arguments({})
    rows = [
        row
        for _, dataset, _ in read_corpora(data, SPLIT_SEED)
        for row in dataset
        if row["split"] in ("train", "validation")
    ]
    labels = label_indices(row["emotion"] for row in rows)
    return TrainingSet(rows, labels, np.array([row["split"] == "validation" for row in rows]))
