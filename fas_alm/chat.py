"""Chat messages with audio: the template that the processor carries, and the audio that messages hold."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fas_alm.windows import AUDIO_TOKEN
from fas_core.errors import AudioError, FASError

AUDIO_PARTS = ("audio", "input_audio", "audio_url")
TYPED = f"{AUDIO_TOKEN} typed as text: audio goes into a message as a part of type 'audio'"

# Content parts become one text, an audio part the audio token, each on a line of its own; a developer (OpenAI's newer
# name) is the system, which open models know; then the LLM's own template goes on. vLLM joins parts in the same way.
# Qwen3 thinks unless told not to, and thinking is not trained here.
FLATTEN = (
    """{#- fas_alm: parts of messages to text -#}
{%- set flat = namespace(messages=[]) -%}
{%- for message in messages -%}
  {%- set line = namespace(parts=[]) -%}
  {%- if message.content is string -%}
    {%- if '<|audio|>' in message.content -%}{{- raise_exception("TYPED") -}}{%- endif -%}
    {%- set line.parts = [message.content] -%}
  {%- elif message.content -%}
    {%- for part in message.content -%}
      {%- if part.type in ['audio', 'input_audio', 'audio_url'] -%}
        {%- set line.parts = line.parts + ['<|audio|>'] -%}
      {%- elif part.type == 'text' -%}
        {%- if '<|audio|>' in part.text -%}{{- raise_exception("TYPED") -}}{%- endif -%}
        {%- set line.parts = line.parts + [part.text] -%}
      {%- else -%}
        {{- raise_exception("content part of type " ~ part.type ~ ": expected text or audio") -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set role = 'system' if message.role == 'developer' else message.role -%}
  {%- set flat.messages = flat.messages + [dict(message, role=role, content=line.parts | join('\\n'))] -%}
{%- endfor -%}
{%- set messages = flat.messages -%}
{%- if enable_thinking is not defined -%}{%- set enable_thinking = false -%}{%- endif -%}
"""
).replace("TYPED", TYPED)
MARK = "{#- fas_alm: the template of the LLM -#}\n"
CHATML = (
    "{%- for message in messages -%}{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def audio_chat_template(template: str | dict | None) -> str:
    """The LLM's chat template (its default, of several) behind the one that flattens audio parts; any number of times.

    Raises:
        FASError: an LLM without a chat template: it was not trained to chat.
    """
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise FASError("tokenizer.chat_template: missing; expected an instruct model, whose template says how it chats")
    return FLATTEN + MARK + template.rpartition(MARK)[2]


def check_messages(messages: Sequence[dict]) -> None:
    """Raises `FASError` for messages that are not role and content, and for an audio token typed as text."""
    if not messages:
        raise FASError("messages: there are none; expected at least one")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | tuple):
            raise FASError(f"message {number}: expected a dict with role and content (text, or a list of parts)")
        for part in _parts(message):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in ("text", *AUDIO_PARTS):
                raise FASError(f"message {number}: a content part of type {kind!r}; expected text or audio")
            if kind == "text" and not isinstance(part.get("text"), str):
                raise FASError(f"message {number}: a text part without text")
            if kind == "text" and AUDIO_TOKEN in part["text"]:
                raise FASError(f"message {number}: {TYPED}")


def message_audios(messages: Sequence[dict]) -> list:
    """What the audio parts of a conversation hold, in order, each a source that `load_audio` reads.

    A part is {"type": "audio"} with "audio" (array, bytes, path, `Audio`), "path" or "url", or OpenAI's "input_audio"
    (base64) or "audio_url". A part without any of them yields None.

    Raises:
        FASError: base64 that is none; a URL of the network, which is not fetched here.
    """
    parts = [part for message in messages for part in _parts(message) if part.get("type") in AUDIO_PARTS]
    return [_source(part) for part in parts]


def _parts(message: dict) -> Sequence[dict]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _source(part: dict):
    if part["type"] == "input_audio":
        return _decoded(part.get("input_audio", {}).get("data", ""))
    if part["type"] == "audio_url":
        return _from_url(part.get("audio_url", {}).get("url", ""))
    for key in ("audio", "path"):
        if part.get(key) is not None:
            return part[key]
    return _from_url(part["url"]) if part.get("url") else None


def _from_url(url: str):
    split = urlsplit(url)
    if split.scheme == "data":
        return _decoded(split.path.partition(",")[2])
    if split.scheme in ("", "file"):
        return Path(unquote(split.path))
    raise AudioError(
        f"audio url of scheme {split.scheme!r}", "is not fetched here", "expected a path, a file: or a data: URL"
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AudioError("<base64>", "damaged", "expected the base64 of an audio file") from None
