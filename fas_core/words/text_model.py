"""What words say: seven calibrated probabilities of a text, `TextModel.from_pretrained()(["I won!"])`.

The shipped model is linear and reads on numpy alone; any sequence classifier of transformers whose labels have a place among the
seven can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from fas_core.errors import CheckpointError, FASError
from fas_core.hub import find_directory
from fas_core.labels import EMOTIONS, map_text_label
from fas_core.model_files import check_model_files, read_object, reads_checkpoint
from fas_core.words import ngrams, small_bert

SHIPPED = Path(__file__).parent / "pretrained"  # trained by `python -m fas_core.words.train`, see its README.md
AT_ONCE = 32  # texts that a classifier of transformers reads together
AT_ONCE_ON_A_GPU = 512
MOST_TOKENS = 512
OWN = {ngrams.KIND: ngrams.NgramModel, small_bert.KIND: small_bert.SmallBert}


class TextModel:
    """Texts in, probabilities of `EMOTIONS` out.

    Args:
        read: N texts -> (N, 7) probabilities. languages: codes of the languages that it reads. name: for people.

    Attributes:
        languages: what is spoken in another language has to be translated before.
    """

    def __init__(self, read: Callable[[Sequence[str]], np.ndarray], languages: Sequence[str], name: str):
        self._read, self.languages, self.name = read, tuple(languages), name

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """N texts -> (N, 7) calibrated probabilities in the order of `EMOTIONS`, each row by itself (to within rounding), in float64.

        A text in which nothing is known, such as an empty one, is neutral: words that say nothing carry no emotion.
        """
        if isinstance(texts, str):
            raise FASError("texts: one text; expected a list of texts")
        texts = list(texts)
        return np.asarray(self._read(texts), dtype=np.float64) if texts else np.empty((0, len(EMOTIONS)))

    def __repr__(self) -> str:
        return f"TextModel({self.name}: texts in {', '.join(self.languages)} -> {', '.join(EMOTIONS)})"

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SHIPPED,
        *,
        revision: str | None = None,
        languages: Sequence[str] = ("en",),
        device: str | None = None,
    ) -> TextModel:
        """The shipped model, a directory that `fas_core.words.train` wrote, or a sequence classifier of transformers.

        Args:
            source: directory or hub id. revision: of a hub id.
            languages: of a classifier of transformers, which does not say what it reads; our own models do.
            device: of a transformer; n-grams have no use for one.

        Raises:
            CheckpointError: no such model, damaged or missing weights, files that ask for what no model needs, or a label that has
                no place among the seven; the message names it.
        """
        directory = find_directory(source, revision)
        if not (directory / "config.json").is_file():
            raise CheckpointError(
                f"{source}: no text model, config.json is missing; expected a directory or hub id with one"
            )
        name = "shipped" if directory == SHIPPED else directory.name
        own = OWN.get(str(read_object(directory / "config.json").get("kind")))
        if own:
            model = own.load(directory)
            if device and own is small_bert.SmallBert:
                model.to(device)
            return cls(lambda texts: softmax(model.logits(texts), axis=1), model.languages, name)
        return cls(_Classifier(directory, device), languages, name)


class _Classifier:
    """A sequence classifier of transformers, its labels grouped into the seven.

    Softmax over its labels, or a sigmoid of each where it says that a text may have several; the labels of a group are added, and
    the sum made 1. What is longer than the model reads is cut.
    """

    def __init__(self, directory: Path, device: str | None):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        check_model_files(directory)
        self.groups = _groups(directory, read_object(directory / "config.json").get("id2label"))
        with reads_checkpoint(directory, "a sequence classifier of transformers with its tokenizer and safetensors"):
            self.tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                directory, use_safetensors=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
        if missing := sorted(report["missing_keys"]):  # transformers would go on with random values
            raise CheckpointError(
                f"{directory}: its weights lack {missing[0]}; expected a sequence classifier of transformers"
            )
        if model.config.num_labels != len(self.groups):
            raise CheckpointError(
                f"{directory}/config.json: {model.config.num_labels} outputs, {len(self.groups)} in id2label"
            )
        self.model = model.eval().to(device or "cpu")
        self.is_multilabel = model.config.problem_type == "multi_label_classification"
        positions = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
        # RoBERTa counts positions from behind its padding token
        self.limit = min(
            MOST_TOKENS, positions - (2 if "roberta" in model.config.model_type else 0), self.tokenizer.model_max_length
        )

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        order = np.argsort([len(text) for text in texts], kind="stable")  # so that little is padded
        rows = np.empty((len(texts), len(self.groups)))
        at_once = AT_ONCE if self.model.device.type == "cpu" else AT_ONCE_ON_A_GPU
        for start in range(0, len(texts), at_once):
            places = order[start : start + at_once]
            rows[places] = self._read([texts[place] for place in places])
        sums = rows @ self.groups
        sums = sums / sums.sum(1, keepdims=True)
        empty = [not text.strip() for text in texts]
        sums[empty] = np.eye(len(EMOTIONS))[EMOTIONS.index("neutral")]
        return sums

    def _read(self, texts: list[str]) -> np.ndarray:
        import torch

        inputs = self.tokenizer(texts, truncation=True, max_length=self.limit, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.model.device)).logits.double().cpu().numpy()
        return expit(logits) if self.is_multilabel else softmax(logits, axis=1)


def _groups(directory: Path, names) -> np.ndarray:
    """(labels, 7) ones where a label belongs to an emotion."""
    if not isinstance(names, dict) or not names or not set(names) == {str(i) for i in range(len(names))}:
        raise CheckpointError(f"{directory}/config.json: id2label {names!r}; expected an object: number to label")
    groups = np.zeros((len(names), len(EMOTIONS)))
    for number, name in names.items():
        try:
            groups[int(number), EMOTIONS.index(map_text_label(name))] = 1
        except FASError as error:
            raise CheckpointError(f"{directory}/config.json: id2label: {error}") from None
    return groups
