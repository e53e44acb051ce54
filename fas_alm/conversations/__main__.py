"""`python -m fas_alm.conversations build` and `rationales`, both NAME=FOLDER ... --output FILE, and `check FILE`."""

import logging
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fas_alm.conversations.build import build_conversations
from fas_alm.conversations.conversation import Conversation
from fas_alm.conversations.jsonl import numbered, read_conversations, write_conversations
from fas_alm.conversations.questions import TASKS
from fas_alm.conversations.rationales.build import rationale_problems
from fas_alm.conversations.rationales.command import rationales
from fas_alm.prompts import LANGUAGES
from fas_alm.transcript import corpus_transcripts
from fas_core.cli.app import App, run
from fas_core.data import has_folds, load_corpus
from fas_core.errors import CorpusError, FASError
from fas_core.training.arguments import parse_pairs

app = App(help="Conversations to train FAS-ALM on.")


@app.command(aliases={"--out": "--output"})
def build(
    corpora: Annotated[list[str], typer.Argument(help="Corpora as NAME=FOLDER.", metavar="NAME=FOLDER")],
    output: Annotated[Path, typer.Option(help="JSONL file to write.")],
    tasks: Annotated[str, typer.Option(help=f"Some of {','.join(TASKS)}, with commas.")] = ",".join(TASKS),
    languages: Annotated[str, typer.Option(help="Languages of question and answer.")] = ",".join(LANGUAGES),
    per_clip: Annotated[int, typer.Option(min=1, help="Questions about each clip.")] = 1,
    fold: Annotated[int | None, typer.Option(help="Fold, of corpora that have folds (RAVDESS, IEMOCAP).")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Exclusion list of `fas data check`.")] = None,
    exclude_labels: Annotated[
        list[str] | None, typer.Option(help="Leave out clips of this label; * for all unknown ones; repeatable.")
    ] = None,
    transcripts: Annotated[bool, typer.Option(help="Tell the corpora's texts behind the audio.")] = True,
    seed: Annotated[int, typer.Option(help="Of tasks, wordings and orders.")] = 42,
) -> None:
    """Make conversations from corpora.

    Example:

      python -m fas_alm.conversations build ravdess=data/ravdess --fold 1 --output conversations.jsonl

    Exit code: 0; 2 where a corpus or an option cannot be used.
    """
    left_out = dict(exclude=exclude, exclude_labels=exclude_labels or [])
    _build(corpora, output, tasks.split(","), languages.split(","), per_clip, fold, left_out, transcripts, seed)


def _build(corpora, out, tasks, languages, per_clip, fold, exclude, transcripts, seed) -> None:
    conversations: list[Conversation] = []
    skipped: Counter = Counter()
    for name, folder in parse_pairs(corpora, "corpus"):
        rows = load_corpus(name, folder, fold=fold if has_folds(name) else None, **exclude)
        rows = corpus_transcripts(rows) if transcripts else rows
        made, left_out = build_conversations(rows, tasks=tasks, languages=languages, per_clip=per_clip, seed=seed)
        conversations += made
        skipped += left_out
    if not conversations:
        raise FASError(
            f"tasks {', '.join(tasks)}: the labels of these clips answer none of them; try --tasks choose,name"
        )
    write_conversations(out, conversations)
    typer.echo(f"{out}: " + _summary(conversations))
    for corpus, count in skipped.items():
        typer.echo(f"left out of {corpus}: {count} clips whose labels answer none of the tasks")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="JSONL file to read.", metavar="FILE")]) -> None:
    """Read a file of conversations as training does, and count what is in it; the exit code is 2 for one with errors.

    A rationale, which is a conversation that says its levels, has to name exactly those and its emotion.
    """
    found = read_conversations(file)
    problems = [
        f"line {line}: {problem}" for line, each in numbered(file, found) for problem in rationale_problems(each)
    ]
    if problems:
        raise CorpusError(f"{file}: {len(problems)} problems of rationales\n" + "\n".join(problems))
    typer.echo(f"{file}: " + _summary(found))


app.command(aliases={"--out": "--output"})(rationales)


def _summary(conversations: list[Conversation]) -> str:
    def counts(values) -> str:
        return ", ".join(f"{count} {name}" for name, count in Counter(values).most_common())

    files = len({path for c in conversations for path in c.audio_paths})
    return (
        f"{len(conversations)} conversations about {files} audio files; {counts(c.task for c in conversations)}; "
        f"{counts(c.split for c in conversations)}"
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    run(app, "python -m fas_alm.conversations")
