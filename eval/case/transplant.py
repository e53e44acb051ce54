"""The command `fas case transplant`, which is `python -m eval.case.transplant`: acted tones laid over readings of sentences whose words carry an emotion (docs/case.md).

A conflict set whose tone is human and whose words are known. All of it is synthetic speech.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from fas_core.atomic import atomic_path, write_json, write_text
from fas_core.audio import load_audio
from fas_core.cli.app import App, runner
from fas_core.cli.from_dataclasses import add_command
from fas_core.errors import AudioError, FASError
from fas_core.synth.transplant import SAMPLE_RATE, Amount, transplant
from fas_core.training.arguments import parse_pairs
from fas_core.training.options import option
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


READ = "Who reads"


@dataclass
class TransplantOptions:
    """The set."""

    tones: list[str] = option(..., "corpora of acted speech that lend tones", metavar="NAME=FOLDER...")
    output: Path = option(..., "folder of the set: new, empty, or of an earlier run with the same settings")
    clips: int = option(1200, "of the set")
    seed: int = option(0, "of what is drawn")
    conflict_share: float = option(0.5, "share of clips whose tone and words differ")
    voices: list[str] = option(["espeak"], f"some of {', '.join(READERS)}", metavar="READER...", panel=READ)
    kokoro_voices: str | None = option(
        None, "folder of Kokoro's voices, package/voices of the npm package kokoro-js", metavar="DIR", panel=READ
    )
    voices_per_sentence: int = option(1, "of each reader", panel=READ)


HELP = """Lay acted tones over readings of sentences whose words carry an emotion: a conflict set whose tone is human.

A run that was stopped goes on where it was. All of it is synthetic speech.

Example:

  fas case transplant --tones ravdess=data/ravdess nemo=data/nemo --output data/transplants

Exit code: 0; 1 where clips could not be made (transplants.json names them); 2 for input that cannot be used.
"""


def _run(options: TransplantOptions, amount: Amount) -> int:
    readers = load_readers(options.voices, options.kokoro_voices)
    manifest = build_set(
        load_tones(dict(parse_pairs(options.tones, "--tones"))), readers, options.output, clips=options.clips,
        seed=options.seed, conflict_share=options.conflict_share, voices_per_sentence=options.voices_per_sentence,
        amount=amount, progress=sys.stderr.isatty(),
    )  # fmt: skip
    failed = json.loads((manifest.parent / SETTINGS).read_text(encoding="utf-8"))["failed"]
    told = f"; {len(failed)} failed" if failed else ""
    print(f"{manifest}: {options.clips - len(failed)} clips, synthetic speech{told}")
    return 1 if failed else 0


app = App()
add_command(app, (TransplantOptions, Amount), _run, HELP, config=False)
main = runner(app, "python -m eval.case.transplant")

if __name__ == "__main__":
    sys.exit(main())
