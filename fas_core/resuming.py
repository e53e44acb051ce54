"""May a run that was stopped go on? Only as what it was: one answer for training, adapters and predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def changed_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ between this run and the one that was stopped; what one of them lacks is None there."""
    return [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]


def check_may_resume(
    place: Path,
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    error: type[Exception],
    option: str = "--output_dir",
) -> None:
    """Refuses to go on with other settings.

    Args:
        place: folder or file of the run that was stopped. option: that names it. error: what is raised.

    Raises:
        error: settings differ; it names them.
    """
    if changed := changed_settings(ours, theirs):
        raise error(
            f"{place}: --resume needs the run's own settings, but these differ: {', '.join(changed)}; give the same ones, another "
            f"{option}, or leave out --resume"
        )
