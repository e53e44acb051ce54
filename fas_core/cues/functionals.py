"""The 88 functionals of eGeMAPS (Eyben et al., 2016) by openSMILE, kept by the content of the audio.

The package `opensmile` is for research use only, see its licence.
"""

import hashlib
import threading
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from fas_core.atomic import atomic_path, locked
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.errors import MissingDependencyError

FEATURE_SET = "eGeMAPSv02"
SAVE_EVERY = 200


class Functionals:
    """88 functionals of a clip's audio, kept by content.

    Args:
        folder: where they are kept; None keeps them in memory.

    Raises:
        MissingDependencyError: opensmile is not installed.
    """

    def __init__(self, folder: Path | None = None):
        try:
            import opensmile
        except ImportError:
            raise MissingDependencyError(
                "eGeMAPS needs opensmile (research licence): pip install 'fas-alm[egemaps]'"
            ) from None
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        self.version = f"{FEATURE_SET}, opensmile {opensmile.__version__}"
        name = f"egemaps-{hashlib.sha256(self.version.encode()).hexdigest()[:12]}.safetensors"
        self.file = folder and folder / name
        self.held: dict[str, np.ndarray] = self._stored()
        self.new, self._lock = 0, threading.Lock()

    def _stored(self) -> dict[str, np.ndarray]:
        return dict(load_file(self.file)) if self.file and self.file.is_file() else {}

    def of(self, samples: np.ndarray) -> np.ndarray:
        """(n,) samples at 16 kHz -> (88,) float32; what cannot be measured is 0."""
        with self._lock:
            values = self.smile.process_signal(samples, SAMPLE_RATE).to_numpy()[0]
        return np.nan_to_num(values.astype(np.float32))

    def get(self, path: str, digest: str) -> np.ndarray:
        """(88,) float32 of a file. Raises `AudioError`."""
        if digest not in self.held:
            self.held[digest] = self.of(load_audio(path).samples)
            self.new += 1
            if self.new == SAVE_EVERY:
                self.save()
        return self.held[digest]

    def save(self) -> None:
        """Keep what is new, with what other processes have computed meanwhile."""
        if not self.new or not self.file:
            return
        with locked(self.file):
            self.held = self._stored() | self.held
            with atomic_path(self.file) as temporary:
                save_file(self.held, temporary)
        self.new = 0
