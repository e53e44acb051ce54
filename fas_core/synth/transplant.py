"""Prosody transplants: the pitch, energy, timing and voice quality of an acted clip laid over a reading of another sentence.

Analysis and synthesis are those of WORLD (Morise, Yokomori and Ozawa, IEICE Transactions E99-D(7), 2016), from the package
pyworld (MIT). What is taken over is how the clip differs from the same actor's neutral speech, never the actor's own voice:

- pitch: the contour in semitones about the median of the actor's neutral clips, laid over the median of the reading. Range and
  register are kept, a voice that rises by five semitones in fear rises by five;
- energy: its slow course in decibels about the level of the neutral clips; what is faster, the syllables, stays the reading's;
- timing: as much slower or faster as the clip is than neutral clips (of the same sentence, where there are some), and the
  contours stretched over the whole sentence in a straight line. Sentences differ: nothing finer could be aligned;
- voice quality: the clip's long-term spectrum, its spread over time and its noise (aperiodicity) less those of the neutral clips, in
  bands too broad for single vowels, added to the reading's;
- the room: the steady background of the acted recording; synthetic readings have none, and recognisers hear that first.

With `Amount.voice` the actor's own voice is lent as well, as far as that lies in these long-term figures.

The result is synthetic speech. Its words are the reading's, and its tone is acted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fas_core.errors import AudioError, MissingDependencyError

SAMPLE_RATE = 16_000
FRAME_SECONDS = 0.005
LOWEST_HZ, HIGHEST_HZ = 60.0, 700.0
BANDS = 24  # of the long-term spectrum, evenly on the mel scale
_ACTIVE_DB = 35.0  # frames that are so far below the loudest are pauses
_FLOOR_DB, _SILENT_DB = -100.0, -90.0
_MARGIN = 15  # frames of the reading that are kept before and behind its speech
_BINS = 513  # of CheapTrick at 16 kHz
_FASTEST, _SLOWEST = 0.6, 1.7
_MOST_DB = 18.0  # of any change of energy or spectrum
_MOST_SPREAD = 1.6
_ROOM_DB = 40.0  # that a background is below speech at least
_LEVEL_DB = -32.0  # RMS of neutral speech in the result, relative to full scale: shouting is 15 dB louder


@dataclass(frozen=True)
class Amount:
    """How much of each is taken over, 0 (nothing) to 1 (all); above 1 is a caricature.

    Attributes:
        pitch: of the contour about its own median. register: of that median's distance from neutral. energy, timing, quality: as above.
        voice: how far register, long-term spectrum and noise that the change is laid over are the actor's own instead of the reader's.
        room: 1, the background of the acted recording is behind the reading; 0, none.
        smoothing: seconds; what changes faster than that in the energy stays the reading's.
    """

    pitch: float = 1.0
    register: float = 1.0
    energy: float = 1.0
    timing: float = 1.0
    quality: float = 1.0
    voice: float = 0.0
    room: float = 1.0
    smoothing: float = 0.15


@dataclass(frozen=True)
class Delivery:
    """How something was said, from the first to the last active frame, every 5 ms.

    Attributes:
        f0: (T,) Hz, 0 where unvoiced. energy: (T,) dB.
        spectrum, spread: (BANDS,) dB, mean and deviation over active frames of what is in a band, the frame's own mean taken away.
        noise: (BANDS,) dB, mean aperiodicity over voiced frames. floor: (BANDS,) dB, what the quietest tenth of all frames stays below.
    """

    f0: np.ndarray
    energy: np.ndarray
    spectrum: np.ndarray
    spread: np.ndarray
    noise: np.ndarray
    floor: np.ndarray

    @property
    def seconds(self) -> float:
        return len(self.f0) * FRAME_SECONDS

    @property
    def median_f0(self) -> float:
        """Hz; nan where nothing is voiced."""
        return float(np.median(self.f0[self.f0 > 0])) if (self.f0 > 0).any() else float("nan")

    @property
    def level(self) -> float:
        """dB, of the mean power over active frames."""
        return float(10 * np.log10(np.mean(10 ** (self.energy[self.active] / 10))))

    @property
    def active(self) -> np.ndarray:
        """(T,) bool: not a pause."""
        return self.energy > self.energy.max() - _ACTIVE_DB


@dataclass(frozen=True)
class Neutral:
    """The neutral speech of an actor, which a tone differs from: means over clips of what `Delivery` has."""

    f0: float
    level: float
    spectrum: np.ndarray
    spread: np.ndarray
    noise: np.ndarray
    seconds: float

    @classmethod
    def of(cls, deliveries: Sequence[Delivery], same: Sequence[Delivery] = ()) -> "Neutral":
        """Of an actor's neutral clips; duration and spectrum of `same`, those of the same sentence, where there are some.

        Raises:
            AudioError: no clip, or nothing voiced in any.
        """
        heard = [delivery for delivery in deliveries if np.isfinite(delivery.median_f0)]
        if not heard:
            raise AudioError("neutral clips", "none with a voice", "expected clips of the actor in a neutral tone")
        alike = [delivery for delivery in same if np.isfinite(delivery.median_f0)] or heard
        voiced = np.concatenate([delivery.f0[delivery.f0 > 0] for delivery in heard])
        return cls(
            f0=float(np.median(voiced)),
            level=float(np.mean([delivery.level for delivery in heard])),
            spectrum=np.mean([delivery.spectrum for delivery in alike], axis=0),
            spread=np.mean([delivery.spread for delivery in alike], axis=0),
            noise=np.mean([delivery.noise for delivery in alike], axis=0),
            seconds=float(np.mean([delivery.seconds for delivery in alike])),
        )


@dataclass(frozen=True)
class _World:
    """WORLD's parameters: f0 (T,), spectrum (T, K) power, aperiodicity (T, K) 0 to 1."""

    f0: np.ndarray
    spectrum: np.ndarray
    aperiodicity: np.ndarray

    def energy(self) -> np.ndarray:
        """(T,) dB."""
        return np.maximum(10 * np.log10(self.spectrum.mean(axis=1) + 1e-20), _FLOOR_DB)


def analyse(samples: np.ndarray, source: str = "clip") -> Delivery:
    """How a clip was said.

    Args:
        samples: (n,) at 16 kHz. source: its name for errors.

    Raises:
        AudioError: silence. MissingDependencyError: no package pyworld.
    """
    world = _world(samples)
    return _delivery(_active_part(world, source), _floor(world))


def transplant(
    reading: np.ndarray, delivery: Delivery, neutral: Neutral, amount: Amount = Amount(), source: str = "reading"
) -> np.ndarray:
    """A reading in the tone of another clip.

    Args:
        reading: (n,) at 16 kHz, in a neutral tone. delivery: of the acted clip. neutral: of its actor.
        amount: how much of the tone. source: the reading's name for errors.

    Returns:
        (m,) float32 at 16 kHz, peak at most 0.99; neutral speech comes out at -32 dB RMS, loud speech louder.

    Raises:
        AudioError: a silent reading. MissingDependencyError: no package pyworld.
    """
    world = _active_part(_world(_levelled(reading)), source, margin=_MARGIN)
    own = _delivery(world, _floor(world))
    world = _stretched(world, _pace(delivery, neutral, amount.timing))
    start = _between(own, neutral, amount.voice)
    f0 = _pitch(world.f0, own, start.f0, delivery, neutral, amount)
    gain = amount.energy * (_slow_energy(delivery, amount, len(f0)) - neutral.level)
    gain = _within(gain - amount.energy * (_slow_energy(own, amount, len(f0)) - own.level))
    shape = _shape(world.spectrum)
    tilt = _shape_wanted(shape, own, start, delivery, neutral, amount.quality) - shape
    tilted = world.spectrum * 10 ** (_within(tilt) @ _OVER_BINS / 10)
    loudness = (
        world.spectrum.sum(axis=1) / tilted.sum(axis=1) * 10 ** (gain / 10)
    )  # the spectrum moves, the energy is the contour's
    noise = start.noise - own.noise + amount.quality * (delivery.noise - neutral.noise)
    noise = 10 ** (_within(noise) @ _OVER_BINS / 20)
    voice = _World(f0, tilted * loudness[:, None], np.clip(world.aperiodicity * noise, 0.001, 1.0))
    return _synthesised(_in_room(voice, amount.room * _room(delivery, own, neutral)))


def _room(delivery: Delivery, own: Delivery, neutral: Neutral) -> np.ndarray:
    """(K,) power of the background, as far below neutral speech as it is in the acted recording; a clip without a pause tells
    nothing of its room, so it is kept well below speech.
    """
    floor = 10 ** ((delivery.floor - neutral.level + own.level) @ _OVER_BINS / 10)
    return floor * min(1.0, 10 ** ((own.level - _ROOM_DB) / 10) / floor.mean())


def _in_room(world: _World, floor: np.ndarray) -> _World:
    """With a steady noise of (K,) power, which is noise in voiced frames, too."""
    spectrum = world.spectrum + floor
    power = (world.aperiodicity**2 * world.spectrum + floor) / spectrum
    return _World(world.f0, spectrum, np.clip(np.sqrt(power), 0.001, 1.0))


def _world(samples: np.ndarray) -> _World:
    try:
        import pyworld
    except ImportError:
        raise MissingDependencyError(
            "prosody transplants need the package pyworld: pip install 'fas-alm[transplant]'"
        ) from None
    samples = np.ascontiguousarray(samples, np.float64)
    options = dict(f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ, frame_period=1000 * FRAME_SECONDS)
    rough, times = pyworld.dio(samples, SAMPLE_RATE, **options)
    f0 = pyworld.stonemask(samples, rough, times, SAMPLE_RATE)
    spectrum = pyworld.cheaptrick(samples, f0, times, SAMPLE_RATE)
    return _World(f0, spectrum, pyworld.d4c(samples, f0, times, SAMPLE_RATE))


def _synthesised(world: _World) -> np.ndarray:
    import pyworld

    parts = (np.ascontiguousarray(part) for part in (world.f0, world.spectrum, world.aperiodicity))
    samples = pyworld.synthesize(*parts, SAMPLE_RATE, frame_period=1000 * FRAME_SECONDS)
    return (samples * min(1.0, 0.99 / max(np.abs(samples).max(), 1e-9))).astype(np.float32)


def _levelled(samples: np.ndarray) -> np.ndarray:
    """At `_LEVEL_DB`, by the blocks of 20 ms that are not pauses."""
    size = SAMPLE_RATE // 50
    blocks = np.asarray(samples, np.float64)[: len(samples) // size * size].reshape(-1, size)
    power = (blocks**2).mean(axis=1)
    loud = power[power > power.max(initial=0.0) * 10 ** (-_ACTIVE_DB / 10)]
    return np.asarray(samples, np.float64) * (np.sqrt(10 ** (_LEVEL_DB / 10) / loud.mean()) if loud.size else 1.0)


def _active_part(world: _World, source: str, margin: int = 0) -> _World:
    """From the first to the last active frame, and `margin` frames on either side."""
    energy = world.energy()
    if not len(energy) or energy.max() <= _SILENT_DB:
        raise AudioError(source, "silent", "expected speech")
    active = np.flatnonzero(energy > energy.max() - _ACTIVE_DB)
    span = slice(max(0, active[0] - margin), active[-1] + 1 + margin)
    return _World(world.f0[span], world.spectrum[span], world.aperiodicity[span])


def _floor(world: _World) -> np.ndarray:
    """(BANDS,) dB."""
    if not len(world.spectrum):
        return np.full(BANDS, _FLOOR_DB)
    return np.maximum(np.percentile(10 * np.log10(world.spectrum + 1e-20) @ _IN_BANDS, 10, axis=0), _FLOOR_DB)


def _delivery(world: _World, floor: np.ndarray) -> Delivery:
    energy = world.energy()
    shape, voiced = _shape(world.spectrum[energy > energy.max() - _ACTIVE_DB]), world.f0 > 0
    noise = (
        20 * np.log10(world.aperiodicity[voiced] + 1e-3).mean(axis=0) @ _IN_BANDS if voiced.any() else np.zeros(BANDS)
    )
    return Delivery(world.f0, energy, shape.mean(axis=0), shape.std(axis=0), noise, floor)


def _shape(spectrum: np.ndarray) -> np.ndarray:
    """(T, K) power -> (T, BANDS) dB, the mean of each frame taken away."""
    bands = 10 * np.log10(spectrum + 1e-20) @ _IN_BANDS
    return bands - bands.mean(axis=1, keepdims=True)


def _between(own: Delivery, neutral: Neutral, voice: float) -> Neutral:
    """The neutral voice that a change is laid over: the reader's at 0, the actor's at 1."""

    def mixed(reader, actor):
        return (1 - voice) * reader + voice * actor

    f0 = own.median_f0 if np.isfinite(own.median_f0) else neutral.f0
    spread = np.exp(mixed(*(np.log(np.maximum(of.spread, 1e-3)) for of in (own, neutral))))
    return replace(
        neutral,
        f0=float(np.exp(mixed(np.log(f0), np.log(neutral.f0)))),
        spectrum=mixed(own.spectrum, neutral.spectrum),
        spread=spread,
        noise=mixed(own.noise, neutral.noise),
    )


def _shape_wanted(
    shape: np.ndarray, own: Delivery, start: Neutral, delivery: Delivery, neutral: Neutral, amount: float
) -> np.ndarray:
    """(T, BANDS): the mean moved and the deviation over time stretched as the clip's differ from neutral."""
    ratio = np.clip(delivery.spread / np.maximum(neutral.spread, 1e-3), 1 / _MOST_SPREAD, _MOST_SPREAD) ** amount
    ratio = np.clip(ratio * start.spread / np.maximum(own.spread, 1e-3), 1 / _MOST_SPREAD**2, _MOST_SPREAD**2)
    return start.spectrum + amount * (delivery.spectrum - neutral.spectrum) + (shape - own.spectrum) * ratio


def _pace(delivery: Delivery, neutral: Neutral, amount: float) -> float:
    return float(np.clip((delivery.seconds / neutral.seconds) ** amount, _FASTEST, _SLOWEST))


def _stretched(world: _World, pace: float) -> _World:
    """`pace` times as long; a frame is voiced where the nearest one was."""
    count = len(world.f0)
    places = np.linspace(0, count - 1, max(2, round(count * pace)))
    nearest, below = np.rint(places).astype(int), np.floor(places).astype(int)
    above, share = np.minimum(below + 1, count - 1), (places - below)[:, None]

    def between(values: np.ndarray) -> np.ndarray:
        return (1 - share) * values[below] + share * values[above]

    return _World(world.f0[nearest], between(world.spectrum), between(world.aperiodicity))


def _pitch(
    voicing: np.ndarray, own: Delivery, start: float, delivery: Delivery, neutral: Neutral, amount: Amount
) -> np.ndarray:
    """(T,) Hz, 0 where `voicing` is; the reading's own where one of the two has no voice."""
    if not (np.isfinite(own.median_f0) and np.isfinite(delivery.median_f0)):
        return voicing
    register = amount.register * 12 * np.log2(delivery.median_f0 / neutral.f0)
    contour = amount.pitch * _contour(delivery, len(voicing)) + (1 - amount.pitch) * _contour(own, len(voicing))
    f0 = start * 2 ** ((register + contour) / 12)
    return np.where(voicing > 0, np.clip(f0, LOWEST_HZ, HIGHEST_HZ), 0.0)


def _contour(delivery: Delivery, frames: int) -> np.ndarray:
    """(frames,) semitones about the median, without jumps of a few frames, in a straight line over what is unvoiced."""
    from scipy.signal import medfilt  # here: it takes seconds, which --help does not wait for

    voiced = np.flatnonzero(delivery.f0)
    semitones = medfilt(12 * np.log2(delivery.f0[voiced] / delivery.median_f0), 9)
    return np.interp(np.linspace(0, len(delivery.f0) - 1, frames), voiced, semitones)


def _slow_energy(delivery: Delivery, amount: Amount, frames: int) -> np.ndarray:
    """(frames,) dB of what is no pause, smoothed; in a straight line over pauses."""
    from scipy.ndimage import gaussian_filter1d

    active = np.flatnonzero(delivery.active)
    whole = np.interp(np.arange(len(delivery.energy)), active, delivery.energy[active])
    smooth = gaussian_filter1d(whole, max(amount.smoothing / FRAME_SECONDS, 1e-3), mode="nearest")
    return np.interp(np.linspace(0, len(smooth) - 1, frames), np.arange(len(smooth)), smooth)


def _within(decibels: np.ndarray) -> np.ndarray:
    return np.clip(decibels, -_MOST_DB, _MOST_DB)


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def _band_matrices() -> tuple[np.ndarray, np.ndarray]:
    """(K, BANDS) that takes the mean of each band's bins, and (BANDS, K) that draws straight lines between the bands' middles."""
    mel = _mel(np.linspace(0, SAMPLE_RATE / 2, _BINS))
    place = mel / mel[-1] * BANDS
    inside = np.minimum(place.astype(int), BANDS - 1)[:, None] == np.arange(BANDS)
    lines = np.stack([np.interp(place, np.arange(BANDS) + 0.5, one) for one in np.eye(BANDS)])
    return inside / inside.sum(axis=0), lines


_IN_BANDS, _OVER_BINS = _band_matrices()
