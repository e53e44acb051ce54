"""`python -m eval.case.transplant`: acted tones laid over readings of sentences whose words carry an emotion (docs/case.md).

A conflict set whose tone is human and whose words are known. All of it is synthetic speech.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from fas_core.atomic import atomic_path, write_json, write_text
from fas_core.audio import load_audio
from fas_core.errors import AudioError, FASError, reports_errors
from fas_core.synth.transplant import SAMPLE_RATE, Amount, transplant
from fas_core.training.arguments import parse_pairs
from fas_eval.case.readings import READERS, Reader, load_readers
from fas_eval.case.tones import Actors, Tone, delivery_of, load_tones
from fas_eval.case.transplant_plan import Transplant, plan_set

MANIFEST, SETTINGS = "manifest.jsonl", "transplants.json"
LICENCE = "the terms of the corpora that lent their tones and of the readers; made for research"


def build_set(
    tones: Sequence[Tone],
    readers: Sequence[Reader],
    output: str | Path,
    *,
    clips: int = 1200,
    seed: int = 0,
    conflict_share: float = 0.5,
    voices_per_sentence: int = 1,
    amount: Amount = Amount(),
    progress: bool = True,
) -> Path:
    """Make a set of transplants; a run that was stopped goes on where it was, its files appear whole or not at all.

    Args:
        tones, clips, seed, conflict_share, voices_per_sentence: as `plan_set` takes them. readers: who reads, one or several.
        output: a folder that is new, empty, or of an earlier run with the same settings.
        amount: how much of a tone is taken over.

    Returns:
        The manifest. `transplants.json` beside it holds the settings, and clips that could not be made with the reason.

    Raises:
        FASError: another kind of folder, one with other settings, or arguments that `plan_set` refuses.
        MissingDependencyError: no package pyworld.
    """
    output = Path(output)
    plan = plan_set(tones, {r.name: r.voices for r in readers}, clips, seed, conflict_share, voices_per_sentence)
    settings = {
        "synthetic": True,
        "licence": LICENCE,
        "clips": clips,
        "seed": seed,
        "conflict_share": conflict_share,
        "voices_per_sentence": voices_per_sentence,
        "amount": asdict(amount),
        "readers": [reader.name for reader in readers],
        "tones": dict(Counter(tone.corpus for tone in tones)),
    }
    _claim(output, settings)
    actors, by_name, failed = Actors(tones, seed), {reader.name: reader for reader in readers}, {}
    for one in tqdm(
        sorted(plan, key=lambda t: (t.reading, t.id)), desc="transplants", unit="clip", disable=not progress
    ):
        try:
            _make(one, output, by_name[one.reader], actors, amount)
        except AudioError as error:
            failed[one.id] = f"{error.source}: {error.problem}"
    write_json(output / SETTINGS, settings | {"failed": failed})
    made = (one for one in plan if one.id not in failed)
    return write_text(output / MANIFEST, "".join(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in made))


def _claim(output: Path, settings: dict) -> None:
    """Write the settings down, or compare them with those of the earlier run."""
    path = output / SETTINGS
    if not path.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise FASError(f"{output}: not empty and no earlier set of transplants; expected a new folder (--output)")
        write_json(path, settings)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    other = sorted(key for key, value in settings.items() if found.get(key) != value)
    if other:
        raise FASError(
            f"{output}: holds a set with another {', '.join(other)}; expected the same, or another folder (--output)"
        )


def _make(one: Transplant, output: Path, reader: Reader, actors: Actors, amount: Amount) -> None:
    path = output / one.audio
    if path.is_file():
        return
    delivery = delivery_of(one.tone.path, one.tone.id)
    reading = read_sentence(one, output, reader)
    _write(path, transplant(reading, delivery, actors.neutral(one.tone), amount, one.reading))


def read_sentence(one: Transplant, output: Path, reader: Reader) -> np.ndarray:
    """The reading of a clip's sentence at 16 kHz; read once, and kept beside the set."""
    path = output / one.reading
    if not path.is_file():
        samples, rate = reader.read(one.sentence.text, one.voice)
        _write(path, soxr.resample(samples, rate, SAMPLE_RATE))
    return _loaded(str(path))


@lru_cache(maxsize=4)  # the clips of a reading come one after the other
def _loaded(path: str) -> np.ndarray:
    return load_audio(path).samples


def _write(path: Path, samples: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        soundfile.write(temporary, np.clip(samples, -1, 1), SAMPLE_RATE, subtype="PCM_16", format="FLAC")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.case.transplant", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--tones", nargs="+", required=True, metavar="NAME=FOLDER", help="corpora of acted speech that lend tones")
    add("--voices", nargs="+", default=["espeak"], metavar="READER", help=f"who reads: {', '.join(READERS)}")
    add("--kokoro-voices", metavar="DIR", help="folder of Kokoro's voices, package/voices of the npm package kokoro-js")
    add("--output", required=True, metavar="DIR")
    add("--clips", type=int, default=1200)
    add("--seed", type=int, default=0)
    add("--conflict-share", type=float, default=0.5, help="share of clips whose tone and words differ")
    add("--voices-per-sentence", type=int, default=1, help="of each reader")
    for name, value in asdict(Amount()).items():
        add(f"--{name}", type=float, default=value, help=f"{value} by default, see fas_core.synth.transplant.Amount")
    return parser


@reports_errors
def main(arguments: list[str] | None = None) -> int:
    options = vars(_parser().parse_args(arguments))
    amount = Amount(**{name: options.pop(name) for name in asdict(Amount())})
    readers = load_readers(options.pop("voices"), options.pop("kokoro_voices"))
    tones = load_tones(dict(parse_pairs(options.pop("tones"), "--tones")))
    manifest = build_set(tones, readers, options.pop("output"), amount=amount, progress=sys.stderr.isatty(), **options)
    failed = json.loads((manifest.parent / SETTINGS).read_text(encoding="utf-8"))["failed"]
    print(
        f"{manifest}: {options['clips'] - len(failed)} clips, synthetic speech"
        + (f"; {len(failed)} failed" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
