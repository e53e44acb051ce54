"""The commands `fas data check` and `fas data list`: a look at corpora before training on them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fas_core.atomic import write_json
from fas_core.cli.app import App
from fas_core.data.corpora import CORPORA
from fas_core.labels import EMOTIONS
from fas_core.text import printable

if TYPE_CHECKING:
    from fas_core.data.check import CheckReport, Duplicate

SHOWN = 20  # problems of one kind on the screen; the report has them all

app = App(help="Look at corpora before training on them.")

NAMES = ", ".join(sorted(CORPORA))
Folder = Annotated[Path, typer.Argument(help="The corpus's folder.", metavar="DIR")]


@app.command(aliases={"--out": "--output"})
def check(
    folder: Folder,
    corpus: Annotated[
        str | None,
        typer.Option(
            help=f"Read DIR as this corpus, with its labels: {NAMES}, or a name of your own for a folder with a manifest. Without: any audio file."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the exclusion list here, for load_corpus(..., exclude=FILE).")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Threads that decode side by side.")] = os.cpu_count() or 1,
) -> None:
    """Decode every clip: errors, digital silence, copies, durations, labels, speakers.

    Of copies with one label the first stays; where the labels contradict each other, all are excluded.

    Example:

      fas data check data/ravdess --corpus ravdess --output exclusions.json

    Exit code: 0 when all is well; 1 when something was found; 2 when DIR cannot be read as asked.
    """
    from fas_core.data.check import check_corpus

    report = check_corpus(folder, corpus, jobs=jobs)
    typer.echo("\n".join(map(printable, _summary(report))))
    if output is not None:
        exclusions = report.exclusions()
        exclusions.save(output)
        typer.echo(f"{output}: {len(exclusions.files)} files to leave out")
    if json_path is not None:
        write_json(json_path, report.to_dict())
    raise typer.Exit(0 if report.clean else 1)


@app.command("list")
def list_clips(
    folder: Folder,
    corpus: Annotated[str, typer.Option(help=f"One of {NAMES}, or a name of your own for a folder with a manifest.")],
) -> None:
    """Print how many clips of each emotion lie on each side of the split, and what was left out.

    Example:

      fas data list data/ravdess --corpus ravdess

    Exit code: 0; 2 when DIR cannot be read as asked.
    """
    from rich.console import Console
    from rich.table import Table

    from fas_core.data.corpora import read_corpus
    from fas_core.data.splits import SPLITS

    reading = read_corpus(corpus, folder, exclude_labels=["*"])
    counts = Counter(zip(reading.dataset["emotion"], reading.dataset["split"], strict=True))
    table = Table("emotion", *SPLITS, "all", title=f"{corpus}: {len(reading.dataset)} clips")
    for emotion in EMOTIONS:
        numbers = [counts[emotion, split] for split in SPLITS]
        table.add_row(emotion, *map(str, numbers), str(sum(numbers)))
    totals = [sum(counts[emotion, split] for emotion in EMOTIONS) for split in SPLITS]
    table.add_row("all", *map(str, totals), str(sum(totals)))
    Console().print(table)
    for reason, count in reading.excluded.most_common():
        typer.echo(f"left out, {reason}: {count}")


def _summary(report: CheckReport) -> list[str]:
    lines = [f"{report.directory}: {report.files} clips, {len(report.speakers) or 'unknown'} speakers"]
    if report.durations:
        shown = ", ".join(f"{name} {report.durations[name]:.2f} s" for name in ("min", "median", "max"))
        lines.append(f"durations: {shown}, total {report.durations['total'] / 3600:.2f} h")
    lines += _counts("labels", report.labels) + _counts("left out by the reader", report.left_out)
    lines += _problems("decode errors", [f"{file}: {why}" for file, why in report.errors.items()])
    lines += _problems("digital silence", report.silent)
    lines += _problems("same audio", [_same(group) for group in report.duplicates])
    lines += _problems("not checked", [f"{file}: {why}" for file, why in report.not_checked.items()])
    return lines + ["no problems" if report.clean else "problems found"]


def _same(group: Duplicate) -> str:
    conflict = "" if group.kept else f" (labels {', '.join(group.labels)})"
    return " = ".join(group.files) + conflict


def _counts(title: str, counts: dict[str, int]) -> list[str]:
    return [f"{title}: " + ", ".join(f"{name} {count}" for name, count in counts.items())] if counts else []


def _problems(title: str, problems: list[str]) -> list[str]:
    if not problems:
        return []
    more = [f"  ... and {len(problems) - SHOWN} more (all of them: --json FILE)"] if len(problems) > SHOWN else []
    return [f"{title}: {len(problems)}", *(f"  {problem}" for problem in problems[:SHOWN]), *more]
