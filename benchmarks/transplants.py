"""What a set of prosody transplants keeps of its tones and its words: `python -m benchmarks.transplants SET --tones ravdess=DIR ...`.

The checkpoint answers each transplant, the acted clip that lent its tone, and the reading before the transplant. Of each: how often the
tone is called what the actor meant (mean recall, UA), by corpus and by reader, and the word error rate of the transcript. Of a reading the
tone is known to be neutral: its UA says what chance looks like. Then words and conflict as in `experiments.conflict`. Clips of the side
that the checkpoint was not trained on (`--split`, actors and all).
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.measure import write_result
from benchmarks.words import word_errors, words_of
from experiments.conflict import figures, record
from fas_core.answers import Answer
from fas_core.errors import reports_errors
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline
from fas_core.training.arguments import parse_pairs
from fas_eval.case.tones import load_tones

AT_ONCE = 16  # clips
KINDS = ("acted", "reading", "transplant")


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.transplants", description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, help="folder that eval.case.transplant made")
    parser.add_argument("--tones", nargs="+", required=True, metavar="NAME=FOLDER", help="as they were given to it")
    parser.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    parser.add_argument("--split", nargs="+", default=["test"], help="(%(default)s)")
    parser.add_argument("--limit", type=int, default=420, help="clips, drawn at random (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/results/transplants.json"))
    return parser.parse_args(argv)


def rows_of(folder: Path, splits: Sequence[str], limit: int) -> list[dict]:
    """Rows of the manifest, by id."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] in splits]
    return sorted(random.Random(0).sample(rows, min(limit, len(rows))), key=lambda row: row["id"])


def answered(pipeline: EmotionPipeline, files: Sequence[str], title: str) -> dict[str, Answer]:
    """File -> answer; each file once."""
    files = list(dict.fromkeys(files))
    found = {}
    for start in tqdm(range(0, len(files), AT_ONCE), desc=title, unit="batch"):
        batch = files[start : start + AT_ONCE]
        found |= zip(batch, pipeline(batch), strict=True)
    return found


def tone_of(answer: Answer) -> str | None:
    return answer.tone.label if answer.tone else None


def recall(rows: Sequence[dict], answers: Sequence[Answer]) -> dict:
    """Mean over the emotions of the share of their clips whose tone is named; and that of each."""
    right = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        right[row["emotion"]].append(tone_of(answer) == row["emotion"])
    each = {emotion: sum(right[emotion]) / len(right[emotion]) for emotion in EMOTIONS if right[emotion]}
    return {"clips": len(rows), "ua": sum(each.values()) / len(each), "recall": each}


def word_figures(rows: Sequence[dict], answers: Sequence[Answer]) -> dict:
    """Word error rate over clips with a clear transcript, and the share of clips without one."""
    pairs = [
        (words_of(row["text"]), words_of(a.words.transcript)) for row, a in zip(rows, answers, strict=True) if a.words
    ]
    wrong, all_words = sum(word_errors(*pair) for pair in pairs), sum(len(reference) for reference, _ in pairs)
    return {"word_error": wrong / all_words if all_words else None, "without_words": 1 - len(pairs) / len(rows)}


def groups(rows: Sequence[dict]) -> dict[str, Callable[[dict], bool]]:
    """Name -> which rows: all, those of each corpus, those of each reader."""
    found: dict[str, Callable[[dict], bool]] = {"all": lambda row: True}
    for column in ("tone_corpus", "reader"):
        found |= {name: lambda row, c=column, n=name: row[c] == n for name in sorted({row[column] for row in rows})}
    return found


def figures_of(rows: list[dict], answers: dict[str, list[Answer]]) -> dict:
    """Group -> kind -> tone and words."""
    found = {}
    for name, belongs in groups(rows).items():
        chosen = [i for i, row in enumerate(rows) if belongs(row)]
        some = [rows[i] for i in chosen]
        found[name] = {kind: recall(some, [answers[kind][i] for i in chosen]) for kind in KINDS}
        for kind in KINDS[1:]:
            found[name][kind] |= word_figures(some, [answers[kind][i] for i in chosen])
        same = [tone_of(answers["acted"][i]) == tone_of(answers["transplant"][i]) for i in chosen]
        found[name]["called_as_the_acted_clip"] = sum(same) / len(same)
    return found


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    rows = rows_of(arguments.set, arguments.split, arguments.limit)
    clips = {tone.id: tone.path for tone in load_tones(dict(parse_pairs(arguments.tones, "tones")))}
    files = {
        "acted": [clips[row["tone_clip"]] for row in rows],
        "reading": [str(arguments.set / row["reading"]) for row in rows],
        "transplant": [str(arguments.set / row["audio"]) for row in rows],
    }
    deaf, hearing = (EmotionPipeline.from_pretrained(arguments.checkpoint, words=words) for words in (False, True))
    answers = {}
    for kind in KINDS:
        said = answered(deaf if kind == "acted" else hearing, files[kind], kind)
        answers[kind] = [said[file] for file in files[kind]]
    records = [record("transplants", row, answer) for row, answer in zip(rows, answers["transplant"], strict=True)]
    settings = json.loads((arguments.set / "transplants.json").read_text(encoding="utf-8"))
    result = {"set": settings, "split": arguments.split, "checkpoint": hearing.describe()["name"]}
    write_result(
        arguments.output, result | {"kept": figures_of(rows, answers), "conflict": figures(records)["transplants"]}
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
