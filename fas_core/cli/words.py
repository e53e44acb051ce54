"""The commands `fas words read` and `fas words train`: what texts say by themselves, without a voice."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, late
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.text import printable
from fas_core.words.train_options import Options


class Format(str, Enum):
    table, json = "table", "json"


train_text_model = late("fas_core.words.train:train")
app = App(help="Read the emotion of texts, or train the model that does.")


@app.command(no_args_is_help=True)
def read(
    texts: Annotated[
        list[str] | None, typer.Argument(help="what was said, each text in quotes", metavar="TEXT")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="also the lines of this file")] = None,
    model: Annotated[
        str | None, typer.Option(help="directory or hub id of a sequence classifier; default: the shipped model")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="how to write the probabilities; json: one line a text")
    ] = Format.table,
) -> None:
    """Say how probable each of the seven emotions is for a text.

    Examples:

      fas words read "I lost my keys again." "What a lovely surprise!"

      fas words read --file transcripts.txt --format json

    Exit code: 0; 2 where the file or the model cannot be used.
    """
    found = [*(texts or []), *(_lines(file) if file else [])]
    if not found:
        raise FASError("no text: give some in quotes, or a file of lines with --file")
    from fas_core.words.text_model import SHIPPED, TextModel

    probabilities = TextModel.from_pretrained(model or SHIPPED)(found)
    rows = [
        (text, dict(zip(EMOTIONS, map(float, row), strict=True)))
        for text, row in zip(found, probabilities, strict=True)
    ]
    if format is Format.json:
        for text, row in rows:
            typer.echo(json.dumps({"text": text, "label": max(row, key=row.__getitem__), "probabilities": row}))
    else:
        _print(rows)


def _lines(file: Path) -> list[str]:
    """Lines with something on them. Raises FASError: the file cannot be read as UTF-8."""
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise FASError(f"--file {file}: not UTF-8; expected one text a line") from None


def _print(rows: list[tuple[str, dict[str, float]]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("text", "label", *EMOTIONS)
    for text, row in rows:
        figures = (f"{value:.2f}" for value in row.values())
        table.add_row(escape(printable(text)), max(row, key=row.__getitem__), *figures)
    Console(width=None if typer.get_text_stream("stdout").isatty() else 130).print(table)


@app.command()
def train(
    texts: Annotated[
        Path, typer.Option(help="Folder with goemotions_ekman_*.tsv, xed_*.tsv, xed_neutral_en.txt, meld_*.csv.")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write; one that is there is replaced.")],
    meld: Annotated[
        bool, typer.Option("--meld", help="Also learn MELD's training texts (GPL-3.0: not for shipping).")
    ] = False,
    languages: Annotated[list[str] | None, typer.Option(help="Also XED's lines in de, es, fr, it or pl.")] = None,
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
    teacher: Annotated[list[str] | None, typer.Option(help="Text model that supplies part of the targets.")] = None,
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
    """Train a text model and write it with `training.json` and a card.

    Without options the linear model of n-grams, the kind that ships. With --base an encoder of transformers is fine-tuned instead, with --layers it is made small (8 bits, few word pieces). With --teacher the targets are partly what other text models say, in the mean. Uses a GPU where there is one.

    Example:

      fas words train --texts data/text --output runs/words

    Exit code: 0; 2 where the texts or a model cannot be used.
    """
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
    from fas_core.words.figures import as_markdown

    record = train_text_model(texts, output, options, typer.echo)
    typer.echo(as_markdown({(output.name, name): found for name, found in record["validation"].items()}))


def _checked(languages: list[str]) -> tuple[str, ...]:
    from fas_core.words.texts import XED_LANGUAGES

    for language in languages:
        if language not in XED_LANGUAGES:
            raise FASError(f"--languages: {language!r}; expected some of {', '.join(XED_LANGUAGES)}")
    return tuple(languages)


training = App()  # for `python -m fas_core.words.train`
training.command()(train)
