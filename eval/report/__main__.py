"""The command `fas report`, which is `python -m eval.report`: make a report again from what an evaluation left."""

from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, run, runner

app = App()


@app.command(no_args_is_help=True)
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="output of fas eval: results.json, answers.csv, clips.jsonl")
    ],
    audio: Annotated[
        bool | None,
        typer.Option(help="copy the audio of shown clips next to their pages; default: only synthetic speech"),
    ] = None,
    clip_pages: Annotated[int, typer.Option(help="clips with a page, for each benchmark")] = 40,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bars")] = False,
) -> None:
    """Make a report again from what an evaluation left.

    Example:

      fas report runs/report

    Exit code: 0; 2 where DIR holds no evaluation.
    """
    from fas_eval.report.build import build_report

    typer.echo(build_report(folder, audio, clip_pages, not quiet))


main = runner(app, "python -m eval.report")

if __name__ == "__main__":
    run(app, "python -m eval.report")
