"""The command `fas predict`: answers for files and folders."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_core.answer_formats import CSVFormat, JSONFormat, JSONLinesFormat
from fas_core.answer_output import FileOutput, ScreenOutput
from fas_core.answer_table import WIDTHS, TableFormat, short_names
from fas_core.audio import AudioLimits
from fas_core.channels import EACH, checked_channels
from fas_core.cli.app import CLOSED, INTERRUPTED, App
from fas_core.errors import FASError
from fas_core.sources import find_audio_files
from fas_core.text import printable
from fas_core.windows import check_windows
from fas_core.words.options import WordsModelOption, WordsOption

app = App()


class Format(str, Enum):
    table, json, jsonl, csv = "table", "json", "jsonl", "csv"


class Stopped(BaseException):
    """The process was asked to end. Attributes: code: to exit with, as shells give it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def stops() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM raise `Stopped` inside; gives a check that raises it again: in a destructor Python loses exceptions."""
    received: list[int] = []

    def check() -> None:
        if received:
            raise Stopped(received[0])

    def stop(number: int, frame) -> None:
        received.append(number)
        check()

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command(no_args_is_help=True)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="audio files, or folders that are searched for audio")],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="directory, hub id, or a shipped one: base, tiny.en; default: base where its weights are installed"
        ),
    ] = None,
    format: Annotated[
        Format, typer.Option(help="how to write the answers; jsonl: one a line, as they come")
    ] = Format.table,
    output: Annotated[Path | None, typer.Option(help="write to this file instead of printing")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with what a stopped run left in --output")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="answer window by window, for long audio")] = False,
    window: Annotated[float, typer.Option(help="seconds of a window of the timeline")] = 4.0,
    hop: Annotated[float, typer.Option(help="seconds from one window to the next")] = 2.0,
    channels: Annotated[
        str, typer.Option(help="of a recording: mix, each (a call with one person a channel), or the number of one")
    ] = "mix",
    tokens: Annotated[bool, typer.Option("--tokens", help="JSON: with the times of the kept tokens")] = False,
    csv_excel: Annotated[
        bool, typer.Option("--csv-excel", help="CSV for a spreadsheet: marked as UTF-8, figures rounded")
    ] = False,
    csv_separator: Annotated[
        str, typer.Option(help='CSV: "," or ";", with which --csv-excel writes decimal commas')
    ] = ",",
    speech_threshold: Annotated[
        float, typer.Option(help="probability from which sound is speech; 0: every sound is given an emotion")
    ] = 0.5,
    unsure_below: Annotated[
        float | None,
        typer.Option(
            help="an answer is unsure where it is less probable that it is right; 0: none is; default: what the checkpoint says"
        ),
    ] = None,
    label_sets: Annotated[
        float | None, typer.Option(help="also labels that hold the right one so often, e.g. 0.9, whoever speaks")
    ] = None,
    words: WordsOption = True,
    words_model: WordsModelOption = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU when there is one")] = None,
    max_seconds: Annotated[float, typer.Option(help="longest audio")] = AudioLimits().max_seconds,
    max_bytes: Annotated[int, typer.Option(help="largest file")] = AudioLimits().max_bytes,
) -> None:
    """Say what emotion a voice carries, what was said, what tone and words say by themselves, and whether they conflict.

    Answers are written as they come. A run that is stopped says how many files are answered, and the same command with --resume goes on; beside --output a file whose name ends in .journal remembers which.

    Examples:

      fas predict call.wav

      fas predict recordings/ --format csv --output answers.csv

      fas predict recordings/ --csv-excel --output answers.csv

      fas predict call.mp3 --timeline --window 5 --hop 2.5 --channels each

    Exit code: 0; 1 when a file could not be used (the others are answered); 2 when the command could not begin or go on; 130 interrupted, 143 terminated, 141 when nobody reads what is printed any more.
    """
    try:
        format = Format.csv if csv_excel and format is Format.table else format
        _check_options(format, output, resume, csv_excel, csv_separator)
        options = dict(
            timeline=timeline, window=window, hop=hop, channels=checked_channels(channels), tokens=tokens,
            speech_threshold=speech_threshold, unsure_below=unsure_below, label_sets=label_sets, words=words, words_model=words_model,
            max_seconds=max_seconds, max_bytes=max_bytes,
        )  # fmt: skip
        files = _files(paths)
        layout = _layout(format, files, options, csv_excel, csv_separator, on_screen=output is None)
        run = _prepared(files, checkpoint, device, options, prints=output is None)
        if output is None:
            target = ScreenOutput(sys.stdout.buffer, layout)
        else:
            written = dict(format=format.value, csv_excel=csv_excel, csv_separator=csv_separator)
            target = FileOutput(output, layout, None if format is Format.table else run.facts(written), files, resume)
        code = _answer(run, target)
    except FASError as error:
        _say(f"error: {error}")
        code = 2
    except KeyboardInterrupt:
        _say("stopped before the first file")
        code = INTERRUPTED
    raise typer.Exit(code)


def _check_options(format: Format, output: Path | None, resume: bool, csv_excel: bool, csv_separator: str) -> None:
    if resume and (output is None or format is Format.table):
        raise FASError("--resume: expected together with --output and --format csv, json or jsonl")
    if format is not Format.csv and (csv_excel or csv_separator != ","):
        raise FASError(f"--csv-excel, --csv-separator: expected with --format csv, which is {format.value}")
    if csv_separator not in (",", ";", "\t"):
        raise FASError(f"--csv-separator {csv_separator!r}: expected a comma, a semicolon or a tab")


def _files(paths: list[Path]) -> list[Path]:
    """All audio files; a path that is not there is one error entry among others, and an error where it is alone."""
    if not any(os.path.lexists(path) for path in paths):
        return find_audio_files(paths)
    return [file for path in paths for file in (find_audio_files([path]) if os.path.exists(path) else [path])]


def _layout(format: Format, files: list[Path], options: dict, csv_excel: bool, csv_separator: str, on_screen: bool):
    if format is Format.csv:
        return CSVFormat(csv_separator, csv_excel)
    if format is not Format.table:
        return (JSONFormat if format is Format.json else JSONLinesFormat)(options["tokens"])
    is_terminal = on_screen and sys.stdout.isatty()
    left_out = {"seconds": not options["timeline"], "channel": options["channels"] != EACH}
    columns = [name for name in WIDTHS if not left_out.get(name)]
    width = shutil.get_terminal_size().columns if is_terminal else None
    return TableFormat(short_names([str(file) for file in files]), columns, width, colour=is_terminal)


def _prepared(files: list[Path], checkpoint: str | None, device: str | None, options: dict, prints: bool):
    """The run, with its model loaded."""
    if options["timeline"]:
        check_windows(options["window"], options["hop"])
    if not files:
        raise FASError(
            "no audio file found; expected files, or folders that hold wav, flac, ogg, opus, mp3, aiff, m4a ..."
        )
    limits = AudioLimits(options["max_bytes"], 0.025, options["max_seconds"])
    from fas_core.prediction import Run  # here, so that --help does not load torch

    return Run(files, checkpoint, device, options, limits, prints)


def _answer(run, target: ScreenOutput | FileOutput) -> int:
    """Answer the files; gives the exit code, and says on stderr what there is to say."""
    errors, mixed, complete, code = [], 0, False, 1
    try:
        with stops() as check:
            for file, answers in run.answers(target.files):
                failed = is_mixed = False
                for answer in answers:
                    check()
                    target.write(answer)
                    errors += [answer.error] if answer.error else []
                    failed = failed or bool(answer.error)
                    is_mixed = is_mixed or answer.audio.channel == "mix"
                mixed += is_mixed
                target.finish_file(file, failed)
            target.close(complete=True)
        complete, code = True, int(target.failed > 0)
    except (KeyboardInterrupt, Stopped, BrokenPipeError) as error:
        code = (
            error.code if isinstance(error, Stopped) else CLOSED if isinstance(error, BrokenPipeError) else INTERRUPTED
        )
    finally:
        _tell(run, target, errors, mixed, complete)
        if not complete:
            _close(target)
    return code


def _tell(run, target: ScreenOutput | FileOutput, errors: list[str], mixed: int, complete: bool) -> None:
    run.progress.close()
    for error in errors:
        _say(f"error: {error}")
    if target.failed:
        _say(f"{target.failed} of {len(run.files)} files could not be used")
    if mixed:
        _say(f"{mixed} of {len(run.files)} files have several channels, which were mixed; --channels each answers each")
    if not complete:
        _say(f"stopped: {target.files} of {len(run.files)} files are answered{target.hint}")


def _close(target: ScreenOutput | FileOutput) -> None:
    """What a stopped run wrote is made whole, where that can be done."""
    with suppress(FASError, BrokenPipeError):
        target.close(complete=False)


def _say(line: str) -> None:
    typer.echo(printable(line), err=True)
