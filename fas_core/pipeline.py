"""From audio files to answers: `EmotionPipeline.from_pretrained(DIR)("a.wav")`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from fas_core.answers import Answer
from fas_core.audio import SAMPLE_RATE, Audio, AudioLimits, stream_audio
from fas_core.audio_forms import AudioSource, is_stream
from fas_core.channels import EACH, checked_channels, reopenable
from fas_core.checkpoint import find_device, learned_from, load_model, local_streams, read_record
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import AudioError, FASError
from fas_core.hearing import Hearer
from fas_core.hub import find_directory
from fas_core.model_files import reads_checkpoint
from fas_core.pipeline_calls import GroupOptions, Options, Scores, is_list, most_probable, opened
from fas_core.shipped import find_shipped
from fas_core.speech import THRESHOLD
from fas_core.summaries import summarise
from fas_core.windows import check_windows, cut
from fas_core.words.finding import find_reader

if TYPE_CHECKING:
    from typing_extensions import Unpack  # of typing itself from Python 3.11 on

LONG_SECONDS = 60.0  # longer clips are answered window by window and averaged, so that memory stays bounded
WINDOW_SECONDS = 30.0
WINDOWS_AT_ONCE = 8


class EmotionPipeline(Hearer):
    """Audio in; the emotion of the voice, what was said, what tone and words say by themselves, and their conflict out.

    Arguments and errors are those of `fas_core.hearing.Hearer`; most callers want `from_pretrained`.
    """

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path | None = None,
        *,
        device: str | torch.device | None = None,
        revision: str | None = None,
        speech_threshold: float = THRESHOLD,
        words: bool = True,
        words_model: str | None = None,
        unsure_below: float | None = None,
        label_sets: float | None = None,
    ) -> EmotionPipeline:
        """Load a checkpoint directory (or hub id) and the encoders that it names.

        By default the shipped one: "base" where its weights are installed, else "tiny.en" (`fas_core.shipped`); either can be named.

        Words are written down by the checkpoint's own Whisper, of the encoder pass that the tone needs; where that cannot be
        `words_missing` is "off", and `describe()` says why.

        An encoder that the checkpoint names by its hub id has to be in the hub's cache (`hf download ID`): what a file
        names is not fetched.

        Args:
            words: False leaves them out.
            words_model: directory or hub id of another text model (`TextModel.from_pretrained`).
            speech_threshold, unsure_below, label_sets: as of the class.

        Raises:
            CheckpointError: when there is no FAS checkpoint, or weights of it are missing; a text model that cannot be loaded.
            FASError: a device that is not there, a threshold that is no probability.
            IdentityMismatchError: when the encoders' weights differ from those of the training.
        """
        device, checkpoint = find_device(device), find_shipped(checkpoint)
        name, checkpoint = Path(checkpoint).name, find_directory(checkpoint, revision)
        model = load_model(checkpoint)
        config = checkpoint / "config.json"
        with reads_checkpoint(config, "encoders as `train/fas.py` writes them"):
            streams = local_streams(model.config.streams, config)
            extractor = FeatureExtractor.from_config(streams, device=device)
        pipeline = cls(
            model.to(device), extractor, name, speech_threshold=speech_threshold, unsure_below=unsure_below,
            label_sets=label_sets,
        )  # fmt: skip
        pipeline.training, pipeline.directory = read_record(checkpoint), checkpoint
        if words:
            pipeline.read_words(streams, words_model)
        return pipeline

    def save_pretrained(self, directory: str | Path) -> None:
        """Write what `from_pretrained`, and transformers' Auto classes, read: model, feature extractor, record, card."""
        from fas_core.publishing import save

        save(self, directory)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Put the same into a repository of the hub; arguments, result and errors are those of `fas_core.publishing.push`."""
        from fas_core.publishing import push

        return push(self, repo_id, **options)

    def read_words(self, streams: dict, text_model: str | None = None) -> None:
        """From now on answers have words, where the encoders can give them; `find_reader` says what that takes."""
        self.words_reader, self.no_words = find_reader(self.extractor, streams, text_model)

    def describe(self) -> dict:
        """What this is, JSON-ready: name, encoders, training corpora, fold, temperature, commit; why it has no words."""
        corpora, fold = learned_from(self.training)
        return dict(
            name=self.name,
            training_corpora=list(corpora),
            fold=fold,
            encoders=self.extractor.identity(),
            parameters=self.model.num_parameters(),
            temperature=self.model.config.temperature,
            no_words=self.no_words,
            trained_at_commit=(self.training.get("provenance") or {}).get("commit"),
        )

    @overload
    def __call__(
        self, sources: list[Any], *, channels: int | str = "mix", top_k: None = None, **options: Unpack[Options]
    ) -> list[Answer]: ...
    @overload
    def __call__(
        self,
        sources: Generator[Any, Any, Any],
        *,
        channels: int | str = "mix",
        top_k: None = None,
        **options: Unpack[Options],
    ) -> Iterator[Answer]: ...
    @overload
    def __call__(
        self, sources: AudioSource, *, channels: Literal["each"], top_k: None = None, **options: Unpack[Options]
    ) -> list[Answer]: ...
    @overload
    def __call__(
        self,
        sources: AudioSource,
        *,
        channels: Literal["mix"] | int = "mix",
        top_k: None = None,
        **options: Unpack[Options],
    ) -> Answer: ...
    @overload
    def __call__(
        self, sources: Any, *, top_k: int, channels: int | str = "mix", **options: Unpack[Options]
    ) -> Scores | list[Scores] | Iterator[Scores]: ...

    def __call__(
        self,
        sources: Any,
        *,
        channels: int | str = "mix",
        top_k: int | None = None,
        **options: Unpack[Options],
    ) -> Answer | list[Answer] | Iterator[Answer] | Scores | list[Scores] | Iterator[Scores]:
        """Answer one source, a list of them, or a generator of them, whose answers come as they are asked for.

        A source is a path, bytes, a file object, an array with `sampling_rate`, (array, rate), or a dictionary of "array" (or
        "raw") and "sampling_rate", as datasets and transformers' pipelines have it. One source that cannot be used raises
        `AudioError`; among others it is an answer with `error` set, in its place.

        Args:
            channels: "mix" answers the mean over channels; a number, from 1, that channel; "each" every channel, so that one
                source gives a list of answers, too: the two people of a call are often recorded on a channel each.
                `answer.audio` says which it was.
            top_k: in the place of an answer, a list of the k most probable emotions with their scores, as transformers'
                pipeline gives it; a source that cannot be used raises then.
            options: `sampling_rate` (Hz, of arrays), `limits`, `batch_seconds` (audio that is held at once) and
                `batch_size` (sources that are answered at once; None: as many as `batch_seconds` holds).

        Raises:
            FASError: other channels, a `top_k` or `batch_size` below 1.
        """
        many = sources if is_list(sources) or is_stream(sources) else [sources]
        answers = self.stream(many, channels=channels, **options)
        if top_k is not None:
            scores = (most_probable(answer, top_k) for answer in answers)
            return (
                scores if is_stream(sources) else list(scores) if many is sources or channels == EACH else next(scores)
            )
        if is_stream(sources):
            return answers
        found = list(answers)
        if many is sources:
            return found
        if found[0].exception is not None:
            raise found[0].exception
        return found if channels == EACH else found[0]

    def stream(self, sources: Iterable[AudioSource], **options: Unpack[GroupOptions]) -> Iterator[Answer]:
        """Answers in the order of the sources, as `groups`, whose options it takes."""
        for group in self.groups(sources, **options):
            yield from group

    def groups(
        self,
        sources: Iterable[AudioSource],
        *,
        sampling_rate: int | None = None,
        limits: AudioLimits = AudioLimits(),
        channels: int | str = "mix",
        batch_seconds: float = 300.0,
        batch_size: int | None = None,
        on_window: Callable[[Answer], None] = lambda answer: None,
    ) -> Iterator[list[Answer]]:
        """The answers to one source after the other: one, or with channels "each" one a channel.

        At most `batch_seconds` of audio, and `batch_size` sources, are held; batches go by length.

        Args:
            on_window: called with the answer to each window of a long clip as it comes, to show that work goes on.
        """
        channels = checked_channels(channels)
        if batch_size is not None and batch_size < 1:
            raise FASError(f"batch_size {batch_size}: expected a number of sources, 1 or more")
        held: list[list[Audio | Answer]] = []
        seconds = 0.0
        for source in sources:
            held.append(self._load(source, channels, sampling_rate, limits, on_window))
            seconds += sum(each.duration for each in held[-1] if isinstance(each, Audio))
            if seconds >= batch_seconds or len(held) == batch_size:
                yield from self._answer_groups(held)
                held, seconds = [], 0.0
        yield from self._answer_groups(held)

    def _load(
        self,
        source: AudioSource,
        channels: int | str,
        sampling_rate: int | None,
        limits: AudioLimits,
        on_window: Callable[[Answer], None],
    ) -> list[Audio | Answer]:
        """The audio of each channel that is asked for, or its answer already: an error, or that of a long clip."""
        try:
            source, sampling_rate = opened(source, sampling_rate)
            if channels != EACH:
                return [self._load_channel(source, channels, sampling_rate, limits, on_window)]
            source = reopenable(source, limits)
            first = self._load_channel(source, 1, sampling_rate, limits, on_window)
            count = first.original_channels if isinstance(first, Audio) else first.audio.channels
            others = range(2, (count or 1) + 1)
            return [first, *(self._load_channel(source, n, sampling_rate, limits, on_window) for n in others)]
        except AudioError as error:
            return [Answer(file=error.source, error=str(error), exception=error)]

    def _load_channel(
        self,
        source: Any,
        channel: int | str,
        sampling_rate: int | None,
        limits: AudioLimits,
        on_window: Callable[[Answer], None],
    ) -> Audio | Answer:
        """A long clip is answered window by window, so that it is never held whole."""
        size = max(WINDOW_SECONDS, limits.min_seconds)
        blocks = stream_audio(source, block_seconds=size, sampling_rate=sampling_rate, limits=limits, channel=channel)
        first = list(islice(blocks, 3))
        if sum(block.duration for block in first) <= LONG_SECONDS:
            samples = np.concatenate([block.samples for block in first])
            duration = len(samples) / SAMPLE_RATE
            return replace(first[0], samples=samples, duration=duration, is_silent=all(b.is_silent for b in first))
        windows = []
        for window in self._windows(chain(first, blocks), WINDOW_SECONDS, WINDOW_SECONDS, WINDOWS_AT_ONCE):
            windows.append(window)
            on_window(window)
        return summarise(windows)

    def _answer_groups(self, held: list[list[Audio | Answer]]) -> Iterator[list[Answer]]:
        answers = iter(self.answer_clips([each for group in held for each in group]))
        return (list(islice(answers, len(group))) for group in held)

    def timeline(
        self,
        source: AudioSource,
        *,
        window: float = 4.0,
        hop: float = 2.0,
        sampling_rate: int | None = None,
        limits: AudioLimits = AudioLimits(),
        channels: int | str = "mix",
        batch: int = 32,
    ) -> Iterator[Answer]:
        """Answers to windows of long audio, with `start` and `end` in seconds; the file is never held whole.

        Args:
            window, hop: seconds; the last window holds what is left.
            channels: as of `__call__`; "each" answers a window of every channel before the next window.

        Raises:
            FASError: windows that leave audio out, or are shorter than 25 ms; other channels.
            AudioError: as `load_audio`, when iterated.
        """
        check_windows(window, hop)
        source, sampling_rate = opened(source, sampling_rate)
        return self._timeline(source, window, hop, sampling_rate, limits, checked_channels(channels), batch)

    def _timeline(
        self, source: Any, window: float, hop: float, sampling_rate: int | None, limits: AudioLimits, channels: int | str,
        batch: int,
    ) -> Iterator[Answer]:  # fmt: skip
        def answers(channel: int | str) -> Iterator[Answer]:
            blocks = stream_audio(source, sampling_rate=sampling_rate, limits=limits, channel=channel)
            return self._windows(blocks, window, hop, batch)

        if channels != EACH:
            yield from answers(channels)
            return
        source = reopenable(source, limits)
        first = answers(1)
        start = next(first)
        others = [answers(number) for number in range(2, (start.audio.channels or 1) + 1)]
        for group in zip(chain([start], first), *others, strict=True):
            yield from group

    def _windows(self, blocks: Iterable[Audio], window: float, hop: float, batch: int) -> Iterator[Answer]:
        """Answers to windows, `batch` of them at once, their times counted in the whole."""
        windows = cut(blocks, window, hop)
        while held := list(islice(windows, batch)):
            for (start, end, _), result in zip(held, self.answer_clips([a for _, _, a in held]), strict=True):
                yield result.at(start, end)
