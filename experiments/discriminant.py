"""How the acoustic discriminant of the recommended recipe was chosen: on four sets, none of them a test set.

`python -m experiments.discriminant --data-root DIR --output FILE`

Linear classifiers of clip statistics (shallow layers stacked, training clips in all variants): validation speakers of folds 1, 2
and 3 and URDU, after training on the other RAVDESS speakers and TESS; TESS after RAVDESS's training speakers alone; those after TESS alone.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from experiments.stages import Material, clip_vector, load_material, point_score, sides
from fas_core.atomic import write_json
from fas_core.discriminant import fit_discriminant
from fas_core.errors import reports_errors
from fas_core.provenance import provenance
from fas_core.training.clips import Clips
from fas_eval.systems.recipes import AUGMENTATION

FOLDS = (1, 2, 3)
SETTINGS = [{"C": 0.003}] + [
    {"shrinkage": s, "deviation_weight": w}
    for s, w in ((0.3, 1.0), (0.6, 1.0), (0.8, 1.0), (0.6, 0.7), (0.6, 0.5), (0.6, 0.35), (0.8, 0.5), (0.6, 0.0))
]
SETS = ("validation", "urdu", "ravdess to tess", "tess to ravdess")


def statistics(clips: Clips, variants: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2 D) means and deviations, and (N,) labels."""
    rows = [(i, variant) for variant in variants for i in range(len(clips))]
    x = np.concatenate([clip_vector(clips.features(*row), "acoustic", "mean+deviation") for row in rows])
    return x.astype(np.float32), clips.labels[[i for i, _ in rows]]


def classifier(setting: dict, x: np.ndarray, labels: np.ndarray):
    """Fitted; statistics -> scores of the seven emotions."""
    if "C" in setting:
        model = LogisticRegression(max_iter=2000, **setting).fit(x, labels)
        return lambda rows: np.eye(7)[model.predict(rows)]
    return fit_discriminant(x, labels, ["one group"] * len(x), **setting)  # its temperature decides no answer


def evaluate(train: Clips, tests: dict[str, Clips], bar: tqdm) -> dict[str, list[float]]:
    """UA of every setting, set by set."""
    x, labels = statistics(train, train.variants)
    scaler = StandardScaler(copy=False).fit(x)
    x, sets = scaler.transform(x), {name: scaler.transform(statistics(c, [""])[0]) for name, c in tests.items()}
    found: dict[str, list[float]] = {name: [] for name in tests}
    for setting in SETTINGS:
        answer = classifier(setting, x, labels)
        for name, clips in tests.items():
            found[name].append(point_score(clips, answer(sets[name]))["ua"])
        bar.update()
    return found


def choose(material: Material, data_root: Path) -> list[dict]:
    """The table: a dict a setting, UA by set."""
    ravdess, _ = sides(material, data_root, 1, "transfer", AUGMENTATION)
    tess = material.clips("tess", dict.fromkeys(material.datasets["tess"]["id"], "all"), {"all"}, AUGMENTATION)
    scores: dict[str, list] = {name: [] for name in SETS}
    with tqdm(total=len(SETTINGS) * (len(FOLDS) + 2), desc="discriminants") as bar:
        for fold in FOLDS:
            train, tests = sides(material, data_root, fold, "choose", AUGMENTATION)
            for name, values in evaluate(train, tests, bar).items():
                scores[name].append(values)
        scores["ravdess to tess"] += evaluate(ravdess, {"": tess}, bar).values()
        scores["tess to ravdess"] += evaluate(tess, {"": ravdess}, bar).values()
    means = {name: np.mean(values, 0) for name, values in scores.items()}
    return [
        setting | {name: round(float(values[i]), 1) for name, values in means.items()}
        for i, setting in enumerate(SETTINGS)
    ]


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| classifier | " + " | ".join(SETS) + " |", "|---" * (len(SETS) + 1) + "|"]
    for row in rows:
        is_regression = "C" in row
        name = "logistic regression" if is_regression else f"discriminant, shrinkage {row['shrinkage']}"
        name += "" if is_regression or row["deviation_weight"] == 1 else f", deviations x {row['deviation_weight']}"
        lines.append(f"| {name} | " + " | ".join(f"{row[n]:.1f}" for n in SETS) + " |")
    return "\n".join(lines)


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m experiments.discriminant", description=__doc__.splitlines()[0])
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
    rows = choose(load_material(arguments, arguments.stack, AUGMENTATION), arguments.data_root)
    write_json(
        arguments.output,
        {"settings": rows, "encoder": arguments.encoder, "layers": arguments.stack, "provenance": provenance()},
    )
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
