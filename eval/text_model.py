"""`python -m eval.text_model --texts FOLDER --output FILE.json`: text models beside each other, on texts whose emotion is known.

Validation parts choose; the test parts (GoEmotions, MELD, our held-out templates, English items of `eval.case`) are asked for with
--split test.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fas_core.atomic import write_json
from fas_core.cli.app import App, run
from fas_core.errors import FASError
from fas_core.provenance import provenance
from fas_core.synth.sentences import load_sentences
from fas_core.words.figures import as_markdown, figures_by_source
from fas_core.words.fitting import find_device
from fas_core.words.text_model import SHIPPED, TextModel
from fas_core.words.texts import Texts
from fas_core.words.training_texts import held_out
from fas_eval.case.scenarios import load_scenarios

app = App(help=__doc__)
TIMED = 500  # sentences, one by one


def sources_of(folder: Path, split: str) -> dict[str, Texts]:
    """Texts by the name of their source: those of `held_out`, the sentences of the synthetic corpus; for test also FAS-CASE's.

    Raises:
        CorpusError: a file lacks, or has another layout. FASError: another split.
    """
    if split not in ("validation", "test"):
        raise FASError(f"--split: {split!r}; expected validation or test")
    spoken = load_sentences().items()
    found = held_out(folder, split) | {
        "synth": Texts.of((text, [emotion]) for emotion, of in spoken for text in of[split])
    }
    if split == "test":
        items = [each for each in load_scenarios(per_pair=0) if each.language == "en"]
        found["fas-case-en"] = Texts.of((each.text, [each.semantic_emotion]) for each in items)
    return found


def milliseconds(model: TextModel, texts: list[str]) -> float:
    """Mean processor time of one sentence at a time; what else the machine does is not counted."""
    model(texts[:10])
    start = time.process_time()
    for text in texts[:TIMED]:
        model([text])
    return 1000 * (time.process_time() - start) / len(texts[:TIMED])


@app.command()
def main(
    texts: Annotated[Path, typer.Option(help="Folder with GoEmotions and MELD, see docs/words.md.")],
    output: Annotated[Path, typer.Option(help="JSON to write.")],
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=DIRECTORY or a hub id; repeatable. Default: the shipped one.")
    ] = None,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
) -> None:
    """Write accuracy, macro-F1, neutral recall and calibration of each model on each source, and print a table."""
    sources, rows, speed = sources_of(texts, split), {}, {}
    for named in model or [f"shipped={SHIPPED}"]:
        name, _, where = named.rpartition("=")
        loaded = TextModel.from_pretrained(where, device=str(find_device()))
        rows |= {(name or where, source): found for source, found in figures_by_source(loaded, sources).items()}
        speed[name or where] = milliseconds(loaded, sources["meld"].texts)
    record = provenance()
    record["command"] = [_public(each) for each in record["command"]]
    found = [{"model": name, "source": source, **values} for (name, source), values in rows.items()]
    write_json(output, {"split": split, "figures": found, "milliseconds_a_sentence": speed, "provenance": record})
    typer.echo(as_markdown(rows))


def _public(argument: str) -> str:
    """Without folders of this machine."""
    name, equals, value = argument.rpartition("=")
    return name + equals + (Path(value).name if Path(value).is_absolute() else value)


if __name__ == "__main__":
    run(app, "python -m eval.text_model")
