"""Stage leave-corpus-out: train on all corpora but one and score that one; URDU after training on all of them.

What a recipe is chosen by is the mean UA over the corpora that were left out. EmoDB is not read: it stays a test set.
"""

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from fas_core.calibration import expected_calibration_error
from fas_core.discriminant import SPLITS, fit_discriminants
from fas_core.training.arguments import ModelArguments, TrainingArguments, fas_config, parse_weights
from fas_core.training.clips import Clips, concatenate
from fas_core.training.corpora import corpus_names, discriminant_corpora, held_out_groups
from fas_core.training.fas import acoustic_statistics, new_model
from fas_eval.statistics.metrics import point_figures

STAGE = "leave-corpus-out"
CORPORA = ("ravdess", "tess", "nemo", "ased", "korean")
DEVELOPMENT = "urdu"  # the development set of zero-shot choices, never trained on


def sides(material, corpora: list[str], left_out: str, variants: tuple[str, ...]) -> tuple[Clips, dict[str, Clips]]:
    """Clips of all corpora but one in these variants, and those of the one as they are, by name."""
    trained = [_whole(material, corpus, variants) for corpus in corpora if corpus != left_out]
    return concatenate(trained), {left_out: _whole(material, left_out, ())}


def once_for_all(material, system, key: dict, asked: list[str], train_and_score) -> dict:
    """The result of one left-out corpus; a training in which several were never heard is done once and remembered.

    Args:
        system, key: of the run. asked: corpora that are scored in turn.
        train_and_score: (training clips, name -> clips to score) -> dict with `scores` by name.
    """
    trained = (*key["corpora"], key["left_out"])
    unheard = [key["left_out"], *(name for name in asked if name not in trained)]
    if key["left_out"] in key["corpora"]:
        unheard = unheard[:1]
    wanted = (json.dumps({**key, "left_out": None}), key["left_out"] if len(unheard) == 1 else "")
    if wanted not in material.remembered:
        train, _ = sides(material, key["corpora"], key["left_out"], system.augmentation)
        material.remembered[wanted] = train_and_score(train, {name: _whole(material, name, ()) for name in unheard})
    result = material.remembered[wanted]
    mine = {n: s for n, s in result["scores"].items() if n.split(",")[0] == key["left_out"]}
    return result | {"scores": mine}


def _whole(material, corpus: str, variants: tuple[str, ...]) -> Clips:
    return material.clips(corpus, dict.fromkeys(material.datasets[corpus]["id"], "all"), {"all"}, variants)


def scored(clips: Clips, logits: np.ndarray) -> dict:
    """Accuracy, UA, macro-F1 and ECE in per cent, and `answers`: speaker -> (labels, answers), a digit a clip, for paired tests."""
    answers, figures = logits.argmax(-1), point_figures(clips.labels, logits.argmax(-1))
    figures["ece"] = expected_calibration_error(softmax(logits.astype(np.float64), -1), clips.labels)
    rows = defaultdict(lambda: ["", ""])
    for i, speaker in enumerate(clips.speakers):
        for side, values in enumerate((clips.labels, answers)):
            rows[speaker or clips.ids[i]][side] += str(values[i])
    return {name: round(100 * value, 2) for name, value in figures.items()} | {"answers": dict(rows)}


def training_arguments(settings: dict, train: Clips, **more) -> TrainingArguments:
    """Without the weights of corpora that are not trained on this time."""
    arguments = TrainingArguments(**settings, **more)
    trusted = [pair for pair in arguments.corpus_weights if set(parse_weights([pair])) <= set(corpus_names(train))]
    return replace(arguments, corpus_weights=trusted)


def run_linear(system, material, train: Clips, tests: dict, shrinkages: list[float], extra: dict, score=scored) -> dict:
    """Scores of the discriminant alone, the acoustic head of a FAS; those of all shrinkages are found at once and remembered."""
    model = ModelArguments(**(system.model | extra.get("model", {})))
    arguments = training_arguments(system.training | extra.get("training", {}), train)
    wanted = f"{_key(train, tests)}, {arguments}, {replace(model, head_shrinkage=0.5)}"
    if material.remembered.get("fitted", ("",))[0] != wanted:
        x, indices, held = _statistics(material, train, tests)
        groups, splits = held_out_groups(train, indices, arguments)
        fitted = fit_discriminants(
            x, train.labels[indices], groups, shrinkages, model.head_deviation_weight,
            discriminant_corpora(train, indices, arguments), splits or SPLITS,
        )  # fmt: skip
        logits = {s: {n: each(rows) for n, rows in held.items()} for s, each in zip(shrinkages, fitted, strict=True)}
        material.remembered["fitted"] = (wanted, logits)
    logits = material.remembered["fitted"][1][model.head_shrinkage]
    return dict(scores={name: score(clips, logits[name]) for name, clips in tests.items()}, curve=[])


def _key(train: Clips, tests: dict[str, Clips]) -> int:
    return hash((*train.ids, *train.variants, *tests, *(clip for clips in tests.values() for clip in clips.ids)))


def _statistics(
    material, train: Clips, tests: dict[str, Clips]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(N, F) of the training clips in all variants, which clips these are, (N,), and (M, F) of each set that is scored."""
    key = _key(train, tests)
    if material.remembered.get("statistics", ("",))[0] != key:
        material.remembered.clear()
        sizes, streams = material.extractor.dimensions, material.streams
        options = ModelArguments(standardise=True, hidden_size=64, selection="all")
        model = new_model(fas_config(options, sizes, streams, material.extractor.digest), train, 0).eval()
        held = {
            name: acoustic_statistics(model, clips, [(i, "") for i in range(len(clips))])
            for name, clips in tests.items()
        }
        rows = [(i, variant) for variant in train.variants for i in range(len(train))]
        indices = np.array([i for i, _ in rows], dtype=np.int64)
        material.remembered["statistics"] = (key, (acoustic_statistics(model, train, rows), indices, held))
    return material.remembered["statistics"][1]
