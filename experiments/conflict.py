"""What words and conflict are worth on speech: `python -m experiments.conflict answer`, `... calibrate` and `... table`.

`answer` puts every clip of corpora and conflict sets through a checkpoint, as `fas predict` does, and keeps what is needed
of the answers, a line of JSON a clip; it goes on where it was stopped. Nothing that was said is kept.
`calibrate` fits the probability of a conflict on the clips of a split and writes it into the checkpoint's config.json.
`table` makes figures. Of speech whose sentences carry no emotion: how often words were heard, called neutral, and contradicted the
tone. Of all speech whose words are labelled: right words, and how well `conflict` and `disagreement` tell conflicting clips.
Of both: the answer against its tone and its words alone, by speaker, of all clips and of each half (`experiments.paired`).
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.paired import difference, is_conflicting, paired
from experiments.paired import markdown as paired_markdown
from fas_core.answers import Answer
from fas_core.atomic import write_json, write_text
from fas_core.checkpoint import read_config
from fas_core.conflict import conflict, fit_calibration
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError, reports_errors
from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_core.model_files import read_object
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import provenance
from fas_core.training.arguments import parse_pairs
from fas_eval.statistics.conflicts import detection

NEUTRAL = "neutral"
PLAIN = ("ravdess", "tess", "emodb", "nemo")  # corpora whose sentences carry no emotion
AT_ONCE = 16  # clips


def collect(pipeline: EmotionPipeline, name: str, rows: list[dict], file: Path) -> None:
    """Append the answer to each clip of a corpus that has none yet."""
    done = {record["id"] for record in read([file]) if record["set"] == name}
    left = [row for row in rows if row["id"] not in done]
    with file.open("a", encoding="utf-8") as out:
        for start in tqdm(range(0, len(left), AT_ONCE), desc=name, unit="batch"):
            batch = left[start : start + AT_ONCE]
            for row, answer in zip(batch, pipeline([row["audio"] for row in batch]), strict=True):
                out.write(json.dumps(record(name, row, answer)) + "\n")
            out.flush()


def record(name: str, row: dict, answer: Answer) -> dict:
    """What is kept of a clip and its answer."""
    words = answer.words
    told = NEUTRAL if name in PLAIN else row.get("semantic_emotion")
    return dict(
        set=name, id=row["id"], speaker=row["speaker"], sentence=row.get("text") and _code(row["text"]), split=row["split"], emotion=row["emotion"], words_emotion=told,
        label=answer.label, tone=answer.tone and _rounded(answer.tone.probabilities),
        words=words and _rounded(words.probabilities), confidence=words and round(words.confidence, 4),
        language=words and words.language, missing=answer.words_missing, conflict=answer.conflict,
        disagreement=answer.disagreement, error=answer.error is not None,
    )  # fmt: skip


def _code(text: str) -> str:
    """The same for the same sentence, which it does not tell."""
    return hashlib.sha256(text.casefold().encode()).hexdigest()[:16]


def _rounded(probabilities: dict[str, float]) -> list[float]:
    return [round(probabilities[emotion], 5) for emotion in EMOTIONS]


def read(files: list[Path]) -> list[dict]:
    """Records of files that are there; a line that was cut off by a stop is left out."""
    lines = [line for file in files if file.exists() for line in file.read_text(encoding="utf-8").split("\n")]
    return [json.loads(line) for line in lines if line.endswith("}")]


# ---- figures ---------------------------------------------------------------------------------------------------------


def figures(records: list[dict], split: str | None = None) -> dict:
    """name of the set -> its figures."""
    chosen = _of_split(records, split)
    return {name: _figures([r for r in chosen if r["set"] == name]) for name in dict.fromkeys(r["set"] for r in chosen)}


def _of_split(records: list[dict], split: str | None) -> list[dict]:
    return [r for r in records if not r["error"] and (split is None or r["split"] == split)]


def _figures(rows: list[dict]) -> dict:
    heard = [r for r in rows if r["words"]]
    missing = [r["missing"] for r in rows if not r["words"]]
    reasons = {why: missing.count(why) for why in sorted(set(missing))}
    found = dict(clips=len(rows), with_words=len(heard), missing=reasons)
    told = [r for r in heard if r["words_emotion"]]
    if told:
        found["words_right"] = _mean([_top(r["words"]) == r["words_emotion"] for r in told])
    found["words_neutral"] = _mean([_top(r["words"]) == NEUTRAL for r in heard])
    found |= dict(conflict_over_half=_mean([(r["conflict"] or 0) > 0.5 for r in rows]))
    return found | paired(rows) | _detected(rows)


def _detected(rows: list[dict]) -> dict:
    """AUROC of both figures, each for what it is defined for; a clip without words counts as no conflict."""
    told = [r for r in rows if r["words_emotion"] and r["emotion"]]
    found = {}
    for name, counts_neutral in (("conflict", False), ("disagreement", True)):
        truth = np.array([is_conflicting(r, counts_neutral) for r in told])
        if len(truth) and truth.any() and not truth.all():
            found[f"auroc_{name}"] = detection(np.array([r[name] or 0.0 for r in told]), truth)
    return found


def calibration(rows: list[dict]) -> tuple[float, ...]:
    """`fit_calibration` on clips with words whose emotions of words and tone are known; each set weighs alike."""
    rows = [r for r in rows if r["words"] and r["tone"] and r["words_emotion"] and r["emotion"]]
    if not rows:
        raise FASError("--split: no clips of it have words and the labels of words and tone; expected a conflict set")
    tone, words = (np.array([r[key] for r in rows]) for key in ("tone", "words"))
    sizes = Counter(r["set"] for r in rows)
    weights = np.array([1 / sizes[r["set"]] for r in rows])
    confidence = np.array([r["confidence"] for r in rows])
    truth = np.array([is_conflicting(r) for r in rows])
    return fit_calibration(conflict(tone, words), confidence, truth, weights / weights.mean())


def recalibrated(records: list[dict], values: list[float]) -> None:
    """Give the records the conflicts of another calibration."""
    for row in (r for r in records if r["words"] and r["tone"]):
        row["conflict"] = float(conflict(np.array(row["tone"]), np.array(row["words"]), row["confidence"], values))


def _top(probabilities: list[float]) -> str:
    return EMOTIONS[int(np.argmax(probabilities))]


def _mean(values) -> float | None:
    return float(np.mean(values)) if len(values) else None


# ---- tables ----------------------------------------------------------------------------------------------------------

HEADER = (
    "set", "clips", "with words", "words right", "words neutral", "conflict > 0.5", "AUROC conflict",
    "AUROC disagreement", "answer", "tone alone", "words alone", "answer - tone", "answer - words",
)  # fmt: skip


def markdown(found: dict) -> str:
    """The figures as a table, in per cent; in square brackets intervals of 95 %."""
    return table_of(list(HEADER), [[name, *_cells(f)] for name, f in found.items()])


def _cells(f: dict) -> list[str]:
    shares = [f["with_words"] / f["clips"], f.get("words_right"), f["words_neutral"], f["conflict_over_half"]]
    areas = [f.get(f"auroc_{key}") for key in ("conflict", "disagreement")]
    right = [f.get(f"accuracy_{key}") for key in ("answer", "tone", "words")]
    tests = [f.get(f"against_{key}") for key in ("tone", "words")]
    return [str(f["clips"]), *map(_percent, shares), *map(_area, areas), *map(_percent, right), *map(difference, tests)]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _area(found: dict | None) -> str:
    return "-" if not found else f"{found['auroc']:.3f} [{found['interval'][0]:.3f}, {found['interval'][1]:.3f}]"


# ---- command ---------------------------------------------------------------------------------------------------------


def rows_of(name: str, folder: Path, fold: int | None, limit: int | None) -> list[dict]:
    """Clips of a corpus, or some of them, drawn evenly over its order."""
    rows = list(load_corpus(name, folder, fold=fold if has_folds(name) else None))
    return rows if limit is None or len(rows) <= limit else [rows[i * len(rows) // limit] for i in range(limit)]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.conflict", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    answer = commands.add_parser("answer", help="put clips through a checkpoint")
    answer.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    answer.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    answer.add_argument("--words-model", help="another text model: directory or hub id")
    answer.add_argument("--fold", type=int, default=1, help="of corpora that have folds (%(default)s)")
    answer.add_argument("--limit", type=int, help="so many clips of each corpus")
    answer.add_argument("--output", type=Path, required=True, help="JSONL; goes on where it was stopped")
    fit = commands.add_parser("calibrate", help="fit the probability of a conflict")
    fit.add_argument("answers", type=Path, nargs="+", metavar="JSONL")
    fit.add_argument("--checkpoint", type=Path, required=True, help="directory whose config.json is written")
    fit.add_argument("--split", choices=("train", "validation"), default="validation", help="(%(default)s)")
    table = commands.add_parser("table", help="figures of the answers")
    table.add_argument("answers", type=Path, nargs="+", metavar="JSONL")
    table.add_argument("--split", choices=("train", "validation", "test"), help="only clips of this split")
    table.add_argument("--checkpoint", type=Path, help="directory whose calibration counts, not that of the answers")
    table.add_argument("--json", type=Path, help="write the figures there, too")
    table.add_argument("--markdown", type=Path, help="write the table there, too")
    return parser.parse_args(argv)


def write_calibration(checkpoint: Path, values: tuple[float, ...]) -> None:
    file, rounded = checkpoint / "config.json", [round(value, 4) for value in values]
    read_config(file)  # nothing but a FAS checkpoint is written to
    write_json(file, read_object(file) | {"conflict_calibration": rounded})
    print(f"{file}: conflict_calibration {rounded}")


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    if arguments.command == "answer":
        pipeline = EmotionPipeline.from_pretrained(arguments.checkpoint, words_model=arguments.words_model)
        if pipeline.words_reader is None:
            raise FASError(f"--checkpoint {arguments.checkpoint}: gives no words: {pipeline.no_words}")
        for name, folder in parse_pairs(arguments.corpora, "corpus"):
            collect(pipeline, name, rows_of(name, folder, arguments.fold, arguments.limit), arguments.output)
        return 0
    if arguments.command == "calibrate":
        return write_calibration(arguments.checkpoint, calibration(_of_split(read(arguments.answers), arguments.split)))
    records = read(arguments.answers)
    if arguments.checkpoint:
        recalibrated(records, read_config(arguments.checkpoint / "config.json").conflict_calibration)
    found = figures(records, arguments.split)
    text = f"{markdown(found)}\n\n{paired_markdown(found)}"
    print(text)
    if arguments.json:
        write_json(arguments.json, {"split": arguments.split, "sets": found, "provenance": provenance()})
    if arguments.markdown:
        write_text(arguments.markdown, text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
