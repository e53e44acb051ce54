"""Scores on speech whose words carry a known emotion: what conflict costs, what is followed, whether it is noticed."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit, softmax
from scipy.stats import norm, rankdata
from statsmodels.stats.proportion import proportion_confint

from eval.statistics.metrics import checked_indices, classification_report
from eval.statistics.resampling import Bootstrap
from fas_core.conflict import conflict, conflict_auroc
from fas_core.errors import FASError


def conflict_scores(acoustic_logits: np.ndarray, semantic_logits: np.ndarray) -> np.ndarray:
    """(N,) conflict between what the two heads, (N, 7) logits each, make of every clip."""
    return conflict(softmax(acoustic_logits, axis=1), softmax(semantic_logits, axis=1))


def conflict_report(
    labels: np.ndarray,
    semantic_labels: np.ndarray,
    heads: dict[str, np.ndarray],
    *,
    resamples: int = 1000,
    seed: int = 42,
) -> dict:
    """AUROC of the conflict score, and every head's report on the congruent and the conflicting clips.

    Args:
        labels: (N,) emotion of the tone, the ground truth of every head in `halves`.
        semantic_labels: (N,) emotion of the words.
        heads: "fused" and "acoustic", and "semantic" where the checkpoint has that head: (N, 7) logits.

    Returns:
        JSON-ready: `auroc` (None where there is no semantic head or only one kind of clip, `auroc_missing`
        says which), `auroc_interval` (see there), `halves` {"congruent", "conflicting"}
        -> {"clips", head -> ClassificationReport as a dict}, and `semantic_head_on_words`, the semantic
        head against the emotion of the words.
    """
    options = {"resamples": resamples, "seed": seed}
    is_conflicting = labels != semantic_labels
    report = {"clips": len(labels), "halves": {}, **_auroc(heads, is_conflicting)}
    for half, chosen in (("congruent", ~is_conflicting), ("conflicting", is_conflicting)):
        report["halves"][half] = {"clips": int(chosen.sum())}
        if chosen.any():
            for head, logits in heads.items():
                scored = classification_report(labels[chosen], logits[chosen], **options)
                report["halves"][half][head] = scored.to_dict()
    if "semantic" in heads:
        words = classification_report(semantic_labels, heads["semantic"], **options)
        report["semantic_head_on_words"] = words.to_dict()
    return report


def _auroc(heads: dict[str, np.ndarray], is_conflicting: np.ndarray) -> dict:
    if "semantic" not in heads:
        return {"auroc": None, "auroc_missing": "the checkpoint has no semantic head"}
    try:
        found = detection(conflict_scores(heads["acoustic"], heads["semantic"]), is_conflicting)
    except FASError as error:
        return {"auroc": None, "auroc_missing": str(error)}
    return {"auroc": found["auroc"], "auroc_interval": found["interval"]}


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
