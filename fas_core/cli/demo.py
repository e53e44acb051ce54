"""The command `fas demo`: the demo of a checkout, which an installed package does not hold."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from fas_core.cli.app import App
from fas_core.errors import FASError

CHECKOUT = Path(__file__).parent.parent.parent
CLIPS, EPOCHS = 2400, 20  # under four minutes on two cores

app = App()


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="folder to write")] = Path("demo_out"),
    clips: Annotated[int, typer.Option(help="of the synthetic corpus")] = CLIPS,
    epochs: Annotated[int, typer.Option(help="of training")] = EPOCHS,
    seed: Annotated[int, typer.Option(help="of all that is random")] = 42,
) -> None:
    """Go from rendered speech to a trained classifier and a report in a few minutes; it needs a checkout.

    Example:

      fas demo --output demo_out

    Exit code: 0; 2 where there is no checkout, or the folder cannot be used.
    """
    if not (CHECKOUT / "demo" / "stages.py").is_file():
        raise FASError("the demo is not installed with the package: run `make demo` in a checkout of the project")
    _stages().run_demo(output=output, clips=clips, epochs=epochs, seed=seed)


def _stages() -> ModuleType:
    if str(CHECKOUT) not in sys.path:  # the command may be called from any folder
        sys.path.insert(0, str(CHECKOUT))
    return importlib.import_module("demo.stages")
