"""The language model in this process, by transformers: one request at a time, for where vLLM cannot be installed."""

import asyncio
import json
import logging
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextStreamer

from fas_alm.adapters import with_lora
from fas_alm.artifacts import LORA_FOLDER, load_model_directory
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_core.checkpoint import find_device
from fas_core.errors import FASError
from fas_core.precision import describe, loading_dtype
from fas_serve.errors import invalid

log = logging.getLogger("serve")
SAMPLING = ("top_p", "top_k", "min_p")
KNOWN = ("messages", "model", "max_tokens", "temperature", "seed", "stop", "stream", "stream_options", "user")
KNOWN += (*SAMPLING, "repetition_penalty")


class TransformersBackend:
    """Chat with `generate`.

    Args:
        model, processor: as `from_pretrained` gives them.
        max_tokens: of an answer where the request says nothing.
    """

    name = "transformers"

    def __init__(self, model: FASAudioForConditionalGeneration, processor: FASAudioProcessor, max_tokens: int = 1024):
        self.model, self.processor, self.max_tokens = model.eval(), processor, max_tokens
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")

    @classmethod
    def load(cls, directory: Path, device: str | None = None, max_tokens: int = 1024) -> "TransformersBackend":
        """From a model directory; a GPU where there is one, unless told otherwise."""
        device = find_device(device)
        model, processor = load_model_directory(directory, loading_dtype("auto", device))
        log.info("language model in %s", describe(model.language_model.dtype == torch.bfloat16, device))
        if (directory / LORA_FOLDER).is_dir():
            model.language_model = with_lora(model.language_model, directory / LORA_FOLDER).merge_and_unload()
        return cls(model.to(device), processor, max_tokens)

    async def chat(self, request: dict) -> dict:
        stop = threading.Event()
        try:
            text, finish, usage = await self._run(self._generate, request, stop)
        finally:
            stop.set()  # who asked may have gone
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return _head("chat.completion", request) | {"choices": [choice], "usage": usage}

    async def stream(self, request: dict) -> AsyncGenerator[bytes, None]:
        stop, pieces, loop = threading.Event(), asyncio.Queue(), asyncio.get_running_loop()

        def send(piece: str | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        work = asyncio.ensure_future(self._run(self._generate, request, stop, send))
        work.add_done_callback(lambda _: pieces.put_nowait(None))
        head = _head("chat.completion.chunk", request)
        try:
            first = await pieces.get()
            if first is None:
                work.result()  # raises what was wrong with the request
            yield _event(head, {"role": "assistant", "content": first or ""})
            while first is not None and (piece := await pieces.get()) is not None:
                yield _event(head, {"content": piece})
            _, finish, usage = work.result()
            yield _event(head, {}, finish)
            if (request.get("stream_options") or {}).get("include_usage"):
                yield _data(head | {"choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"
        finally:
            stop.set()
            work.cancel()

    async def option_logprobs(self, messages: list[dict], token_ids: list[int]) -> list[float]:
        return await self._run(self._first_logprobs, messages, token_ids)

    async def healthy(self) -> bool:
        return True

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable, *arguments):
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except FASError as error:
            raise invalid(str(error), "messages") from None

    @torch.inference_mode()
    def _first_logprobs(self, messages: list[dict], token_ids: list[int]) -> list[float]:
        logits = self.model(**self._inputs(messages)).logits[0, -1].float()
        return logits.log_softmax(-1)[token_ids].tolist()

    @torch.inference_mode()
    def _generate(self, request: dict, stop: threading.Event, send: Callable[[str], None] | None = None):
        """Text, why it ended, and usage."""
        _check_supported(request)
        inputs = self._inputs(request["messages"])
        length = inputs["input_ids"].shape[1]
        limit = self._limit(length, request.get("max_tokens"))
        stops = request.get("stop") or []
        cut = _Cut([stops] if isinstance(stops, str) else stops)
        streamer = send and _Streamer(self.processor.tokenizer, cut, send)
        if (seed := request.get("seed")) is not None:
            torch.manual_seed(seed % 2**63)
        output = self.model.generate(
            **inputs, max_new_tokens=limit, streamer=streamer, **_sampling(request),
            stopping_criteria=StoppingCriteriaList([_Stop(stop, cut, self.processor.tokenizer, length)]),
        )  # fmt: skip
        tokens = output[0, length:]
        text, was_cut = cut(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))
        ended = was_cut or len(tokens) < limit or int(tokens[-1]) in _end_tokens(self.model)
        usage = dict(prompt_tokens=length, completion_tokens=len(tokens), total_tokens=length + len(tokens))
        return text, "stop" if ended else "length", usage

    def _inputs(self, messages: list[dict]) -> dict:
        # the gateway has told the words already, from the pass that FAS needs
        inputs = self.processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, transcript=None
        )
        return inputs.to(self.model.device)

    def _limit(self, length: int, wanted: int | None) -> int:
        context = self.model.config.text_config.max_position_embeddings
        left = context - length
        if left < (wanted or 1):
            text = f"messages: {length} tokens and {wanted or 1} of answer; the model's context length is {context}"
            raise invalid(text, "messages", "context_length_exceeded")
        return wanted or min(left, self.max_tokens)


class _Cut:
    """Text up to the first of the stop words."""

    def __init__(self, stops: list[str]):
        self.stops, self.longest = stops, max(map(len, stops), default=0)

    def __call__(self, text: str) -> tuple[str, bool]:
        places = [place for place in (text.find(word) for word in self.stops) if place >= 0]
        return (text[: min(places)], True) if places else (text, False)


class _Stop(StoppingCriteria):
    """Ends when nobody waits any more, or at a stop word."""

    def __init__(self, gone: threading.Event, cut: _Cut, tokenizer, start: int):
        self.gone, self.cut, self.tokenizer, self.start = gone, cut, tokenizer, start

    def __call__(self, input_ids, scores, **kwargs):
        done = self.gone.is_set() or (
            bool(self.cut.stops) and self.cut(self.tokenizer.decode(input_ids[0, self.start :]))[1]
        )
        return torch.full((len(input_ids),), done, device=input_ids.device)


class _Streamer(TextStreamer):
    """Sends text as it is finished; keeps back what may be the beginning of a stop word."""

    def __init__(self, tokenizer, cut: _Cut, send: Callable[[str], None]):
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._cut, self._send, self._text, self._sent = cut, send, "", 0

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._text += text
        whole, was_cut = self._cut(self._text)
        end = len(whole) if stream_end or was_cut else max(self._sent, len(whole) - max(0, self._cut.longest - 1))
        if end > self._sent:
            self._send(whole[self._sent : end])
            self._sent = end


def _check_supported(request: dict) -> None:
    """What says nothing has been left out by `read_chat`."""
    if field := next((field for field in request if field not in KNOWN), None):
        raise invalid(f"{field}: the transformers backend cannot do this; it needs vLLM", field, "unsupported_field")


def _sampling(request: dict) -> dict:
    temperature = request.get("temperature", 1.0)
    options = {"repetition_penalty": request["repetition_penalty"]} if "repetition_penalty" in request else {}
    if not temperature:
        return options | dict(do_sample=False, temperature=None, top_p=None, top_k=None, min_p=None)
    chosen = {name: request[name] for name in SAMPLING if request.get(name) is not None}
    if chosen.get("top_k", 0) <= 0:  # 0 and -1: all tokens
        chosen["top_k"] = None
    return options | dict(do_sample=True, temperature=float(temperature)) | chosen


def _end_tokens(model) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _head(kind: str, request: dict) -> dict:
    name = f"chatcmpl-{uuid.uuid4().hex}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": request.get("model", "")}


def _event(head: dict, delta: dict, finish: str | None = None) -> bytes:
    return _data(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _data(value: dict) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
