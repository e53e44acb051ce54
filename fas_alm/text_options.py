"""Which options of transformers' processors are taken, and what would be ignored or cut without a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fas_alm.chat import can_think, own_template
from fas_alm.configuration import AUDIO_TOKEN
from fas_core.errors import FASError

AUDIO_OPTIONS = frozenset({"sampling_rate", "limits"})
TEXT_OPTIONS = frozenset(
    "padding padding_side truncation max_length pad_to_multiple_of add_special_tokens return_attention_mask "
    "return_token_type_ids return_special_tokens_mask return_offsets_mapping return_length return_tensors verbose".split()
)
GROUPS = {
    "text_kwargs": TEXT_OPTIONS,
    "audio_kwargs": AUDIO_OPTIONS,
    "common_kwargs": TEXT_OPTIONS | AUDIO_OPTIONS,
}
TENSORS = ("pt", "np", None)


def merge_options(options: Mapping, processor_kwargs: Mapping | None = None) -> dict:
    """One flat dict of options of text and audio, groups as `audio_kwargs` opened.

    Raises:
        FASError: an option that is not known, or two values of one; the message names it.
    """
    merged: dict = {}
    for where, given in (("", options), ("processor_kwargs: ", processor_kwargs or {})):
        for name, value in given.items():
            if name in ("images", "videos", "images_kwargs", "videos_kwargs") and not value:
                continue
            group = value or {} if name in GROUPS else {name: value}
            allowed = GROUPS.get(name, TEXT_OPTIONS | AUDIO_OPTIONS)
            _add(merged, group, allowed, f"{where}{name}: " if name in GROUPS else where)
    return merged


def _add(merged: dict, given: Mapping, allowed: frozenset, where: str) -> None:
    for name, value in given.items():
        if name not in allowed:
            raise FASError(f"{where}option {name!r} is not known here; expected {', '.join(sorted(allowed))}")
        if name in merged and merged[name] is not value and merged[name] != value:
            raise FASError(f"{where}option {name!r} is given twice, {merged[name]!r} and {value!r}")
        merged[name] = value


def split_variables(options: Mapping, template: str) -> tuple[dict, dict]:
    """(variables that the template reads, what is left). Raises `FASError` for thinking where there is none to switch on."""
    if options.get("enable_thinking") and not can_think(template):
        raise FASError("enable_thinking: the language model's template has no thinking; leave it out")
    own = own_template(template)
    known = {n for n in options if n == "enable_thinking" or (n not in TEXT_OPTIONS and re.search(rf"\b{n}\b", own))}
    return {n: options[n] for n in known}, {n: value for n, value in options.items() if n not in known}


def check_used(template: str, **given) -> None:
    """Raises `FASError` for tools or documents that the language model's template would leave out."""
    for name, value in given.items():
        if value and not re.search(rf"\b{name}\b", own_template(template)):
            raise FASError(
                f"{name}: the language model's template has no place for them; leave them out, or give chat_template"
            )


def check_lengths(tokenizer, options: Mapping) -> None:
    """Raises `FASError` for a max_length that does nothing, truncation without one, or tensors of another kind."""
    cuts, pads, length = options.get("truncation"), options.get("padding"), options.get("max_length")
    if cuts not in (None, False, True, "longest_first", "only_first", "do_not_truncate"):
        raise FASError(f"truncation: {cuts!r}; expected True or False")
    cuts = cuts not in (None, False, "do_not_truncate")
    if length is not None and not cuts and pads != "max_length":
        raise FASError(f"max_length: {length} does nothing without truncation=True or padding='max_length'")
    if length is None and (cuts or pads == "max_length") and tokenizer.model_max_length > 1e9:
        raise FASError("truncation, padding='max_length': to which length? The tokenizer has none; give max_length")
    if options.get("return_tensors") not in TENSORS:
        raise FASError(f"return_tensors: {options['return_tensors']!r}; expected one of 'pt', 'np', None")


def check_places(texts: Sequence[str], audios: int) -> None:
    """Raises `FASError` for placeholders and audios that differ in number."""
    placeholders = sum(text.count(AUDIO_TOKEN) for text in texts)
    if placeholders != audios:
        raise FASError(f"text has {placeholders} {AUDIO_TOKEN} placeholders for {audios} audios; expected one each")


def check_whole(rows: Sequence[Sequence[int]], rendered: Sequence[str], token: int) -> None:
    """Raises `FASError` for a row that was cut so that an audio lost tokens: it would be heard in part, or not at all."""
    for number, (row, text) in enumerate(zip(rows, rendered, strict=True)):
        kept, whole = sum(int(i) == token for i in row), text.count(AUDIO_TOKEN)
        if kept != whole:
            raise FASError(
                f"text {number}: truncation to max_length leaves {kept} of its {whole} audio tokens; expected all: give a "
                "larger max_length, or less text or audio"
            )


def expand_mask(ids: Sequence[int], mask: Sequence[int], token: int, counts) -> list[int]:
    """A mask over a prompt with one placeholder for each audio, as long as the prompt with all its audio tokens."""
    return [m for i, m in zip(ids, mask, strict=True) for _ in range(next(counts) if i == token else 1)]


def place_mask(mask: Sequence[int], is_text: Sequence[int], side: str) -> list[int]:
    """A mask of a whole text at the places that are no padding; of a text that was cut, what is left of it."""
    places = [index for index, kept in enumerate(is_text) if kept]
    left = mask[len(mask) - len(places) :] if side == "left" else mask[: len(places)]
    row = [0] * len(is_text)
    for index, value in zip(places, left, strict=True):
        row[index] = value
    return row


def check_mask(template: str, has_place: bool, is_continued: bool | str, options: dict) -> None:
    """Whether a mask of the assistant's tokens can be given."""
    if not has_place or is_continued or options.get("return_attention_mask") is False:
        raise FASError(
            "return_assistant_tokens_mask: expected tokenize=True and return_dict=True, the attention mask, and no "
            "continue_final_message"
        )
    if not re.search(r"\{%-?\s*generation\s*-?%\}", template):
        raise FASError(
            "return_assistant_tokens_mask: the language model's template does not mark what the assistant says with "
            "{% generation %}; give chat_template with the mark"
        )


def without_text(error: Exception) -> str:
    """What went wrong, without the conversation that transformers puts behind it."""
    return str(error).partition("Final message to continue")[0].splitlines()[0][:300]
