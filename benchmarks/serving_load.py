"""Concurrent chat requests with audio to an OpenAI-compatible server, and how long their answers take."""

import asyncio
import base64
import io
import json
import time
from dataclasses import dataclass

import httpx
import numpy as np
import soundfile

RATE = 16_000
QUESTION = "How does the speaker feel? Answer in a few words."


@dataclass
class Timing:
    """One request, in seconds from when it was sent.

    Attributes:
        first_token: until the first token of the answer arrived.
        total: until the answer was complete.
        prompt_tokens, completion_tokens: as the server counts them.
    """

    first_token: float
    total: float
    prompt_tokens: int
    completion_tokens: int


def synthetic_speech(seconds: float, seed: int) -> np.ndarray:
    """(n,) float32 at 16 kHz: a voiced harmonic tone in syllables of about 4 per second, with noise; no speech.

    It never falls silent long enough for the front end to cut it, and another seed is another clip, so that no cache
    answers in the model's place.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * times))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 16))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(3, 5) * times)
    return (0.1 * syllables * voice + 0.01 * rng.standard_normal(len(times))).astype(np.float32)


def excerpts(samples: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    """`seconds` of a recording, looped where it is shorter, from a start and at a level that the seed decides."""
    rng = np.random.default_rng(seed)
    looped = np.resize(np.roll(samples, -rng.integers(len(samples))), round(seconds * RATE))
    return (looped * rng.uniform(0.5, 1.0)).astype(np.float32)


def chat_request(model: str, samples: np.ndarray, max_tokens: int) -> dict:
    """Body of a streamed request: one clip as 16-bit wav, greedy, always `max_tokens` long."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    audio = {"data": base64.b64encode(file.getvalue()).decode(), "format": "wav"}
    content = [{"type": "input_audio", "input_audio": audio}, {"type": "text", "text": QUESTION}]
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def timed_request(client: httpx.AsyncClient, url: str, body: dict) -> Timing:
    """Raises `httpx.HTTPStatusError` for any answer but 200."""
    start, first, usage = time.perf_counter(), None, {}
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            usage = event.get("usage") or usage
            is_token = event["choices"] and "role" not in event["choices"][0]["delta"]  # the first event has no text
            if first is None and is_token:
                first = time.perf_counter() - start
    total = time.perf_counter() - start
    return Timing(first or total, total, usage["prompt_tokens"], usage["completion_tokens"])


async def run_load(url: str, bodies: list[dict], concurrency: int) -> tuple[list[Timing], float]:
    """Send every request, `concurrency` of them at a time; timings and wall time of all in seconds."""
    waiting = iter(bodies)
    timings: list[Timing] = []

    async def worker(client: httpx.AsyncClient) -> None:
        for body in waiting:
            timings.append(await timed_request(client, url, body))

    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(timeout=1800, limits=limits, trust_env=False) as client:
        start = time.perf_counter()
        await asyncio.gather(*(worker(client) for _ in range(concurrency)))
        return timings, time.perf_counter() - start


def summarise(timings: list[Timing], seconds: float) -> dict:
    """What a table needs of one level of concurrency."""
    first = [timing.first_token for timing in timings]
    total = [timing.total for timing in timings]
    return {
        "requests": len(timings),
        "prompt_tokens": float(np.mean([timing.prompt_tokens for timing in timings])),
        "completion_tokens": float(np.mean([timing.completion_tokens for timing in timings])),
        "first_token_median_s": float(np.median(first)),
        "first_token_p95_s": float(np.percentile(first, 95)),
        "answer_median_s": float(np.median(total)),
        "requests_per_s": len(timings) / seconds,
    }
