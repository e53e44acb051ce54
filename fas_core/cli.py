"""The command `fas`: predictions for files and folders."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fas_core.answers import Answer
from fas_core.audio import AudioLimits
from fas_core.cells import CellWriter
from fas_core.errors import INPUT_ERRORS, FASError, error_line
from fas_core.paths import exists
from fas_core.sources import find_audio_files
from fas_core.windows import check_windows

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Format(str, Enum):
    table, json, csv = "table", "json", "csv"


@app.callback()
def fas() -> None:
    """Speech emotion recognition that hears when tone and words disagree."""


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="audio files, or folders that are searched for audio")],
    checkpoint: Annotated[
        str | None, typer.Option(help="checkpoint directory or hub id; default: the shipped one")
    ] = None,
    format: Annotated[Format, typer.Option(help="how to print the answers")] = Format.table,
    output: Annotated[Path | None, typer.Option(help="write to this file instead of printing")] = None,
    timeline: Annotated[bool, typer.Option(help="answer window by window, for long audio")] = False,
    window: Annotated[float, typer.Option(help="seconds of a window of the timeline")] = 4.0,
    hop: Annotated[float, typer.Option(help="seconds from one window to the next")] = 2.0,
    tokens: Annotated[bool, typer.Option(help="JSON: with the times of the kept tokens")] = False,
    speech_threshold: Annotated[
        float, typer.Option(help="probability from which sound is speech; 0: every sound is given an emotion")
    ] = 0.5,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU when there is one")] = None,
    max_seconds: Annotated[float, typer.Option(help="longest audio")] = AudioLimits().max_seconds,
    max_bytes: Annotated[int, typer.Option(help="largest file")] = AudioLimits().max_bytes,
) -> None:
    """Say what emotion a voice carries, what each pathway alone hears, and whether they disagree.

    Examples:

      fas predict call.wav

      fas predict recordings/ --format csv --output answers.csv

      fas predict meeting.mp3 --timeline --window 5 --hop 2.5

    Exit code: 0; 1 when a file could not be used (the others are answered); 2 when nothing could be done.
    """
    try:
        files = _files(paths)
        limits = AudioLimits(max_bytes, 0.025, max_seconds)
        answers = _answers(files, checkpoint, device, limits, timeline, window, hop, speech_threshold)
        failed = _write(answers, format, output, tokens, timeline)
    except INPUT_ERRORS as error:
        typer.echo(f"error: {error_line(error)}", err=True)
        raise typer.Exit(2) from None
    for item in failed:
        typer.echo(f"error: {item.error}", err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(files)} files could not be used", err=True)
        raise typer.Exit(1)


def _files(paths: list[Path]) -> list[Path]:
    """All audio files; a path that is not there is one error entry among others, and an error where it is alone."""
    if not any(exists(path) for path in paths):
        return find_audio_files(paths)
    return [file for path in paths for file in (find_audio_files([path]) if exists(path) else [path])]


def _answers(files, checkpoint, device, limits, timeline, window, hop, speech_threshold) -> Iterator[Answer]:
    from tqdm import tqdm
    from transformers.utils.logging import disable_progress_bar

    from fas_core.pipeline import SHIPPED, EmotionPipeline  # here, so that --help does not load torch

    if timeline:
        check_windows(window, hop)
    if not files:
        raise FASError(
            "no audio file found; expected files, or folders that hold wav, flac, ogg, opus, mp3, aiff, m4a ..."
        )
    disable_progress_bar()  # of loading weights
    pipeline = EmotionPipeline.from_pretrained(checkpoint or SHIPPED, device=device, speech_threshold=speech_threshold)
    bar = tqdm(files, unit="file", disable=len(files) < 2 or not sys.stderr.isatty())
    if not timeline:
        yield from pipeline.stream(bar, limits=limits)
        return
    for file in bar:
        try:
            yield from pipeline.timeline(file, window=window, hop=hop, limits=limits)
        except FASError as error:
            yield Answer(file=str(file), error=str(error))


def _write(answers: Iterable[Answer], format: Format, output: Path | None, tokens: bool, timed: bool) -> list[Answer]:
    """Write the answers; returns those that are errors."""
    answers = list(answers)
    if output is None:
        _print(answers, sys.stdout, format, tokens, timed)
    else:
        from fas_core.atomic import atomic_path

        try:
            with atomic_path(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
                _print(answers, file, format, tokens, timed)
        except OSError as error:
            raise FASError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    return [a for a in answers if a.error]


def _print(answers: list[Answer], file, format: Format, tokens: bool, timed: bool) -> None:
    if format is Format.json:
        json.dump([a.to_dict(tokens=tokens) for a in answers], file, indent=2, ensure_ascii=False)
        file.write("\n")
    elif format is Format.csv:
        CellWriter(file, list(Answer("").to_row())).writerows(a.to_row() for a in answers)
    else:
        Console(file=file, width=None if file.isatty() else 120).print(_table(answers, timed))


def _table(answers: list[Answer], timed: bool) -> Table:
    table = Table(caption="tone and words: what each pathway alone says; conflict: 0 they agree, 1 they disagree")
    columns = ("file", *(("seconds",) if timed else ()), "emotion", "probability", "tone", "words", "conflict", "note")
    for column in columns:
        table.add_column(column, overflow="fold")
    for a in answers:
        seconds = (f"{a.start or 0:.1f}-{a.end or 0:.1f}",) if timed else ()
        table.add_row(*map(escape, (Path(a.file).name, *seconds, *_cells(a))))  # [names] are no markup
    return table


def _cells(a: Answer) -> tuple[str, ...]:
    if a.error:
        return "-", "-", "-", "-", "-", a.error.removeprefix(f"{a.file}: ")
    if a.no_speech:
        return "-", "-", "-", "-", "-", "silent" if a.audio.get("silent") else "no speech"
    top = [max(p, key=p.get) if p else "-" for p in (a.acoustic, a.semantic)]
    conflict = "-" if a.conflict is None else f"{a.conflict:.2f}"
    return a.label, f"{a.probabilities[a.label]:.2f}", *top, conflict, "silent" if a.audio.get("silent") else ""


def main() -> None:
    """Entry point of the command `fas`."""
    # Threads that spin while they wait cost a factor of ten where other processes hold the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()


if __name__ == "__main__":
    main()
