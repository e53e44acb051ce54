"""The front end: cuts silence off both ends and brings the speech to one level.

Whoever recorded louder, closer or with a longer pause before the sentence would otherwise be another emotion
to the classifier: on raw audio a model trained on one corpus calls everything in the next one angry.
"""

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from fas_core.arrays import LARGEST_AMPLITUDE
from fas_core.audio import SAMPLE_RATE, is_silent
from fas_core.errors import AudioError

VERSION = 1  # of what is computed: a change here makes new features and leaves old caches alone
FRAME = SAMPLE_RATE // 50  # 20 ms
FLOOR = 1e-12  # mean square, -120 dBFS
MAX_GAIN_DB = 60.0  # never reached by speech; keeps a noise floor from becoming a voice


@dataclass(frozen=True)
class FrontEndConfig:
    """What the front end does.

    Attributes:
        trim: cut both ends back to the first and last active frame.
        trim_db: a frame is active within this many dB of the loudest one.
        level: bring the RMS of the active frames to `level_dbfs`.
        level_dbfs: dB relative to full scale at 1.

    Raises:
        AudioError: a value of the wrong kind or range.
    """

    trim: bool = True
    trim_db: float = 40.0
    level: bool = True
    level_dbfs: float = -26.0

    def __post_init__(self) -> None:
        for field, value in (("trim", self.trim), ("level", self.level)):
            if not isinstance(value, bool):
                raise AudioError("front end", f"{field} is {value!r}", "expected true or false")
        if not isinstance(self.trim_db, Real) or not 0 < self.trim_db < math.inf:
            raise AudioError("front end", f"trim_db is {self.trim_db!r}", "expected more than 0 dB")
        if not isinstance(self.level_dbfs, Real) or not -math.inf < self.level_dbfs <= 0:
            raise AudioError("front end", f"level_dbfs is {self.level_dbfs!r}", "expected 0 dBFS or less")
        for field in ("trim_db", "level_dbfs"):  # 40 and 40.0 are one identity
            object.__setattr__(self, field, float(getattr(self, field)))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FrontEndConfig":
        """The reverse of `to_dict`; what is absent keeps its default.

        Raises:
            AudioError: a name that is no field; to ignore it would be to compute something else than asked.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            hint = f"expected some of {', '.join(known)}"
            raise AudioError("front end", f"unknown field {unknown[0]!r}", hint)
        return cls(**values)


@dataclass
class FrontEndResult:
    """Audio after the front end, and what was done to it.

    Attributes:
        samples: (end - start,) float32; memory of the input where nothing was done to it. Not clipped.
        start, end: samples of the input that were kept.
        gain_db: how much louder it was made.
    """

    samples: np.ndarray
    start: int
    end: int
    gain_db: float


class FrontEnd:
    """Trims and levels one clip at a time.

    Examples:
        >>> front_end = FrontEnd(FrontEndConfig())
        >>> clip = np.zeros(16000, np.float32)
        >>> clip[3200:9600] = 0.5
        >>> result = front_end(clip)
        >>> result.start, result.end, round(result.gain_db, 1)
        (3200, 9600, -20.0)
    """

    def __init__(self, config: FrontEndConfig | None = None):
        self.config = config or FrontEndConfig()

    def __call__(self, samples: np.ndarray) -> FrontEndResult:
        """Applies the front end.

        Frames of 20 ms are active if their RMS lies within `trim_db` of the loudest. What follows the last
        whole frame is kept with it. Digital silence passes unchanged.

        Args:
            samples: (n,) float, 16 kHz, n > 0, as `load_audio` gives them.

        Raises:
            AudioError: another shape or type, no samples, NaN or Inf.
        """
        samples = _checked(samples)
        if is_silent(samples):
            return FrontEndResult(samples, 0, len(samples), 0.0)
        energy = _frame_rms(samples)
        active = np.flatnonzero(energy > energy.max() * 10 ** (-self.config.trim_db / 20))
        start, end = _span(active, len(energy), len(samples)) if self.config.trim else (0, len(samples))
        kept = samples[start:end]
        if not self.config.level:
            return FrontEndResult(kept, start, end, 0.0)
        rms_db = 10 * math.log10(np.mean(np.square(energy[active])))
        gain_db = min(self.config.level_dbfs - rms_db, MAX_GAIN_DB)
        return FrontEndResult(kept * np.float32(10 ** (gain_db / 20)), start, end, gain_db)

    def identity(self) -> dict[str, Any]:
        """Everything that its output depends on, ready for JSON."""
        return {"type": "trim-level", "version": VERSION, "frame": FRAME, **self.config.to_dict()}


def _checked(samples: np.ndarray) -> np.ndarray:
    samples = np.asarray(samples)
    if samples.ndim != 1 or samples.dtype.kind != "f" or not len(samples):
        problem = f"got {samples.dtype.name} samples of shape {samples.shape}"
        raise AudioError("front end", problem, "expected float samples of shape (n,), n > 0")
    if not max(samples.max(), -samples.min()) < LARGEST_AMPLITUDE:  # false for NaN, too
        raise AudioError("front end", "NaN, Inf or absurdly large samples", "expected full scale at 1")
    return samples.astype(np.float32, copy=False)


def _frame_rms(samples: np.ndarray) -> np.ndarray:
    """RMS of each whole frame, (n // FRAME,) float64; a clip shorter than one frame is one."""
    frame = min(FRAME, len(samples))
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    mean_square = np.einsum("tn,tn->t", frames, frames).astype(np.float64) / frame
    return np.sqrt(mean_square + FLOOR)


def _span(active: np.ndarray, frames: int, samples: int) -> tuple[int, int]:
    is_last_active = active[-1] == frames - 1
    return int(active[0]) * FRAME, samples if is_last_active else (int(active[-1]) + 1) * FRAME
