"""What a run compares, by name: YAML files that a user may copy and change (`--preset FILE.yaml`)."""

from dataclasses import dataclass, field
from pathlib import Path

from fas_core.errors import FASError
from fas_core.yaml_files import read_yaml

FOLDER = Path(__file__).parent
PRESETS = tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


@dataclass
class Preset:
    """Fields of a YAML file; flags of the suite win over them.

    Attributes:
        systems: entries of `eval.systems.registry`. benchmarks: names, or entries of
            `eval.benchmarks.registry.Benchmark`; those that are not there are reported.
        train, fold, seeds: of systems that are trained here. maps: whether the report shows a map of fused tokens for
            each benchmark, of the first FAS.
    """

    title: str = ""
    systems: list = field(default_factory=list)
    benchmarks: list = field(default_factory=list)
    train: list[str] = field(default_factory=list)
    fold: int | None = None
    seeds: list[int] = field(default_factory=lambda: [42])
    maps: bool = False


def load_preset(name: str) -> Preset:
    """A preset by name, or from a file.

    Raises:
        FASError: neither, not YAML, or an unknown field.
    """
    file = FOLDER / f"{name}.yaml" if name in PRESETS else Path(name)
    values = read_yaml(file, f"one of {', '.join(PRESETS)}, or a YAML file (--preset)")
    if not isinstance(values, dict):
        raise FASError(f"{file.name}: expected the fields {', '.join(Preset.__dataclass_fields__)}")
    try:
        return Preset(**values)
    except TypeError as error:
        raise FASError(f"{file.name}: {error}; expected the fields {', '.join(Preset.__dataclass_fields__)}") from None
