"""From frames to words: a transcript, and what a text model reads in it; or why there are none."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from fas_core.words.prompts import ENGLISH
from fas_core.words.transcriber import Transcriber
from fas_core.words.transcript import Transcript
from fas_core.words.types import LANGUAGE, NoWords, Words


class TextModel(Protocol):
    """What reads texts.

    Attributes:
        languages: codes of the languages that it reads, "en".
    """

    languages: Collection[str]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """N texts -> (N, 7) calibrated probabilities in the order of `EMOTIONS`."""


class WordsReader:
    """Transcripts by Whisper, read by a text model.

    Args:
        transcriber: its `languages` should be those of the text model, so that what this reads is not translated.
        text_model: a callable as `TextModel`.
    """

    def __init__(self, transcriber: Transcriber, text_model: TextModel):
        self.transcriber, self.text_model = transcriber, text_model

    def __call__(self, clips: Sequence[Tensor]) -> list[Words | NoWords]:
        """(T, D) frames of the Whisper's last layer of each clip -> its words, or why there are none."""
        return self.read(self.transcriber(clips))

    def read(self, transcripts: Sequence[Transcript]) -> list[Words | NoWords]:
        """The words of transcripts that are there."""
        texts = [self._readable(each) for each in transcripts]
        known = [text for text in texts if text]
        rows = iter(self.text_model(known) if known else ())
        return [
            Words.read(each.text, each.language, each.confidence, next(rows))
            if text
            else NoWords(each.unclear or f"{LANGUAGE}{each.language}")
            for each, text in zip(transcripts, texts, strict=True)
        ]

    def _readable(self, transcript: Transcript) -> str | None:
        """The text in a language of the text model."""
        if transcript.unclear:
            return None
        if transcript.language in self.text_model.languages:
            return transcript.text
        return transcript.english if ENGLISH in self.text_model.languages else None
