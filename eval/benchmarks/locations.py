"""Where benchmarks lie on this machine."""

from dataclasses import dataclass, field
from pathlib import Path

from fas_core.errors import CorpusError
from fas_core.paths import exists, expanded

MANIFEST = "manifest:"  # "manifest:PATH" is a benchmark without an entry


@dataclass(frozen=True)
class DataLocations:
    """`root` holds one folder a benchmark; `overrides`, benchmark -> folder, those that lie elsewhere; `exclude_labels`, raw
    labels whose clips are left out of all of them.
    """

    root: Path | None = None
    overrides: dict[str, Path] = field(default_factory=dict)
    exclude_labels: tuple[str, ...] = ()

    def find(self, name: str) -> Path:
        """Folder of a benchmark (or of a manifest's table).

        Raises:
            CorpusError: nothing there; names the folder and the options that set it.
        """
        if name.startswith(MANIFEST):
            place, option = Path(name.removeprefix(MANIFEST)), "--benchmarks manifest:PATH"
        elif name in self.overrides:
            place, option = Path(self.overrides[name]), f"--data {name}=DIR"
        elif self.root is not None:
            place = Path(self.root) / name
            option = f"--data {name}=DIR, or --data-root DIR with DIR/{name}"
        else:
            raise CorpusError(f"{name}: nobody says where it lies; give --data-root DIR or --data {name}=DIR")
        if not exists(place):
            raise CorpusError(f"{name}: {place} does not exist; its place is set with {option}")
        return expanded(place)
