"""The command `fas`: one door to every command, each loaded when it is called.

A row of `COMMANDS` names the module of a command; the packages above this one are named as text and never imported here, so that
`fas --help` waits for none of them.
"""

import logging
import os
import sys
from typing import Annotated

import typer

from fas_core import __version__
from fas_core.cli.app import App, Group, Row, run

ANSWER, TRAIN, JUDGE, LOOK = "Answer", "Train", "Compare", "Look around"


COMMANDS = {
    "predict": Row(ANSWER, "fas_core.cli.predict:app", "Say what emotion a voice carries, in files and folders."),
    "words": Row(ANSWER, "fas_core.cli.words:app", "Read the emotion of texts, or train the model that does."),
    "serve": Row(ANSWER, "fas_serve.__main__:app", "Serve a model: chat about speech, and /v1/emotion."),
    "chat": Row(ANSWER, "fas_serve.chat:app", "Ask a server about audio."),
    "page": Row(ANSWER, "fas_serve.page:app", "Show a server's page in the browser."),
    "data": Row(TRAIN, "fas_core.cli.data:app", "Look at corpora before training on them."),
    "features": Row(TRAIN, "fas_core.cli.features:app", "Fill a feature cache, or look for damage in one."),
    "train": Row(TRAIN, "fas_core.cli.train:app", "Train FAS; by default as we recommend."),
    "adapter": Row(TRAIN, "fas_core.cli.adapter:app", "Train the adapter that lets a language model hear through FAS."),
    "export": Row(TRAIN, "fas_core.cli.export:app", "Make one model directory of an adapter and its language model."),
    "eval": Row(JUDGE, "fas_eval.suite.cli:app", "Compare systems on benchmarks, and write a report."),
    "report": Row(JUDGE, "fas_eval.report.__main__:app", "Make a report again from what an evaluation left."),
    "case": Row(JUDGE, "fas_eval.case.__main__:app", "Build a set of speech whose tone says another emotion than its words."),
    "demo": Row(LOOK, "fas_core.cli.demo:app", "Go from rendered speech to a report in a few minutes."),
    "doctor": Row(LOOK, "fas_core.doctor:app", "Say what is installed, and what this machine can do."),
}  # fmt: skip


class Door(Group):
    """The group of all commands of the table."""

    rows = COMMANDS


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fas-alm {__version__}")
        raise typer.Exit


app = App(cls=Door)


@app.callback()
def fas(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Speech emotion recognition that hears when tone and words disagree.

    Examples:

      fas predict call.wav

      fas train --corpora ravdess=data/ravdess tess=data/tess --fold 1 --output runs/mine

      fas COMMAND --help

    Options are written with dashes or underscores. Exit codes: 0; 1 where something was found or failed, which is named; 2 for input that cannot be used; 130 for Ctrl-C.
    """


def main() -> None:
    """Entry point of the command `fas`."""
    # Threads that spin while they wait cost a factor of ten where other processes hold the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    run(app, "fas")


if __name__ == "__main__":
    main()
