"""`python -m fas_core.words.train --texts FOLDER --output DIR`: the text model that ships, and those that it is compared with.

Without options: the linear model of n-grams. With --base an encoder of transformers is fine-tuned instead, with --layers it is made
small (8 bits, few word pieces). With --teacher the targets are partly what other text models say, in the mean. FOLDER holds the
files of GoEmotions, XED and MELD (docs/words.md). Uses a GPU where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fas_core.atomic import atomic_directory, write_json, write_text
from fas_core.calibration import fit_temperature
from fas_core.errors import INPUT_ERRORS, FASError, error_line
from fas_core.provenance import provenance
from fas_core.words.card import card_of
from fas_core.words.figures import as_markdown, figures_by_source
from fas_core.words.text_model import TextModel
from fas_core.words.texts import XED_LANGUAGES, Texts
from fas_core.words.training_texts import fragments, held_out, training_texts, unlabelled_texts

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Options:
    """Of one training, as `training.json` keeps them."""

    seed: int = 0
    meld: bool = False
    languages: tuple[str, ...] = ()
    emotional: bool = True
    terms: int = 120_000
    strength: float = 0.7
    balance: float = 0.25
    base: str | None = None
    lora: bool = False
    epochs: float = 2.0
    learning_rate: float = 2e-4
    batch: int = 128
    layers: int | None = None
    pieces: int = 9_000
    teacher: tuple[str, ...] = ()
    teacher_share: float = 0.5
    fragments: int = 30_000


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


@app.command()
def main(
    texts: Annotated[
        Path, typer.Option(help="Folder with goemotions_ekman_*.tsv, xed_*.tsv, xed_neutral_en.txt, meld_*.csv.")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write; one that is there is replaced.")],
    meld: Annotated[
        bool, typer.Option("--meld", help="Also learn MELD's training texts (GPL-3.0: not for shipping).")
    ] = False,
    languages: Annotated[
        list[str] | None, typer.Option(help="Also XED's lines in de, es, fr, it or pl; repeatable.")
    ] = None,
    emotional: Annotated[
        bool, typer.Option(help="Also learn our emotional sentences; without them to see what they do.")
    ] = True,
    base: Annotated[
        str | None, typer.Option(help="Fine-tune this encoder of transformers instead: directory or hub id.")
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="By low-rank updates, needs peft.")] = False,
    epochs: Annotated[float, typer.Option(help="Of --base.")] = Options.epochs,
    learning_rate: Annotated[float, typer.Option(help="Of --base.")] = Options.learning_rate,
    batch: Annotated[int, typer.Option(help="Lines a step, of --base.")] = Options.batch,
    layers: Annotated[
        int | None, typer.Option(help="Make --base, a BERT, small: this many of its layers, in 8 bits.")
    ] = None,
    pieces: Annotated[int, typer.Option(help="Word pieces that are kept with --layers.")] = Options.pieces,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Text model that supplies part of the targets; repeatable.")
    ] = None,
    teacher_share: Annotated[float, typer.Option(help="That part, 0 to 1.")] = Options.teacher_share,
    fragments: Annotated[
        int, typer.Option(help="Pieces of training texts that only the teacher labels.")
    ] = Options.fragments,
    terms: Annotated[int, typer.Option(help="N-grams that are kept.")] = Options.terms,
    strength: Annotated[
        float, typer.Option(help="C of the regression, the inverse of its penalty.")
    ] = Options.strength,
    balance: Annotated[
        float, typer.Option(help="How far rare emotions count for more: 0 not, 1 as much as frequent ones.")
    ] = Options.balance,
    seed: Annotated[int, typer.Option(help="Of sentences, order and weights.")] = 0,
) -> None:
    """Train a text model and write it with `training.json` and a card."""
    try:
        options = Options(
            seed=seed,
            meld=meld,
            languages=_checked(languages or []),
            emotional=emotional,
            terms=terms,
            strength=strength,
            balance=balance,
            base=base,
            lora=lora,
            epochs=epochs,
            learning_rate=learning_rate,
            batch=batch,
            layers=layers,
            pieces=pieces,
            teacher=tuple(teacher or ()),
            teacher_share=teacher_share,
            fragments=fragments,
        )
        record = train(texts, output, options, typer.echo)
    except INPUT_ERRORS as error:
        typer.echo(f"error: {error_line(error)}", err=True)
        raise typer.Exit(2) from None
    typer.echo(as_markdown({(output.name, name): found for name, found in record["validation"].items()}))


def _checked(languages: list[str]) -> tuple[str, ...]:
    for language in languages:
        if language not in XED_LANGUAGES:
            raise FASError(f"--languages: {language!r}; expected some of {', '.join(XED_LANGUAGES)}")
    return tuple(languages)


if __name__ == "__main__":
    app()
