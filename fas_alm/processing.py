"""From text and audio to what the model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import AddedToken, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from fas_alm.audio_parts import AUDIO_PARTS, message_audios, message_parts
from fas_alm.chat import audio_chat_template, check_messages
from fas_alm.configuration import AUDIO_TOKEN, FASAudioConfig
from fas_alm.cues import AUTO as CUES_AUTO
from fas_alm.cues import given_cues, with_cues
from fas_alm.listening import LazyListener, WhisperListener
from fas_alm.text_options import (
    check_lengths,
    check_mask,
    check_places,
    check_used,
    check_whole,
    expand_mask,
    merge_options,
    place_mask,
    split_variables,
    without_text,
)
from fas_alm.transcript import AUTO, Listener, Spoken, given_words, with_transcripts
from fas_alm.window_mels import AudioBatch, WindowMels
from fas_alm.window_tokens import WindowTokens
from fas_core.audio import Audio, AudioLimits, load_audio
from fas_core.audio_forms import is_pair, open_source
from fas_core.cues.acoustic import CueReader, Levels
from fas_core.cues.levels import Statistics
from fas_core.errors import FASError
from fas_core.frontend import FrontEndConfig

WHISPER_FOLDER = "whisper"  # of a model directory
OF_THIS_PROCESS = ("_windows", "listener", "cue_reader")  # and of no file
AS_MASK = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}


class FASAudioProcessor(ProcessorMixin):
    """Tokenizer, front end and log-mel in one.

    Args:
        tokenizer: the LLM's; gets the token `<|audio|>` if it has none, and pads on the left.
        chat_template: the LLM's own one if None; parts of messages are flattened before it.
        tokens_per_window, frame_streams, patch_size: count the audio tokens of a window of up to 30 s (`WindowTokens`).
        num_mel_bins, window_frames: Whisper's mel bands, and frames of 20 ms of its window.
        padding: "clip" or "30s", as the encoder was trained on (fas_core's `StreamConfig`).
        front_end: options of `FrontEndConfig`.
        transcripts: the LLM has learned to read the words of an audio (`FASAudioConfig.transcripts`).
        cues: the LLM has learned to read the acoustic cues of an audio, by these statistics (`FASAudioConfig.cues`).

    Attributes:
        listener: writes down what is said in clips, for `transcript="auto"`; by default the Whisper that lies beside the
            processor in a model directory, or that of an adapter, loaded when it is first needed. None where there is none.
    """

    tokenizer_class = "AutoTokenizer"
    listener: Listener | None = None

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        tokens_per_window: int = 2,
        num_mel_bins: int = 80,
        window_frames: int = 1500,
        padding: str = "clip",
        front_end: dict | None = None,
        transcripts: bool = False,
        cues: dict | None = None,
        frame_streams: int = 0,
        patch_size: int = 5,
        **kwargs: Any,
    ):
        add_audio_token(tokenizer)
        tokenizer.chat_template = audio_chat_template(chat_template or tokenizer.chat_template)
        super().__init__(tokenizer, chat_template=tokenizer.chat_template)
        self.tokens_per_window, self.frame_streams, self.patch_size = tokens_per_window, frame_streams, patch_size
        self.num_mel_bins, self.window_frames, self.padding = num_mel_bins, window_frames, padding
        self.front_end = FrontEndConfig.from_dict(front_end or {}).to_dict()
        self.transcripts, self.cues = transcripts, cues

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any) -> FASAudioProcessor:
        """As of transformers; the Whisper of a model directory is used where words are wanted (`listener`)."""
        processor = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        whisper = Path(pretrained_model_name_or_path) / WHISPER_FOLDER
        if processor.transcripts and whisper.is_dir():
            front_end = FrontEndConfig.from_dict(processor.front_end)
            processor.listener = LazyListener(lambda: WhisperListener(whisper, front_end=front_end))
        return processor

    @classmethod
    def from_config(cls, config: FASAudioConfig, tokenizer: PreTrainedTokenizerBase) -> FASAudioProcessor:
        """The processor of a model; its tokenizer is given the audio token and the template."""
        streams = config.streams
        return cls(
            tokenizer,
            tokens_per_window=config.window_tokens.fixed,
            frame_streams=config.window_tokens.streams,
            patch_size=config.window_tokens.patch_size,
            num_mel_bins=config.encoder_config.num_mel_bins,
            window_frames=config.encoder_config.max_source_positions,
            padding=streams.acoustic.get("padding", "clip"),
            front_end=streams.front_end,
            transcripts=config.transcripts,
            cues=config.cues,
        )

    @property
    def audio_token(self) -> str:
        return AUDIO_TOKEN

    @property
    def audio_token_id(self) -> int:
        return self.tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "audio_mels", "audio_window_lengths"]

    @property
    def window_tokens(self) -> WindowTokens:
        return WindowTokens(self.tokens_per_window, self.frame_streams, self.patch_size)

    def prepare_audio(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """One audio: front end on each window by itself, then log-mel.

        Args:
            samples: (n,) float32, mono, 16 kHz, of at least 25 ms.

        Returns:
            (M, sum of 2T_w) float32 log-mel of the windows side by side, of their real frames only, or (M, 3000 W) with
            padding "30s"; and (W,) int64 real mel frames 2T_w of each.

        Raises:
            AudioError: samples that are no audio, or shorter than 25 ms.
        """
        return self._windows(samples)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
        padding: bool | str = True,
        limits: AudioLimits = AudioLimits(),
        **kwargs: Any,
    ) -> BatchFeature:
        """A batch.

        Args:
            text: one or several, with `<|audio|>` where an audio goes (`apply_chat_template` writes it there).
            audio: one, or a flat list in the order of the placeholders, of any form that `open_source` takes.
            sampling_rate: Hz, of arrays that do not say their own.
            return_tensors: "pt"; "np"; None gives lists of ids.
            limits: of size and duration of each audio.
            kwargs: for the tokenizer (`TEXT_OPTIONS`), or in groups as `text_kwargs`, `audio_kwargs`, `common_kwargs`.

        Returns:
            `input_ids`, `attention_mask` (B, L), padded on the left; with audio also `audio_mels`,
            `audio_window_lengths`: a list over audios, see `prepare_audio`.

        Raises:
            FASError: placeholders and audios that differ in number, options that are not known, a `max_length` that does
                nothing, truncation that would cut audio tokens.
            AudioError: audio that cannot be used.
        """
        options = {"return_tensors": return_tensors, "padding": padding} | merge_options(kwargs)
        limits, sampling_rate = options.pop("limits", limits), options.pop("sampling_rate", sampling_rate)
        check_lengths(self.tokenizer, options)
        texts = [text] if isinstance(text, str) else list(text or [])
        clips = self.load_audios(audio, sampling_rate, limits)
        if texts:
            check_places(texts, len(clips))
        prepared = [self.prepare_audio(clip.samples) for clip in clips]
        data = self._tokenized(self._expand(texts, [lengths for _, lengths in prepared]), options) if texts else {}
        if clips:
            data["audio_mels"], data["audio_window_lengths"] = (list(part) for part in zip(*prepared, strict=True))
        return AudioBatch(data)

    def load_audios(
        self, audio: Any, sampling_rate: int | None = None, limits: AudioLimits = AudioLimits()
    ) -> list[Audio]:
        """One audio or a list of them, decoded. Raises `AudioError`."""
        is_list = isinstance(audio, list | tuple) and not is_pair(audio)
        sources = [] if audio is None else list(audio) if is_list else [audio]
        opened = [open_source(source, sampling_rate) for source in sources]
        return [
            source if isinstance(source, Audio) else load_audio(source, sampling_rate=rate, limits=limits)
            for source, rate in opened
        ]  # fmt: skip

    def _tokenized(self, rendered: list[str], options: dict) -> dict:
        try:
            data = dict(self.tokenizer(rendered, **_defaults(options)))
        except ValueError as error:
            raise FASError(f"tokenizer: {str(error).splitlines()[0]}") from error
        check_whole(data["input_ids"], rendered, self.audio_token_id)
        return data

    def _expand(self, texts: list[str], windows: list[Tensor]) -> list[str]:
        """Each placeholder repeated as often as its audio has tokens."""
        counts = iter([self.window_tokens.of_audio(lengths) for lengths in windows])
        return [
            "".join(piece if piece != AUDIO_TOKEN else AUDIO_TOKEN * next(counts) for piece in _pieces(text))
            for text in texts
        ]

    def apply_chat_template(
        self,
        conversation: Sequence[dict] | Sequence[Sequence[dict]],
        chat_template: str | None = None,
        tools: list | None = None,
        documents: list[dict] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        return_assistant_tokens_mask: bool = False,
        tokenize: bool = False,
        return_tensors: str | None = "pt",
        return_dict: bool = True,
        load_audio_from_video: bool = False,
        processor_kwargs: dict | None = None,
        transcript: Spoken | Sequence[Spoken] = AUTO,
        cues: Sequence[Levels | None] | str | None = None,
        **kwargs: Any,
    ) -> str | list[str] | BatchFeature | Tensor:
        """A conversation, or several, as the LLM's template writes it. Arguments are transformers' own.

        Args:
            conversation: messages with role and content, which is text or a list of parts: {"type": "text", "text"},
                {"type": "audio", "audio" | "path" | "url"}, or OpenAI's "input_audio" and "audio_url"; an array has
                "sampling_rate" beside it. A developer's message is a system message.
            tools, documents: where the LLM's template has a place for them.
            add_generation_prompt: end with the header of the assistant's answer.
            continue_final_message: end inside the last message.
            return_assistant_tokens_mask: also `assistant_masks` (B, L), 1 for the assistant's tokens; the template has to
                mark them ({% generation %}).
            tokenize: also read the audio and tokenize, as `__call__` does.
            return_dict: False gives `input_ids` only.
            load_audio_from_video: has to be False, there are no videos.
            processor_kwargs: of `__call__`.
            transcript: the words of the audio, which then stand behind it in the prompt: text, `Words` or `NoWords`, or a list of
                them, one for each audio of all conversations; None leaves them out. "auto": what `listener` writes down, where the
                model has learned to read transcripts and `tokenize` reads the audio.
            cues: the acoustic cues of each audio, which then stand behind it and its words: the levels of the six cues, in a list of
                one for each audio; "auto": measured (`cue_reader`), which needs `tokenize`, opensmile and a model that has
                learned to read them.
            kwargs: of `__call__` too (`sampling_rate`, `max_length`, ...), or variables of the template
                (`enable_thinking=False` is the default here).

        Raises:
            FASError: `<|audio|>` typed as text, parts of another type, an audio part without audio, and every option that
                is not known or would do nothing.
        """
        if load_audio_from_video:
            raise FASError("load_audio_from_video: this model reads text and audio; give audio parts")
        is_batch = (
            isinstance(conversation, list | tuple) and bool(conversation) and isinstance(conversation[0], list | tuple)
        )
        conversations = cast(list[Sequence[Mapping]], list(conversation) if is_batch else [conversation])
        for messages in conversations:
            check_messages(messages)
        template = self.chat_template if chat_template is None else audio_chat_template(chat_template)
        check_used(template, tools=tools, documents=documents)
        variables, options = split_variables(kwargs, template)
        options = {"return_tensors": return_tensors} | merge_options(options, processor_kwargs)
        audios = [source for messages in conversations for source in message_audios(messages)] if tokenize else []
        listener = self.listener if transcript == AUTO and self.transcripts else None
        measures = cues == CUES_AUTO
        if audios and (listener or measures):
            audios = self.load_audios(audios, options.pop("sampling_rate", None), options.get("limits", AudioLimits()))
            samples = [audio.samples for audio in audios]
            transcript = listener(samples) if listener else transcript
            cues = self.cue_reader(samples) if measures else cues
        if measures and not tokenize:
            raise FASError(
                "cues: 'auto' without tokenize=True: no audio is read; expected the levels of each audio, or None"
            )
        if cues is not None and cues != CUES_AUTO:  # without an audio nothing is measured
            told = given_cues(cues, conversations)
            conversations = [with_cues(messages, told) for messages in conversations]
        if not isinstance(transcript, str) or transcript != AUTO:
            conversations = _with_words(conversations, transcript)
        render = partial(
            self.tokenizer.apply_chat_template, chat_template=template, tools=tools, documents=documents,
            add_generation_prompt=add_generation_prompt, continue_final_message=continue_final_message, **variables,
        )  # fmt: skip
        if return_assistant_tokens_mask:
            check_mask(template, tokenize and return_dict, continue_final_message, options)
        try:
            texts = [render(messages, tokenize=False) for messages in conversations]
        except (TemplateError, TypeError, ValueError) as error:
            raise FASError(f"chat template: {without_text(error)}") from error
        if not tokenize:
            return texts if is_batch else texts[0]
        inputs = self(text=texts, audio=audios, **options)
        if return_assistant_tokens_mask:
            self._mask_assistant(inputs, [render(m, **AS_MASK) for m in conversations], options["return_tensors"])
        return inputs if return_dict else inputs["input_ids"]

    def _mask_assistant(self, inputs: BatchFeature, encodings: Sequence, return_tensors: str | None) -> None:
        """Adds `assistant_masks`, from those of the texts with one placeholder for each audio."""
        counts = iter([self.window_tokens.of_audio(lengths) for lengths in inputs.get("audio_window_lengths", [])])
        rows = [
            place_mask(
                expand_mask(e["input_ids"], e["assistant_masks"], self.audio_token_id, counts), is_text,
                self.tokenizer.truncation_side,
            )
            for e, is_text in zip(encodings, inputs["attention_mask"], strict=True)
        ]  # fmt: skip
        convert: dict[str | None, Callable[[list], Any]] = {"pt": torch.tensor, "np": np.array, None: list}
        inputs["assistant_masks"] = convert[return_tensors](rows)

    def batch_decode(self, *args: Any, **kwargs: Any) -> list[str]:
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> str:
        return self.tokenizer.decode(*args, **kwargs)

    @cached_property
    def cue_reader(self) -> CueReader:
        """Measures the acoustic cues of clips, by the statistics that the model was trained with.

        Raises:
            FASError: a model that has not learned to read cues.
        """
        if not self.cues:
            raise FASError(
                "cues: this model has not learned to read them; expected one trained with --cues true, or cues=None"
            )
        return CueReader(Statistics.from_dict(self.cues, "processor_config.json: cues"))

    @cached_property
    def _windows(self) -> WindowMels:
        return WindowMels(self.num_mel_bins, self.window_frames, self.padding, self.front_end)

    def to_dict(self) -> dict:
        values = super().to_dict()
        return {key: value for key, value in values.items() if key not in OF_THIS_PROCESS}


def add_audio_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Adds `<|audio|>` where it is missing, pads on the left; the id of the token."""
    if AUDIO_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(AUDIO_TOKEN, special=True, normalized=False)], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)


def _with_words(conversations: list, transcript: Spoken | Sequence[Spoken]) -> list:
    """Conversations with the words of each audio behind it."""
    audios = sum(
        part.get("type") in AUDIO_PARTS for messages in conversations for m in messages for part in message_parts(m)
    )
    spoken = iter(given_words(transcript, audios))
    return [with_transcripts(messages, spoken) for messages in conversations]


def _defaults(kwargs: dict) -> dict:
    return {"add_special_tokens": False, "padding_side": "left"} | kwargs  # the template wrote the special tokens


def _pieces(text: str) -> list[str]:
    """The text cut at its placeholders, with them."""
    first, *rest = text.split(AUDIO_TOKEN)
    return [first, *(piece for tail in rest for piece in (AUDIO_TOKEN, tail))]
