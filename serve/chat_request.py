"""What a chat request may hold, and the request that is sent on: rebuilt field by field, its audio decoded.

Nothing unknown reaches the model server. Several of its own options would let a client change the template, cut the
prompt under the audio, or have the server fetch media.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from fas_core.audio import Audio
from fas_serve.audio_parts import KINDS, AudioReader
from fas_serve.backend_audio import array_part
from fas_serve.batching import gather
from fas_serve.errors import APIError, invalid
from fas_serve.settings import Settings

COPIES = 4  # of an audio on its way: samples, wav, base64, the request
LONGEST_NAME = 64  # of a client's own field that an error repeats
AUDIO_TOKEN = "<|audio|>"  # that of fas_alm, which a gateway without language model need not have
ROLES = ("system", "developer", "user", "assistant")
MESSAGES = 256  # in one conversation
NUMBERS = {  # field -> (smallest, largest)
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, 1_000_000),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.01, 10),
    "n": (1, 8),
    "top_logprobs": (0, 20),
    "max_tokens": (1, 2**31),
    "max_completion_tokens": (1, 2**31),
    "seed": (-(2**63), 2**63 - 1),
}
INTEGERS = ("top_k", "n", "top_logprobs", "max_tokens", "max_completion_tokens", "seed")
PASSED = ("stop", "stream_options", "response_format", "structured_outputs", "logit_bias", "logprobs", "stream")
IGNORED = (  # OpenAI's clients may send them; no answer depends on them
    "user", "metadata", "store", "safety_identifier", "service_tier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls",
)  # fmt: skip
# OpenAI's defaults, which say nothing; of the fields that are in no other list no other value is taken.
NEUTRAL = {
    "n": (1,), "presence_penalty": (0,), "frequency_penalty": (0,), "repetition_penalty": (1,), "logprobs": (False,),
    "top_logprobs": (0,), "logit_bias": ({},), "structured_outputs": ({},), "stop": ([],), "stream_options": ({},),
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "function_call": ("none", "auto"), "modalities": (["text"],),
}  # fmt: skip
SMALLEST = 0.01  # temperature and top_p: below it logits overflow, and only the most probable token would be drawn
FORMATS = ("text", "json_object", "json_schema")
SCHEMA_SIZES = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
SCHEMA_LARGEST, SCHEMA_DEPTH, SCHEMA_OBJECTS = 1000, 32, 1000
STRUCTURED = ("choice", "json", "json_object", "regex")
FIELDS = ("messages", "model", *NUMBERS, *PASSED)


async def read_chat(
    body: Any,
    reader: AudioReader,
    settings: Settings,
    take: Callable[[int], None] = lambda size: None,
    address: str = "",
    spoken: Callable[[Audio, str], Awaitable] | None = None,
    cues: Callable[[np.ndarray], Awaitable] | None = None,
) -> dict:
    """The request for the backend: known fields only, every audio an array at 16 kHz.

    Args:
        address: who asks.
        spoken: an audio and who asks -> its words, which are told behind it; None to tell none.
        cues: samples of an audio -> its acoustic cues, which are told behind it and its words; None to tell none.
        take: told of the bytes of memory that each audio will need; raises where they are not there.

    Raises:
        APIError: 400 naming the field or part at fault; 404 for another model.
    """
    if not isinstance(body, dict):
        raise invalid("the body is not a JSON object; expected {'messages': [...]}")
    request = _options(body, settings)
    messages, places = _messages(body.get("messages"))
    _check_text({**body, "messages": messages}, settings)
    if len(places) > settings.max_audios:
        problem = f"{len(places)} audios; this server takes {settings.max_audios} in a request (--max-audios)"
        raise invalid(f"{places[settings.max_audios][0]}: {problem}", places[settings.max_audios][0], "too_many_audios")

    async def read(where: str, part: dict) -> Audio:
        audio = await reader.read(part, where, address)
        take(COPIES * audio.samples.nbytes)
        return audio

    audios = await gather(read(where, part) for where, part in places)
    parts = iter([array_part(audio.samples) for audio in audios])
    messages = [_filled(message, parts) for message in messages]
    if cues and audios:
        from fas_alm.cues import with_cues

        levels = await gather(cues(audio.samples) for audio in audios)
        messages = with_cues(messages, iter(levels))
    if spoken and audios:
        from fas_alm.transcript import with_transcripts

        words = await gather(spoken(audio, address) for audio in audios)
        messages = with_transcripts(messages, iter(words))
    return request | {"messages": messages}


def _options(body: dict, settings: Settings) -> dict:
    body = {field: value for field, value in body.items() if value is not None}  # null: the field's default
    check_model(body.get("model"), settings)
    given = {k: v for k, v in body.items() if k in FIELDS and k not in ("messages", "model")}
    for field in NUMBERS.keys() & given.keys():
        given[field] = _number(field, given[field])
    for field in ("stream", "logprobs"):
        if not isinstance(given.get(field, False), bool):
            raise invalid(f"{field}: expected true or false", field)
    _check_shapes(given)
    neutral = {field for field, values in NEUTRAL.items() if body.get(field) in values}
    if given.get("response_format", {}).get("type") == "text":
        neutral.add("response_format")
    if unknown := sorted(set(body) - {*FIELDS, *IGNORED} - neutral):
        name = unknown[0][:LONGEST_NAME]
        problem = f"{name}: not a field that this server takes; expected some of {', '.join(FIELDS)}"
        raise invalid(problem, name, "unsupported_field")
    given = {field: value for field, value in given.items() if field not in neutral}
    field = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    wanted = given.pop(field, None)
    given.pop("max_tokens", None)
    if wanted and wanted > settings.max_tokens:
        raise invalid(f"{field}: {wanted}; expected at most {settings.max_tokens} (server option --max-tokens)", field)
    limit = {"max_tokens": wanted} if wanted else {}  # without one, the backend gives what the context leaves
    # An emotion should not be drawn by lot: greedy unless a temperature is asked for.
    if min(given.get("temperature", 0.0), given.get("top_p", 1.0)) < SMALLEST:
        given = given | {"temperature": 0.0} | ({"top_p": 1.0} if "top_p" in given else {})
    return given | limit | {"model": settings.model}


def check_model(name: Any, settings: Settings) -> None:
    """Raises `APIError` 404 for the name of another model; none at all is this one."""
    if name not in (None, settings.model):
        text = f"model: no such model here; expected {settings.model!r} (GET /v1/models)"
        raise APIError(404, text, param="model", code="model_not_found")


def _number(field: str, value: Any) -> int | float:
    low, high = NUMBERS[field]
    number = int if field in INTEGERS else int | float
    if isinstance(value, bool) or not isinstance(value, number) or not low <= value <= high:
        kind = "an integer" if field in INTEGERS else "a number"
        raise invalid(f"{field}: expected {kind} from {low} to {high}", field)
    return value if field in INTEGERS else float(value)


def _check_shapes(given: dict) -> None:
    stop = given.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 16 or not all(isinstance(s, str) and s for s in stops):
        raise invalid("stop: expected a string or at most 16 of them, none empty", "stop")
    for field in ("stream_options", "response_format", "structured_outputs", "logit_bias"):
        if not isinstance(given.get(field, {}), dict):
            raise invalid(f"{field}: expected an object", field)
    if given.get("response_format", {"type": "text"}).get("type") not in FORMATS:
        raise invalid(f"response_format.type: expected one of {', '.join(FORMATS)}", "response_format")
    for field in ("response_format", "structured_outputs"):
        if _check_schema(given.get(field), field) > SCHEMA_OBJECTS:
            raise invalid(f"{field}: more than {SCHEMA_OBJECTS} objects; expected a smaller schema", field)
    if unknown := sorted(set(given.get("structured_outputs", {})) - {*STRUCTURED}):
        text = f"structured_outputs.{unknown[0][:LONGEST_NAME]}: expected one of {', '.join(STRUCTURED)}"
        raise invalid(text, "structured_outputs", "unsupported_field")
    if isinstance(given.get("structured_outputs", {}).get("json"), str):
        raise invalid("structured_outputs.json: expected the schema as an object, not as text", "structured_outputs")
    _check_biases(given.get("logit_bias", {}))
    options = given.get("stream_options", {})
    if set(options) - {"include_usage"} or not isinstance(options.get("include_usage", False), bool):
        raise invalid("stream_options: expected {'include_usage': true}", "stream_options")
    if options and not given.get("stream"):
        raise invalid("stream_options: expected only with stream: true", "stream_options")


def _check_biases(biases: dict) -> None:
    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    tokens = all(token.isascii() and token.isdigit() for token in biases)
    if not tokens or not all(is_number(bias) and -100 <= bias <= 100 for bias in biases.values()):
        raise invalid("logit_bias: expected numbers of tokens, each with a number from -100 to 100", "logit_bias")


def _check_schema(node: Any, field: str, depth: int = 0) -> int:
    """Number of objects. A schema of a few bytes can ask for a grammar that takes minutes to build."""
    if depth > SCHEMA_DEPTH:
        raise invalid(f"{field}: nested deeper than {SCHEMA_DEPTH}", field)
    if isinstance(node, dict):
        for key, value in node.items():
            if key in SCHEMA_SIZES and isinstance(value, int | float) and not 0 <= value <= SCHEMA_LARGEST:
                raise invalid(f"{field}: {key} is {value}; expected 0 to {SCHEMA_LARGEST}", field)
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return isinstance(node, dict) + sum(_check_schema(each, field, depth + 1) for each in children)


def _messages(messages: Any) -> tuple[list[dict], list[tuple[str, dict]]]:
    """Messages with `None` where an audio stands, and (where, part) of each audio."""
    if not isinstance(messages, list) or not 1 <= len(messages) <= MESSAGES:
        raise invalid(f"messages: expected a list of 1 to {MESSAGES} messages", "messages")
    places: list[tuple[str, dict]] = []
    return [_message(message, f"messages[{i}]", places) for i, message in enumerate(messages)], places


def _message(message: Any, where: str, places: list) -> dict:
    if not isinstance(message, dict):
        raise invalid(f"{where}: expected an object with role and content", where)
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise invalid(f"{where}.role: expected one of {', '.join(ROLES)}", f"{where}.role")
    # OpenAI's newer name for it, which the chat templates of open models do not know.
    sent = "system" if role == "developer" else role
    if isinstance(content, str):
        _check_placeholder(content, f"{where}.content")
        return {"role": sent, "content": content}
    if not isinstance(content, list) or not content:
        raise invalid(f"{where}.content: expected a string or a list of parts", f"{where}.content")
    parts = [_part(part, role, f"{where}.content[{i}]", places) for i, part in enumerate(content)]
    _check_placeholder("".join(part["text"] for part in parts if part), f"{where}.content")
    return {"role": sent, "content": parts}


def _part(part: Any, role: str, where: str, places: list) -> dict | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        _check_placeholder(part["text"], where)
        return {"type": "text", "text": part["text"]}
    if kind in KINDS:
        if role != "user":
            raise invalid(f"{where}: audio in a message of {role}; expected it in a message of the user", where)
        places.append((where, part))
        return None
    raise invalid(f"{where}: not a part that this server takes; expected type text, {' or '.join(KINDS)}", where)


def _check_placeholder(text: str, where: str) -> None:
    if AUDIO_TOKEN in text:
        problem = f"{where}: the text holds {AUDIO_TOKEN}, which stands for audio; send the audio as a part instead"
        raise invalid(problem, where, "placeholder_in_text")


def _check_text(body: dict, settings: Settings) -> None:
    """Everything but the audio: text, schemas, stop words."""
    try:
        length = len(json.dumps(body, ensure_ascii=False))
    except RecursionError:
        raise invalid("the body is nested too deeply") from None
    if length > settings.max_text:
        problem = f"messages: {length} characters without the audio; expected at most {settings.max_text} (--max-text)"
        raise invalid(problem, "messages", "context_length_exceeded")


def _filled(message: dict, parts) -> dict:
    if isinstance(message["content"], str):
        return message
    return message | {"content": [next(parts) if part is None else part for part in message["content"]]}
