"""The clips of a training run: labels and features side by side."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from fas_core.labels import EMOTIONS
from fas_core.standardisation import feature_statistics

UNKNOWN = -100  # the index that cross-entropy ignores


@dataclass
class Clips:
    """A set of clips with features.

    Attributes:
        ids: names of the clips.
        labels: (N,) emotion of the tone, -100 where unknown or not to be learned.
        semantic_labels: (N,) emotion of the words, -100 where unknown.
        speakers: (N,) names, or None where unknown.
        variants: names of the augmentation variants; "" is the clip as it is.
        features: (index, variant) -> `ClipFeatures`.
        digests: of each clip's audio, its content; None where it does not come from files.
        corpora: (N,) names, or None where unknown.
    """

    ids: list[str]
    labels: np.ndarray
    semantic_labels: np.ndarray
    features: Callable
    variants: list[str] = field(default_factory=lambda: [""])
    speakers: list[str | None] | None = None
    digests: list[str | None] | None = None
    corpora: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def class_weights(self, clip_weights: np.ndarray | None = None) -> np.ndarray:
        """(7,) inverse frequencies of the tone's emotions, mean 1 over the clips; 0 for a class without clips.

        Args:
            clip_weights: (N,), what each clip counts for; 1 by default.
        """
        known = self.labels >= 0
        weights = None if clip_weights is None else clip_weights[known]
        counts = np.bincount(self.labels[known], weights, minlength=len(EMOTIONS)).astype(float)
        present = counts > 0
        weights = np.zeros(len(EMOTIONS))
        weights[present] = counts.sum() / present.sum() / counts[present]
        return weights

    def statistics(self, only_labelled: bool = True) -> dict:
        """`FeatureStatistics` of each stream over the clips as they are, those with a tone label unless told otherwise."""
        chosen = [i for i in range(len(self)) if self.labels[i] >= 0 or not only_labelled]
        return {
            stream: feature_statistics(
                (getattr(self.features(i, ""), stream) for i in chosen),
                (getattr(self.features(i, ""), f"{stream}_deviation") for i in chosen),
            )
            for stream in ("acoustic", "semantic")
        }


def label_indices(names: Iterable[str | None]) -> np.ndarray:
    """Emotion names to indices, None to -100."""
    return np.array([UNKNOWN if name is None else EMOTIONS.index(name) for name in names], dtype=np.int64)


def concatenate(parts: list[Clips]) -> Clips:
    """One set out of several; a clip without a variant stands for itself where that variant is asked for."""
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    start = np.concatenate([[0], np.cumsum([len(p) for p in parts])])

    def features(i: int, variant: str):
        part = parts[owner[i]]
        return part.features(i - start[owner[i]], variant if variant in part.variants else "")

    return Clips(
        ids=[i for p in parts for i in p.ids],
        labels=np.concatenate([p.labels for p in parts]),
        semantic_labels=np.concatenate([p.semantic_labels for p in parts]),
        features=features,
        variants=list(dict.fromkeys(v for p in parts for v in p.variants)),
        speakers=[s for p in parts for s in p.speakers or [None] * len(p)],
        digests=[d for p in parts for d in p.digests or [None] * len(p)],
        corpora=[c for p in parts for c in p.corpora or [None] * len(p)],
    )
