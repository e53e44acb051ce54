"""Attacks on a running server, with an honest client beside it: memory and latency before, during, after.

usage: python -m benchmarks.attacks [DIR] [--tries 20] [--json FILE] [--markdown FILE]

Starts `python -m serve --fas-only [DIR]` on loopback, does each of `benchmarks.hostile` 20 times in a row, and stops it. One
attacker, one honest client that asks about three seconds of synthesized speech four times a second. About ten minutes.
"""

import argparse
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import soxr
import torch

from benchmarks.hostile import ATTACKS, EMOTION, Target, encoded, recording, upload
from benchmarks.measure import machine, write_result
from fas_core.atomic import write_text
from fas_core.synth.espeak import speak

TEXT = "Congratulations on your promotion. I never thought that it would come to this. Please tell me what you want. "
START_SECONDS, REST_SECONDS, PAUSE = 120, 3.0, 0.25
MEMORY_BACK, HONEST_P95 = 1.1, 2.0  # what the server must keep to


class Honest(threading.Thread):
    """A client that asks until it is stopped; `asked` has (seconds since the start, latency, status)."""

    def __init__(self, url: str, clip: bytes):
        super().__init__(daemon=True)
        self.url, self.clip, self.over = url, clip, threading.Event()
        self.asked: list[tuple[float, float, int]] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            while not self.over.wait(PAUSE):
                start = time.monotonic()
                try:
                    status = client.post(EMOTION, files=[("file", ("a.wav", self.clip))]).status_code
                except httpx.HTTPError:
                    status = 0
                self.asked.append((start, time.monotonic() - start, status))

    def report(self, start: float, end: float) -> dict:
        """Of what was asked, or waited for an answer, in a stretch of time."""
        asked = [(s, status) for begin, s, status in self.asked if begin < end and begin + s > start]
        p50, p95 = np.percentile([s for s, _ in asked], [50, 95]).tolist() if asked else (None, None)
        return {"requests": len(asked), "failed": sum(status != 200 for _, status in asked), "p50_s": p50, "p95_s": p95}


class Memory(threading.Thread):
    """Watches the resident memory of a process and its children."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.peak, self.over = psutil.Process(pid), 0, threading.Event()

    def now(self) -> int:
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                pass
        return total

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.peak = max(self.peak, self.now())


@contextmanager
def server(directory: str | None) -> Iterator[tuple[str, int]]:
    """URL and process number of a started server.

    Raises:
        RuntimeError: it ended, or took too long.
    """
    command = [sys.executable, "-m", "serve", *([directory] if directory else []), "--fas-only", "--port", "0"]
    process = subprocess.Popen([*command, "--log-level", "warning"], stderr=subprocess.PIPE, text=True)
    lines: queue.Queue = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in process.stderr], daemon=True).start()
    try:
        end = time.monotonic() + START_SECONDS
        while not (match := re.match(r"ready: (\S+)", lines.get(timeout=max(0.1, end - time.monotonic())))):
            pass
        yield match[1], process.pid
    except queue.Empty:
        raise RuntimeError("the server did not get ready") from None
    finally:
        process.terminate()
        process.wait(60)


def attacked(name: str, target: Target, honest: Honest, memory: Memory, tries: int) -> dict:
    """What one kind of attack did."""
    before, memory.peak, start = memory.now(), 0, time.monotonic()
    for _ in range(tries):
        try:
            ATTACKS[name](target)
        except OSError:
            pass  # the server does not take the connection
    time.sleep(max(0, start + REST_SECONDS - time.monotonic()))  # what a try of an instant did is felt behind it
    end = time.monotonic()
    after = settled(memory, before)
    latency, calm = honest.report(start, end), honest.report(end + REST_SECONDS, time.monotonic())
    return {
        "attack": name, "tries": tries, "seconds": end - start, "honest": latency, "honest_after": calm,
        "rss_mb": {k: v / 2**20 for k, v in (("before", before), ("peak", memory.peak), ("after", after))},
        "memory_back": after <= MEMORY_BACK * before,
        "honest_in_time": latency["p95_s"] is not None and latency["p95_s"] < HONEST_P95 and not latency["failed"],
    }  # fmt: skip


def settled(memory: Memory, before: int, seconds: float = 20.0) -> int:
    """Memory some seconds after the last try, or when it is back where it was."""
    end = time.monotonic() + seconds
    time.sleep(REST_SECONDS)
    while memory.now() > MEMORY_BACK * before and time.monotonic() < end:
        time.sleep(0.5)
    return memory.now()


def run(directory: str | None, tries: int, names: list[str]) -> dict:
    samples, rate = speak(TEXT * 3, "en-us")
    speech = soxr.resample(samples.astype(np.float32), rate, 16_000)
    clip = encoded(speech[:48_000] / np.abs(speech).max(), 16_000, "WAV")
    with server(directory) as (url, pid):
        target = Target(int(url.rpartition(":")[2]), speech / np.abs(speech).max())
        honest, memory = Honest(url, clip), Memory(pid)
        Target(target.port, target.speech, 60.0).send(upload(recording(target)))  # what is loaded once is loaded
        honest.start(), memory.start()
        time.sleep(5 * REST_SECONDS)
        calm = honest.report(0, time.monotonic())
        results = []
        for name in names:
            results.append(attacked(name, target, honest, memory, tries))
            print(line(results[-1]), flush=True)
        honest.over.set(), memory.over.set()
        honest.join(60)
    return {"machine": machine(torch.device("cpu")), "calm": calm, "attacks": results}


def line(result: dict) -> str:
    rss, honest = result["rss_mb"], result["honest"]
    kept = "yes" if result["memory_back"] and result["honest_in_time"] else "no"
    return (
        f"| {result['attack']} | {rss['before']:.0f} | {rss['peak']:.0f} | {rss['after']:.0f} | {honest['p50_s'] or 0:.2f} | "
        f"{honest['p95_s'] or 0:.2f} | {honest['failed']} of {honest['requests']} | {kept} |"
    )


def markdown(report: dict) -> str:
    calm, load = report["calm"], report["machine"]["load_average"]
    head = [
        "# Attacks on the server", "",
        "`python -m benchmarks.attacks` wrote this and attacks.json. Each attack 20 times in a row by one attacker; beside it an "
        f"honest client (alone: p50 {calm['p50_s']:.2f} s, p95 {calm['p95_s']:.2f} s). Kept: memory back within 10 %, no "
        f"honest request failed, its p95 under 2 s. Processor threads: {report['machine']['threads']}, load average "
        f"{load}, other work on the machine counted.", "",
        "| attack | MB before | peak | after | honest p50 s | p95 s | failed | kept |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join([*head, *map(line, report["attacks"])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", help="FAS checkpoint; default: the shipped one")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    report = run(arguments.directory, arguments.tries, arguments.only)
    if arguments.json:
        write_result(arguments.json, report)
    if arguments.markdown:
        write_text(arguments.markdown, markdown(report))


if __name__ == "__main__":
    main()
