"""The language model behind vLLM's own OpenAI server."""

import json
import re
from collections.abc import AsyncGenerator

import httpx

from fas_serve.backend_audio import as_json
from fas_serve.errors import APIError
from fas_serve.vllm_process import VLLMProcess

CHAT = "/v1/chat/completions"
RETRY = 10.0  # seconds
LONGEST_MESSAGE = 500
GRAMMARS = ("structured_outputs", "response_format")
NO_ANSWER = "Internal server error"  # vLLM's words when its engine gave up one request, such as its grammar
ENCODED = re.compile(r"[A-Za-z0-9+/=]{64,}")  # base64: an error must not tell what was sent


class VLLMBackend:
    """Passes requests on to a running `VLLMProcess`."""

    name = "vllm"

    def __init__(self, process: VLLMProcess, model: str):
        self.process, self.model = process, model
        self._client = process.client()

    async def chat(self, request: dict) -> dict:
        self._check_ready()
        try:
            response = await self._client.post(CHAT, json=as_json({"model": self.model, **request}))
        except httpx.HTTPError:
            raise _gone() from None
        if response.status_code != 200:
            raise _refused(response, request)
        return response.json()

    async def stream(self, request: dict) -> AsyncGenerator[bytes, None]:
        self._check_ready()
        try:
            async with self._client.stream("POST", CHAT, json=as_json({"model": self.model, **request})) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refused(response, request)
                async for piece in response.aiter_raw():
                    yield piece
        except httpx.HTTPError:
            raise _gone() from None

    async def option_logprobs(self, messages: list[dict], token_ids: list[int]) -> list[float]:
        request = dict(
            messages=messages, max_tokens=1, temperature=0.0, logprobs=True, logprob_token_ids=token_ids,
            return_tokens_as_token_ids=True,
        )  # fmt: skip
        answer = await self.chat(request)
        first = answer["choices"][0]["logprobs"]["content"][0]
        found = {entry["token"]: entry["logprob"] for entry in [first, *first["top_logprobs"]]}
        return [found[f"token_id:{token}"] for token in token_ids]

    async def metrics(self) -> bytes:
        """vLLM's own figures."""
        if not self.process.ready.is_set():
            return b""
        try:
            return (await self._client.get("/metrics", timeout=5)).content
        except httpx.HTTPError:
            return b""

    async def healthy(self) -> bool:
        if not self.process.ready.is_set():
            return False
        try:
            return (await self._client.get("/health", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        await self._client.aclose()
        await self.process.stop()

    def _check_ready(self) -> None:
        if not self.process.ready.is_set():
            raise _gone()


def _gone() -> APIError:
    text = "the language model is not there; it is being started again"
    return APIError(503, text, code="backend_unavailable", retry_after=RETRY)


def _refused(response: httpx.Response, request: dict) -> APIError:
    """vLLM's error to a request, without whatever of the request it may quote."""
    try:
        body = response.json()
        error = body.get("error", body)
        message, param = str(error["message"]), error.get("param")
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
        message, param = "", None
    if message == NO_ANSWER and (field := next((f for f in GRAMMARS if f in request), None)):
        text = f"{field}: no grammar could be built of it; expected a simpler one"
        return APIError(400, text, param=field, code="invalid_grammar")
    if not 400 <= response.status_code < 500:
        return APIError(502, "the language model failed at this request", code="backend_failed")
    message = ENCODED.sub("...", message)[:LONGEST_MESSAGE] or "the language model refused the request"
    too_long = "context length" in message or "max_model_len" in message
    code = "context_length_exceeded" if too_long else "invalid_value"
    return APIError(400, message, param=param if isinstance(param, str) else None, code=code)
