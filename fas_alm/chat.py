"""Chat messages with audio: what they must be, and the template that the processor carries."""

from collections.abc import Mapping, Sequence

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from fas_alm.audio_parts import AUDIO_PARTS, message_parts
from fas_alm.configuration import AUDIO_TOKEN
from fas_core.errors import FASError

ROLES = ("system", "developer", "user", "assistant", "tool")  # a developer's message is a system message
TYPED = f"{AUDIO_TOKEN} typed as text: audio goes into a message as a part of type 'audio'"

# Content parts become one text, an audio part the audio token, each on a line of its own; then the LLM's own template
# goes on. vLLM joins parts in the same way. Qwen3 thinks unless told not to, and thinking is not trained here.
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
END = "{#- fas_alm: the end of the template of the LLM -#}"
# Some templates open a thought in every answer, and have no switch: the thought is closed, empty, as Qwen3's switch does.
CLOSE = END + "{%%- if add_generation_prompt and not enable_thinking -%%}{{- '%s</think>\\n\\n' -}}{%%- endif -%%}"
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
    own = own_template(template)
    thought = _open_thought(own)
    return FLATTEN + MARK + own + ("" if thought is None else CLOSE % ("\\n" * (2 - thought.count("\n"))))


def own_template(template: str) -> str:
    """The LLM's part of what `audio_chat_template` gives."""
    return template.rpartition(MARK)[2].partition(END)[0]


def can_think(template: str) -> bool:
    """Whether `enable_thinking` means anything to the LLM's template."""
    return "enable_thinking" in own_template(template) or END in template


def check_messages(messages: Sequence[Mapping]) -> None:
    """Raises `FASError` for messages that are not role and content, and for an audio token typed as text."""
    if isinstance(messages, str | Mapping) or not messages:
        raise FASError("messages: there are none; expected at least one, in a list")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not _has_content(message):
            raise FASError(f"message {number}: expected a dict with role and content (text, or a list of parts)")
        if message.get("role") not in ROLES:
            raise FASError(f"message {number}: role {message.get('role')!r}; expected one of {', '.join(ROLES)}")
        for part in message_parts(message):
            _check_part(part, number)


def _has_content(message: Mapping) -> bool:
    is_call = bool(message.get("tool_calls")) and message.get("content") is None
    return is_call or isinstance(message.get("content"), str | list | tuple)


def _check_part(part, number: int) -> None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind not in ("text", *AUDIO_PARTS):
        raise FASError(f"message {number}: a content part of type {kind!r}; expected text or audio")
    if kind == "text" and not isinstance(part.get("text"), str):
        raise FASError(f"message {number}: a text part without text")
    if kind == "text" and AUDIO_TOKEN in part["text"]:
        raise FASError(f"message {number}: {TYPED}")


def _open_thought(template: str) -> str | None:
    """What follows `<think>` where the template ends a prompt with it, though told not to think; else None."""
    try:
        texts, _ = render_jinja_template(
            [[{"role": "user", "content": "?"}]], chat_template=template, add_generation_prompt=True,
            enable_thinking=False, bos_token="", eos_token="",
        )  # fmt: skip
    except (TemplateError, TypeError):  # it is told to whoever uses it
        return None
    _, found, after = texts[0].rpartition("<think>")
    return after if found and not after.strip() else None
