"""`python -m benchmarks.text_languages --texts FOLDER --output FILE.json`: what n-grams read of XED's other languages.

A tenth of the lines of a language is held out. There are no neutral lines but English ones, so this is a choice of six, and such a
model can call nothing neutral: why the shipped one reads English alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.special import softmax

from fas_core.atomic import write_json
from fas_core.provenance import provenance
from fas_core.words.figures import as_markdown, figures
from fas_core.words.ngram_training import fit_ngrams
from fas_core.words.texts import XED_LANGUAGES, Texts, read_xed

app = typer.Typer(add_completion=False, help=__doc__)


def figures_of(path: Path, seed: int, strength: float) -> dict:
    """Of lines with one emotion that were held out."""
    data, random = read_xed(path), np.random.default_rng(seed)
    order = random.permutation(len(data))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    model = fit_ngrams(_rows(data, kept), terms=120_000, strength=strength)
    test = _rows(data, held).single()
    return figures(softmax(model.logits(test.texts), axis=1), test.labels)


def _rows(data: Texts, rows: np.ndarray) -> Texts:
    return Texts([data.texts[row] for row in rows], data.shares[rows])


@app.command()
def main(
    texts: Annotated[Path, typer.Option(help="Folder with XED's files, see docs/words.md.")],
    output: Annotated[Path, typer.Option(help="JSON to write.")],
    seed: Annotated[int, typer.Option(help="Of the lines that are held out.")] = 0,
    strength: Annotated[float, typer.Option(help="C of the regression.")] = 0.7,
) -> None:
    """Accuracy and macro-F1 of English and each other language."""
    files = {"en": "xed_en-annotated.tsv"} | {code: f"xed_{code}-projections.tsv" for code in XED_LANGUAGES}
    found = {code: figures_of(texts / name, seed, strength) for code, name in files.items()}
    write_json(output, {"figures": found, "seed": seed, "strength": strength, "provenance": provenance()})
    typer.echo(as_markdown({("n-grams", code): values for code, values in found.items()}))


if __name__ == "__main__":
    app()
