"""The command `fas export`; what it does is in `fas_alm.export`, whose import waits for transformers."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, late, runner
from fas_core.errors import FASError


class DType(str, Enum):
    auto, float32, bfloat16, float16 = "auto", "float32", "bfloat16", "float16"


export_model = late("fas_alm.export:export_model")
app = App()


@app.command(no_args_is_help=True)
def export(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="adapter directory of fas adapter, or hub id")],
    folder: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="the same as --output")] = None,
    output: Annotated[Path | None, typer.Option(help="model directory to write")] = None,
    merge: Annotated[
        bool, typer.Option(help="add LoRA into the LLM's weights; else it is kept apart, in OUTPUT/lora")
    ] = True,
    language_model: Annotated[
        str | None, typer.Option(help="where the LLM is, if not where it was in training")
    ] = None,
    dtype: Annotated[DType, typer.Option(help="of the LLM's weights; auto: as they are")] = DType.auto,
    revision: Annotated[str | None, typer.Option(help="of a hub id: branch, tag or commit")] = None,
) -> None:
    """Make one self-contained model directory of an adapter and its language model, for transformers, vLLM and fas serve.

    Example:

      fas export runs/alm/adapter runs/alm/model

    Exit code: 0; 2 where the adapter, its language model or OUTPUT cannot be used.
    """
    if (folder is None) == (output is None):
        raise FASError("OUTPUT: expected one model directory to write, as second word or with --output")
    path = export_model(adapter, output or folder, merge, language_model, dtype.value, revision)
    typer.echo(f"{path}: load it with transformers, or serve it: fas serve {path}")


main = runner(app, "python -m fas_alm.export")
