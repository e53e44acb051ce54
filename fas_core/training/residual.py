"""The fused tokens learn what the discriminant leaves: its logits are added to theirs, a boosting of two steps.

On its own training clips a discriminant is nearly always right, and would leave nothing to learn that holds elsewhere. So in training
the logits of a clip are those of a discriminant that was fitted without its voice, or its corpus (`--temperature_on`); answers have
those of the whole one.
"""

import numpy as np
import torch
from torch import Tensor

from fas_core.discriminant import ABSENT
from fas_core.errors import FeatureError
from fas_core.labels import EMOTIONS
from fas_core.training.clips import UNKNOWN, Clips


def keep_tone_logits(clips: Clips, rows: list[tuple[int, str]], logits: np.ndarray) -> None:
    """Keep held-out logits (R, 7) of clips in variants as `clips.tone_logits`; a variant without any has those of the clip as it is.

    Raises:
        FeatureError: nothing was held out, because all clips are of one voice.
    """
    if (logits == ABSENT).all():
        raise FeatureError("--residual true: the training clips are of one voice, expected two or more; see --corpora")
    first: dict[str, np.ndarray] = {}
    for (index, variant), row in zip(rows, logits, strict=True):
        first.setdefault(variant, np.zeros((len(clips), len(EMOTIONS)), np.float32))[index] = row
    clips.tone_logits = {variant: first.get(variant, first[""]) for variant in clips.variants}


def residual_labels(clips: Clips) -> np.ndarray:
    """(N,) as `clips.labels`; unknown where the other voices or corpora do not have the emotion: no residual of theirs is known."""
    rows = np.arange(len(clips))
    known = clips.labels != UNKNOWN
    unmet = known & (clips.tone_logits[""][rows, clips.labels * known] == ABSENT)
    return np.where(unmet, UNKNOWN, clips.labels)


def tone_logits(clips: Clips, indices: np.ndarray, variants: np.ndarray) -> Tensor:
    """(B, 7) of these clips in these variants (numbers). An emotion that was not met is as unlikely as the least likely of the others."""
    rows = np.stack([clips.tone_logits[clips.variants[v]][i] for i, v in zip(indices, variants, strict=True)])
    least = np.where(rows == ABSENT, np.inf, rows).min(1, keepdims=True)
    return torch.from_numpy(np.where(rows == ABSENT, np.where(np.isfinite(least), least, 0.0), rows).astype(np.float32))
