"""FAS over batches of clips and, where asked, the frames for the words from the same encoder pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fas_core.answers import Answer, no_speech
from fas_core.audio import Audio
from fas_core.checkpoint import local_streams
from fas_core.encoders.whisper import LAST, WhisperEncoder
from fas_core.errors import CheckpointError
from fas_core.pipeline import EmotionPipeline
from fas_core.words.transcriber import Transcriber


@dataclass
class Question:
    """A clip, and whether its words are wanted."""

    audio: Audio
    words: bool = False


@dataclass
class Heard:
    """FAS's answer.

    Attributes:
        frames: (T, D) of Whisper's last layer, where words were asked for and somebody speaks.
        transcript: of them, when it is there; "" where the words are unclear.
    """

    answer: Answer
    frames: Tensor | None = None
    transcript: str | None = None


class Listener:
    """Answers lists of questions, none longer than `LONG_SECONDS`; to be called by one thread at a time.

    Where words are wanted the encoder's frames come along, so that Whisper's decoder needs no pass of its own.
    """

    def __init__(self, pipeline: EmotionPipeline):
        self.pipeline = pipeline

    def __call__(self, questions: list[Question]) -> list[Heard]:
        speech = [self.pipeline.speech(q.audio) for q in questions]
        spoken = [i for i, share in enumerate(speech) if share != 0]  # where nobody speaks Whisper makes words up
        heard = [Heard(no_speech(q.audio)) for q in questions]
        for i, each in zip(
            spoken, self._spoken([questions[i] for i in spoken], [speech[i] for i in spoken]), strict=True
        ):
            heard[i] = each
        return heard

    def _spoken(self, questions: list[Question], speech: list[float | None]) -> list[Heard]:
        extractor = self.pipeline.extractor
        prepared = [extractor.front_end(q.audio.samples) for q in questions]
        heard: list[Heard | None] = [None] * len(questions)
        for batch in extractor.batches(prepared):
            features, frames = extractor.encode_with_frames([prepared[i] for i in batch])
            clips, shares = [questions[i].audio for i in batch], [speech[i] for i in batch]
            answers = self.pipeline.answer_features(features, clips, shares)
            for row, (index, answer) in enumerate(zip(batch, answers, strict=True)):
                heard[index] = Heard(answer, frames.clip(row) if questions[index].words else None)
        return heard


def find_transcriber(pipeline: EmotionPipeline, directory: Path | None = None) -> Transcriber | None:
    """A decoder for the words, where the semantic stream is the last layer of a Whisper that has one.

    Args:
        directory: that Whisper; by default the one that the checkpoint names.
    """
    semantic = pipeline.extractor.semantic
    if not isinstance(semantic, WhisperEncoder) or semantic.layers != [LAST]:
        return None
    try:
        named = local_streams(pipeline.model.config.streams, "config.json")["semantic"]["model"]
        return Transcriber(directory or named, semantic.backbone)
    except CheckpointError:
        return None


def clear_texts(transcriber: Transcriber) -> Callable[[Sequence[Tensor]], list[str]]:
    """Frames of clips -> of each what was said, "" where that is unclear."""
    return lambda clips: ["" if each.unclear else each.text for each in transcriber(clips)]
