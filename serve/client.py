"""A small client: `Client().emotion("a.wav")`, `Client().chat("How does she feel?", ["a.wav"])`."""

import base64
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import soundfile

from fas_core.arrays import float_array, is_array
from fas_core.errors import AudioError, FASError
from fas_core.http import strict_options

DEFAULT_URL = "http://127.0.0.1:8000"
LONGEST_WAIT = 60.0  # seconds that a full server may ask for


class ServerError(FASError):
    """An answer of the server that is an error.

    Attributes:
        status: of HTTP; 0 where no server answered.
        code, param: as the server gave them, such as "silent_audio" and "messages[0].content[1]".
    """

    def __init__(self, message: str, status: int = 0, code: str | None = None, param: str | None = None):
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


class Client:
    """Talks to a server of `python -m serve`.

    Args:
        url: of the server.
        api_key: by default $FAS_API_KEY.
        timeout: seconds for an answer.
        retries: how often a full server (429) is asked again, after as long as it says.

    Examples:
        >>> client = Client()                                        # doctest: +SKIP
        >>> client.emotion("a.wav")["label"]                         # doctest: +SKIP
        'sad'
        >>> client.chat("How does she feel?", ["a.wav"])             # doctest: +SKIP
        'She sounds sad: ...'
    """

    def __init__(self, url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 300.0, retries: int = 3):
        key = api_key or os.environ.get("FAS_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self.retries = url, retries
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, **strict_options())

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def emotion(self, audio: Any, *, sampling_rate: int | None = None, **options: Any) -> dict | list[dict]:
        """Emotion of one audio (a dict) or of a list of them (a list; what cannot be used has `error`).

        The fields are those of `fas_core.answers.Answer`, and the server's own: index, code, language_model, timeline.

        Files are uploaded as they are, from the disk: an hour of a call needs no more memory than a minute.

        Args:
            audio: path, bytes, `audio_part`, or array with `sampling_rate`; or a list of them.
            options: unsure_below, label_sets (0 to 1), words, rationale, tokens, timeline (true or false), window, hop (seconds), channels ("mix", "each",
                or a number from 1), language ("en", "zh"). With channels="each" the answer is always a list.

        Raises:
            ServerError: also for a single audio that cannot be used.
        """
        several = isinstance(audio, list | tuple)
        with _request(list(audio) if several else [audio], sampling_rate, options) as request:
            data = self._json("POST", "/v1/emotion", **request)["data"]
        return data if several or options.get("channels") == "each" else data[0]

    def timeline(self, audio: Any, *, sampling_rate: int | None = None, **options: Any) -> Iterator[dict]:
        """The answers to the windows of one audio as they come, each with start and end, then the summary, without.

        Arguments and errors are those of `emotion`.
        """
        with _request([audio], sampling_rate, options | {"timeline": True, "stream": True}) as request:
            yield from self._events("/v1/emotion", request)

    def chat(
        self, text: str, audio: Sequence = (), *, history: Sequence[dict] = (), audio_first: bool = True, **options: Any
    ) -> str:
        """The answer to a question about audio.

        Args:
            text: the question.
            audio: paths, bytes or `audio_part`s; they go before it, or after it without `audio_first` (lettered questions
                are trained that way).
            history: messages before this one (`user_message`, and {"role": "assistant", "content": ...}).
            options: of the request: temperature, max_tokens, ...

        Raises:
            ServerError: the request cannot be answered.
        """
        request = {"messages": [*history, user_message(text, audio, audio_first)], **options}
        return self._json("POST", "/v1/chat/completions", json=request)["choices"][0]["message"]["content"]

    def stream(self, text: str, audio: Sequence = (), *, history: Sequence[dict] = (), **options: Any) -> Iterator[str]:
        """The same piece by piece, as it is written."""
        request = {"messages": [*history, user_message(text, audio)], **options, "stream": True}
        for event in self._events("/v1/chat/completions", {"json": request}):
            yield from _pieces(event)

    def _events(self, route: str, request: dict) -> Iterator[dict]:
        try:
            with self._http.stream("POST", route, **request) as response:
                if response.status_code != 200:
                    response.read()
                    raise _error(response)
                for line in response.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield _checked(json.loads(line[6:]))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def models(self) -> list[dict]:
        return self._json("GET", "/v1/models")["data"]

    def healthy(self) -> bool:
        """Whether the server answers requests now."""
        try:
            return self._http.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def _json(self, method: str, route: str, **request: Any) -> dict:
        for attempt in range(self.retries + 1):
            try:
                response = self._http.request(method, route, **request)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            if response.status_code != 429 or attempt == self.retries:
                break
            time.sleep(min(LONGEST_WAIT, float(response.headers.get("retry-after", 1))))
        if response.status_code != 200:
            raise _error(response)
        return response.json()

    def _unreachable(self, error: httpx.HTTPError) -> ServerError:
        hint = "is it running? fas serve DIR starts it"
        return ServerError(f"{self.url}: no answer ({type(error).__name__}); {hint}", code="unreachable")


def user_message(text: str, audio: Sequence = (), audio_first: bool = True) -> dict:
    """A user's message: audio parts, then the text, or the other way round."""
    parts = [each if isinstance(each, dict) else audio_part(each) for each in audio]
    question = [{"type": "text", "text": text}]
    return {"role": "user", "content": [*parts, *question] if audio_first else [*question, *parts]}


def audio_part(source: Any, sampling_rate: int | None = None) -> dict:
    """An `input_audio` part of a path, bytes, or array with its rate, which the server hears as `load_audio` here would.

    Raises:
        FASError: a file that cannot be read, an array that `fas_core.arrays.float_array` refuses.
    """
    if isinstance(source, str | os.PathLike):
        try:
            data, form = Path(source).read_bytes(), Path(source).suffix.lstrip(".").lower() or "wav"
        except OSError as error:
            raise FASError(f"{source}: cannot be read: {error.strerror or error}") from None
    elif isinstance(source, bytes | bytearray):
        data, form = bytes(source), "wav"
    elif is_array(source):
        buffer, form = io.BytesIO(), "wav"
        soundfile.write(buffer, *float_array(source, sampling_rate), format="WAV", subtype="FLOAT")
        data = buffer.getvalue()
    else:
        raise AudioError(f"<{type(source).__name__}>", "not a source of audio", "expected a path, bytes, or an array")
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode("ascii"), "format": form}}


@contextmanager
def _request(sources: list, sampling_rate: int | None, options: dict) -> Iterator[dict]:
    """Arguments of httpx: a form with the files where all are files, else JSON."""
    if not all(isinstance(source, str | os.PathLike | bytes | bytearray) for source in sources):
        parts = [each if isinstance(each, dict) else audio_part(each, sampling_rate) for each in sources]
        yield {"json": {"audio": parts, **options}}
        return
    fields = {k: json.dumps(v) if isinstance(v, bool) else v for k, v in options.items() if v is not None}
    with ExitStack() as stack:
        yield {"files": [("files", _upload(source, stack)) for source in sources], "data": fields}


def _upload(source: Any, stack: ExitStack) -> tuple[str, Any]:
    if isinstance(source, bytes | bytearray):
        return "audio", bytes(source)
    try:
        name = Path(os.fsdecode(source)).name.encode("utf-8", "replace").decode()
        return name, stack.enter_context(open(source, "rb"))
    except (OSError, ValueError) as error:
        raise FASError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _checked(event: dict) -> dict:
    """An event; the error that ends a stream is raised. One clip of several may fail alone: that has its index."""
    if "error" in event and "index" not in event:
        raise ServerError(event["error"]["message"], code=event["error"].get("code"), param=event["error"].get("param"))
    return event


def _pieces(event: dict) -> Iterator[str]:
    for choice in event.get("choices", []):
        if piece := choice["delta"].get("content"):
            yield piece


def _error(response: httpx.Response) -> ServerError:
    try:
        error = response.json()["error"]
        return ServerError(error["message"], response.status_code, error.get("code"), error.get("param"))
    except (ValueError, KeyError, TypeError):
        return ServerError(f"status {response.status_code}", response.status_code)
