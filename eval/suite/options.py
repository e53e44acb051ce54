"""What `fas eval` can be told."""

from dataclasses import dataclass
from pathlib import Path

from fas_core.errors import FASError
from fas_core.training.options import expect_choice, option
from fas_eval.presets import PRESETS

COMPARED, DATA, STATISTICS, RUN = "What is compared", "Data", "Statistics", "The run"
STUDIES = ("cues",)
CHOICES = {"protocol": ("inductive", "transductive"), "resample": ("clips", "speakers"), "correction": ("holm", "bh")}


@dataclass
class SuiteOptions:
    """The report."""

    output: Path | None = option(None, "folder of the report; required unless --list", metavar="DIR")
    preset: str | None = option(
        None, f"{', '.join(PRESETS)}, or a YAML file of the same form; other flags win over it", metavar="NAME"
    )
    listing: bool = option(False, "show system types and benchmarks, and stop", flag="list")
    checkpoint: list[str] = option(
        [], "FAS checkpoints: the same as --systems fas:DIR", metavar="DIR...", panel=COMPARED
    )
    systems: list[str] = option([], "systems beside the preset's", metavar="TYPE[:ARGUMENT]...", panel=COMPARED)
    systems_file: Path | None = option(
        None, "YAML with a list `systems`, each an entry with type, name and options", panel=COMPARED
    )
    only: list[str] | None = option(None, "of all these systems only those", metavar="NAME...", panel=COMPARED)
    benchmarks: list[str] | None = option(
        None, "benchmarks, or manifest:PATH; default: the preset's", metavar="NAME...", panel=COMPARED
    )
    study: str | None = option(
        None, "cues: each system, which has to be asked in words, once more with acoustic cues in its prompt: its own, another clip's, "
        "mirrored and corrupted ones (docs/cues.md)", metavar="NAME", panel=COMPARED,
    )  # fmt: skip
    plugin: list[Path] = option(
        [],
        "Python files that register own systems, benchmarks and encoders; they are run, so give none that you did not read",
        metavar="FILE.py...",
        panel=COMPARED,
    )
    reference: str | None = option(
        None, "test the others against this system only; default: all pairs", metavar="NAME", panel=COMPARED
    )
    data_root: Path | None = option(None, "folder with one folder a benchmark", metavar="DIR", panel=DATA)
    data: list[str] = option(
        [],
        "corpora that lie elsewhere, NAME=FOLDER; any other NAME for a folder with a manifest, which --benchmarks NAME then takes",
        flag="corpora",
        metavar="NAME=FOLDER...",
        panel=DATA,
    )
    exclude_labels: list[str] = option(
        [],
        "leave out clips of these labels; '*': of all that no table knows, which are an error otherwise",
        metavar="LABEL...",
        panel=DATA,
    )
    train: list[str] | None = option(None, "corpora that systems are trained on here", metavar="NAME...", panel=DATA)
    fold: int | None = option(
        None, "fold of corpora with folds: its speakers are tested, and held out of training", panel=DATA
    )
    seeds: list[int] | None = option(
        None, "of systems that are trained here; tables give mean and spread", metavar="N...", panel=DATA
    )
    limit: int | None = option(
        None,
        "only so many clips of each benchmark, the same ones each time (for a look, not for results)",
        panel=DATA,
    )
    encoder: str = option("offline:tiny.en", "Whisper of trained systems that name none", panel=DATA)
    acoustic_layer: str = option("2", "its layer that is the acoustic stream", panel=DATA)
    stacked_layers: str = option("1,2,3", "its layers for recipes that stack several", panel=DATA)
    protocol: list[str] = option(
        ["inductive"],
        "inductive, transductive: each FAS once more, standardised by the benchmark's own unlabelled clips: another task",
        metavar="NAME...",
        panel=STATISTICS,
    )
    bootstrap: int = option(1000, "resamples of the intervals", panel=STATISTICS)
    resample: str = option("clips", "what the bootstrap draws: clips or speakers", panel=STATISTICS)
    correction: str = option("holm", "for many comparisons: holm or bh", panel=STATISTICS)
    seed: int = option(42, "of the bootstrap", panel=STATISTICS)
    cache: Path = option(Path("~/.cache/fas_alm"), "features and trained systems", panel=RUN)
    answers: Path | None = option(None, "folder of answers; default: answers in --output", panel=RUN)
    audio: bool | None = option(
        None,
        "copy the audio of the clips that have a page of their own; default: synthetic speech only, because the licences of "
        "corpora differ",
        panel=RUN,
    )
    device: str | None = option(None, "cpu, cuda, ...; default: what there is", panel=RUN)
    quiet: bool = option(False, "no progress bars", panel=RUN)

    def __post_init__(self):
        for name, valid in CHOICES.items():
            expect_choice(self, name, valid)
        if self.study is not None:
            expect_choice(self, "study", STUDIES)
        if not self.listing and self.output is None:
            raise FASError("--output DIR is missing: where is the report to go?")
