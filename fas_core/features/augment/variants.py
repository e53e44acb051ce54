"""How a variant is written, "name:value", and the name that its features have in a cache."""

from functools import lru_cache

import numpy as np

from fas_core.errors import FASError
from fas_core.features.augment.codecs import NARROW, RATES

VERSION = 1  # raise it whenever the samples of a variant change
RANGES = {
    "speed": (0.5, 2.0),
    "pitch": (-12.0, 12.0),
    "vtlp": (0.7, 1.4),
    "formant": (0.7, 1.4),
    "noise": (-10.0, 60.0),
    "music": (-10.0, 60.0),
    "babble": (-10.0, 60.0),
    "level": (-40.0, 40.0),
    "channel": (0.0, 20.0),
    "room": (0.05, 3.0),
}
NAMED = {"codec": (*NARROW, *RATES), "telephone": tuple(NARROW)}  # their values are names, some with a rate: opus-12


@lru_cache
def parse_variant(variant: str) -> tuple[str, float | str]:
    """("speed", 0.9) of "speed:0.9", ("codec", "opus-12") of "codec:opus-12".

    Raises:
        FASError: an unknown name, or a value that is no number or out of range, or no name that it takes.
    """
    name, _, text = variant.partition(":")
    if name in NAMED:
        return name, _named(variant, name, text)
    if name not in RANGES:
        known = ", ".join((*RANGES, *NAMED))
        raise FASError(f"--augmentation {variant!r}: expected 'name:value' with a name of {known}")
    low, high = RANGES[name]
    value = _number(text)
    if not low <= value <= high:
        raise FASError(f"--augmentation {variant!r}: {name} takes a number from {low:g} to {high:g}")
    return name, value


def variant_key(digest: str, variant: str | None) -> str:
    """The name of a clip's features in a cache: its digest, and the variant if there is one."""
    if variant is None:
        return digest
    name, value = parse_variant(variant)
    return f"{digest}@v{VERSION}:{name}:{value if isinstance(value, str) else f'{value:g}'}"


def _named(variant: str, name: str, text: str) -> str:
    codec, dash, rate = text.partition("-")
    known = NAMED[name]
    if codec not in known:
        raise FASError(f"--augmentation {variant!r}: {name} takes {_written(known)}")
    if codec not in RATES:
        if dash:
            raise FASError(f"--augmentation {variant!r}: {codec} has one rate, expected {name}:{codec}")
        return codec
    kbits, rates = _number(rate), RATES[codec]
    if kbits not in rates:
        allowed = (
            f"a whole number from {rates[0]} to {rates[-1]}" if isinstance(rates, range) else ", ".join(map(str, rates))
        )
        raise FASError(
            f"--augmentation {variant!r}: {codec} takes kbit/s of {allowed}, as in {name}:{codec}-{rates[0]}"
        )
    return f"{codec}-{kbits:g}"


def _written(codecs: tuple[str, ...]) -> str:
    return ", ".join(f"{codec}-KBITS" if codec in RATES else codec for codec in codecs)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
