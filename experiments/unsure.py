"""How far the answers of a checkpoint are to be relied on: `python -m experiments.unsure collect`, `... calibrate` and `... table`.

`collect` asks for the voice's emotion of three kinds of clips, and how far each is from the training clips. "left out": those of each
training corpus, answered by the discriminant of the other corpora, with the distance to these. "known": voices of the training corpora that were
kept apart, and "unseen": other corpora, both answered by the checkpoint. It also puts the distance into a checkpoint that
was trained without one.
`calibrate` fits confidence, threshold and label sets on some of them and writes them into config.json. `table` leaves out each corpus in
turn: what holds for it is fitted on the others. Test sets are scored by what was fitted on all the others.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from fas_core.atomic import write_json, write_text
from fas_core.calibration import apply_temperature
from fas_core.certainty import LEVELS, STEPS, Certainty, conformal_score, fit_confidence
from fas_core.checkpoint import learned_from, read_config
from fas_core.data import has_folds, load_corpus
from fas_core.discriminant import fit_with_held_out
from fas_core.errors import FASError, reports_errors
from fas_core.familiarity import Familiarity, fit_familiarity, groups_of
from fas_core.features.cache import FeatureCache
from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_core.model_files import read_object
from fas_core.paths import expanded
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import provenance
from fas_core.training.arguments import ModelArguments, TrainingArguments, parse_pairs
from fas_core.training.clips import UNKNOWN, Clips, concatenate, label_indices
from fas_core.training.corpora import corpus_names, discriminant_corpora
from fas_core.training.data import FeatureSource
from fas_core.training.fas import acoustic_statistics

KINDS = LEFT_OUT, KNOWN, UNSEEN = "left out", "known", "unseen"
RANK = 64
MOST_UNSURE = 0.4  # share of the clips of corpora that were left out
TEST = ("emodb",)  # never calibrated on
BINS = 15


@dataclass(frozen=True)
class Answers:
    """What is kept of a set of clips.

    Attributes:
        name: of the corpus. kind: of `KINDS`. probabilities: (N, 7). labels, distance: (N,).
    """

    name: str
    kind: str
    probabilities: np.ndarray
    labels: np.ndarray
    distance: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        return self.probabilities.max(1)

    @property
    def is_right(self) -> np.ndarray:
        return self.probabilities.argmax(1) == self.labels


# ---- collect ---------------------------------------------------------------------------------------------------------


def clips_of(
    pipeline: EmotionPipeline, cache: FeatureCache, name: str, folder: Path, splits: Sequence[str] | None = None
) -> Clips:
    """The labelled clips of a corpus, of some splits or all."""
    fold = learned_from(pipeline.training)[1]
    rows = load_corpus(name, folder, **({"fold": fold} if has_folds(name) else {}))
    rows = rows.select([i for i, split in enumerate(rows["split"]) if splits is None or split in splits])
    source, labels = FeatureSource(rows, pipeline.extractor, cache, [""]), label_indices(rows["emotion"])
    chosen = [i for i in source.usable if labels[i] != UNKNOWN]
    return source.clips(
        chosen, list(rows["id"]), labels, label_indices(rows["semantic_emotion"]), [""], rows["speaker"], rows["corpus"]
    )


def left_out(pipeline: EmotionPipeline, clips: Clips) -> list[Answers]:
    """Of each training corpus, answers of the discriminant of the others and distances to them; the statistics are the checkpoint's."""
    model, rows = pipeline.model, np.arange(len(clips))
    arguments = TrainingArguments(**_known(pipeline.training, "training", TrainingArguments))
    settings = ModelArguments(**_known(pipeline.training, "model", ModelArguments))
    x, names = acoustic_statistics(model, clips, [(int(i), "") for i in rows]), corpus_names(clips)
    corpora = discriminant_corpora(clips, rows, arguments)
    several = names.tolist(), len(set(names))
    _, logits = fit_with_held_out(
        x, clips.labels, several[0], settings.head_shrinkage, settings.head_deviation_weight, corpora, several[1]
    )
    p, groups = apply_temperature(logits, model.config.acoustic_temperature), groups_of(names, clips.labels)
    return [
        Answers(
            str(name), LEFT_OUT, p[names == name], clips.labels[names == name], _distances(x, groups, names == name)
        )
        for name in np.unique(names)
    ]


def _distances(x: np.ndarray, groups: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    familiarity = fitted(x[~held_out], groups[~held_out])
    return familiarity(torch.from_numpy(x[held_out])).numpy()


def fitted(x: np.ndarray, groups: np.ndarray) -> Familiarity:
    """The distance to these clips."""
    found = Familiarity(RANK, len(np.unique(groups)), x.shape[1])
    found.set(*fit_familiarity(x, groups, RANK))
    return found


def _known(record: dict, part: str, kind: type) -> dict:
    """Arguments of a training that are still known."""
    given = record.get("arguments", {}).get(part)
    if given is None:
        raise FASError(f"training.json: does not say arguments.{part}; expected a checkpoint as train/fas.py writes it")
    return {name: value for name, value in given.items() if name in kind.__dataclass_fields__}


def add_distance(checkpoint: Path, pipeline: EmotionPipeline, clips: Clips) -> None:
    """Put the distance to these clips into a checkpoint whose training did not keep it; its answers stay."""
    x = acoustic_statistics(pipeline.model, clips, [(i, "") for i in range(len(clips))])
    found = fitted(x, groups_of(corpus_names(clips), clips.labels))
    weights, config = checkpoint / "model.safetensors", read_object(checkpoint / "config.json")
    tensors = load_file(weights) | {f"fas.familiarity.{name}": value for name, value in found.state_dict().items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    write_json(checkpoint / "config.json", config | {"familiarity": RANK, "familiar_groups": len(found.centres)})


def answered(pipeline: EmotionPipeline, clips: Clips, name: str, kind: str) -> Answers:
    """What the checkpoint says of the voices."""
    features, distances = [clips.features(i, "") for i in range(len(clips))], [None] * len(clips)
    heads, _, _ = pipeline.hear(features, distances)
    p = heads["fused" if pipeline.model.config.answer_from == "fused" else "acoustic"]
    return Answers(name, kind, p, clips.labels, np.array(distances, dtype=float))


def collect(checkpoint: Path, pairs: list[tuple[str, Path]], cache_dir: str) -> list[Answers]:
    """All answers: of the training corpora among these, left out and known, and of the others."""
    pipeline = EmotionPipeline.from_pretrained(checkpoint, words=False, device="cpu")
    cache = FeatureCache(expanded(cache_dir), pipeline.extractor.identity())
    trained = learned_from(pipeline.training)[0]
    if missing := sorted(set(trained) - {name for name, _ in pairs}):
        raise FASError(
            f"collect: {missing[0]}=FOLDER is missing; expected all corpora of the training, {', '.join(trained)}"
        )
    learned = concatenate(
        [clips_of(pipeline, cache, n, folder, ("train", "validation", None)) for n, folder in pairs if n in trained]
    )
    found = left_out(pipeline, learned)
    if not pipeline.model.config.familiarity:
        add_distance(checkpoint, pipeline, learned)
        pipeline = EmotionPipeline.from_pretrained(checkpoint, words=False, device="cpu")
    for name, folder in pairs:
        clips = clips_of(pipeline, cache, name, folder, ("test",) if name in trained else None)
        if len(clips):
            found.append(answered(pipeline, clips, name, KNOWN if name in trained else UNSEEN))
    return found


def save(answers: list[Answers], file: Path) -> None:
    rows = [
        replace(a, **{n: np.round(getattr(a, n), 5).tolist() for n in ("probabilities", "labels", "distance")}).__dict__
        for a in answers
    ]
    write_json(file, {"answers": rows, "provenance": provenance()})


def read(file: Path) -> list[Answers]:
    """What `save` wrote."""
    rows = read_object(file)["answers"]
    return [
        Answers(r["name"], r["kind"], *(np.array(r[n]) for n in ("probabilities", "labels", "distance"))) for r in rows
    ]


# ---- calibrate -------------------------------------------------------------------------------------------------------


def calibrated(answers: list[Answers]) -> Certainty:
    """Fitted on these; each set weighs alike.

    Below the threshold are `MOST_UNSURE` of the clips of corpora that were left out or unseen.
    """
    foreign = [a for a in answers if a.kind != KNOWN]
    if not foreign:
        raise FASError("calibrate: no answers of a corpus that was left out; expected those of `collect`")
    weights = np.concatenate([_alike(a) for a in answers])
    distances = _weighted_quantiles(np.concatenate([a.distance for a in answers]), weights, np.linspace(0, 1, STEPS))
    p, d, right = (np.concatenate([getattr(a, n) for a in answers]) for n in ("largest", "distance", "is_right"))
    found = fit_confidence(p, d, right, weights, distances[STEPS // 2])
    columns = (np.concatenate([getattr(a, n) for a in foreign]) for n in ("probabilities", "labels"))
    of_foreign = (*columns, np.concatenate([_alike(a) for a in foreign]))
    scores = [conformal_score(*of_foreign, level) for level in LEVELS]
    certainty = Certainty(found, tuple(distances), tuple(scores))
    said = [certainty.confidence(a.largest, a.distance) for a in foreign]
    (below,) = _weighted_quantiles(np.concatenate(said), of_foreign[2], [MOST_UNSURE])
    return replace(certainty, below=round(float(below), 3))


def _alike(answers: Answers) -> np.ndarray:
    """(N,) weights by which each set counts as much."""
    return np.full(len(answers.labels), 1 / len(answers.labels))


def _weighted_quantiles(values: np.ndarray, weights: np.ndarray, at: Sequence[float]) -> np.ndarray:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(at, reached / weights.sum(), values[order])


# ---- table -----------------------------------------------------------------------------------------------------------


def ece(confidence: np.ndarray, is_right: np.ndarray) -> float:
    """Expected calibration error over `BINS` bins of equal width."""
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return float(
        sum(abs(confidence[index == b].sum() - is_right[index == b].sum()) for b in range(BINS)) / len(confidence)
    )


def figures(answers: Answers, certainty: Certainty, coverage: float) -> dict:
    """Of one set, in per cent; sizes of label sets in labels."""
    confidence = certainty.confidence(answers.largest, answers.distance)
    sure, sets = confidence >= certainty.below, 0
    covered = []
    for p, label in zip(answers.probabilities, answers.labels, strict=True):
        labels = certainty.label_set(dict(zip(EMOTIONS, p, strict=True)), coverage)
        covered.append(EMOTIONS[label] in labels)
        sets += len(labels)
    shares = dict(
        right=answers.is_right.mean(), sure_of_itself=answers.largest.mean(), ece_probability=ece(answers.largest, answers.is_right),
        confidence=confidence.mean(), ece_confidence=ece(confidence, answers.is_right), unsure=1 - sure.mean(),
        right_not_unsure=answers.is_right[sure].mean() if sure.any() else np.nan, right_unsure=answers.is_right[~sure].mean() if not sure.all() else np.nan,
        covered=np.mean(covered), familiarity=np.mean([certainty.familiarity(d) for d in answers.distance]),
    )  # fmt: skip
    found = {name: None if np.isnan(value) else round(100 * float(value), 1) for name, value in shares.items()}
    return (
        dict(corpus=answers.name, kind=answers.kind, clips=len(answers.labels))
        | found
        | dict(set_size=round(sets / len(covered), 2))
    )


def tabled(answers: list[Answers], coverage: float) -> list[dict]:
    """Each set by what was fitted on the others' corpora, test sets never among them."""
    rows = []
    for each in answers:
        others = [a for a in answers if a.name not in (each.name, *TEST)]
        rows.append(figures(each, calibrated(others), coverage))
    return rows


COLUMNS = {
    "corpus": "corpus", "kind": "", "clips": "clips", "right": "right", "ece_probability": "ECE of p", "ece_confidence": "ECE of confidence",
    "confidence": "mean confidence", "unsure": "unsure", "right_not_unsure": "right, not unsure", "right_unsure": "right, unsure",
    "familiarity": "familiarity", "covered": "covered by label sets", "set_size": "labels in a set",
}  # fmt: skip


def markdown(rows: list[dict]) -> str:
    return table_of(list(COLUMNS.values()), [["-" if row[c] is None else str(row[c]) for c in COLUMNS] for row in rows])


def reliability_plot(answers: list[Answers], file: Path) -> None:
    """Confidence against the share that is right, ten groups of equal size a corpus; each by what was fitted on the others."""
    from matplotlib.figure import Figure

    figure = Figure((8, 4))
    for axis, title in zip(figure.subplots(1, 2), ("largest probability", "confidence"), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for each in (a for a in answers if a.kind != KNOWN):
            fit = calibrated([a for a in answers if a.name not in (each.name, *TEST)])
            said = each.largest if title == "largest probability" else fit.confidence(each.largest, each.distance)
            parts = np.array_split(np.argsort(said), 10)
            axis.plot(
                [said[i].mean() for i in parts],
                [each.is_right[i].mean() for i in parts],
                marker="o",
                markersize=3,
                label=each.name,
            )
        axis.set(xlabel=title, ylabel="right", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


# ---- command ---------------------------------------------------------------------------------------------------------


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.unsure", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("collect", help="ask the checkpoint and those without a corpus")
    first.add_argument("checkpoint", type=Path, metavar="DIR")
    first.add_argument("corpora", nargs="+", metavar="NAME=FOLDER", help="those of the training, and others")
    first.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache (%(default)s)")
    first.add_argument("--output", type=Path, required=True, help="JSON")
    fit = commands.add_parser("calibrate", help="write into config.json")
    fit.add_argument("answers", type=Path, metavar="JSON")
    fit.add_argument("--checkpoint", type=Path, required=True, help="directory whose config.json is written")
    table = commands.add_parser("table", help="figures of left-out corpora")
    table.add_argument("answers", type=Path, metavar="JSON")
    table.add_argument("--coverage", type=float, default=0.9, help="of the label sets (%(default)s)")
    table.add_argument("--json", type=Path, help="write the figures there, too")
    table.add_argument("--markdown", type=Path, help="write the table there, too")
    table.add_argument("--plot", type=Path, help="reliability diagram")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    if arguments.command == "collect":
        save(
            collect(arguments.checkpoint, parse_pairs(arguments.corpora, "corpora"), arguments.cache), arguments.output
        )
        return 0
    answers = read(arguments.answers)
    if arguments.command == "calibrate":
        file = arguments.checkpoint / "config.json"
        read_config(file)  # nothing but a FAS checkpoint is written to
        certainty = calibrated([a for a in answers if a.name not in TEST])
        write_json(file, read_object(file) | {"certainty": certainty.to_dict()})
        print(json.dumps(certainty.to_dict()))
        return 0
    rows = tabled(answers, arguments.coverage)
    print(markdown(rows))
    if arguments.json:
        write_json(arguments.json, {"coverage": arguments.coverage, "sets": rows, "provenance": provenance()})
    if arguments.markdown:
        write_text(arguments.markdown, markdown(rows) + "\n")
    if arguments.plot:
        reliability_plot(answers, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
