"""Load on a running server: many clients at once, one bad file in ten, nothing may get lost.

    python -m benchmarks.load --url http://127.0.0.1:8000 --clients 64 --seconds 120 --output load.json

Every client asks, waits for the answer and asks again; a full server (429) is asked again after Retry-After. A request is
lost when no answer comes, or one that is neither what was asked for nor the error that a bad file must get.
"""

import argparse
import asyncio
import collections
import io
import itertools
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import soundfile

from benchmarks.measure import write_result
from fas_serve.client import audio_part, user_message

ROUTES = {"emotion": "/v1/emotion", "chat": "/v1/chat/completions"}
BAD_EVERY = 10
TIMEOUT = 120.0  # seconds; an answer that takes longer is lost


@dataclass
class Tally:
    """What came back."""

    seconds: list[float] = field(default_factory=list)  # of answers to good files, waiting for a full server included
    answered: int = 0
    refused: int = 0  # bad files, by a 4xx
    full: int = 0  # 429, asked again
    lost: collections.Counter = field(default_factory=collections.Counter)  # what happened instead

    def report(self, clients: int, elapsed: float) -> dict:
        sent = self.answered + self.refused + sum(self.lost.values())
        p50, p95, p99 = np.percentile(self.seconds, [50, 95, 99]).tolist() if self.seconds else [None] * 3
        return {
            "clients": clients, "seconds": elapsed, "requests": sent, "requests_per_second": sent / elapsed,
            "answered": self.answered, "bad_files_refused": self.refused, "full_and_asked_again": self.full,
            "lost": sum(self.lost.values()), "lost_how": dict(self.lost),
            "error_rate": sum(self.lost.values()) / max(1, sent),
            "latency_s": {"p50": p50, "p95": p95, "p99": p99},
        }  # fmt: skip


def good_files(seconds: float, folder: Path | None, number: int = 8) -> list[bytes]:
    """Files of a folder, or synthetic audio: noise that swells and fades, a file each with its own rhythm."""
    if folder is not None:
        from fas_core.sources import find_audio_files

        return [path.read_bytes() for path in find_audio_files([folder])[:200]]
    rng = np.random.default_rng(0)
    times = np.arange(round(seconds * 16_000)) / 16_000
    return [
        _wav(rng.standard_normal(len(times)) * 0.1 * np.abs(np.sin((i + 2) * times))).getvalue() for i in range(number)
    ]


def bad_files() -> list[bytes]:
    """One of each kind: empty, not numbers, cut off, not audio, of no rate."""
    whole = _wav(np.random.default_rng(1).standard_normal(16_000) * 0.1).getvalue()
    return [
        b"",
        _wav(np.full(16_000, np.nan), subtype="FLOAT").getvalue(),
        whole[:1000],
        b"MZ" + bytes(5000),
        whole[:24] + bytes(4) + whole[28:],
    ]


def _wav(samples: np.ndarray, subtype: str | None = None) -> io.BytesIO:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype=subtype)
    return buffer


def bodies(route: str, files: list[bytes]) -> list[dict]:
    parts = [audio_part(data) for data in files]
    if route == "emotion":
        return [{"audio": part} for part in parts]
    return [{"messages": [user_message("How does the speaker feel?", [part])], "max_tokens": 16} for part in parts]


async def load(url: str, route: str, clients: int, seconds: float, files: list[bytes], key: str | None = None) -> dict:
    """The report of `clients` clients that ask for `seconds` seconds."""
    good, bad = bodies(route, files), bodies(route, bad_files())
    tally, end = Tally(), time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)
    start = time.monotonic()
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=TIMEOUT, limits=limits, trust_env=False
    ) as http:
        await asyncio.gather(*(_client(http, ROUTES[route], good, bad, tally, end, seed) for seed in range(clients)))
    return tally.report(clients, time.monotonic() - start)


async def _client(http, route: str, good: list[dict], bad: list[dict], tally: Tally, end: float, seed: int) -> None:
    choose = random.Random(seed)
    for number in itertools.count(seed):
        if time.monotonic() >= end:
            return
        is_bad = number % BAD_EVERY == 0
        await _ask(http, route, choose.choice(bad if is_bad else good), is_bad, tally)


async def _ask(http, route: str, body: dict, is_bad: bool, tally: Tally) -> None:
    start = time.monotonic()
    while True:
        try:
            response = await http.post(route, json=body)
        except httpx.HTTPError as error:
            tally.lost[type(error).__name__] += 1
            return
        if response.status_code != 429:
            break
        tally.full += 1
        await asyncio.sleep(float(response.headers["retry-after"]))
    if is_bad and response.status_code == 400 and response.json()["error"]["code"]:
        tally.refused += 1
    elif not is_bad and response.status_code == 200 and ("data" in response.json() or "choices" in response.json()):
        tally.answered += 1
        tally.seconds.append(time.monotonic() - start)
    else:
        tally.lost[f"status {response.status_code} to a {'bad' if is_bad else 'good'} file"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--route", choices=ROUTES, default="emotion")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clip-seconds", type=float, default=3.0, help="of the synthetic audio")
    parser.add_argument("--audio", type=Path, help="folder of audio instead of synthetic audio")
    parser.add_argument("--output", type=Path, help="write the report there as JSON")
    options = parser.parse_args()
    files = good_files(options.clip_seconds, options.audio)
    report = asyncio.run(
        load(options.url, options.route, options.clients, options.seconds, files, os.environ.get("FAS_API_KEY"))
    )
    report |= {
        "route": options.route,
        "audio": str(options.audio and options.audio.name) if options.audio else "synthetic",
    }
    for name, value in report.items():
        print(f"{name}: {value}")
    if options.output:
        write_result(options.output, report)


if __name__ == "__main__":
    main()
