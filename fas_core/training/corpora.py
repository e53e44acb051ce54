"""Training on clips of several corpora: what each clip counts for, and which emotions its corpus has."""

import numpy as np

from fas_core.discriminant import Corpora
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.training.arguments import TrainingArguments, parse_weights
from fas_core.training.clips import Clips

UNNAMED = "unnamed"  # the corpus of clips that do not say theirs


def corpus_names(clips: Clips) -> np.ndarray:
    """(N,) strings."""
    return np.array([str(name or UNNAMED) for name in clips.corpora or [None] * len(clips)], dtype=str)


def weights_of_clips(clips: Clips, arguments: TrainingArguments) -> np.ndarray | None:
    """(N,) with mean 1 over the clips whose tone is known; None where all clips count alike.

    With `corpus_balance` the clips of a corpus together have the corpus's weight, without it each clip has it.

    Raises:
        FASError: a weight of a corpus that has no clips here.
    """
    trust = parse_weights(arguments.corpus_weights)
    if not (arguments.corpus_balance or trust):
        return None
    names, known = corpus_names(clips), clips.labels >= 0
    if unknown := [name for name in trust if name not in set(names[known])]:
        raise FASError(
            f"--corpus_weights {unknown[0]}: no such corpus here; expected among {', '.join(sorted(set(names[known])))}"
        )
    weights = np.ones(len(clips))
    for name in np.unique(names):
        rows = names == name
        weights[rows] = trust.get(name, 1.0) / (max(1, (rows & known).sum()) if arguments.corpus_balance else 1)
    return weights / (weights[known].mean() if known.any() else 1.0)


def possible_emotions(clips: Clips) -> np.ndarray:
    """(N, 7) bool: the emotions that clips of the same corpus have; all where it has none."""
    names, possible = corpus_names(clips), np.ones((len(clips), len(EMOTIONS)), dtype=bool)
    for name in np.unique(names):
        labels = clips.labels[(names == name) & (clips.labels >= 0)]
        if len(labels):
            possible[names == name] = np.isin(np.arange(len(EMOTIONS)), labels)
    return possible


def discriminant_corpora(clips: Clips, rows: np.ndarray, arguments: TrainingArguments) -> Corpora | None:
    """How the discriminant counts these clips (indices, repeats allowed); None where it counts all alike."""
    weights = weights_of_clips(clips, arguments)
    if weights is None and arguments.between_corpora == 1:
        return None
    weights = np.ones(len(clips)) if weights is None else weights
    return Corpora(corpus_names(clips)[rows], weights[rows], arguments.corpus_balance, arguments.between_corpora)


def held_out_groups(clips: Clips, rows: np.ndarray, arguments: TrainingArguments) -> tuple[list[str], int | None]:
    """(group of each of these clips, into how many parts they are divided) for the discriminant's temperature: voices, or corpora
    where they are asked for and there are several; None is the usual number of parts.

    A clip whose speaker nobody knows is a group of its own. Two corpora that give one name to a speaker mean two people.
    """
    names = corpus_names(clips)
    if arguments.temperature_on == "corpora" and (count := len(set(names[rows]))) > 1:
        return names[rows].tolist(), count
    speakers = clips.speakers if len(set(clips.speakers or [])) > 1 else [None] * len(clips)
    corpora_of: dict[str, set] = {}
    for speaker, name in zip(speakers, names, strict=True):
        corpora_of.setdefault(speaker, set()).add(name)
    voices = [
        f"{names[i]}/{speakers[i]}" if len(corpora_of[speakers[i]]) > 1 else speakers[i] for i in range(len(clips))
    ]
    return [str(voices[i] if speakers[i] else clips.ids[i]) for i in rows], None
