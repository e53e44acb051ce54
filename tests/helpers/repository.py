"""Where the tests find the repository, and the speech that may stand beside it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEECH = Path(os.environ.get("FAS_SPEECH_DATA", ROOT.parent / "shared" / "data"))
