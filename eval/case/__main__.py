"""The command `fas case check|render|page|collect|publish`, which is `python -m eval.case`: build a conflict set, step by step (docs/case.md)."""

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, Group, Row, run
from fas_core.errors import FASError
from fas_core.text import printable
from fas_eval.case import scenarios, speakers
from fas_eval.case.agreement import MIN_LISTENERS, format_alpha

ENDPOINT_WORKERS = 4
SHOWN = 20  # failures on the screen


class Case(Group):
    """The steps, and transplants beside them."""

    rows = {
        "transplant": Row("Beside", "fas_eval.case.transplant:app", "Lay acted tones over readings: a set whose tone is human.")
    }  # fmt: skip


app = App(
    cls=Case,
    help="Build a set like CASE: speech whose tone says another emotion than its words. Steps: check, render, page, collect, publish.",
)

Folder = Annotated[Path, typer.Argument(help="Folder of the set in the making.", metavar="OUT")]
ScenarioFile = Annotated[
    Path, typer.Option("--scenarios", show_default=False, help="JSON lines of items; default: the project's own.")
]
PerPair = Annotated[int, typer.Option(min=0, help="Fewest items for each pair of emotions; 0: pairs may lack.")]
Languages = Annotated[
    list[str] | None, typer.Option("--language", help="Only this language (en, zh); can be given twice.")
]


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(show_default=False, help="JSON lines of items; default: the project's own.")
    ] = scenarios.SHIPPED,
    per_pair: PerPair = scenarios.PER_PAIR,
) -> None:
    """Check items: tone and words differ, every pair of emotions is there, no text twice, lengths, ids.

    Example:

      fas case check my_items.jsonl --per-pair 1

    Exit code: 0; 2 where nothing could be done.
    """
    items = scenarios.load_scenarios(file, per_pair=per_pair)
    counts = Counter((item.semantic_emotion, item.acoustic_emotion) for item in items)
    languages = ", ".join(f"{count} {name}" for name, count in Counter(item.language for item in items).most_common())
    typer.echo(
        f"{file.name}: {len(items)} items ({languages}), {len(counts)} of {len(scenarios.PAIRS)} pairs, no problems"
    )


@app.command()
def render(
    out: Folder,
    scenario_file: ScenarioFile = scenarios.SHIPPED,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible server, such as http://localhost:8000/v1; default: espeak-ng. Key: OPENAI_API_KEY."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The endpoint's model; one that follows instructions.")] = None,
    voices: Annotated[
        Path | None, typer.Option(help="JSON list of {name, gender, languages}; default: voices.json.")
    ] = None,
    language: Languages = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many items, drawn by the seed: to listen first.")
    ] = None,
    per_pair: PerPair = scenarios.PER_PAIR,
    seed: Annotated[int, typer.Option(help="Of who speaks what, of --limit and of espeak-ng's tones.")] = 42,
    format: Annotated[str, typer.Option(help="What the endpoint is asked for: wav, flac, mp3.")] = "wav",
    workers: Annotated[int, typer.Option(min=1, help="Requests at a time, of an endpoint.")] = ENDPOINT_WORKERS,
    retries: Annotated[
        int, typer.Option(min=0, help="Of a request that the endpoint could not take, with back-off.")
    ] = 5,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds of one attempt.")] = 120,
) -> None:
    """Have every item spoken. A second run asks only for what is missing or has changed.

    Examples:

      fas case render runs/case

      fas case render runs/case --endpoint https://api.openai.com/v1 --model gpt-4o-mini-tts

    Exit code: 0; 1 where items failed (they are named, the others are there); 2 where nothing could be done.
    """
    from fas_eval.case.rendering import render
    from fas_eval.case.speech import EndpointSpeech, EspeakSpeech

    items = _chosen(scenarios.load_scenarios(scenario_file, per_pair=per_pair), language)
    able = speakers.load_voices(voices) if voices else speakers.shipped_voices("openai" if endpoint else "espeak")
    assigned = speakers.assign_speakers(items, able, seed)
    if (endpoint is None) != (model is None):
        raise FASError("--endpoint and --model go together; without both, espeak-ng speaks")
    if endpoint:
        generator = EndpointSpeech(endpoint, model, response_format=format, retries=retries, timeout=timeout)
    else:
        generator, workers = EspeakSpeech(seed), 1
    if limit:
        items = random.Random(seed).sample(sorted(items, key=lambda item: item.id), len(items))[:limit]
    report = render(items, assigned, generator, out, workers=workers, progress=sys.stderr.isatty())
    typer.echo(
        f"{out}: {len(report.takes)} takes, {len(report.rendered)} of them spoken now; synthetic speech by {generator.title}"
    )
    _report_failures(report.failed)


def _chosen(items: list[scenarios.Scenario], languages: list[str] | None) -> list[scenarios.Scenario]:
    known = sorted({item.language for item in items})
    unknown = sorted(set(languages or ()) - set(known))
    if unknown:
        raise FASError(f"--language {unknown[0]}: no item; the file has {', '.join(known)}")
    return [item for item in items if not languages or item.language in languages]


def _report_failures(failed: dict[str, str]) -> None:
    for name, reason in list(failed.items())[:SHOWN]:
        typer.echo(printable(f"failed: {name}: {reason}"), err=True)
    if failed:
        typer.echo(f"{len(failed)} items failed; run the same command again to try only them", err=True)
        raise typer.Exit(1)


@app.command(aliases={"--to": "--output"})
def page(
    out: Folder,
    files: Annotated[
        bool, typer.Option("--files", help="Audio beside the page (clips/) instead of inside it.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Where to write; default: OUT/panel.")] = None,
) -> None:
    """Write the listening page of each language, to be opened from disk or put on web space.

    Example:

      fas case page runs/case

    Exit code: 0; 2 where nothing could be done.
    """
    from fas_eval.case.panel import write_pages
    from fas_eval.case.rendering import read_takes

    takes = read_takes(out)
    for language, path in write_pages(takes, out, output or out / "panel", embed=not files).items():
        clips = sum(take.item.language == language for take in takes)
        typer.echo(f"{path}: {clips} clips, {path.stat().st_size / 1e6:.1f} MB")


@app.command()
def collect(
    out: Folder,
    responses: Annotated[list[Path], typer.Argument(help="Files that listeners saved, or folders of them.")],
    share: Annotated[
        float | None,
        typer.Option(help="Keep a clip where at least this share hears it clearly; default: more than half."),
    ] = None,
    min_listeners: Annotated[int, typer.Option(help="Fewer votes than this keep no clip.")] = MIN_LISTENERS,
    fleiss: Annotated[
        bool, typer.Option("--fleiss", help="Fleiss' kappa too; needs as many votes for each clip.")
    ] = False,
) -> None:
    """Take in the panel's answers: which clips stay, and how far listeners agree. Writes OUT/votes.json.

    Example:

      fas case collect runs/case responses/ --share 0.75

    Exit code: 0; 2 where nothing could be done.
    """
    from fas_eval.case import agreement, manifest
    from fas_eval.case.rendering import read_takes
    from fas_eval.case.responses import load_votes, split_known

    takes = read_takes(out)
    votes, strange = split_known(load_votes(responses), [take.key for take in takes])
    if strange:
        typer.echo(
            f"left out: {len(strange)} votes for clips that are not in {out} (another set, or rendered anew since)",
            err=True,
        )
    if not votes:
        raise FASError(f"no vote for any clip of {out}; expected answers to the pages that were made from it")
    targets = {take.key: take.item.acoustic_emotion for take in takes}
    verdicts = agreement.judge(votes, targets, share=share, min_listeners=min_listeners)
    report = agreement.agreement_report(votes, verdicts, fleiss=fleiss)
    path = manifest.save_verdicts(out, verdicts, report, {"share": share, "min_listeners": min_listeners})
    _print_agreement(report, sum(verdict.listeners < min_listeners for verdict in verdicts), min_listeners)
    typer.echo(f"{path}: {report['kept']} of {report['clips']} clips stay")


def _print_agreement(report: dict, too_few: int, min_listeners: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "tone",
        "clips",
        "kept",
        "heard",
        "clearly",
        "alpha",
        title=f"{report['listeners']} listeners, {report['votes']} votes",
    )
    for emotion, row in report["emotions"].items():
        shares = ("-" if row[name] is None else f"{row[name]:.2f}" for name in ("heard", "clearly", "alpha"))
        table.add_row(emotion, str(row["clips"]), str(row["kept"]), *shares)
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    for name, title in (("heard", "emotion heard"), ("clear", "clear or not")):
        kappa = f", Fleiss' kappa {report[name]['fleiss']:.2f}" if "fleiss" in report[name] else ""
        typer.echo(f"{title}: Krippendorff's alpha {format_alpha(report[name])}{kappa}")
    if too_few:
        typer.echo(
            f"{too_few} clips have fewer than {min_listeners} votes and are not kept (--min-listeners)", err=True
        )


@app.command()
def publish(
    out: Folder,
    destination: Annotated[
        Path, typer.Argument(help="Folder of the finished set; new, or an earlier set.", metavar="DEST")
    ],
    unscreened: Annotated[
        bool, typer.Option("--unscreened", help="Without a panel: every take, and the card says so.")
    ] = False,
    name: Annotated[str, typer.Option(help="Title of the data card.")] = "A conflict set in the manner of CASE",
    audio_licence: Annotated[str, typer.Option(help="Licence of the speech, by its generator's terms.")] = "other",
) -> None:
    """Write the finished set: case.csv, audio, data card; `load_corpus("case", DEST)` reads it.

    Example:

      fas case publish runs/case data/my-case --audio-licence cc-by-4.0

    Exit code: 0; 2 where nothing could be done.
    """
    from fas_eval.case import manifest
    from fas_eval.case.rendering import read_takes

    takes = read_takes(out)
    verdicts, summary = (None, None) if unscreened else manifest.load_verdicts(out, takes)
    table = manifest.publish(
        takes, out, destination, verdicts=verdicts, summary=summary, name=name, audio_licence=audio_licence
    )
    kept = len(takes) if verdicts is None else sum(verdicts[take.key].kept for take in takes)
    typer.echo(f"{table}: {kept} of {len(takes)} takes, all synthetic" + (", heard by no panel" if unscreened else ""))


if __name__ == "__main__":
    run(app, "python -m eval.case")
