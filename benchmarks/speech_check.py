"""What the speech check loses of real speech, and which other sounds it lets through: `python -m benchmarks.speech_check --data DIR`.

Corpora are folders below DIR. Each clip is heard as it is, and as a microphone, a telephone or a whisper would give it; the sounds
are those of `benchmarks.sounds`.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import solve_toeplitz
from scipy.signal import butter, lfilter, resample_poly, sosfilt

from benchmarks.measure import latency, machine, seconds_of, write_result
from benchmarks.sounds import RATE, SOUNDS, pink_noise
from fas_core.atomic import write_text
from fas_core.audio import load_audio
from fas_core.errors import reports_errors
from fas_core.sources import find_audio_files
from fas_core.speech import THRESHOLD, SpeechCheck, share

CORPORA = (
    "ravdess",
    "tess",
    "nemo",
    "urdu",
    "ased",
    "korean",
)  # the last two were not looked at when the rule was chosen
THRESHOLDS = (0.3, 0.4, THRESHOLD, 0.6, 0.7)
SECONDS = 4.0  # of a sound


def quiet(samples: np.ndarray, rng) -> np.ndarray:
    """40 dB down, in 16 bits."""
    return np.round(samples * 0.01 * 32768) / 32768


def telephone(samples: np.ndarray, rng) -> np.ndarray:
    """8 kHz, 300 to 3400 Hz, mu-law of 8 bits."""
    narrow = sosfilt(butter(4, [300, 3400], "band", fs=8000, output="sos"), resample_poly(samples, 1, 2)).clip(-1, 1)
    code = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    return resample_poly(np.sign(code) * (256 ** np.abs(code) - 1) / 255, 2, 1)


def noisy(samples: np.ndarray, rng) -> np.ndarray:
    """Pink noise, 5 dB below the clip."""
    noise = np.resize(pink_noise(len(samples) / RATE, rng), len(samples))
    return samples + noise / noise.std() * samples.std() * 10 ** (-5 / 20)


def loudest(seconds: float) -> Callable:
    """The loudest so many seconds, cut out of the middle of a sentence."""

    def cut(samples: np.ndarray, rng) -> np.ndarray:
        size = round(seconds * RATE)
        energy = np.convolve(samples**2, np.ones(min(size, len(samples))), "valid")
        return samples[energy.argmax() : energy.argmax() + size]

    return cut


def whispered(samples: np.ndarray, rng, size: int = 512, order: int = 16) -> np.ndarray:
    """No voice: noise through the filter (linear prediction) of each 32 ms; real whispers are made with more breath."""
    out, window = np.zeros(len(samples)), np.hanning(size)
    for at in range(0, len(samples) - size, size // 2):
        frame = samples[at : at + size] * window
        r = np.correlate(frame, frame, "full")[size - 1 : size + order]
        r[0] = r[0] * 1.001 + 1e-9
        a = solve_toeplitz(r[:order], r[1 : order + 1])
        gain = np.sqrt(max(r[0] - a @ r[1 : order + 1], 0) / size)
        out[at : at + size] += lfilter([gain], np.r_[1, -a], rng.standard_normal(size)) * window
    return out


CONDITIONS: dict[str, Callable] = {
    "as it is": lambda samples, rng: samples,
    "quiet": quiet,
    "telephone": telephone,
    "noisy": noisy,
    "0.6 s": loudest(0.6),
    "0.3 s": loudest(0.3),
    "whispered": whispered,
}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.speech_check", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with a folder a corpus; default: sounds alone")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="folders below it (%(default)s)")
    parser.add_argument("--clips", type=int, default=200, help="of each corpus, drawn at random (%(default)s)")
    parser.add_argument("--sounds", type=int, default=20, help="of each kind (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/speech_check.json"))
    return parser.parse_args(argv)


def spoken(check: SpeechCheck, folder: Path, clips: int) -> dict[str, list]:
    """condition -> of each clip what the check heard."""
    files = find_audio_files(folder)
    files = random.Random(0).sample(files, min(clips, len(files)))
    heard: dict[str, list] = {name: [] for name in CONDITIONS}
    for seed, file in enumerate(files):
        samples = load_audio(file).samples.astype(np.float64)
        for name, change in CONDITIONS.items():
            changed = change(samples, np.random.default_rng(seed))
            heard[name].append(check.hear(changed.astype(np.float32)))
    return heard


def unspoken(check: SpeechCheck, count: int) -> dict[str, list]:
    """kind of sound -> of each what the check heard."""
    return {
        name: [check.hear(make(SECONDS, np.random.default_rng(seed)).astype(np.float32)) for seed in range(count)]
        for name, make in SOUNDS.items()
    }


def passed(heard: list, threshold: float) -> float:
    """Share of clips in which the check hears speech."""
    return float(np.mean([share(*each, threshold) > 0 for each in heard]))


def milliseconds(check: SpeechCheck) -> dict:
    torch.set_num_threads(1)
    clip = pink_noise(SECONDS, np.random.default_rng(0)).astype(np.float32)
    return latency([seconds_of(lambda: check(clip), torch.device("cpu")) for _ in range(50)])


def measure(arguments: argparse.Namespace) -> dict:
    check = SpeechCheck()
    names = arguments.corpora if arguments.data else ()
    corpora = {name: spoken(check, arguments.data / name, arguments.clips) for name in names}
    sounds = unspoken(check, arguments.sounds)
    return {
        "threshold": THRESHOLD,
        "clips": {name: len(heard["as it is"]) for name, heard in corpora.items()},
        "sounds_of_a_kind": arguments.sounds,
        "lost_percent": {  # corpus -> condition -> threshold
            name: {
                condition: {str(t): round(100 * (1 - passed(each, t)), 1) for t in THRESHOLDS}
                for condition, each in heard.items()
            }
            for name, heard in corpora.items()
        },
        "passed_percent": {  # kind -> threshold
            name: {str(t): round(100 * passed(heard, t), 1) for t in THRESHOLDS} for name, heard in sounds.items()
        },
        "ms_for_4_s_one_thread": milliseconds(check),
        "machine": machine(torch.device("cpu")),
    }


def report(result: dict) -> Iterator[str]:
    at = str(result["threshold"])
    yield f"# The speech check at threshold {at}\n\nBy `python -m benchmarks.speech_check`; all thresholds are in `speech_check.json`.\n"
    yield "Real clips in which no speech is heard, percent:\n"
    yield "| corpus | clips | " + " | ".join(CONDITIONS) + " |\n|---|---|" + "---|" * len(CONDITIONS)
    for name, lost in result["lost_percent"].items():
        cells = [f"{lost[condition][at]:g}" for condition in CONDITIONS]
        yield f"| {name} | {result['clips'][name]} | " + " | ".join(cells) + " |"
    count = result["sounds_of_a_kind"]
    yield f"\nOther sounds in which speech is heard, percent of {count} of a kind of {SECONDS:g} s:\n"
    some = {name: found[at] for name, found in result["passed_percent"].items() if found[at]}
    yield "| sound | heard |\n|---|---|\n" + "\n".join(f"| {name} | {value:g} |" for name, value in some.items())
    none = [name for name in result["passed_percent"] if name not in some]
    yield f"\nNone of: {', '.join(none)}.\n"
    yield f"A clip of {SECONDS:g} s takes {result['ms_for_4_s_one_thread']['median_ms']:.1f} ms on one thread."


@reports_errors
def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    result = measure(arguments)
    write_result(arguments.output, result)
    text = "\n".join(report(result))
    write_text(arguments.output.with_suffix(".md"), text + "\n")
    print(text)


if __name__ == "__main__":
    raise SystemExit(main())
