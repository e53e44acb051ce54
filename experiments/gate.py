"""Is a gate between tone and words better than the tone alone? `python -m experiments.gate answers.jsonl --checkpoint DIR`.

Reads answers of `experiments.conflict answer` to clips whose words vary, conflicting and congruent. The gate is tried on voices
and sentences that it was not fitted on (`fas_core.gate.choose`); config.json of the checkpoint then says what its answer comes
from: "gate" where it was better, else "tone".
"""

import argparse
from pathlib import Path

import numpy as np

from experiments.conflict import read
from fas_core.atomic import write_json
from fas_core.checkpoint import read_config
from fas_core.errors import FASError, reports_errors
from fas_core.gate import choose
from fas_core.labels import EMOTIONS
from fas_core.model_files import read_object


def columns(records: list[dict], split: str) -> tuple:
    """Arguments of `choose`, of the clips with words, tone, emotion, voice and sentence.

    Raises:
        FASError: there are none.
    """
    needed = ("words", "tone", "emotion", "speaker", "sentence")
    rows = [r for r in records if r["split"] == split and not r["error"] and all(r.get(name) for name in needed)]
    if not rows:
        raise FASError(
            f"--split {split}: no clip has {', '.join(needed)}; expected answers of experiments.conflict to a conflict set"
        )
    tone, words = (np.array([r[name] for r in rows]) for name in ("tone", "words"))
    confidence, labels = (
        np.array([r["confidence"] for r in rows]),
        np.array([EMOTIONS.index(r["emotion"]) for r in rows]),
    )
    return tone, words, confidence, labels, [f"{r['set']}/{r['speaker']}" for r in rows], [r["sentence"] for r in rows]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.gate", description=__doc__, formatter_class=raw)
    parser.add_argument("answers", type=Path, nargs="+", metavar="JSONL")
    parser.add_argument("--checkpoint", type=Path, required=True, help="directory whose config.json is written")
    parser.add_argument("--split", choices=("train", "validation"), default="validation", help="(%(default)s)")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    file = arguments.checkpoint / "config.json"
    read_config(file)  # nothing but a FAS checkpoint is written to
    gate, found = choose(*columns(read(arguments.answers), arguments.split))
    said = dict(answer_from="gate" if gate else "tone", gate=[round(w, 5) for w in gate.weights] if gate else None)
    write_json(file, read_object(file) | said)
    print({name: round(value, 4) for name, value in found.items()})
    print(f"{file}: the answer comes from the {said['answer_from']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
