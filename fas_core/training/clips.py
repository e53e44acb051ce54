"""The clips of a training run: labels and features side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

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
        semantic_targets: (N, 7) what the semantic head learns instead of these labels: probabilities, a row of zeros where
            unknown. None: the labels. `with_words` sets both.
        speakers: (N,) names, or None where unknown.
        variants: names of the augmentation variants; "" is the clip as it is.
        features: (index, variant) -> `ClipFeatures`.
        digests: of each clip's audio, its content; None where it does not come from files.
        corpora: (N,) names, or None where unknown.
        synthesizers: (N,) names of what synthesized each clip, None for a human voice.
        tone_logits: variant -> (N, 7) what a discriminant without the clip's voice or corpus says; of a training on residuals.
    """

    ids: list[str]
    labels: np.ndarray
    semantic_labels: np.ndarray
    features: Callable
    variants: list[str] = field(default_factory=lambda: [""])
    speakers: list[str | None] | None = None
    digests: list[str | None] | None = None
    corpora: list[str | None] | None = None
    semantic_targets: np.ndarray | None = None
    synthesizers: list[str | None] | None = None
    tone_logits: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def with_words(self, targets: np.ndarray) -> Clips:
        """The same clips with probabilities (N, 7) of the words, a row of zeros where unknown; the labels are the most probable."""
        labels = np.where(targets.any(1), targets.argmax(1), UNKNOWN)
        return replace(self, semantic_labels=labels, semantic_targets=targets.astype(np.float32))

    @property
    def words(self) -> np.ndarray:
        """What the semantic head learns: `semantic_targets` where there are any, else `semantic_labels`."""
        return self.semantic_labels if self.semantic_targets is None else self.semantic_targets

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
        """`FeatureStatistics` of each stream over the clips as they are, those with a tone label unless told otherwise.

        Where words are learned from texts, the semantic stream's are over the clips with words, too: over corpora of one sentence
        alone, that sentence would be what every other one is measured by.
        """
        toned = self.labels >= 0 if only_labelled else np.ones(len(self), dtype=bool)
        worded = toned if self.semantic_targets is None else toned | (self.semantic_labels >= 0)
        return {
            stream: feature_statistics(
                (getattr(self.features(i, ""), stream) for i in np.flatnonzero(chosen)),
                (getattr(self.features(i, ""), f"{stream}_deviation") for i in np.flatnonzero(chosen)),
            )
            for stream, chosen in (("acoustic", toned), ("semantic", worded))
        }


def label_indices(names: Iterable[str | None]) -> np.ndarray:
    """Emotion names to indices, None to -100."""
    return np.array([UNKNOWN if name is None else EMOTIONS.index(name) for name in names], dtype=np.int64)


def one_hot(labels: np.ndarray) -> np.ndarray:
    """(N,) emotions -> (N, 7) float32, a row of zeros where unknown."""
    rows = np.zeros((len(labels), len(EMOTIONS)), dtype=np.float32)
    rows[labels >= 0, labels[labels >= 0]] = 1
    return rows


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
        synthesizers=[s for p in parts for s in p.synthesizers or [None] * len(p)],
        semantic_targets=None
        if all(p.semantic_targets is None for p in parts)
        else np.concatenate([_targets(p) for p in parts]),
    )


def _targets(clips: Clips) -> np.ndarray:
    """(N, 7) probabilities of the words; of a label 1."""
    return one_hot(clips.semantic_labels) if clips.semantic_targets is None else clips.semantic_targets
