"""Scores on speech whose words carry a known emotion: what conflict costs, and whether it is noticed."""

import numpy as np
from scipy.special import softmax
from scipy.stats import rankdata

from eval.statistics.metrics import classification_report
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
        says which), `auroc_interval` (clips drawn within each kind), `halves` {"congruent", "conflicting"}
        -> {"clips", head -> ClassificationReport as a dict}, and `semantic_head_on_words`, the semantic
        head against the emotion of the words.
    """
    options = {"resamples": resamples, "seed": seed}
    is_conflicting = labels != semantic_labels
    report = {"clips": len(labels), "halves": {}, **_auroc(heads, is_conflicting, **options)}
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


def _auroc(heads: dict[str, np.ndarray], is_conflicting: np.ndarray, *, resamples: int, seed: int) -> dict:
    if "semantic" not in heads:
        return {"auroc": None, "auroc_missing": "the checkpoint has no semantic head"}
    scores = conflict_scores(heads["acoustic"], heads["semantic"])
    try:
        auroc = conflict_auroc(scores, is_conflicting)
    except FASError as error:
        return {"auroc": None, "auroc_missing": str(error)}
    return {
        "auroc": auroc,
        "auroc_interval": auroc_interval(scores, is_conflicting, resamples=resamples, seed=seed),
    }


def auroc_interval(scores, is_conflicting, *, resamples: int = 1000, seed: int = 42) -> list[float]:
    """95% percentile bootstrap of the AUROC; conflicting and congruent clips are drawn apart."""
    generator = np.random.default_rng(seed)
    positive, negative = scores[is_conflicting], scores[~is_conflicting]
    drawn = np.empty(resamples)
    for i in range(resamples):  # one at a time: (resamples, clips) ranks would fill the memory on large sets
        p = generator.choice(positive, len(positive))
        ranks = rankdata(np.concatenate([p, generator.choice(negative, len(negative))]))
        drawn[i] = (ranks[: len(p)].sum() - len(p) * (len(p) + 1) / 2) / (len(p) * len(negative))
    return [float(v) for v in np.percentile(drawn, [2.5, 97.5])]
