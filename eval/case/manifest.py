"""The published set: `case.csv`, its audio, a data card and the panel's agreement, in a folder that `load_corpus("case", DIR)` reads."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from fas_core.atomic import atomic_directory, write_json, write_text
from fas_core.cells import CellWriter
from fas_core.errors import FASError
from fas_eval.case.agreement import Verdict
from fas_eval.case.card import data_card
from fas_eval.case.rendering import Take

TABLE = "case.csv"
VERDICTS = "votes.json"
CORPUS = "fas-case"  # not "case": that is the set of Huang et al., whose published figures are for their clips
COLUMNS = (
    "id",
    "file",
    "text",
    "acoustic_emotion",
    "semantic_emotion",
    "speaker",
    "gender",
    "language",
    "scenario",
    "corpus",
    "synthetic",
    "generator",
    "instructions",
    "votes",
    "listeners",
)


def manifest_row(take: Take, verdict: Verdict | None) -> dict[str, str]:
    """A row of the table. `votes` are the listeners that heard the tone clearly, of `listeners`; both are empty where no panel
    has listened. Two columns, because spreadsheets turn 9/12 into a date.
    """
    item = take.item
    return {
        "id": item.id,
        "file": take.file,
        "text": item.text,
        "acoustic_emotion": item.acoustic_emotion,
        "semantic_emotion": item.semantic_emotion,
        "speaker": take.speaker,
        "gender": take.gender,
        "language": item.language,
        "scenario": item.scenario,
        "corpus": CORPUS,
        "synthetic": "true",
        "generator": take.generator,
        "instructions": take.instructions,
        "votes": str(verdict.hits) if verdict else "",
        "listeners": str(verdict.listeners) if verdict else "",
    }


def save_verdicts(folder: str | Path, verdicts: Sequence[Verdict], agreement: dict, rule: dict) -> Path:
    """Write what the panel said beside the takes, for `publish`."""
    clips = [{**vars(verdict), "share": round(verdict.share, 4)} for verdict in verdicts]
    return write_json(Path(folder) / VERDICTS, {"rule": rule, "agreement": agreement, "clips": clips})


def load_verdicts(folder: str | Path, takes: Sequence[Take]) -> tuple[dict[str, Verdict], dict]:
    """What `save_verdicts` wrote: clip key -> verdict, and {"rule", "agreement"}.

    Raises:
        FASError: not there or not readable, or takes that it knows nothing of (rendered since).
    """
    path = Path(folder) / VERDICTS
    again = f"collect the panel's answers: python -m eval.case collect {folder} RESPONSES; or publish with --unscreened"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [{name: value for name, value in row.items() if name != "share"} for row in content["clips"]]
        verdicts = {row["clip"]: Verdict(**row) for row in rows}
        summary = {"rule": content["rule"], "agreement": content["agreement"]}
    except FileNotFoundError:
        raise FASError(f"{path}: no verdicts yet; {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FASError(f"{path}: cannot be read ({error}); {again}") from None
    unknown = [take.item.id for take in takes if take.key not in verdicts]
    if unknown:
        raise FASError(
            f"{path.name}: nothing about {len(unknown)} takes (rendered since?), such as {unknown[0]}; {again}"
        )
    return verdicts, summary


def publish(
    takes: Sequence[Take],
    folder: str | Path,
    destination: str | Path,
    *,
    verdicts: Mapping[str, Verdict] | None,
    summary: dict | None = None,
    name: str = "A conflict set in the manner of CASE",
    audio_licence: str = "other",
) -> Path:
    """Write the set; the folder appears whole or not at all.

    Args:
        takes: all that were rendered. folder: where they lie. destination: new, empty, or an earlier set (then replaced).
        verdicts: clip key -> verdict, those that were not kept are left out; None: everything, with no panel, and the card
            says so. summary: from `load_verdicts`, for the card and `agreement.json`.
        name: title of the card. audio_licence: of the speech, by the terms of its generator.

    Returns:
        The table.

    Raises:
        FASError: a destination of another kind, or nothing to publish.
    """
    destination = Path(destination)
    if (
        destination.exists()
        and not (destination / TABLE).is_file()
        and (not destination.is_dir() or any(destination.iterdir()))
    ):
        raise FASError(f"{destination}: not empty and not an earlier set ({TABLE}); expected a new folder (DEST)")
    if destination.resolve() == Path(folder).resolve():
        raise FASError(f"{destination}: holds the takes; expected another folder (DEST)")
    kept = [take for take in takes if verdicts is None or verdicts[take.key].kept]
    if not kept:
        raise FASError(f"{folder}: the panel kept none of {len(takes)} takes; see {VERDICTS}, and --share of collect")
    rows = [manifest_row(take, verdicts[take.key] if verdicts else None) for take in kept]
    with atomic_directory(destination) as new:
        (new / "audio").mkdir()
        for take in kept:
            shutil.copyfile(Path(folder) / take.file, new / take.file)
        with (new / TABLE).open("w", encoding="utf-8", newline="") as file:
            CellWriter(file, COLUMNS).writerows(rows)
        if summary:
            write_json(new / "agreement.json", summary)
        seconds = sum(take.seconds for take in kept)
        write_text(new / "README.md", data_card(rows, len(takes), seconds, summary, name, audio_licence))
    return destination / TABLE
