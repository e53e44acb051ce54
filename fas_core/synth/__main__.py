"""`python -m fas_core.synth OUT --clips N --seed S` renders the synthetic conflict corpus."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, runner

app = App()


@app.command(no_args_is_help=True)
def synth(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="folder to write; new, empty, or an earlier synthetic corpus")
    ],
    clips: Annotated[int, typer.Option(help="of the corpus")] = 1000,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 0,
    conflict_share: Annotated[float, typer.Option(help="share of conflicting clips")] = 0.5,
    train_conflict_share: Annotated[
        float | None,
        typer.Option(help="another share for the train split; 6/7 makes tone and words independent"),
    ] = None,
) -> None:
    """Render the synthetic conflict corpus: voices of espeak-ng whose tone may say another emotion than their words.

    Example:

      python -m fas_core.synth data/synthetic --clips 1000

    Exit code: 0; 2 where the folder cannot be used.
    """
    from fas_core.synth.corpus import render_corpus

    options = dict(clips=clips, seed=seed, conflict_share=conflict_share, train_conflict_share=train_conflict_share)
    typer.echo(render_corpus(out, **options))


main = runner(app, "python -m fas_core.synth")

if __name__ == "__main__":
    sys.exit(main())
