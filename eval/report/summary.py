"""What a reader should know after ten seconds: what was compared, who is best where and by how much, what is missing."""

from dataclasses import dataclass

from fas_eval.report.formats import METRIC_NAMES, percent
from fas_eval.report.pairs import Pairs
from fas_eval.report.pooling import Figure, mean_shares
from fas_eval.report.reading import Run
from fas_eval.report.scoretable import ScoreTable, usual_setting

LISTED = 4  # names in a sentence


@dataclass
class Finding:
    """Of one benchmark; `details` are sentences."""

    benchmark: str
    title: str
    setting: str
    best: str
    figure: str
    details: list[str]


def interval_text(value: Figure | None) -> str:
    """61.2 ± 0.8 [57.0, 65.1] in per cent."""
    if value is None:
        return "-"
    spread = "" if value.spread is None else f" ± {percent(value.spread)}"
    bounds = "" if value.low is None or value.high is None else f" [{percent(value.low)}, {percent(value.high)}]"
    return f"{percent(value.value)}{spread}{bounds}"


def compared(run: Run, table: ScoreTable) -> str:
    """One sentence: what was compared, on what."""
    clips = sum(run.benchmarks[name].get("clips") or 0 for name in table.benchmarks)
    trained = sum(row.seeds > 1 for row in table.rows)
    seeds = f", {trained} of them with several seeds," if trained else ""
    return (
        f"{_plural(len(table.rows), 'system')}{seeds} {'was' if len(table.rows) == 1 else 'were'} scored on "
        f"{_plural(len(table.benchmarks), 'benchmark')} ({_plural(clips, 'clip')})."
    )


def legend(run: Run) -> str:
    """How the figures were made; the same in every file."""
    suite = run.results["suite"]
    drawn = {score.get("resampled") or suite.get("resample") for score in run.results["scores"]} - {None}
    level = percent(suite.get("confidence") or 0.95).removesuffix(".0")
    reference = run.pairs.reference
    marks = (
        "≈ marks systems that are not significantly different from it"
        if reference is None
        else f"all systems were compared with {run.title(reference)}: ▲ significantly better, ▼ worse, ≈ neither"
    )
    correction = {"holm": "Holm's method"}.get(suite.get("correction"), suite.get("correction") or "Holm's method")
    return (
        f"WA is accuracy, UA the mean recall, macro-F1 the mean F1 of the emotions in the reference, in per cent. In brackets: {level}% "
        f"intervals from {suite.get('resamples') or 'no'} bootstrap resamples of {' or '.join(sorted(drawn)) or 'clips'}. ± is the "
        "standard deviation over seeds (n - 1); the interval is then the mean of the seeds' intervals. An answer that names no emotion "
        f"counts as wrong. Bold is the best; {marks} (paired bootstrap for UA, "
        f"McNemar's test for WA, corrected by {correction}, α = {run.alpha:g})."
    )


def findings(run: Run, table: ScoreTable, metric: str = "ua") -> list[Finding]:
    """Says of each benchmark which system is best, and by how much."""
    pairs = run.pairs
    found = []
    for benchmark in table.benchmarks:
        rows = [row for row in table.rows if (benchmark, metric) in row.cells and not row.random_weights]
        if rows:
            best = max(rows, key=lambda row: row.cells[benchmark, metric].figure.value)
            value = f"{METRIC_NAMES[metric]} {interval_text(best.cells[benchmark, metric].figure)}"
            title, setting = run.benchmarks[benchmark]["title"], usual_setting(run, benchmark)
            details = [_significance(pairs, benchmark, best, rows, metric), _tone(run, benchmark, best.name)]
            found.append(Finding(benchmark, title, setting, best.title, value, [d for d in details if d]))
    return found


def caveats(run: Run, table: ScoreTable) -> list[str]:
    """What stands against the figures: random weights, failures, what is missing or only a part."""
    random = [row.title for row in table.rows if row.random_weights]
    failed = sum(len(score.get("failed") or []) for score in run.results["scores"])
    unreadable = sum(len(entry.get("unreadable") or []) for entry in run.benchmarks.values())
    unparsed = sum((score.get("how") or {}).get("unparsed") or 0 for score in run.results["scores"])
    stopped = list(dict.fromkeys(run.title(score["system"]) for score in run.results["scores"] if score.get("stopped")))
    incomplete = [
        f"{facts['title']} ({facts['incomplete']})" for facts in run.benchmarks.values() if facts.get("incomplete")
    ]
    limit = run.results["suite"].get("limit")
    missing = [f"{entry.get('kind', '')} {entry.get('name', '')}".strip() for entry in run.results["missing"]]
    notes = [
        random
        and f"Random weights stand in for real ones in {'; '.join(random)}: those figures say nothing about the encoder.",
        failed and f"{_plural(failed, 'answer')} failed and count as wrong.",
        unparsed and f"{_plural(unparsed, 'answer')} named no emotion and count as wrong.",
        unreadable
        and f"{_plural(unreadable, 'clip')} could not be read and {'is' if unreadable == 1 else 'are'} in no figure.",
        stopped and f"Stopped before the end: {'; '.join(stopped)}. What they did not answer counts as wrong.",
        incomplete and f"Not whole here: {'; '.join(incomplete)}.",
        limit and f"At most {_plural(limit, 'clip')} of each benchmark were drawn: a trial, not a result.",
        _training(run),
        missing and f"Missing here: {'; '.join(missing)}.",
    ]
    return [note for note in notes if note]


def _training(run: Run) -> str:
    """Which of the preset's training corpora trained systems had, where some were not there."""
    wanted, here = (run.results["suite"].get(key) or [] for key in ("train", "trained_on"))
    if not wanted or len(here) == len(wanted):
        return ""
    named = f" ({', '.join(here)})" if here else ""
    return f"Systems were trained on {len(here)} of the {len(wanted)} training corpora of the preset{named}: not the comparison as published."


def _significance(pairs: Pairs, benchmark: str, best, rows: list, metric: str) -> str:
    by_test: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for row in rows:
        if row is not best:
            by_test[pairs.differ(benchmark, best.name, row.name, metric)].append(row.title)
    better, same, untested = by_test[True], by_test[False], by_test[None]
    if not better and not same:
        return "Not tested against the others." if untested else "The only system here."
    sentences = [
        better and f"Significantly better than {_listed(better)}.",
        same and f"Not distinguishable from {_listed(same)}.",
        untested
        and f"Not tested against {'the other ' if len(untested) > 1 else ''}{_plural(len(untested), 'system')}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _listed(titles: list[str]) -> str:
    more = f" and {len(titles) - LISTED} more" if len(titles) > LISTED else ""
    return "; ".join(titles[:LISTED]) + more


def _tone(run: Run, benchmark: str, system: str) -> str:
    shares = mean_shares(run.scores[benchmark, system])
    if not shares or not shares.get("shares"):
        return ""
    tone, words = (percent(shares["shares"].get(key)) for key in ("tone", "words"))
    return f"Where tone and words disagree, it follows the tone in {tone}% and the words in {words}%."


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
