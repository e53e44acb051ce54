"""`python -m demo.server`: what follows the demo of fas_core, by the commands that a user would type.

Trains the adapter for SmolLM2 on the classifier and the synthetic corpus of that demo, exports one model directory, starts
the server on it, asks for the tone and for the conflict of a clip whose tone and words disagree, in chat, and for its emotion query, stops
the server.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from demo.stages import Clock
from demo.tables import timings_table
from fas_alm.conversations import Question
from fas_alm.prompts import CONFLICT, OPTION_LETTERS
from fas_core.cli.app import App, run
from fas_core.data import load_corpus
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_serve.client import Client

START_SECONDS, STOP_SECONDS = 400, 60
ROOT = Path(__file__).resolve().parent.parent


def command(console: Console, *arguments: str) -> None:
    """Print and run one of the project's commands.

    Raises:
        FASError: it failed.
    """
    console.print("$ python " + " ".join(arguments), style="bold", soft_wrap=True, highlight=False)
    code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment()).returncode
    if code:
        raise FASError(f"python {arguments[0]} ended with exit code {code}; what it said stands above")


def environment() -> dict:
    """The commands find the checkout without an installation, and no hub is asked for anything."""
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    return os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}


@contextmanager
def server(console: Console, model: Path) -> Iterator[str]:
    """A running server on a free port; gives its URL and stops it in the end.

    Raises:
        FASError: it did not get ready.
    """
    arguments = [sys.executable, "-m", "serve", str(model), "--port", "0", "--enforce-eager"]
    console.print("$ python " + " ".join(arguments[1:]), style="bold", soft_wrap=True, highlight=False)
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    ready, found = threading.Event(), []

    def listen() -> None:
        for line in process.stderr:
            print(line, end="", flush=True)
            if match := re.match(r"ready: (\S+)", line):
                found.append(match[1])
                ready.set()
        ready.set()  # it has ended

    threading.Thread(target=listen, daemon=True).start()
    try:
        ready.wait(START_SECONDS)
        if not found:
            raise FASError(f"the server was not ready after {START_SECONDS} s, or ended; what it said stands above")
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def ask(console: Console, url: str, clip: dict) -> None:
    """Two chat answers and one emotion answer about a clip.

    The chat questions are lettered: minutes of training teach an LLM of this size nothing else, and of the two only that for the
    tone (train/configs/alm_cpu.yaml: tasks). Conflict as FAS finds it is in the emotion answer, beside the transcript.
    """
    console.print(f'clip: "{clip["text"]}", words {clip["semantic_emotion"]}, spoken {clip["emotion"]} (synthetic)')
    with Client(url) as client:
        for question, options in ((Question("choose").text, EMOTIONS), (Question("conflict").text, CONFLICT)):
            start = time.perf_counter()
            letter = client.chat(question, [clip["audio"]], audio_first=False, max_tokens=2, temperature=0.0).strip()
            option = dict(zip(OPTION_LETTERS, options, strict=False)).get(letter[:1], "none of the options")
            console.print(
                f"chat, {time.perf_counter() - start:.1f} s: {question}\n  {letter} ({option})", highlight=False
            )
        start = time.perf_counter()
        emotion = client.emotion(clip["audio"])
    console.print(f"/v1/emotion, {time.perf_counter() - start:.1f} s:")
    console.print_json(json.dumps(emotion))


def example(corpus: Path) -> dict:
    """The first test clip whose words carry an emotion and whose tone another.

    Raises:
        FASError: there is none.
    """
    for row in load_corpus("manifest", corpus):
        if row["split"] == "test" and row["semantic_emotion"] not in ("neutral", row["emotion"]):
            return row
    raise FASError(f"{corpus}: no test clip whose tone and words disagree; run python -m demo first")


def run_server_demo(demo: Path, clips: int, epochs: tuple[int, int], minutes: float) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    clock, output = Clock(console), demo / "alm"
    clip = example(demo / "corpus")
    with clock("train the adapter"):
        command(
            console, "train/alm_adapter.py", "train/configs/alm_cpu.yaml", "--fas", str(demo / "checkpoint"),
            "--corpora", f"manifest={demo / 'corpus'}", "--cache_dir", str(demo / "features"),
            "--max_train_clips", str(clips), "--stage1_epochs", str(epochs[0]), "--stage2_epochs", str(epochs[1]),
            "--max_minutes", str(minutes), "--output_dir", str(output),
        )  # fmt: skip
    with clock("export a model directory"):
        command(console, "-m", "fas_alm.export", str(output / "adapter"), str(output / "model"))
    with clock("serve, ask, stop"), server(console, output / "model") as url:
        ask(console, url, clip)
    console.print("the server is down")
    console.print(timings_table(clock.seconds))


app = App()


@app.command()
def main(
    demo: Annotated[Path, typer.Option(help="folder that python -m demo wrote")] = Path("demo_out"),
    clips: Annotated[int, typer.Option(help="training clips")] = 600,
    stage1_epochs: Annotated[int, typer.Option(help="epochs of the projector alone")] = 2,
    stage2_epochs: Annotated[int, typer.Option(help="epochs of projector and LoRA")] = 1,
    adapter_minutes: Annotated[float, typer.Option(help="at most for the adapter; 0: no limit")] = 5.0,
) -> None:
    """Train the adapter on the demo's classifier and corpus, serve it, ask it."""
    run_server_demo(demo.resolve(), clips, (stage1_epochs, stage2_epochs), adapter_minutes)


if __name__ == "__main__":
    run(app, "python -m demo.server")
