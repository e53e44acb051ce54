"""What is said and who says it, each split into sides that share nothing.

The sentences are our own: 36 per emotion, whose words carry it (for neutral, none). The emotional vocabulary
recurs from split to split, the sentences do not.
"""

import json
from importlib.resources import files

SPLITS = ("train", "validation", "test")

# Variants of espeak-ng that Whisper understands and that differ in pitch (86 to 250 Hz) and timbre.
_VARIANTS = {
    "train": "m1 m3 m4 m7 Alex Mario Reed Nguyen klatt f1 f4 Annie Alicia steph aunty linda".split(),
    "validation": "m6 Henrique f3 grandma".split(),
    "test": "m5 m8 adam f2 f5 Andrea".split(),
}
_ACCENTS = ("en-us", "en-gb-x-rp")

VOICES = {
    split: tuple(f"{accent}+{variant}" for variant in variants for accent in _ACCENTS)
    for split, variants in _VARIANTS.items()
}


def load_sentences() -> dict[str, dict[str, list[str]]]:
    """Emotion of the words -> split -> English sentences without final punctuation."""
    return json.loads(files(__package__).joinpath("sentences.json").read_text("utf-8"))
