"""Result files of `experiments` as Markdown."""

import json
from pathlib import Path

import numpy as np

from experiments import left_out_tables
from fas_core.markdown import cell, plain
from fas_eval.statistics.comparison import summarise
from fas_eval.systems.recipes import LORA, RETIRED, SYSTEMS

STAGES = ("choose", "transfer", "leave-corpus-out", "test")
COLUMNS = ("encoder", "acoustic_encoder", "padding", "layer", "system", "set")
TITLES = {name: system.title for name, system in SYSTEMS.items()} | RETIRED | LORA
PARTS = (", acoustic head", ", fused alone", ", both")  # of an answer
FIGURES = ("accuracy", "ua", "macro_f1")


def read(path: Path) -> list[dict]:
    """Finished runs, a line of JSON each."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def tables(paths: list[Path], stage: str, heads: bool = False) -> str:
    """Per system and set ACC / UA / macro-F1, means over the runs, and the deviation of UA.

    Args:
        heads: with the columns of the parts of an answer, each alone.
    """
    runs: dict[tuple, list[dict]] = {}
    records = [r for p in paths for r in read(p) if r["stage"] == stage]
    if stage == "leave-corpus-out" and records:
        return left_out_tables.table(records, TITLES, heads)
    for record in records:
        name = tuple(json.dumps(record[n]) if n == "set" else record[n] or "" for n in COLUMNS)
        runs.setdefault(name, []).append(record)
    sets = list(dict.fromkeys(n for rs in runs.values() for r in rs for n in r["scores"]))
    sets = [n for n in sets if heads or not n.endswith(PARTS)]
    lines = [
        "| system | encoder, acoustic stream | folds | seeds | "
        + " | ".join(cell(plain(name)) for name in sets)
        + " | CPU s a run |"
    ]
    lines.append("|---" * (len(sets) + 5) + "|")
    order = list(TITLES)
    for key, records in sorted(runs.items(), key=lambda item: (item[0][:3], order.index(item[0][4]))):
        lines.append(_row(key, records, sets))
    return "\n".join(lines)


def _row(key: tuple, records: list[dict], sets: list[str]) -> str:
    encoder, acoustic, padding, layer, system, changed = key
    title = TITLES[system] + ("" if changed == "{}" else f" {changed}")
    source = f"{encoder}, {Path(acoustic).stem or layer}" + (" (30 s)" if padding == "30s" else "")
    folds, seeds = (sorted({r[n] for r in records}) for n in ("fold", "seed"))
    folds = "all six" if len(folds) == 6 else ", ".join(map(str, folds))
    cells = [_cell([r["scores"][n] for r in records if n in r["scores"]]) for n in sets]
    seconds = np.mean([r["cpu_seconds"] for r in records])
    return (
        f"| {cell(plain(title))} | {cell(plain(source))} | {folds} | {len(seeds)} | "
        + " | ".join(cells)
        + f" | {seconds:.0f} |"
    )


def _cell(scores: list[dict]) -> str:
    if not scores:
        return "-"
    text = " / ".join(f"{np.mean([s[n] for s in scores]):.1f}" for n in FIGURES)
    spread = summarise([s["ua"] for s in scores])["spread"]
    return text + ("" if spread is None else f" (± {spread:.1f})")
