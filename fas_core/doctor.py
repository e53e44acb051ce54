"""`fas doctor`: what is installed, what is missing and what brings it, and what this machine can do."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fas_core.cli.app import App
from fas_core.text import printable

app = App()


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="for a program to read")] = False,
    network: Annotated[bool, typer.Option("--network/--no-network", help="ask the hub whether it answers")] = True,
) -> None:
    """Say what is installed, what each extra brings and lacks, what this CPU and GPU can do, and where models come from.

    Examples:

      fas doctor

      fas doctor --json --no-network

    Exit code: 0; 1 when no shipped checkpoint can answer, because its weights are not installed; 2 when this project is not installed.
    """
    found = examine(network)
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))
    raise typer.Exit(0 if found["checkpoints"]["can_answer"] else 1)


def examine(network: bool = True) -> dict[str, Any]:
    """Gives everything that is told, JSON-ready; `network`: whether the hub is asked.

    Raises:
        FASError: this project is not installed.
    """
    from fas_core import installation  # here, so that --help does not wait for torch

    return {
        "versions": installation.versions(),
        "extras": installation.extras(),
        "checkpoints": installation.checkpoints(),
        "machine": installation.machine(),
        "hub": installation.hub(network),
    }


def as_text(found: dict[str, Any]) -> str:
    """The same for a reader, a paragraph a subject."""
    parts = {
        "Installed": [f"{name} {version or 'is missing'}" for name, version in found["versions"].items()],
        "Extras": [_extra(name, extra) for name, extra in found["extras"].items()],
        "Checkpoints": _checkpoints(found["checkpoints"]),
        "This machine": _machine(found["machine"]),
        "Hub": [_hub(found["hub"])],
    }
    text = "\n\n".join("\n".join([f"{title}:", *(f"  {line}" for line in lines)]) for title, lines in parts.items())
    return "\n".join(map(printable, text.split("\n")))


def _extra(name: str, extra: dict[str, Any]) -> str:
    lacks = f"lacks {', '.join(extra['missing'])}: pip install 'fas-alm[{name}]'" if extra["missing"] else "is complete"
    return f"{name} ({extra['brings']}) {lacks}"


def _checkpoints(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{name}: its weights are installed" if each["installed"] else f"{name}: weights are missing: {each['install']}"
        for name, each in found["weights"].items()
    ]
    return [*lines, f"where nobody names one, {found['answers']} answers ({found['answers_because']})"]


def _machine(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['processor']}, {found['cores']} cores, {found['threads']} threads of torch; "
        f"it can {', '.join(found['can']) or 'nothing beyond the ordinary'}",
        found["precision"],
    ]
    cuda = "CUDA is not in this torch" if found["cuda"] is None else f"CUDA {found['cuda']}, but no GPU"
    gpus = [
        f"{gpu['name']}, {gpu['gib']} GiB, capability {gpu['capability']}, {'with' if gpu['bf16'] else 'without'} bfloat16"
        for gpu in found["gpus"]
    ]
    return lines + (gpus or [cuda])


def _hub(found: dict[str, Any]) -> str:
    if found["offline_by"]:
        return (
            f"not asked: {', '.join(found['offline_by'])} is set; models come from packages, directories and the cache"
        )
    if found["reachable"] is None:
        return f"{found['endpoint']} was not asked"
    return f"{found['endpoint']} {'answers' if found['reachable'] else 'does not answer: ' + found['why_not']}"


if __name__ == "__main__":
    app()
