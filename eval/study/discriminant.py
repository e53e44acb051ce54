"""How the acoustic discriminant of the recommended recipe was chosen: on four sets, none of them a test set.

`python -m eval.study.discriminant --data-root DIR --output FILE`

Linear classifiers of clip statistics (shallow layers stacked, training clips in variants): validation speakers of folds 1, 2
and 3 and URDU, after training on the other RAVDESS speakers and TESS; TESS after RAVDESS's training speakers alone; those after TESS
alone. First the classifiers, on the variants of the recommended recipe; then that recipe's classifier on other variants.
"""

import argparse
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from eval.study.recipes import AUGMENTATION, DISCRIMINANT
from eval.study.run import Material, clip_vector, load_material, score, sides
from fas_core.atomic import write_json
from fas_core.discriminant import fit_discriminant
from fas_core.errors import reports_errors
from fas_core.provenance import provenance
from fas_core.training.clips import Clips

FOLDS = (1, 2, 3)
SETS = ("validation", "urdu", "ravdess to tess", "tess to ravdess")
SETTINGS = [{"C": 0.003}] + [
    {"shrinkage": s, "deviation_weight": w}
    for s, w in ((0.3, 1.0), (0.6, 1.0), (0.8, 1.0), (0.6, 0.7), (0.6, 0.5), (0.6, 0.35), (0.8, 0.5), (0.6, 0.0))
]
CHOSEN = {"shrinkage": DISCRIMINANT["head_shrinkage"], "deviation_weight": DISCRIMINANT["head_deviation_weight"]}
SPEEDS, FASTER, ROOM = ("speed:0.9", "speed:1.1"), ("speed:0.8", "speed:1.25"), ("noise:15", "channel:5")
VARIANTS = [
    (),
    SPEEDS,
    ROOM,
    SPEEDS + ROOM,
    SPEEDS + FASTER + ROOM,
    SPEEDS + FASTER + ROOM + ("pitch:3",),
    SPEEDS + FASTER + ROOM + ("pitch:3", "pitch:-3", "noise:5", "channel:10"),
]
ROWS = [(AUGMENTATION, setting) for setting in SETTINGS] + [(v, CHOSEN) for v in VARIANTS if v != AUGMENTATION]
EVERYTHING = VARIANTS[-1]


def statistics(clips: Clips, variant: str) -> np.ndarray:
    """(N, 2 D) means and deviations."""
    rows = [clip_vector(clips.features(i, variant), "acoustic", "mean+deviation") for i in range(len(clips))]
    return np.concatenate(rows).astype(np.float32)


def classifier(setting: dict, x: np.ndarray, labels: np.ndarray):
    """Fitted; statistics -> scores of the seven emotions."""
    if "C" in setting:
        model = LogisticRegression(max_iter=2000, **setting).fit(x, labels)
        return lambda rows: np.eye(7)[model.predict(rows)]
    return fit_discriminant(x, labels, ["one group"] * len(x), **setting)  # its temperature decides no answer


def evaluate(train: Clips, tests: dict[str, Clips], bar: tqdm) -> dict[str, list[float]]:
    """UA of every row, set by set."""
    heard = {variant: statistics(train, variant) for variant in train.variants}
    scored = {name: statistics(clips, "") for name, clips in tests.items()}
    found: dict[str, list[float]] = {name: [] for name in tests}
    for augmentation, rows in groupby(ROWS, key=lambda row: row[0]):
        x = np.concatenate([heard[variant] for variant in ("", *augmentation)])
        scaler = StandardScaler(copy=False).fit(x)
        x, labels = scaler.transform(x), np.tile(train.labels, 1 + len(augmentation))
        for _, setting in rows:
            answer = classifier(setting, x, labels)
            for name, clips in tests.items():
                found[name].append(score(clips, answer(scaler.transform(scored[name].copy())))["ua"])
            bar.update()
    return found


def choose(material: Material, data_root: Path) -> list[dict]:
    """The table: a dict a row, UA by set."""
    ravdess, _ = sides(material, data_root, 1, "transfer", EVERYTHING)
    tess = material.clips("tess", dict.fromkeys(material.datasets["tess"]["id"], "all"), {"all"}, EVERYTHING)
    scores: dict[str, list] = {name: [] for name in SETS}
    with tqdm(total=len(ROWS) * (len(FOLDS) + 2), desc="discriminants") as bar:
        for fold in FOLDS:
            train, tests = sides(material, data_root, fold, "choose", EVERYTHING)
            for name, values in evaluate(train, tests, bar).items():
                scores[name].append(values)
        scores["ravdess to tess"] += evaluate(ravdess, {"": tess}, bar).values()
        scores["tess to ravdess"] += evaluate(tess, {"": ravdess}, bar).values()
    means = {name: np.mean(values, 0) for name, values in scores.items()}
    return [
        {"augmentation": augmentation} | setting | {name: round(float(values[i]), 1) for name, values in means.items()}
        for i, (augmentation, setting) in enumerate(ROWS)
    ]


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| classifier | " + " | ".join(SETS) + " |", "|---" * (len(SETS) + 1) + "|"]
    lines += [f"| {_title(row)} | " + " | ".join(f"{row[name]:.1f}" for name in SETS) + " |" for row in rows]
    return "\n".join(lines)


def _title(row: dict) -> str:
    if row["augmentation"] != AUGMENTATION:
        return "discriminant of the recipe; " + (", ".join(row["augmentation"]) or "no augmentation")
    if "C" in row:
        return "logistic regression"
    weight = f", deviations x {row['deviation_weight']}" if row["deviation_weight"] != 1 else ""
    return f"discriminant, shrinkage {row['shrinkage']}{weight}"


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.study.discriminant", description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder with ravdess, tess, urdu")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    parser.add_argument("--encoder", default="offline:base", help="Whisper (%(default)s)")
    parser.add_argument("--stack", default="1,2,3,4", help="its shallow layers (%(default)s)")
    parser.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache (%(default)s)")
    parser.set_defaults(stage="choose", acoustic_encoder=None, padding="clip")
    return parser.parse_args(argv)


@reports_errors
def main(argv=None) -> int:
    arguments = parse_arguments(argv)
    rows = choose(load_material(arguments, arguments.stack, EVERYTHING), arguments.data_root)
    settings = {"encoder": arguments.encoder, "layers": arguments.stack}
    write_json(arguments.output, {"rows": rows, **settings, "provenance": provenance()})
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
