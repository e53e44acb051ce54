"""Which clips a panel hears as they are meant, and how far its listeners agree.

A listener counts for a clip where they heard the target emotion and called it clear. CASE (Huang et al. 2026) kept the
clips that its panel of 12 heard clearly; the share behind that word is an option here, more than half by default.

Krippendorff's alpha (Krippendorff, Content Analysis, 2004), nominal, from the package `krippendorff`: it takes any number of
votes a clip; 1 is perfect agreement, 0 what chance gives. Fleiss' kappa (statsmodels) needs as many votes for each clip.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fas_core.errors import FASError, MissingDependencyError
from fas_core.labels import EMOTIONS
from fas_eval.case.responses import NONE, Vote

MIN_LISTENERS = 3
_HEARD = (*EMOTIONS, NONE)


@dataclass(frozen=True)
class Verdict:
    """What the panel says of a clip: of `listeners` votes, `hits` heard the target clearly; `heard` counts what was heard."""

    clip: str
    target: str
    listeners: int
    hits: int
    heard: Mapping[str, int]
    kept: bool

    @property
    def share(self) -> float:
        return self.hits / self.listeners if self.listeners else 0.0


def judge(
    votes: Sequence[Vote],
    targets: Mapping[str, str],
    *,
    share: float | None = None,
    min_listeners: int = MIN_LISTENERS,
) -> list[Verdict]:
    """A verdict on each clip of `targets` (clip -> acoustic emotion), in their order.

    Args:
        share: at least this share of a clip's listeners has to hear the target clearly; None: more than half.
        min_listeners: a clip with fewer votes is not kept, whatever they say.

    Raises:
        FASError: a share outside (0, 1], or fewer than one listener.
    """
    if share is not None and not 0 < share <= 1:
        raise FASError(f"--share {share}; expected above 0, at most 1")
    if min_listeners < 1:
        raise FASError(f"--min-listeners {min_listeners}; expected at least 1")
    by_clip = defaultdict(list)
    for vote in votes:
        by_clip[vote.clip].append(vote)
    return [_verdict(clip, target, by_clip[clip], share, min_listeners) for clip, target in targets.items()]


def _verdict(clip: str, target: str, votes: Sequence[Vote], share: float | None, min_listeners: int) -> Verdict:
    count, hits = len(votes), sum(vote.clear and vote.heard == target for vote in votes)
    enough = 2 * hits > count if share is None else hits >= share * count - 1e-9  # 0.7 of 10 is 7, in floats too
    heard = Counter(vote.heard for vote in votes)
    return Verdict(clip, target, count, hits, dict(sorted(heard.items())), kept=count >= min_listeners and enough)


def count_matrix(votes: Sequence[Vote], values: Sequence, value: Callable[[Vote], object]) -> np.ndarray:
    """(clips, values) int: how many listeners gave each value; only clips with two votes or more, which alone can agree."""
    clips = sorted({vote.clip for vote in votes})
    counts = np.zeros((len(clips), len(values)), dtype=int)
    row, column = ({name: i for i, name in enumerate(names)} for names in (clips, values))
    for vote in votes:
        counts[row[vote.clip], column[value(vote)]] += 1
    return counts[counts.sum(axis=1) >= 2]


def alpha(counts: np.ndarray) -> float | None:
    """Krippendorff's alpha, nominal, of (clips, values) counts; None where all votes are one value, or no clip has two.

    Raises:
        MissingDependencyError: the package krippendorff is not installed.
    """
    try:
        import krippendorff
    except ImportError:
        raise MissingDependencyError("agreement needs the package krippendorff: pip install krippendorff") from None
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def alpha_with_interval(counts: np.ndarray, *, resamples: int = 500, seed: int = 42, confidence: float = 0.95) -> dict:
    """{"alpha", "interval", "clips"}: percentile bootstrap over clips; the interval is None where alpha is."""
    found = alpha(counts)
    if found is None:
        return {"alpha": None, "interval": None, "clips": len(counts)}
    rng = np.random.default_rng(seed)
    drawn = (alpha(counts[rng.integers(len(counts), size=len(counts))]) for _ in range(resamples))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    interval = np.quantile([value for value in drawn if value is not None], tails)
    return {"alpha": round(found, 4), "interval": [round(float(x), 4) for x in interval], "clips": len(counts)}


def format_alpha(found: dict) -> str:
    """What `alpha_with_interval` found, for people.

    Examples:
        >>> format_alpha({"alpha": 0.7184, "interval": [0.651, 0.779], "clips": 168})
        '0.72 (95 % interval 0.65 to 0.78)'
    """
    if found["alpha"] is None:
        return "not defined (all votes are alike)"
    low, high = found["interval"]
    return f"{found['alpha']:.2f} (95 % interval {low:.2f} to {high:.2f})"


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa of (clips, values) counts.

    Raises:
        FASError: clips with different numbers of votes. MissingDependencyError: no statsmodels.
    """
    try:
        from statsmodels.stats.inter_rater import fleiss_kappa as kappa
    except ImportError:
        raise MissingDependencyError("Fleiss' kappa needs the package statsmodels: pip install statsmodels") from None
    sizes = sorted(set(counts.sum(axis=1).tolist()))
    if len(sizes) != 1:
        raise FASError(
            f"--fleiss: clips have {sizes} votes; Fleiss' kappa needs as many for each, Krippendorff's alpha does not"
        )
    return round(float(kappa(counts)), 4)


def agreement_report(votes: Sequence[Vote], verdicts: Sequence[Verdict], *, fleiss: bool = False) -> dict:
    """JSON-ready: agreement on what was heard, on whether it was clear, and emotion by emotion.

    Returns:
        "clips", "kept", "listeners", "votes"; "heard" and "clear": see `alpha_with_interval` ("fleiss" where asked for);
        "emotions" {emotion: {"clips" meant so, "kept", "votes", "heard" (share that heard it), "clearly" (and clearly),
        "alpha" of this emotion against all others}}; "confusion" {target: {heard: votes}}.
    """
    heard = count_matrix(votes, _HEARD, lambda vote: vote.heard)
    clear = count_matrix(votes, (False, True), lambda vote: vote.clear)
    report = {
        "clips": len(verdicts),
        "kept": sum(verdict.kept for verdict in verdicts),
        "listeners": len({vote.listener for vote in votes}),
        "votes": len(votes),
        "heard": alpha_with_interval(heard),
        "clear": alpha_with_interval(clear),
        "emotions": {emotion: _emotion(emotion, verdicts, heard) for emotion in EMOTIONS},
        "confusion": {emotion: _heard_as(emotion, verdicts) for emotion in EMOTIONS},
    }
    if fleiss:
        report["heard"]["fleiss"], report["clear"]["fleiss"] = fleiss_kappa(heard), fleiss_kappa(clear)
    return report


def _emotion(emotion: str, verdicts: Sequence[Verdict], heard: np.ndarray) -> dict:
    meant = [verdict for verdict in verdicts if verdict.target == emotion]
    votes = sum(verdict.listeners for verdict in meant)
    this = heard[:, _HEARD.index(emotion)]
    against_others = alpha(np.stack([this, heard.sum(axis=1) - this], axis=1))
    return {
        "clips": len(meant),
        "kept": sum(verdict.kept for verdict in meant),
        "votes": votes,
        "heard": _share(sum(verdict.heard.get(emotion, 0) for verdict in meant), votes),
        "clearly": _share(sum(verdict.hits for verdict in meant), votes),
        "alpha": None if against_others is None else round(against_others, 4),
    }


def _heard_as(emotion: str, verdicts: Sequence[Verdict]) -> dict[str, int]:
    counts = sum((Counter(verdict.heard) for verdict in verdicts if verdict.target == emotion), Counter())
    return {name: counts[name] for name in _HEARD if counts[name]}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
