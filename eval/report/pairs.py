"""What the tests say of two systems, over all pairs of their seeds."""

from collections import defaultdict
from dataclasses import dataclass

from fas_eval.report.formats import is_number
from fas_eval.report.pooling import mean_of


@dataclass(frozen=True)
class Verdict:
    """`difference`: of the metric, a - b, mean over the compared seeds. `significant`: after the correction, in every pair of seeds
    that was compared, and always in the same direction.
    """

    difference: float
    significant: bool


class Pairs:
    """Looks up comparisons of results.json, in either direction.

    Args:
        comparisons: of results.json. alpha: level for McNemar's corrected p.
    """

    def __init__(self, comparisons: list[dict], alpha: float):
        self.alpha = alpha
        found: dict[tuple[str, str, str], list] = defaultdict(list)
        for row in comparisons:
            if is_number(row.get("difference")):
                found[row["benchmark"], row["a"], row["b"]].append((1, row))
                found[row["benchmark"], row["b"], row["a"]].append((-1, row))
        self.found = dict(found)  # looking up adds no pair

    @property
    def reference(self) -> str | None:
        """The one system that all others were compared with; None where any two were compared."""
        shared = [{a, b} for _, a, b in self.found]
        common = set.intersection(*shared) if len(shared) > 2 else set()  # each comparison is found in both directions
        return common.pop() if len(common) == 1 else None

    def verdict(self, benchmark: str, a: str, b: str, metric: str = "ua") -> Verdict | None:
        """None where the two were not compared by that metric."""
        rows = [(sign, row) for sign, row in self.found.get((benchmark, a, b), []) if row.get("metric", "ua") == metric]
        if not rows:
            return None
        differences = [sign * row["difference"] for sign, row in rows]
        one_sided = all(d > 0 for d in differences) or all(d < 0 for d in differences)
        return Verdict(mean_of(differences), one_sided and all(row.get("significant") for _, row in rows))

    def differ(self, benchmark: str, a: str, b: str, metric: str) -> bool | None:
        """Whether two systems can be told apart; WA without a comparison of its own by McNemar's test. None where not tested."""
        verdict = self.verdict(benchmark, a, b, metric)
        if verdict is None and metric == "accuracy":
            ps = [row.get("mcnemar_p_corrected") for _, row in self.found.get((benchmark, a, b), [])]
            known = [p for p in ps if is_number(p)]
            return all(p < self.alpha for p in known) if known else None
        return None if verdict is None else verdict.significant
