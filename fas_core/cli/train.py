"""The command `fas train`, and the same with the paper's defaults for `train/fas.py` and `python -m fas_core.training.fas`."""

from fas_core.cli.app import App, late, runner
from fas_core.cli.from_dataclasses import add_command
from fas_core.training.arguments import DataArguments, ModelArguments, TrainingArguments
from fas_core.training.interrupt import says_how_to_go_on

RECIPES = ("recommended", "paper", "shipped_base", "shipped_tiny_en", "adapter_fas")
train = late("fas_core.training.fas:train")
CLASSES = (DataArguments, ModelArguments, TrainingArguments)
HELP = """Train FAS on corpora: features once, then the model, its calibration, and a checkpoint that `fas predict --checkpoint` takes.

{defaults} A YAML file or recipe stands before the flags, which win; what it leaves out is the paper's.

Examples:

  {command} --corpora ravdess=data/ravdess tess=data/tess --fold 1 --output runs/mine

  {command} paper --corpora ravdess=data/ravdess --fold 1 --output runs/paper

  {launch} --corpora ravdess=data/ravdess --fold 1

Exit code: 0; 2 for input that cannot be used; 130 or 143 when it was stopped, and --resume goes on from what was saved."""


def _run(data: DataArguments, model: ModelArguments, arguments: TrainingArguments) -> None:
    with says_how_to_go_on():
        train(data, model, arguments)


app = App()
add_command(
    app, CLASSES, _run, recipes=RECIPES, recipe="recommended",
    text=HELP.format(
        command="fas train", launch="accelerate launch -m fas_core train",
        defaults="The defaults are those of the recipe `recommended`, chosen on validation speakers.",
    ),
)  # fmt: skip

script = App()
add_command(
    script, CLASSES, _run, recipes=RECIPES,
    text=HELP.format(
        command="python train/fas.py", launch="accelerate launch train/fas.py",
        defaults="The defaults are the paper's Table 3, on trimmed clips; the recipe `paper` is its padding and untrimmed audio, too.",
    ),
)  # fmt: skip
main = runner(script, "train/fas.py")
