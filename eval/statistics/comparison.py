"""Whether one system is better than another: paired differences, McNemar's test, correction for many comparisons.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (standard errors of paired differences);
McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika
12(2), 1947; Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2),
1979; Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57(1), 1995.
"""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.special import stdtr
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.statistics.metrics import COLUMNS, METRICS, answer_columns, checked_indices, confusion_metrics
from fas_eval.statistics.resampling import Bootstrap

CORRECTIONS = {"holm": "holm", "bh": "fdr_bh"}  # names of statsmodels
EXACT_BELOW = 25  # discordant clips: McNemar's statistic is then far from chi-squared


@dataclass(frozen=True)
class Comparison:
    """System a against system b on the same clips; the keys of the dicts are `metrics.METRICS`.

    Attributes:
        clips: number of clips.
        difference: metric -> a - b. intervals: metric -> [low, high] of it, at `confidence`.
        p: metric -> two-sided p of no difference; below 1 - confidence exactly where the interval leaves 0 out.
        only_a, only_b: discordant clips, that one system alone has right. mcnemar_p: of their balance.
        p_corrected, significant, mcnemar_p_corrected, mcnemar_significant: of `correct`, None before it.
        resampled: "clips" or "speakers". resamples, seed, confidence: of the bootstrap.
    """

    clips: int
    difference: dict[str, float]
    intervals: dict[str, list[float]]
    p: dict[str, float]
    only_a: int
    only_b: int
    mcnemar_p: float
    resampled: str
    resamples: int
    seed: int
    confidence: float = 0.95
    p_corrected: dict[str, float] | None = None
    significant: dict[str, bool] | None = None
    mcnemar_p_corrected: float | None = None
    mcnemar_significant: bool | None = None

    def to_dict(self) -> dict:
        """JSON-ready."""
        return asdict(self)


def compare(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    speakers: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> Comparison:
    """Paired comparison: each resample scores both systems on the same clips or speakers.

    Interval and p come from the bootstrap standard error of the difference and Student's t with n - 1 degrees of freedom,
    n clips or speakers. A p counted among 1,000 resamples could not fall below 1/1,000 and so never be significant among
    900 comparisons.

    Args:
        labels: (N,) indices into `EMOTIONS`. a, b: (N,) answers of the systems, -1 where no emotion was named.
        speakers: (N,) speaker of each clip, to draw speakers; None draws clips. McNemar's test is of clips in any case.

    Raises:
        FASError: no clips, or shapes and indices that do not fit.
    """
    labels = checked_indices(labels, "labels")
    a, b = (checked_indices(x, name, len(labels), lowest=-1) for name, x in (("a", a), ("b", b)))
    bootstrap = Bootstrap(len(labels), speakers, resamples, seed)
    shape = (-1, len(EMOTIONS), COLUMNS, COLUMNS)  # one joint table gives both confusion matrices
    cells = (labels * COLUMNS + answer_columns(a)) * COLUMNS + answer_columns(b)
    size = int(np.prod(shape[1:]))
    observed = _differences(np.bincount(cells, minlength=size).reshape(shape))
    drawn = _differences(bootstrap.counts(cells, size).reshape(shape))
    tests = {m: _test(float(observed[m][0]), drawn[m], bootstrap, Comparison.confidence) for m in METRICS}
    only_a, only_b = int(((a == labels) & (b != labels)).sum()), int(((a != labels) & (b == labels)).sum())
    return Comparison(
        clips=len(labels),
        difference={m: float(observed[m][0]) for m in METRICS},
        intervals={m: interval for m, (interval, _) in tests.items()},
        p={m: p for m, (_, p) in tests.items()},
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=mcnemar_p(only_a, only_b),
        resampled=bootstrap.resampled,
        resamples=resamples,
        seed=seed,
    )


def _differences(joint: np.ndarray) -> dict[str, np.ndarray]:
    """metric -> (R,) difference, of (R, 7, 8, 8) counts by reference, answer of a and answer of b."""
    a, b = confusion_metrics(joint.sum(axis=3)), confusion_metrics(joint.sum(axis=2))
    return {metric: a[metric] - b[metric] for metric in METRICS}


def _test(difference: float, drawn: np.ndarray, bootstrap: Bootstrap, confidence: float) -> tuple[list[float], float]:
    error, units = float(drawn.std()), bootstrap.units
    if error < 1e-12:
        # every clip or speaker says the same: what is left is the sign test, whose smallest p is this
        p = 1.0 if abs(difference) < 1e-12 else 2.0 ** (1 - units)
        return [difference, difference], p
    half = bootstrap.t_quantile(confidence) * error
    statistic = abs(difference) / error * np.sqrt((units - 1) / units)
    return [difference - half, difference + half], float(2 * stdtr(units - 1, -statistic))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's test of two counts of discordant clips: exact (binomial) below `EXACT_BELOW`, else
    chi-squared with continuity correction; 1 where there are none.
    """
    exact = only_a + only_b < EXACT_BELOW
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=exact).pvalue)


def correct(comparisons: Sequence[Comparison], method: str = "holm", alpha: float = 0.05) -> list[Comparison]:
    """The comparisons with corrected p. All that are given are one family, so give all of a report at once.

    Args:
        comparisons: each metric is a family of its own, and so is McNemar's test.
        method: "holm" bounds the chance of a single false difference, "bh" the expected share of false ones among those
            found.
        alpha: of `significant`.

    Raises:
        FASError: another method.
    """
    if method not in CORRECTIONS:
        raise FASError(f"correction: {method!r}; expected one of {', '.join(CORRECTIONS)}")
    if not comparisons:
        return []
    rows = [[*(c.p[m] for m in METRICS), c.mcnemar_p] for c in comparisons]
    gc.freeze()  # statsmodels collects garbage in each call: half a second beside what torch has loaded
    try:
        families = [multipletests(p, alpha, CORRECTIONS[method]) for p in zip(*rows, strict=True)]
    finally:
        gc.unfreeze()
    found = zip(comparisons, *(zip(family[1], family[0], strict=True) for family in families), strict=True)
    return [_corrected(comparison, *pairs) for comparison, *pairs in found]


def _corrected(comparison: Comparison, *pairs: tuple[float, bool]) -> Comparison:
    """`pairs`: (corrected p, significant) of each metric and of McNemar's test."""
    *metrics, mcnemar_pair = pairs
    return replace(
        comparison,
        p_corrected={m: float(p) for m, (p, _) in zip(METRICS, metrics, strict=True)},
        significant={m: bool(found) for m, (_, found) in zip(METRICS, metrics, strict=True)},
        mcnemar_p_corrected=float(mcnemar_pair[0]),
        mcnemar_significant=bool(mcnemar_pair[1]),
    )


def summarise(values: Sequence[float]) -> dict:
    """Several runs (seeds, folds) of one system: {"mean", "spread", "n"}; the spread is the standard deviation over the runs
    (n - 1 in the denominator), None of a single run. It is the spread of training runs, not the error of the benchmark, and what
    ± means in every table of this project.

    Raises:
        FASError: no values.
    """
    if not len(values):
        raise FASError("summarise: no values; expected one a seed")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "spread": spread, "n": len(values)}
