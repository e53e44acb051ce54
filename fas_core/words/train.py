"""`python -m fas_core.words.train --texts FOLDER --output DIR`: the text model that ships, and those that it is compared with.

Without options: the linear model of n-grams. With --base an encoder of transformers is fine-tuned instead, with --layers it is made
small (8 bits, few word pieces). With --teacher the targets are partly what other text models say, in the mean. FOLDER holds the
files of GoEmotions, XED and MELD (docs/words.md). Uses a GPU where there is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fas_core.atomic import atomic_directory, write_json, write_text
from fas_core.calibration import fit_temperature
from fas_core.cli.app import run
from fas_core.cli.words import training as app
from fas_core.provenance import provenance
from fas_core.words.card import card_of
from fas_core.words.figures import figures_by_source
from fas_core.words.text_model import TextModel
from fas_core.words.texts import Texts
from fas_core.words.train_options import Options
from fas_core.words.training_texts import fragments, held_out, training_texts, unlabelled_texts


def train(texts: Path, output: Path, options: Options, log=lambda line: None) -> dict:
    """Train, calibrate on the validation parts, and write the directory of a text model with its record and card.

    Returns:
        What `training.json` holds.

    Raises:
        CorpusError: a file lacks or has another layout. CheckpointError: no such base or teacher.
    """
    more = {"meld": options.meld, "languages": options.languages, "emotional": options.emotional}
    data = _with_teacher(training_texts(texts, options.seed, **more), texts, options)
    validation = held_out(texts, "validation")
    log(f"{len(data)} training texts, {sum(map(len, validation.values()))} for validation")
    with atomic_directory(output) as directory:
        if options.base:
            temperature = _fine_tuned(directory, data, validation, options, log)
        else:
            temperature = _linear(directory, data, validation, options)
        model = TextModel.from_pretrained(directory, device=_device() if options.base else None)
        record = {
            "options": dict(vars(options).items())
            | {"base": _name(options.base), "teacher": [_name(each) for each in options.teacher]},
            "data": _data(data, validation, options),
            "temperature": temperature,
            "validation": figures_by_source(model, validation),
            "provenance": _public(provenance()),
        }
        write_json(directory / "training.json", record)
        write_text(directory / "README.md", card_of(record))
    return record


def _linear(directory: Path, data: Texts, validation: dict[str, Texts], options: Options) -> float:
    from fas_core.words.ngram_training import fit_ngrams

    model = fit_ngrams(data, terms=options.terms, strength=options.strength, weights=_weights(data, options.balance))
    model.languages = ("en", *options.languages)
    model.temperature = _temperature(model.logits, validation)
    model.save(directory)
    return model.temperature


def _weights(data: Texts, balance: float) -> np.ndarray:
    """(N,) of the lines: emotions that are rare count for more, share ** -balance, 1 in the mean."""
    shares = np.maximum(data.shares.mean(0), 1e-9)
    return data.shares @ (shares**-balance / (shares ** (1 - balance)).sum()).astype(np.float32)


def _fine_tuned(directory: Path, data: Texts, validation: dict[str, Texts], options: Options, log) -> float:
    from fas_core.words.finetuning import Small, fine_tune, fine_tune_small

    given = {name: getattr(options, name) for name in ("epochs", "learning_rate", "seed", "batch")} | {"log": log}
    weights = _weights(data, options.balance)
    if not options.layers:
        return _save_classifier(
            directory, *fine_tune(options.base, data, weights, lora=options.lora, **given), validation
        )
    model = fine_tune_small(options.base, data, weights, Small(options.pieces, options.layers), **given)
    model.temperature = _temperature(model.logits, validation)
    model.save(directory)
    return model.temperature


def _save_classifier(directory: Path, model, tokenizer, validation: dict[str, Texts]) -> float:
    """The temperature goes into the last layer: the directory is one that any tool can load."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    uncalibrated = TextModel.from_pretrained(directory, device=_device())
    temperature = _temperature(lambda texts: np.log(uncalibrated(texts)), validation)
    last = next(module for name, module in model.named_modules() if name.endswith(("classifier", "out_proj")))
    for parameter in last.parameters():
        parameter.data /= temperature
    model.save_pretrained(directory)
    return temperature


def _device() -> str:
    from fas_core.words.fitting import find_device

    return str(find_device())


def _temperature(logits, validation: dict[str, Texts]) -> float:
    """Every source counts alike: none of them is what users will say."""
    weights = np.concatenate([np.full(len(texts), 1 / len(texts)) for texts in validation.values()])
    labels = np.concatenate([texts.labels for texts in validation.values()])
    return fit_temperature(np.concatenate([logits(texts.texts) for texts in validation.values()]), labels, weights)


def _with_teacher(data: Texts, folder: Path, options: Options) -> Texts:
    """Targets partly from the mean of the teachers, and lines that only they label."""
    if not options.teacher:
        return data
    teachers = [TextModel.from_pretrained(each, device=_device()) for each in options.teacher]
    more, share = unlabelled_texts(folder, options.seed), options.teacher_share
    more += fragments(data.texts, options.fragments, options.seed)
    told = np.mean([teacher([*data.texts, *more]) for teacher in teachers], axis=0).astype(np.float32)
    return Texts.joined(
        [Texts(data.texts, (1 - share) * data.shares + share * told[: len(data)]), Texts(more, told[len(data) :])]
    )


def _data(data: Texts, validation: dict[str, Texts], options: Options) -> dict:
    sources = ["goemotions", "xed_en", "xed_neutral_en", "plain", *(f"xed_{code}" for code in options.languages)]
    return {
        "sources": sources + ["emotional"] * options.emotional + ["meld"] * options.meld,
        "training_texts": len(data),
        "validation_texts": {name: len(texts) for name, texts in validation.items()},
    }


def _name(model: str | None) -> str | None:
    """Of a directory the last part: where it lies is of the machine."""
    return model and (Path(model).name if Path(model).exists() else model)


def _public(record: dict) -> dict:
    """Without folders of this machine in its command."""
    command = [Path(each).name if Path(each).is_absolute() else each for each in record["command"]]
    return record | {"command": command}


if __name__ == "__main__":
    run(app, "python -m fas_core.words.train")
