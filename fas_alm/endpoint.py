"""Chat with any OpenAI-compatible endpoint: retries counted, refused parameters dropped, log-probabilities where there are any.

The openai SDK retries time-outs, lost connections and the states 408, 409, 429 and 5xx, with back-off and `Retry-After`. A state 200
whose body is no chat completion is made a 502 here, so that it is retried like one.
"""

import hashlib
import logging
import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from fas_alm.prompts import OPTION_LETTERS
from fas_core.errors import CheckpointError, FASError, MissingDependencyError
from fas_core.http import strict_options

OPTIONS = ("model", "base_url", "api_key_env", "timeout", "retries", "extra")
OPENAI = "https://api.openai.com/v1"
# Parameters that some endpoints refuse, and what to send instead (None: nothing).
FALLBACKS: dict[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "logprobs": None,
    "top_logprobs": None,
    "temperature": None,
    "seed": None,
}
NONSENSE = "fas_nonsense"
ENCODED = re.compile(r"[A-Za-z0-9+/=]{64,}")  # base64: an error must not repeat what was sent
LONGEST_ERROR = 300
SPACES = " \t\n▁Ġ"  # how tokenizers write a space before a word


class EndpointError(FASError):
    """An endpoint that gave no answer.

    Args:
        message: why. retries: how often it was asked again.
    """

    def __init__(self, message: str, retries: int = 0):
        self.retries = retries
        super().__init__(message)


@dataclass(frozen=True)
class Completion:
    """What an endpoint answered.

    Attributes:
        text: of the answer.
        first: log-probabilities of the likeliest first tokens that are not space, token -> value; empty where not given.
        retries: how often it had to be asked again.
    """

    text: str
    first: dict[str, float]
    retries: int = 0

    def letters(self) -> list[float] | None:
        """(7,) log-probabilities of the letters A to G, spellings with a space added up; None where none is reported."""
        mass = dict.fromkeys(OPTION_LETTERS, 0.0)
        for token, value in self.first.items():
            letter = token.strip(SPACES)
            if letter in mass:
                mass[letter] += math.exp(min(value, 0.0))
        total = sum(mass.values())
        if not 0 < total < math.inf:
            return None
        return [math.log(value / max(total, 1.0)) if value > 0 else -math.inf for value in mass.values()]


class ChatEndpoint:
    """A model behind an OpenAI-compatible `/chat/completions`. Safe to use from several threads.

    Args:
        model: as the endpoint calls it.
        base_url: with its `/v1`; OpenAI's by default.
        api_key_env: name of the environment variable with the key. Without it OPENAI_API_KEY goes to OpenAI, and no key elsewhere.
        timeout: seconds of one attempt. retries: further attempts of a request.
        extra: more fields of the request, e.g. {"modalities": ["text"]} or {"chat_template_kwargs": {...}}.

    Raises:
        MissingDependencyError: no package openai.
        CheckpointError: the environment variable is not set.
    """

    def __init__(self, model: str, base_url: str | None = None, api_key_env: str | None = None, timeout: float = 120.0,
                 retries: int = 4, extra: dict | None = None):  # fmt: skip
        try:
            import openai
        except ImportError:
            raise MissingDependencyError(
                f"endpoint {model}: needs the package openai: pip install 'fas-alm[endpoints]'"
            ) from None
        self._openai, self.model, self.base_url = openai, model, base_url or OPENAI
        self.timeout, self.retries, self.extra = float(timeout), int(retries), extra or {}
        self.key = _key(model, base_url, api_key_env)
        self._refused: set[str] = set()

    @classmethod
    def from_options(cls, options: dict) -> "ChatEndpoint":
        """Of the options named `OPTIONS`. Raises as the class does."""
        return cls(**{name: options[name] for name in OPTIONS if name in options})

    def identity(self) -> dict:
        """The place enters as a digest, without user and password: it may be private, but another one may serve other weights."""
        url = urlsplit(self.base_url.rstrip("/"))
        place = f"{url.scheme}://{url.hostname}:{url.port}{url.path}"
        digest = hashlib.sha256(place.encode()).hexdigest()[:16]
        return {"place_sha256": digest, "served": self.model, "extra": self.extra}

    @cached_property
    def client(self) -> Any:
        """The SDK's client; its connections are shared by all threads."""
        logging.getLogger("openai._base_client").setLevel(
            logging.INFO
        )  # at DEBUG some versions write whole requests, audio and all
        hooks = {"response": [_nonsense_is_a_bad_gateway]}
        http = self._openai.DefaultHttpxClient(event_hooks=hooks, timeout=self.timeout, **strict_options())
        return self._openai.OpenAI(
            base_url=self.base_url, api_key=self.key, timeout=self.timeout, max_retries=self.retries, http_client=http
        )

    def ask(self, messages: list[dict], **wanted: Any) -> Completion:
        """One answer.

        Args:
            messages: OpenAI's. wanted: parameters; those of `FALLBACKS` are given up where the endpoint refuses them.

        Raises:
            EndpointError: there is none, after all retries.
        """
        retries = 0
        while True:  # each round drops a parameter that the endpoint refused
            names = {name: FALLBACKS[name] if name in self._refused else name for name in wanted}
            request = {sent: wanted[name] for name, sent in names.items() if sent is not None}
            try:
                raw = self.client.chat.completions.with_raw_response.create(
                    model=self.model, messages=messages, extra_body=self.extra, **request
                )
                return _completion(raw.http_response.json(), retries + raw.retries_taken)
            except self._openai.APIError as error:
                retries += int(error.request.headers.get("x-stainless-retry-count", 0))
                if not self._gives_up(error, request):
                    raise EndpointError(self._why(error), retries) from None

    def _gives_up(self, error: Exception, request: dict) -> bool:
        """Whether there is a parameter to do without, because the endpoint does not take it."""
        if getattr(error, "status_code", None) not in (400, 422):
            return False
        said = f"{getattr(error, 'param', '')} {error}"
        refused = {name for name in FALLBACKS if name in request and re.search(rf"\b{name}\b", said)}
        if refused & {"logprobs", "top_logprobs"}:
            refused |= {"logprobs", "top_logprobs"}
        self._refused |= refused
        return bool(refused)

    def _why(self, error: Exception) -> str:
        """The error without the key and without what it may quote of the request."""
        if getattr(getattr(error, "response", None), "extensions", {}).get(NONSENSE):
            return "the endpoint answered with a body that is no chat completion"
        if 300 <= (getattr(error, "status_code", None) or 0) < 400:
            return "the endpoint redirects to another address, which is not followed with audio and key; give that one (base_url)"
        cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
        text = ENCODED.sub("...", " ".join(f"{error}{cause}".split()).replace(self.key, "..."))
        return text[:LONGEST_ERROR] or type(error).__name__

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()
            del self.client


def _key(model: str, base_url: str | None, api_key_env: str | None) -> str:
    name = api_key_env or (None if base_url else "OPENAI_API_KEY")  # OpenAI's key is not for others
    if name and not os.environ.get(name):
        raise CheckpointError(
            f"endpoint {model}: the environment variable {name} is not set; expected the key (api_key_env: NAME)"
        )
    return os.environ[name] if name else "no-key-is-needed"


def _nonsense_is_a_bad_gateway(response: Any) -> None:
    """A hook of httpx: the SDK would hand out a body that is no chat completion as it is."""
    if response.status_code != 200:
        return
    response.read()
    try:
        valid = isinstance(response.json()["choices"][0]["message"], dict)
    except (ValueError, LookupError, TypeError):
        valid = False
    if not valid:
        response.status_code = 502
        response.extensions[NONSENSE] = True


def _completion(body: dict, retries: int) -> Completion:
    choice = body["choices"][0]
    return Completion(_text(choice["message"]), _first(choice.get("logprobs")), retries)


def _text(message: dict) -> str:
    """Text in the places where endpoints put it: also a list of parts, the transcript of spoken answers, a refusal."""
    content, audio = message.get("content"), message.get("audio")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return str(content or spoken or message.get("refusal") or "")


def _first(logprobs: dict | None) -> dict[str, float]:
    """token -> log-probability at the first step that is not space, the chosen one included."""
    if logprobs is None:
        return {}
    try:
        step = next(step for step in logprobs["content"] if step["token"].strip(SPACES))
        found = {entry["token"]: float(entry["logprob"]) for entry in [*(step.get("top_logprobs") or []), step]}
    except (StopIteration, KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {token: value for token, value in found.items() if not math.isnan(value)}
