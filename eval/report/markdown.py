"""results.json, predictions.csv, plots and report.md of an evaluation."""

import csv
import json
import os
from pathlib import Path

from eval.report.formats import METRIC_NAMES, file_slug, markdown_table, percent
from eval.report.plots import plot_confusion, plot_recall, plot_reliability
from eval.statistics.metrics import METRICS
from fas_core.atomic import atomic_path, write_text

MAIN_FAS = ("fas2026", "Table 2", "FAS")  # source, table, system


def write_results(results: dict, predictions: list[dict], output: str | os.PathLike) -> Path:
    """Write everything that `eval.suite.evaluate` found to the folder `output`, each file atomically.

    Args:
        results: JSON-ready, `eval.suite.Evaluation.results`. predictions: one dict a clip, all with the
            same keys.

    Returns:
        Path of report.md, which is written last.
    """
    output = Path(output)
    write_text(output / "results.json", json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    _write_predictions(predictions, output / "predictions.csv")
    for name, entry in results["benchmarks"].items():
        for protocol, scored in entry["protocols"].items():
            if scored is not None:
                _draw(name, protocol, scored, output)
    return write_text(output / "report.md", render_report(results))


def render_report(results: dict) -> str:
    """report.md; figures in per cent with their 95% bootstrap intervals."""
    parts = [
        f"# Evaluation of {results['checkpoint'].get('name', 'a checkpoint')}",
        _facts_of_the_run(results),
        "## Summary",
        _summary(results["benchmarks"]),
        _legend(results["bootstrap"]),
    ]
    for name, entry in results["benchmarks"].items():
        parts += _benchmark_section(name, entry)
    if results["failed"]:
        rows = [[clip["benchmark"], clip["file"], clip["error"]] for clip in results["failed"]]
        parts += [
            f"## Clips that failed: {len(rows)}, in no figure above",
            markdown_table(["benchmark", "file", "why"], rows),
        ]
    return "\n\n".join(parts) + "\n"


def _legend(bootstrap: dict) -> str:
    return (
        "WA is accuracy; UA is the mean recall, macro-F1 the mean F1 of the classes in the reference. "
        f"All in per cent, with 95% intervals from {bootstrap['resamples']} bootstrap resamples of "
        f"{bootstrap['resample']} (seed {bootstrap['seed']}). Transductive figures standardise features by "
        "the benchmark's own unlabelled clips: another protocol, never to be compared with the others."
    )


def _facts_of_the_run(results: dict) -> str:
    made = results["provenance"]
    state = {True: " with uncommitted changes", False: "", None: ""}[made["dirty"]]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items() if version)
    facts = {key: value for key, value in results["checkpoint"].items() if key != "name"}
    return "\n".join(
        [
            *(f"- checkpoint, {key.replace('_', ' ')}: {_plain(value)}" for key, value in facts.items()),
            f"- date: {made['date']}, commit: {made['commit'] or 'unknown'}{state}",
            f"- versions: python {made['platform']['python']}, {versions}",
            f"- command: `{' '.join(made['command'])}`",
        ]
    )


def _summary(benchmarks: dict) -> str:
    protocols = _protocols(benchmarks.values())
    rows = []
    for name, entry in benchmarks.items():
        row = [name, entry["setting"], f"{_scored(entry)} of {entry['clips']}"]
        for protocol in protocols:
            fused = _head(entry, protocol, "fused")
            row += [*_figures(fused), _calibration(fused)]
        rows.append([*row, _published_fas(entry)])
    columns = [f"{column}{_suffix(p)}" for p in protocols for column in (*METRIC_NAMES.values(), "ECE before, after")]
    return markdown_table(["benchmark", "setting", "clips scored", *columns, "FAS paper: WA, macro-F1"], rows)


def _benchmark_section(name: str, entry: dict) -> list[str]:
    fold = "" if entry["fold"] is None else f" of fold {entry['fold']}"
    excluded = ", ".join(f"{why}: {count}" for why, count in entry["excluded"].items()) or "none"
    emotions = ", ".join(f"{emotion} {count}" for emotion, count in entry["emotions"].items())
    parts = [
        f"## {name}",
        f"{entry['setting'].capitalize()}; side: {entry['side']}{fold}, {entry['clips']} of the corpus's "
        f"{entry['corpus_clips']} clips, {entry['speakers']} speakers ({emotions}). Left out before that: "
        f"{excluded}. Failed: {len(entry['failed'])}. Data sha256 `{entry['data_sha256']}`.",
        "### Beside the published figures",
        _beside_published(entry),
    ]
    for protocol, scored in entry["protocols"].items():
        parts.append(f"### Details, {protocol}")
        parts += ["No clip could be scored."] if scored is None else _details(name, protocol, scored)
    return parts


def _beside_published(entry: dict) -> str:
    protocols = list(dict.fromkeys(["inductive", *entry["protocols"]]))
    ours = [figure for protocol in protocols for figure in _figures(_head(entry, protocol, "fused"))]
    rows = [["**this checkpoint**", "", entry["setting"], *ours]]
    for row in entry["published"]:
        figures = [percent(row["metrics"].get(metric)) for metric in METRICS]
        # as far as they say, the papers do not look at the test set as a whole
        cells = [figure if p == "inductive" else "" for p in protocols for figure in figures]
        where = f"{row['source']}, {row['table']}, {row['dataset']}"
        rows.append([row["system"], where, row["setting"], *cells])
    note = "Test sides and some label sets of the papers are not ours: context, not a like-for-like ranking. "
    note += "Sources are keys of `eval/benchmarks/published_results.csv`."
    if not entry["published"]:
        note = "The papers report nothing on this corpus."
    header = ["system", "source", "setting", *(f"{METRIC_NAMES[m]}{_suffix(p)}" for p in protocols for m in METRICS)]
    return f"{markdown_table(header, rows)}\n\n{note}"


def _details(name: str, protocol: str, scored: dict) -> list[str]:
    heads = scored["heads"]
    rows = [[head, *_figures(report), _calibration(report)] for head, report in heads.items()]
    recall = heads["fused"]["recall"]
    parts = [
        markdown_table(["head", *METRIC_NAMES.values(), "ECE before, after"], rows),
        "Recall: "
        + ", ".join(f"{emotion} {percent(value)}" for emotion, value in recall.items())
        + f". Temperature {scored['temperature']:.3f}.",
    ]
    if "semantic" in heads:
        parts.append("The semantic head names the emotion of the words; here it is held against that of the tone.")
    parts += [f"![{kind}]({plot_name(name, protocol, kind)})" for kind in ("confusion", "reliability", "recall")]
    if scored["conflict"] is not None:
        parts += _conflict_section(scored["conflict"])
    return parts


def _conflict_section(conflict: dict) -> list[str]:
    if conflict["auroc"] is None:
        auroc = f"not defined ({conflict['auroc_missing']})"
    else:
        low, high = conflict["auroc_interval"]
        auroc = f"{conflict['auroc']:.3f} [{low:.3f}, {high:.3f}]"
    rows = [
        [half, head, str(part["clips"]), *_figures(report)]
        for half, part in conflict["halves"].items()
        for head, report in part.items()
        if head != "clips"
    ]
    parts = [
        "#### Words against tone",
        f"{conflict['clips']} clips have words of a known emotion. AUROC of the conflict score, conflicting "
        f"against congruent clips: {auroc}. The figures below are against the emotion of the tone.",
        markdown_table(["half", "head", "clips", *METRIC_NAMES.values()], rows),
    ]
    if "semantic_head_on_words" in conflict:
        figures = ", ".join(
            f"{name} {figure}"
            for name, figure in zip(METRIC_NAMES.values(), _figures(conflict["semantic_head_on_words"]), strict=True)
        )
        parts.append(f"The semantic head against the emotion of the words: {figures}.")
    return parts


def plot_name(benchmark: str, protocol: str, kind: str) -> str:
    """File name of a plot."""
    return f"{file_slug(benchmark)}-{protocol}-{kind}.png"


def _draw(name: str, protocol: str, scored: dict, output: Path) -> None:
    fused, title = scored["heads"]["fused"], f"{name}, {protocol}"
    eces = (fused["ece_before"], fused["ece_after"])
    curves = {
        f"{key}, ECE {percent(ece)}%": curve
        for (key, curve), ece in zip(scored["reliability"].items(), eces, strict=True)
    }
    plot_confusion(fused["confusion"], output / plot_name(name, protocol, "confusion"), title)
    plot_reliability(curves, output / plot_name(name, protocol, "reliability"), title)
    plot_recall(fused["recall"], output / plot_name(name, protocol, "recall"), title)


def _write_predictions(predictions: list[dict], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if predictions:
            writer = csv.DictWriter(file, fieldnames=list(predictions[0]))
            writer.writeheader()
            writer.writerows(predictions)


def _protocols(entries) -> list[str]:
    return list(dict.fromkeys(protocol for entry in entries for protocol in entry["protocols"]))


def _scored(entry: dict) -> int:
    return entry["clips"] - len(entry["failed"])


def _head(entry: dict, protocol: str, head: str) -> dict | None:
    scored = entry["protocols"].get(protocol)
    return None if scored is None else scored["heads"][head]


def _figures(report: dict | None) -> list[str]:
    if report is None:
        return ["-"] * len(METRICS)
    cells = ((report[metric], *report["intervals"][metric]) for metric in METRICS)
    return [f"{percent(value)} [{percent(low)}, {percent(high)}]" for value, low, high in cells]


def _calibration(report: dict | None) -> str:
    return "-" if report is None else f"{percent(report['ece_before'])}, {percent(report['ece_after'])}"


def _published_fas(entry: dict) -> str:
    main = [row for row in entry["published"] if (row["source"], row["table"], row["system"]) == MAIN_FAS]
    return ", ".join(percent(main[0]["metrics"].get(m)) for m in ("accuracy", "macro_f1")) if main else "-"


def _suffix(protocol: str) -> str:
    return "" if protocol == "inductive" else f" ({protocol})"


def _plain(value) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
