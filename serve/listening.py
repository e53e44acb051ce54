"""FAS over batches of clips and, where asked, the frames for the words from the same encoder pass."""

from dataclasses import dataclass

from torch import Tensor

from fas_core.answers import Answer, no_speech
from fas_core.audio import Audio
from fas_core.pipeline import EmotionPipeline


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
    """

    answer: Answer
    frames: Tensor | None = None


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
        if spoken:
            found = self._spoken([questions[i] for i in spoken], [speech[i] for i in spoken])
            heard = [found.pop(0) if i in spoken else each for i, each in enumerate(heard)]
        return heard

    def _spoken(self, questions: list[Question], speech: list[float | None]) -> list[Heard]:
        extractor, audios = self.pipeline.extractor, [q.audio for q in questions]
        samples = [audio.samples for audio in audios]
        if not any(q.words for q in questions):
            return [Heard(a) for a in self.pipeline.answer_features(extractor(samples), audios, speech)]
        features, frames = extractor.with_frames(samples)
        answers = self.pipeline.answer_features(features, audios, speech)
        return [Heard(a, f if q.words else None) for a, f, q in zip(answers, frames, questions, strict=True)]
