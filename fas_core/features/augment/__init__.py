"""Waveform augmentations that are the same on every machine and in every run.

A variant is written "name:value". It is applied after the front end, so that its level and noise reach the
encoder, and its seed is the clip's digest and the variant's name. Nothing is downloaded and no other clip is heard: a
variant's features are kept under the clip's content, whatever data set it came in.

| variant | what | range |
|---|---|---|
| speed:1.1 | 1.1 times faster, and higher by the same factor (Ko et al., 2015) | 0.5 to 2 |
| pitch:-2 | semitones, at the same duration (phase vocoder, Flanagan and Golden, 1966) | -12 to 12 |
| vtlp:1.1 | frequencies times 1.1 up to 4.8 kHz, what is above squeezed to fit: another length of the vocal tract, harmonics and
  formants alike (Jaitly and Hinton, 2013) | 0.7 to 1.4 |
| formant:1.1 | the envelope of the spectrum (cepstrum up to 2 ms) times 1.1 in frequency, the pitch kept | 0.7 to 1.4 |
| noise:15 | pink noise at that signal-to-noise ratio in dB | -10 to 60 |
| music:15 | chords and a beat from a synthesizer at that ratio | -10 to 60 |
| babble:15 | six synthesized talkers at that ratio: voiced and unvoiced syllables without words | -10 to 60 |
| level:-6 | gain in dB | -40 to 40 |
| channel:5 | another room and microphone: a smooth random curve of that deviation in dB over 7 points of the mel
  scale, now and then without the highs or the lows, now and then with white noise at 10 to 30 dB | 0 to 20 |
| room:0.4 | a room that takes 0.4 s to fall by 60 dB: noise that dies away (Polack, 1988), 0 to 10 dB below the voice | 0.05 to 3 |
| codec:opus-12 | through a codec and back: opus-6 to opus-128 and mp3-16 to mp3-160 (kbit/s) at 16 kHz; gsm (GSM 06.10), mulaw and
  alaw (G.711), adpcm (G.721) at 8 kHz | |
| telephone:mulaw | 300 to 3400 Hz at 8 kHz, then gsm, mulaw, alaw or adpcm | |
"""

from __future__ import annotations

import hashlib

import numpy as np
import soxr

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.accompaniment import add_babble, add_music
from fas_core.features.augment.channel import change_channel
from fas_core.features.augment.codecs import through_codec, through_telephone
from fas_core.features.augment.noise import add_noise
from fas_core.features.augment.room import add_room
from fas_core.features.augment.tract import shift_formants, warp_tract
from fas_core.features.augment.variants import VERSION as VERSION
from fas_core.features.augment.variants import parse_variant as parse_variant
from fas_core.features.augment.variants import variant_key as variant_key
from fas_core.features.augment.vocoder import shift_pitch

FIXED = {  # by the value alone
    "speed": lambda samples, factor: soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32),
    "pitch": lambda samples, semitones: shift_pitch(samples, 2 ** (semitones / 12)),
    "vtlp": warp_tract,
    "formant": shift_formants,
    "level": lambda samples, gain_db: samples * np.float32(10 ** (gain_db / 20)),
    "codec": through_codec,
    "telephone": through_telephone,
}
RANDOM = {"noise": add_noise, "music": add_music, "babble": add_babble, "channel": change_channel, "room": add_room}


def augment(samples: np.ndarray, variant: str, digest: str) -> np.ndarray:
    """The variant of a clip.

    Args:
        samples: (n,) float32 at 16 kHz, after the front end.
        variant: see the table above.
        digest: of the clip; seeds what is random.

    Returns:
        (m,) float32; m differs from n for "speed" only.

    Raises:
        FASError: no such variant, or a codec that this machine's libsndfile cannot write.
    """
    name, value = parse_variant(variant)
    if name in FIXED:
        return FIXED[name](samples, value)
    seed = hashlib.sha256(variant_key(digest, variant).encode()).digest()
    return RANDOM[name](samples, value, np.random.default_rng(int.from_bytes(seed[:8], "big")))
