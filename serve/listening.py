"""FAS over batches of clips and, where asked, the words from the same encoder pass."""

from dataclasses import dataclass
from pathlib import Path

from fas_core.answers import Answer, no_speech
from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.checkpoint import local_streams
from fas_core.encoders.whisper import LAST, WhisperEncoder
from fas_core.errors import CheckpointError
from fas_core.pipeline import EmotionPipeline
from serve.transcripts import Transcriber


@dataclass
class Question:
    """A clip, and whether its words are wanted."""

    audio: Audio
    transcript: bool = False


@dataclass
class Heard:
    """FAS's answer; the transcript where it was asked for."""

    answer: Answer
    transcript: str | None = None


class Listener:
    """Answers lists of questions, none longer than `LONG_SECONDS`; to be called by one thread at a time.

    Args:
        pipeline: FAS with its encoders.
        transcriber: None where there is no decoder for the words.
    """

    def __init__(self, pipeline: EmotionPipeline, transcriber: Transcriber | None = None):
        self.pipeline, self.transcriber = pipeline, transcriber

    def __call__(self, questions: list[Question]) -> list[Heard]:
        wordy = [i for i, q in enumerate(questions) if q.transcript]
        rest = [i for i, q in enumerate(questions) if not q.transcript]
        heard: dict[int, Heard] = {}
        for indices, work in ((wordy, self._with_words), (rest, self._plain)):
            if indices:
                heard |= zip(indices, work([questions[i] for i in indices]), strict=True)
        return [heard[i] for i in range(len(questions))]

    def _plain(self, questions: list[Question]) -> list[Heard]:
        answers = self.pipeline([q.audio.samples for q in questions], sampling_rate=SAMPLE_RATE)
        for answer in answers:
            if answer.exception is not None:
                raise answer.exception
        return [Heard(_named(answer, q.audio)) for answer, q in zip(answers, questions, strict=True)]

    def _with_words(self, questions: list[Question]) -> list[Heard]:
        """Where nobody speaks Whisper is not asked: it would make words up."""
        speech = [self.pipeline.speech(q.audio) for q in questions]
        spoken = [i for i, share in enumerate(speech) if share != 0]
        heard = [Heard(no_speech(q.audio), "") for q in questions]
        for i, answer in zip(
            spoken, self._spoken([questions[i] for i in spoken], [speech[i] for i in spoken]), strict=True
        ):
            heard[i] = answer
        return heard

    def _spoken(self, questions: list[Question], speech: list[float | None]) -> list[Heard]:
        extractor = self.pipeline.extractor
        prepared = [extractor.front_end(q.audio.samples) for q in questions]
        heard: list[Heard | None] = [None] * len(questions)
        for batch in extractor.batches(prepared):
            features, frames = extractor.encode_with_frames([prepared[i] for i in batch])
            clips, shares = [questions[i].audio for i in batch], [speech[i] for i in batch]
            answers = self.pipeline.answer_features(features, clips, shares)
            texts = self.transcriber([frames.clip(row) for row in range(len(batch))])
            for index, answer, text in zip(batch, answers, texts, strict=True):
                heard[index] = Heard(answer, text)
        return heard


def _named(answer: Answer, audio: Audio) -> Answer:
    """FAS was given samples at 16 kHz; the answer tells of the audio as it came."""
    answer.audio |= audio.info()
    return answer


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
