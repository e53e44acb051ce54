"""What reads a transcript: a sequence classifier whose labels have a place among the seven emotions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.errors import CheckpointError, first_line
from fas_core.hub import find_directory
from fas_core.labels import EMOTIONS
from fas_core.model_files import check_model_files
from fas_core.words.reader import TextModel

AT_ONCE = 32  # texts of a batch
# Demszky et al., ACL 2020 (GoEmotions), Ekman's grouping of its 28 labels; and words of like meaning that classifiers use.
MEANINGS = {
    "angry": "anger annoyance disapproval",
    "disgust": "disgusted",
    "fear": "nervousness scared",
    "happy": "joy happiness amusement approval excitement gratitude love optimism relief pride admiration desire caring",
    "neutral": "others",
    "sad": "sadness disappointment embarrassment grief remorse",
    "surprise": "surprised realization confusion curiosity",
}
PLACES = {word: emotion for emotion, words in MEANINGS.items() for word in (emotion, *words.split())}


def load_text_model(source: str | Path | None = None) -> TextModel:
    """A text model.

    Args:
        source: directory or hub id of a sequence classifier for English (`SequenceClassifier`).

    Raises:
        CheckpointError: none is named, and none is shipped; or it cannot be loaded.
    """
    if source is None:
        raise CheckpointError("no text model is shipped, which could read what was said; --words-model takes one")
    return SequenceClassifier(source)


class SequenceClassifier:
    """A classifier of transformers with labels such as "anger", "joy" or GoEmotions' 28; its probabilities are as they come.

    Args:
        source: directory or hub id.

    Raises:
        CheckpointError: it cannot be loaded, or has a label without a place among the seven.
    """

    languages = ("en",)

    def __init__(self, source: str | Path):
        expected = "expected a directory or hub id of a sequence classifier whose labels are emotions (--words-model)"
        directory = find_directory(source)
        try:
            check_model_files(directory)
            self.tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            self.model = AutoModelForSequenceClassification.from_pretrained(
                directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            ).eval()
        except LOADING_ERRORS as error:
            raise CheckpointError(f"{source}: cannot be loaded: {first_line(error)}; {expected}") from error
        labels = [label.strip().lower() for _, label in sorted(self.model.config.id2label.items())]
        if unknown := [label for label in labels if label not in PLACES]:
            raise CheckpointError(f"{source}: id2label: {unknown[0]!r} has no place among {', '.join(EMOTIONS)}; {expected}")
        self._places = torch.tensor([EMOTIONS.index(PLACES[label]) for label in labels])
        self._is_many = self.model.config.problem_type == "multi_label_classification"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """N texts -> (N, 7) probabilities; those of labels of one emotion are added up."""
        rows = []
        for start in range(0, len(texts), AT_ONCE):
            batch = list(texts[start : start + AT_ONCE])
            logits = self.model(**self.tokenizer(batch, padding=True, truncation=True, return_tensors="pt")).logits
            scores = logits.sigmoid() if self._is_many else logits.softmax(-1)
            seven = torch.zeros(len(batch), len(EMOTIONS)).index_add(1, self._places, scores)
            rows.append(seven / seven.sum(1, keepdim=True))
        return torch.cat(rows).numpy() if rows else np.zeros((0, len(EMOTIONS)), np.float32)
