"""What the tests of `serve` share: a gateway on a real port, and stand-ins for FAS and for the language model."""

import asyncio
import base64
import contextlib
import io
import json
import os
import queue
import subprocess
import threading
import time

import httpx
import numpy as np
import soundfile
import uvicorn
from repository import ROOT
from synthetic import noise
from warm import PYTHON

from fas_core.answers import Answer, AudioFacts, Pathways, Tone, no_speech
from fas_core.labels import EMOTIONS
from fas_core.words.types import Words
from fas_serve.app import create_app
from fas_serve.backend_audio import as_json, samples_of
from fas_serve.batching import Batcher
from fas_serve.connection import connection_options
from fas_serve.emotion import EmotionService
from fas_serve.errors import invalid
from fas_serve.language import LanguageModel
from fas_serve.listening import Heard
from fas_serve.settings import ConnectionLimits, Settings


def wav(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, seed: int = 0) -> bytes:
    """Synthetic noise as a wav file."""
    samples = noise(seconds * rate / 16_000, seed)
    return encoded(np.stack([samples] * channels, axis=1), rate)


def encoded(samples: np.ndarray, rate: int, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def part(data: bytes) -> dict:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"}}


def url_part(url: str) -> dict:
    return {"type": "audio_url", "audio_url": {"url": url}}


def question(*audio: bytes | dict, text: str = "How does she feel?", **options) -> dict:
    """A chat request."""
    parts = [each if isinstance(each, dict) else part(each) for each in audio]
    return {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}], **options}


class FakeBackend:
    """Answers at once, or after `delay` seconds; remembers requests, and who was cancelled."""

    name = "fake"

    def __init__(self, delay: float = 0.0):
        self.delay, self.requests, self.cancelled, self.closed = delay, [], 0, False
        self.up = True

    async def chat(self, request: dict) -> dict:
        self.requests.append(request)
        await self._work()
        message = {"role": "assistant", "content": f"heard {len(audios(request))}"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    async def stream(self, request: dict):
        self.requests.append(request)
        if "refuse" in json.dumps(as_json(request)["messages"]):
            raise invalid("refused by the model", "messages")
        try:
            for i in range(request.get("max_tokens", 3)):
                await asyncio.sleep(self.delay)
                if "break" in json.dumps(as_json(request)["messages"]) and i == 2:
                    raise invalid("broken midway")
                event = {"choices": [{"index": 0, "delta": {"content": f"{i} "}}]}
                yield f"data: {json.dumps(event)}\n\n".encode()
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    async def option_logprobs(self, messages: list[dict], token_ids: list[int]) -> list[float]:
        """Letter A after audio, letter D (happy) after words alone; the options hold 90%."""
        self.requests.append({"messages": messages})
        await self._work()
        chosen = 0 if audios({"messages": messages}) else 3
        return np.log([0.6 if i == chosen else 0.05 for i in range(7)]).tolist()

    async def _work(self) -> None:
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def healthy(self) -> bool:
        return self.up

    async def close(self) -> None:
        self.closed = True


def audios(request: dict) -> list[np.ndarray]:
    """The samples that a backend was sent."""
    contents = [m["content"] for m in request["messages"] if not isinstance(m["content"], str)]
    return [samples_of(p) for content in contents for p in content if p["type"] in ("audio", "input_audio")]


class FakeListener:
    """FAS that is sure of `tone`."""

    def __init__(self, tone: str = "sad", delay: float = 0.0):
        self.tone, self.delay, self.batches = tone, delay, []

    def __call__(self, questions):
        self.batches.append(len(questions))
        time.sleep(self.delay)
        return [
            Heard(self._answer(q.audio), np.zeros((1, 1)) if q.words and not q.audio.is_silent else None)
            for q in questions
        ]

    def _answer(self, audio) -> Answer:
        if audio.is_silent:
            return no_speech(audio)
        tone = certain(self.tone)
        return Answer(
            file=audio.source, label=self.tone, probabilities=tone, tone=Tone.of(tone), words_missing="off",
            kept_tokens={"acoustic": [{"start": 0.0, "end": 0.1, "score": 1.0}]}, audio=AudioFacts.of(audio),
            pathways=Pathways(tone),
        )  # fmt: skip


def glad() -> Words:
    """Words that are sure to be happy."""
    return Words.read("I am so glad", "en", 0.9, certain("happy").values())


def certain(emotion: str) -> dict[str, float]:
    return {e: float(e == emotion) for e in EMOTIONS}


def fake_app(
    settings: Settings | None = None,
    backend: FakeBackend | None = None,
    listener=None,
    fas_only=False,
    transcripts=False,
    cues=None,
):
    settings = settings or Settings(model="tiny")
    backend = None if fas_only else backend or FakeBackend()
    language = None if fas_only else LanguageModel(backend, range(7), transcripts=transcripts, cues=cues)
    read = Batcher(lambda frames: [glad() for _ in frames])
    service = EmotionService(Batcher(listener or FakeListener()), language, read)
    return create_app(settings, service, backend)


@contextlib.contextmanager
def running(app, key: str | None = None, limits: ConnectionLimits | None = None):
    """A client of the app, served on a port of its own; its `base_url` tells where."""
    options = connection_options(limits or ConnectionLimits())
    server = uvicorn.Server(uvicorn.Config(app, port=0, timeout_graceful_shutdown=5, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)


def wait_until(condition, seconds: float = 5.0) -> None:
    """Until it is true; fails when it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def events_of(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line]


@contextlib.contextmanager
def started_server(
    arguments: list[str], environment: dict[str, str] | None = None, seconds: float = 300.0, python: str = PYTHON
):
    """`python -m serve ARGUMENTS` as a process; gives a client of it, and the process."""
    command = [python, "-m", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {}), cwd=ROOT
    )
    lines, found = [], queue.Queue()

    def read() -> None:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready: "):
                found.put(line.split()[1])
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        url = found.get(timeout=seconds)
        assert url, "".join(lines)
        with httpx.Client(base_url=url, timeout=300) as client:
            yield client, process
    finally:
        process.terminate()
        process.wait(60)
