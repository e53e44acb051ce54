"""What the tokens of highest energy are: `python -m experiments.selection --data-root DIR --output FILE`.

Trains the paper's FAS (standardised features) on one RAVDESS fold's training speakers and TESS, then asks of the tokens
that it keeps by their norm (eq. 2 and 3), on validation speakers and on URDU: how many of a clip's patches they are,
whether they are the loud ones, where in the clip they lie, and what a linear probe can tell from the kept patches, from
those left out, from as many random ones, from all, and from the mean and deviation of all.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.stages import clip_vector, load_material, sides
from fas_core.atomic import write_text
from fas_core.audio import load_audio
from fas_core.errors import reports_errors
from fas_core.inference import predict_logits
from fas_core.training.arguments import ModelArguments, TrainingArguments, fas_config
from fas_core.training.fas import new_model
from fas_core.training.loop import Trainer
from fas_eval.systems.recipes import SYSTEMS

PROBES = ("kept", "left out", "random", "all, mean", "all, mean and deviation")


def kept_indices(model, clips) -> list[np.ndarray]:
    """Acoustic patch indices that the model keeps in each clip."""
    kept: dict[int, np.ndarray] = {}

    def remember(indices, output):
        for row, i in enumerate(indices):
            chosen = output.acoustic_kept.indices[row].numpy()
            kept[i] = chosen[chosen >= 0]

    lengths = [len(clips.features(i, "").acoustic) for i in range(len(clips))]
    predict_logits(model, lambda i: clips.features(i, ""), lengths, on_output=remember)
    return [kept[i] for i in range(len(clips))]


def loudness(path: str, features, patch_seconds: float) -> np.ndarray:
    """RMS of each patch's audio in dB, (P,); seconds of a patch are those of the acoustic stream."""
    samples = load_audio(path).samples[features.front_end["start"] : features.front_end["end"]]
    size = int(16_000 * patch_seconds)
    frames = [samples[i * size : (i + 1) * size] for i in range(len(features.acoustic))]
    return np.array([10 * np.log10(np.mean(f**2) + 1e-10) if len(f) else -100.0 for f in frames])


def describe(
    clips, kept: list[np.ndarray], scores: list[np.ndarray], paths: dict[str, str], patch_seconds: float
) -> dict:
    """Share kept, correlation of energy with loudness within a clip, and where kept patches lie."""
    lengths = [len(clips.features(i, "").acoustic) for i in range(len(clips))]
    correlations = [
        spearmanr(scores[i], loudness(paths[clips.ids[i]], clips.features(i, ""), patch_seconds)).statistic
        for i in range(len(clips))
        if lengths[i] > 3
    ]
    edges = [np.mean((k == 0) | (k == n - 1)) for k, n in zip(kept, lengths, strict=True)]
    return dict(
        share_kept=float(np.mean([len(k) / n for k, n in zip(kept, lengths, strict=True)])),
        energy_loudness_spearman=float(np.nanmean(correlations)),
        first_or_last_patch=float(np.mean(edges)),
        first_or_last_patch_by_chance=float(np.mean([min(1.0, 2 / n) for n in lengths])),
    )


def pooled(clips, kept: list[np.ndarray], what: str) -> np.ndarray:
    """One vector a clip for each probe of `PROBES`."""
    rng = np.random.default_rng(0)
    rows = []
    for i, chosen in enumerate(kept):
        x = np.asarray(clips.features(i, "").acoustic, dtype=np.float64)
        rest = np.setdiff1d(np.arange(len(x)), chosen)
        parts = {"kept": x[chosen], "left out": x[rest] if len(rest) else x, "all, mean": x}
        parts["random"] = x[rng.permutation(len(x))[: len(chosen)]]
        if what == "all, mean and deviation":
            rows.append(clip_vector(clips.features(i, ""), "acoustic", "mean+deviation")[0])
        else:
            rows.append(parts[what].mean(0))
    return np.stack(rows)


def probe(train, train_kept, sets: dict, kept: dict) -> dict:
    """UA (%) of logistic regression on each kind of vector, by set."""
    table = {}
    for what in PROBES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000))
        model.fit(pooled(train, train_kept, what), train.labels)
        table[what] = {
            name: round(100 * balanced_accuracy_score(c.labels, model.predict(pooled(c, kept[name], what))), 1)
            for name, c in sets.items()
        }
    return table


def energies(model, clips) -> list[np.ndarray]:
    """Energy (eq. 2) of every acoustic patch, (P,) a clip."""
    import torch

    with torch.inference_mode():
        return [
            model.fas.standardise["acoustic"]
            .project(torch.from_numpy(np.float32(clips.features(i, "").acoustic)), model.fas.projection["acoustic"])
            .norm(dim=-1)
            .numpy()
            for i in range(len(clips))
        ]


def analyse(arguments) -> dict:
    """Train, then describe and probe."""
    from accelerate import Accelerator

    arguments.stage, arguments.padding = "choose", "clip"
    system = SYSTEMS["fas"]
    material = load_material(arguments, arguments.layer, ())
    train, sets = sides(material, arguments.data_root, arguments.fold, "choose", ())
    config = fas_config(
        ModelArguments(**system.model), material.extractor.dimensions, material.streams, material.extractor.digest
    )
    model = new_model(config, train, 42)
    scratch = f"{arguments.output}.scratch"
    training = TrainingArguments(**system.training, keep="last", save_every=10**9, output_dir=scratch)
    trainer = Trainer(model, training, train, None, Accelerator(cpu=True))
    trainer.fit()
    trainer.finish()
    model.eval()
    paths = {i: p for d in material.datasets.values() for i, p in zip(d["id"], d["audio"], strict=True)}
    kept = {name: kept_indices(model, clips) for name, clips in sets.items()}
    patch_seconds = material.extractor.patch_size / material.extractor.frame_rates["acoustic"]
    tokens = {name: describe(c, kept[name], energies(model, c), paths, patch_seconds) for name, c in sets.items()}
    return dict(
        fold=arguments.fold, layer=arguments.layer, encoder=arguments.encoder, kept_tokens=tokens,
        probes=probe(train, kept_indices(model, train), sets, kept),
    )  # fmt: skip


@reports_errors
def main(argv=None) -> int:
    parser = argparse.ArgumentParser("python -m experiments.selection", description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder with ravdess, tess, urdu")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--fold", type=int, default=1, help="RAVDESS fold")
    parser.add_argument("--encoder", default="offline:base", help="Whisper of both streams")
    parser.add_argument("--acoustic-encoder", help="other acoustic encoder")
    parser.add_argument("--layer", default="3", help="acoustic layer")
    parser.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache")
    arguments = parser.parse_args(argv)
    result = analyse(arguments)
    write_text(arguments.output, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
