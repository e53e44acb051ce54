"""Scores on speech whose words carry a known emotion: what conflict costs, what is followed, whether it is noticed."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from statsmodels.stats.proportion import proportion_confint

from fas_core.conflict import conflict_auroc
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.statistics.metrics import METRICS, answer_figures, checked_indices
from fas_eval.statistics.resampling import Bootstrap

NEUTRAL = EMOTIONS.index("neutral")
OF_HALVES = (*METRICS, "intervals", "confusion")


def conflicting(labels: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(N,) bool: the words carry an emotion and the tone another; a sentence without emotion contradicts no tone.

    Args:
        labels: (N,) emotion of the tone, indices into `EMOTIONS`. words: (N,) emotion of the words, likewise.
    """
    return (words != NEUTRAL) & (words != labels)


def detection(scores: np.ndarray, is_conflicting: np.ndarray) -> dict:
    """How well a conflict score tells conflicting from congruent clips: {"auroc", "interval"}.

    Args:
        scores: (N,), finite. is_conflicting: (N,) bool.

    Raises:
        FASError: clips of one kind only, or scores that are missing.
    """
    scores, is_conflicting = np.asarray(scores, dtype=np.float64), np.asarray(is_conflicting, dtype=bool)
    if scores.shape != is_conflicting.shape or not np.isfinite(scores).all():
        raise FASError(
            f"scores: shape {scores.shape}, {int((~np.isfinite(scores)).sum())} not finite, with is_conflicting "
            f"{is_conflicting.shape}; expected one number a clip"
        )
    return {"auroc": conflict_auroc(scores, is_conflicting), "interval": auroc_interval(scores, is_conflicting)}


def auroc_interval(scores: np.ndarray, is_conflicting: np.ndarray, *, confidence: float = 0.95) -> list[float]:
    """Interval of the AUROC, conflicting and congruent clips being two samples.

    Variance: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44(3), 1988, by midranks (Sun and Xu, IEEE Signal Processing Letters 21(11), 2014).
    On the logit scale, which keeps it inside 0..1 and closer to its level near 1 (Pepe, "The Statistical Evaluation of
    Medical Tests for Classification and Prediction", 2003, section 5.2.4). Without a spread, as where the kinds are
    perfectly apart, it is the point itself; with a single clip of a kind it is everything.
    """
    scores, is_conflicting = np.asarray(scores), np.asarray(is_conflicting, dtype=bool)
    positive, negative = scores[is_conflicting], scores[~is_conflicting]
    if min(len(positive), len(negative)) < 2:
        return [0.0, 1.0]
    ranks = rankdata(np.concatenate([positive, negative]))
    # of each clip: the share of the other kind's clips below it, ties by half
    p = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    n = (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    auroc = float(p.mean())
    error = np.sqrt(p.var(ddof=1) / len(positive) + n.var(ddof=1) / len(negative))
    if error < 1e-12:
        return [auroc, auroc]
    half = norm.ppf((1 + confidence) / 2) * error / (auroc * (1 - auroc))
    return [float(expit(logit(auroc) + side * half)) for side in (-1, 1)]


def tone_or_words(
    labels: np.ndarray,
    words: np.ndarray,
    answers: np.ndarray,
    speakers: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 42,
    confidence: float = 0.95,
) -> dict:
    """What a system follows where tone and words differ, and what the difference costs it.

    Args:
        labels: (N,) emotion of the tone, indices into `EMOTIONS`. words: (N,) emotion of the words, likewise.
        answers: (N,), -1 where no emotion was named.
        speakers: (N,), to draw speakers for the interval of the gap; None draws clips.

    Returns:
        clips, congruent, conflicting: how many.
        shares: "tone", "words", "neither" (a third emotion), "none" (no emotion) -> share of the conflicting clips, together
            1; None without conflicting clips. intervals: of each [low, high], Wilson's, clips taken as independent.
        accuracy: {"congruent", "conflicting"}, None where there are no such clips. gap: congruent minus conflicting, with
            gap_interval from the bootstrap; None where one is missing.
        resampled: "clips" or "speakers", of the gap.

    Raises:
        FASError: no clips, or shapes and indices that do not fit.
    """
    labels = checked_indices(labels, "labels")
    words = checked_indices(words, "words", len(labels))
    answers = checked_indices(answers, "answers", len(labels), lowest=-1)
    conflicting = labels != words
    bootstrap = Bootstrap(len(labels), speakers, resamples, seed)
    return {
        "clips": len(labels),
        "congruent": int((~conflicting).sum()),
        "conflicting": int(conflicting.sum()),
        **_followed(labels[conflicting], words[conflicting], answers[conflicting], confidence),
        **_gap(conflicting, answers == labels, bootstrap, confidence),
        "resampled": bootstrap.resampled,
    }


def halves(
    labels: np.ndarray,
    words: np.ndarray,
    answers: dict[str, np.ndarray],
    speakers: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 42,
    confidence: float = 0.95,
) -> dict:
    """How right a system, and each of its pathways, is where tone and words agree and where they do not.

    Args:
        labels, words, speakers: as of `tone_or_words`.
        answers: name -> (N,) as of `tone_or_words`; all are held against the tone.

    Returns:
        {"congruent", "conflicting"} -> {"clips": how many, "answers": {name: {accuracy, ua, macro_f1, intervals, confusion}}}, as
        `scores.score_answers` has them; no answers where there are no such clips.

    Raises:
        FASError: no clips, or shapes and indices that do not fit.
    """
    labels = checked_indices(labels, "labels")
    words = checked_indices(words, "words", len(labels))
    answers = {name: checked_indices(said, name, len(labels), lowest=-1) for name, said in answers.items()}
    found = {}
    for half, chosen in (("congruent", labels == words), ("conflicting", labels != words)):
        found[half] = {"clips": int(chosen.sum()), "answers": {}}
        if chosen.any():
            of_half = speakers and [speaker for speaker, here in zip(speakers, chosen, strict=True) if here]
            bootstrap = Bootstrap(found[half]["clips"], of_half, resamples, seed)
            for name, said in answers.items():
                figures = answer_figures(labels[chosen], said[chosen], bootstrap, confidence)
                found[half]["answers"][name] = {key: figures[key] for key in OF_HALVES}
    return found


def _followed(labels: np.ndarray, words: np.ndarray, answers: np.ndarray, confidence: float) -> dict:
    clips = len(labels)
    if not clips:
        return {"shares": None, "intervals": None}
    counts = {
        k: int(x.sum()) for k, x in (("tone", answers == labels), ("words", answers == words), ("none", answers < 0))
    }
    counts["neither"] = clips - sum(counts.values())
    wilson = {k: proportion_confint(n, clips, alpha=1 - confidence, method="wilson") for k, n in counts.items()}
    return {
        "shares": {kind: n / clips for kind, n in counts.items()},
        "intervals": {kind: [float(v) for v in pair] for kind, pair in wilson.items()},
    }


def _gap(conflicting: np.ndarray, correct: np.ndarray, bootstrap: Bootstrap, confidence: float) -> dict:
    half = {"congruent": correct[~conflicting], "conflicting": correct[conflicting]}
    accuracy = {name: float(x.mean()) if len(x) else None for name, x in half.items()}
    if None in accuracy.values():
        return {"accuracy": accuracy, "gap": None, "gap_interval": None}
    drawn = bootstrap.counts(2 * conflicting + correct, 4).reshape(-1, 2, 2)
    clips = drawn.sum(axis=2)
    with np.errstate(invalid="ignore"):  # a resample without clips of one kind has no gap
        congruent, other = (drawn[:, :, 1] / clips).T
    return {
        "accuracy": accuracy,
        "gap": accuracy["congruent"] - accuracy["conflicting"],
        "gap_interval": bootstrap.interval(congruent - other, confidence),
    }
