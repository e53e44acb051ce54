"""What the semantic head learns: labels of the words that a corpus has, and what a text model reads in the clips' texts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from fas_core.discriminant import Discriminant
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import FASError
from fas_core.features.cache import FeatureCache
from fas_core.labels import EMOTIONS
from fas_core.training.arguments import DataArguments
from fas_core.training.clips import UNKNOWN, Clips, label_indices, one_hot
from fas_core.words.finding import find_reader
from fas_core.words.kept_transcripts import KeptTranscripts
from fas_core.words.text_model import SHIPPED, TextModel
from fas_core.words.transcript import Transcript
from fas_core.words.types import LANGUAGE

log = logging.getLogger(__name__)
LABEL, TEXT, TRANSCRIPT, NO_TEXT = "label", "text", "transcript", "no text"
LEARNED = (LABEL, TEXT, TRANSCRIPT)
PENALTY = 1e-2  # of the semantic head; chosen on validation voices and sentences of the synthetic corpus
MOST_ALIKE = 0.95  # of the clips with words; where more of them carry one emotion, a head learns to say that one

Transcribe = Callable[[Mapping[str, str]], dict[str, Transcript]]


class WordsTeacher:
    """Probabilities of the words of clips: 1 for a label, else what a text model says of the text.

    A text in a language that the model does not read teaches nothing, and neither does one whose language nobody names.

    Args:
        text_model: `TextModel`, or what is called as it and has its `languages`.
        transcribe: files, digest -> path, to transcripts by digest; None: only texts of the corpora are read.
    """

    def __init__(self, text_model: TextModel, transcribe: Transcribe | None = None):
        self.text_model, self.transcribe = text_model, transcribe

    def __call__(self, rows: Sequence[Mapping], digests: Sequence[str]) -> tuple[np.ndarray, Counter]:
        """Probabilities (N, 7) of each clip's words, a row of zeros where unknown; and from what they are, or why there are none.

        Args:
            rows: with `audio`, `text`, `language`, `semantic_emotion` (None where the corpus does not say). digests: of the audio.
        """
        targets = one_hot(label_indices(row["semantic_emotion"] for row in rows))
        heard = self._heard(rows, digests)
        texts, sources = zip(*map(self._text, rows, map(heard.get, digests)), strict=True) if rows else ((), ())
        read = [i for i, text in enumerate(texts) if text]
        wanted = list(dict.fromkeys(texts[i] for i in read))  # acted corpora say few sentences often
        said = dict(zip(wanted, self.text_model(wanted), strict=True)) if wanted else {}
        for i in read:
            targets[i] = said[texts[i]]
        return targets, Counter(sources)

    def _heard(self, rows: Sequence[Mapping], digests: Sequence[str]) -> dict[str, Transcript]:
        if self.transcribe is None:
            return {}
        silent = [i for i, row in enumerate(rows) if self._text(row, None)[1] == NO_TEXT]
        return self.transcribe({digests[i]: rows[i]["audio"] for i in silent})

    def _text(self, row: Mapping, transcript: Transcript | None) -> tuple[str | None, str]:
        """What is read of a clip, and from what that is, or why it is nothing."""
        if row["semantic_emotion"] is not None:
            return None, LABEL
        known = row["language"] in self.text_model.languages
        if row["language"] is not None and not known:
            return None, f"{LANGUAGE}{row['language']}"
        if row["text"]:
            return (row["text"], TEXT) if known else (None, f"{LANGUAGE}unknown")
        if transcript is None or transcript.unclear:
            return None, NO_TEXT if transcript is None else transcript.unclear
        known = transcript.language in self.text_model.languages
        return (transcript.text, TRANSCRIPT) if known else (None, f"{LANGUAGE}{transcript.language}")


def find_teacher(
    data: DataArguments,
    extractor: FeatureExtractor,
    streams: dict,
    cache: FeatureCache,
    process: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = lambda: None,
) -> WordsTeacher | None:
    """The teacher that `--words_from` asks for; None where labels are all that is learned.

    Args:
        streams: of the encoders. cache: of the extractor's features. process, wait: as of `KeptTranscripts`.

    Raises:
        CheckpointError: no text model. FASError: transcripts are asked for, and no encoder can give them.
    """
    if data.words_from == "none":
        return None
    if data.words_from == "corpus":
        return WordsTeacher(TextModel.from_pretrained(data.words_model or SHIPPED))
    reader, why = find_reader(extractor, streams, data.words_model)
    if reader is None:
        raise FASError(
            f"--words_from transcript: no transcripts, because {why}; expected corpus or none, or another --encoder"
        )
    return WordsTeacher(reader.text_model, KeptTranscripts(cache.path, extractor, reader.transcriber, process, wait))


def fit_words_head(statistics: np.ndarray, targets: np.ndarray, penalty: float = PENALTY) -> Discriminant:
    """Multinomial logistic regression on soft targets, penalised by its squared weights, at its optimum.

    Args:
        statistics: (N, F), standardised. targets: (N, 7) probabilities.
    """
    x, y = torch.from_numpy(np.asarray(statistics, np.float32)), torch.from_numpy(np.asarray(targets, np.float32))
    weight = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight.T + bias, y) + penalty * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return Discriminant(weight.detach().numpy(), bias.detach().numpy())


def why_untrained(clips: Clips) -> str | None:
    """Why a semantic head cannot learn words from these clips; None where it can."""
    labels = clips.semantic_labels[clips.semantic_labels != UNKNOWN]
    if not len(labels):
        return "nothing says what emotion the words of a training clip carry"
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    if counts.max() > MOST_ALIKE * len(labels):
        return f"the words of {counts.max()} of {len(labels)} training clips carry one emotion, {EMOTIONS[counts.argmax()]}"
    return None


def tell_untrained(why: str) -> None:
    """As loud as a log is."""
    log.warning(
        "The semantic head is not trained, and is left out of the checkpoint: %s. What words say by themselves, and whether they "
        "contradict the tone, is then not learned by FAS; --words_from corpus or transcript, and --words_corpora whose words vary, "
        "teach it",
        why,
    )
