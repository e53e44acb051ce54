"""The options of commands that write down what was said."""

from typing import Annotated

import typer

WordsOption = Annotated[
    bool, typer.Option("--words/--no-words", help="write down what was said, and say what that says by itself")
]
WordsModelOption = Annotated[
    str | None, typer.Option(help="another reader of the words: directory or hub id of a sequence classifier")
]
