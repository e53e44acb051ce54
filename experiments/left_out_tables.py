"""Result files of the stage leave-corpus-out as Markdown."""

import json

import numpy as np
from scipy.stats import norm, t

from experiments.left_out import CORPORA, DEVELOPMENT
from fas_core.markdown import cell, plain
from fas_eval.statistics.comparison import compare, summarise


def table(records: list[dict], titles: dict[str, str], heads: bool = False) -> str:
    """UA of each corpus when it was left out, means over the seeds; their mean, which choices go by; and paired differences.

    Args:
        titles: of the systems.
        heads: with the parts of an answer, each alone.
    """
    rows = _rows(records, titles, heads)
    columns = [*CORPORA, "mean of the left out", DEVELOPMENT, "mean ECE"]
    lines = ["| trained on the others | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    lines += [_row(title, found) for title, found in rows.items()]
    reference, *others = rows
    if others:
        lines += ["", f"UA more than {cell(plain(reference))}, paired, speakers drawn (standard error; p):", ""]
        lines += ["| trained on the others | " + " | ".join(columns[:-1]) + " |", "|---" * len(columns) + "|"]
        lines += [_differences(title, rows[title], rows[reference]) for title in others]
    if heads and (whole := [title for title in rows if f"{title}, acoustic head" in rows]):
        lines += ["", "UA of each answer more than that of its own acoustic side, paired as above:", ""]
        lines += ["| answer | " + " | ".join(columns[:-1]) + " |", "|---" * len(columns) + "|"]
        lines += [_differences(title, rows[title], rows[f"{title}, acoustic head"]) for title in whole]
    return "\n".join(lines)


def _rows(records: list[dict], titles: dict[str, str], heads: bool) -> dict[str, dict[str, list[dict]]]:
    """row -> left-out corpus -> scores, a seed each."""
    told = [name for name in ("encoder", "layer", "corpora") if len({str(r[name]) for r in records}) > 1]
    rows: dict[str, dict[str, list[dict]]] = {}
    systems = list(dict.fromkeys(r["system"] for r in records))
    for record in sorted(records, key=lambda r: (systems.index(r["system"]), r["seed"])):
        title = titles[record["system"]] + (f" {json.dumps(record['set'])}" if record["set"] else "")
        details = [record[name] if name != "corpora" else "of " + ", ".join(record[name]) for name in told]
        title += f" ({', '.join(details)})" if told else ""
        for name, scores in record["scores"].items():
            part = name.removeprefix(record["left_out"])
            if heads or not part:
                rows.setdefault(title + part, {}).setdefault(record["left_out"], []).append(scores)
    return rows


def _row(title: str, found: dict[str, list[dict]]) -> str:
    means = {name: float(np.mean([s["ua"] for s in found[name]])) for name in found}
    cells = [_with_spread([s["ua"] for s in found[name]]) if name in found else "-" for name in CORPORA]
    left_out = [name for name in CORPORA if name in found]
    whole = len(left_out) == len(CORPORA)
    error = np.mean([s["ece"] for name in left_out for s in found[name]]) if left_out else np.nan
    cells += [f"{np.mean([means[name] for name in left_out]):.1f}" if whole else "-"]
    cells += [
        _with_spread([s["ua"] for s in found[DEVELOPMENT]]) if DEVELOPMENT in found else "-",
        f"{error:.1f}" if whole else "-",
    ]
    return f"| {cell(plain(title))} | {max(map(len, found.values()))} | " + " | ".join(cells) + " |"


def _with_spread(values: list[float]) -> str:
    summary = summarise(values)
    return f"{summary['mean']:.1f}" + ("" if summary["spread"] is None else f" ± {summary['spread']:.1f}")


def _differences(title: str, ours: dict[str, list[dict]], theirs: dict[str, list[dict]]) -> str:
    found = {
        name: _difference(ours[name], theirs[name])
        for name in (*CORPORA, DEVELOPMENT)
        if name in ours and name in theirs
    }
    texts = {name: _text(*values) for name, values in found.items()}
    cells = [texts.get(name, "-") for name in CORPORA] + [_of_the_mean(found), texts.get(DEVELOPMENT, "-")]
    return f"| {cell(plain(title))} | " + " | ".join(cells) + " |"


def _difference(ours: list[dict], theirs: list[dict]) -> tuple[float, float, float]:
    """(difference of UA in per cent, its standard error, p) with all seeds that both have, each speaker with all their seeds.

    What has one run, as what nothing is drawn in, stands against each seed of the other."""
    if len(theirs) == 1:
        theirs = theirs * len(ours)
    labels, a, b, speakers = [], [], [], []
    for mine, other in zip(ours, theirs, strict=False):
        for speaker, (truth, answers) in mine["answers"].items():
            labels += map(int, truth)
            a += map(int, answers)
            b += map(int, other["answers"][speaker][1])
            speakers += [speaker] * len(truth)
    found = compare(np.array(labels), np.array(a), np.array(b), speakers)
    low, high = found.intervals["ua"]
    return 100 * found.difference["ua"], 50 * (high - low) / t.ppf(0.975, len(set(speakers)) - 1), found.p["ua"]


def _text(difference: float, error: float, p: float) -> str:
    return f"{difference:+.1f} (s.e. {error:.1f}; {p:.2g})"


def _of_the_mean(found: dict[str, tuple[float, float, float]]) -> str:
    """Corpora are independent: the error of the mean is that of their errors."""
    if not all(name in found for name in CORPORA):
        return "-"
    differences, errors, _ = np.array([found[name] for name in CORPORA]).T
    difference, error = differences.mean(), np.sqrt((errors**2).sum()) / len(errors)
    return _text(difference, error, float(2 * norm.sf(abs(difference) / max(error, 1e-9))))
