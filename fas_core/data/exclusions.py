"""Exclusion lists: files of a folder that training leaves out, with the reason; written by `check`."""

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from fas_core.atomic import write_json
from fas_core.data.reading import Reading
from fas_core.errors import CorpusError
from fas_core.paths import expanded

VERSION = 1


@dataclass(frozen=True)
class ExclusionList:
    """`files`: path relative to the checked folder, with forward slashes -> reason."""

    files: dict[str, str]

    def save(self, path: str | Path) -> None:
        """Writes JSON {"version", "files"}; a reader sees the old file or the new one, never half of it."""
        write_json(path, {"version": VERSION, "files": dict(sorted(self.files.items()))})

    @classmethod
    def load(cls, path: str | Path) -> "ExclusionList":
        """Reads the list that `fas data check` wrote.

        Raises:
            CorpusError: no such file, not JSON, or not an exclusion list of this version.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise CorpusError(f"exclude={path}: cannot be read ({error.strerror})") from None
        except ValueError:
            raise CorpusError(f"exclude={path}: not JSON; `python -m fas_core.data check --out` writes it") from None
        known = isinstance(content, dict) and content.get("version") == VERSION
        files = content.get("files") if known else None
        if not isinstance(files, dict) or not all(isinstance(reason, str) for reason in files.values()):
            expected = f'{{"version": {VERSION}, "files": {{"path": "reason"}}}}'
            raise CorpusError(f"exclude={path}: expected {expected}")
        return cls(files)

    def apply(self, reading: Reading, root: str | Path) -> Reading:
        """The reading without the listed files, counted in `excluded` as "exclusion list: <reason>"."""
        names = [relative_name(audio, root) for audio in reading.dataset["audio"]]
        left_out = Counter(f"exclusion list: {self.files[name]}" for name in names if name in self.files)
        kept = [index for index, name in enumerate(names) if name not in self.files]
        return replace(reading, dataset=reading.dataset.select(kept), excluded=reading.excluded + left_out)


def relative_name(path: str | Path, root: str | Path) -> str:
    """A file's path below a folder with forward slashes, the same on every machine."""
    return Path(os.path.relpath(path, expanded(root))).as_posix()
