"""What an adapter says of words and of their conflict with the tone, beside what FAS's tone head and the text model say.

Clips need the emotion of their words (`semantic_emotion`). A conflict is one by `fas_core.conflict`: words that carry an emotion, and
a tone that carries another.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from fas_alm.conversations import Question
from fas_alm.conversations.questions import conflicts
from fas_alm.conversations.reading import read_conflict
from fas_alm.prompts import conflict_probability
from fas_alm.scorer import Scorer
from fas_alm.training.audio import AudioInputs, WindowFeatures
from fas_alm.training.metrics import option_metrics
from fas_alm.transcript import Said, Spoken
from fas_core.calibration import apply_temperature
from fas_core.conflict import conflict
from fas_core.inference import predict_logits
from fas_core.labels import EMOTIONS
from fas_core.words.text_model import TextModel

NEUTRAL = np.eye(len(EMOTIONS))[EMOTIONS.index("neutral")]  # of words that nobody could make out


def asked(rows: Sequence[dict], question: Question) -> list[list[dict]]:
    """The question about each clip, with its words behind the audio where it has "spoken"."""
    return [
        [{"role": "user", "content": question.content({"type": "audio", "path": row["audio"]}, row.get("spoken"))}]
        for row in rows
    ]


def words_and_conflict(
    scorer: Scorer, audio: AudioInputs, rows: list[dict], language: str, free_text: bool, predictions: list[dict]
) -> dict:
    """Figures of the clips whose words have an emotion.

    Args:
        free_text: also let the model write whether the words agree with the tone.
        predictions: of each row, gets the label of the words and the probability of a conflict.

    Returns:
        `words`: as `option_metrics`; `conflict`: as `conflict_metrics` of the letters, with `mass`; with `free_text`
        `conflict_text`: as `written_conflict`. Empty where no clip has an emotion of its words.
    """
    places = [place for place, row in enumerate(rows) if row.get("semantic_emotion")]
    if not places:
        return {}
    rows, predictions = [rows[place] for place in places], [predictions[place] for place in places]
    scores = scorer.options(audio, asked(rows, Question("words", language)))
    labels = np.array([EMOTIONS.index(row["semantic_emotion"]) for row in rows])
    letters = scorer.options(audio, asked(rows, Question("conflict", language)))
    probabilities, mass = np.array([conflict_probability(np.minimum(row, 0)) for row in letters]).T
    truth = np.array([conflicts(row["emotion"], row["semantic_emotion"]) for row in rows])
    for prediction, words, probability in zip(predictions, scores.argmax(1), probabilities, strict=True):
        prediction |= dict(words=EMOTIONS[words], conflict=round(float(probability), 4))
    found = dict(words=option_metrics(scores, labels))
    found["conflict"] = conflict_metrics(probabilities > 0.5, truth, probabilities) | dict(mass=float(mass.mean()))
    if free_text:
        question = Question("agree", language)
        texts = scorer.write(audio, asked(rows, question))
        found["conflict_text"] = written_conflict(question, texts, truth)
        for prediction, text in zip(predictions, texts, strict=True):
            prediction["agree_text"] = text
    return found


def conflict_metrics(said: np.ndarray, truth: np.ndarray, scores: np.ndarray | None = None) -> dict:
    """Of (N,) answers and truth: `accuracy`, `balanced_accuracy` and, of scores, `auroc`; the last two None for clips of one kind."""
    both = 0 < truth.sum() < len(truth)
    found = dict(clips=len(truth), share=float(truth.mean()), accuracy=float((said == truth).mean()))
    found["balanced_accuracy"] = float(balanced_accuracy_score(truth, said)) if both else None
    return found if scores is None else found | dict(auroc=float(roc_auc_score(truth, scores)) if both else None)


def written_conflict(question: Question, texts: Sequence[str], truth: np.ndarray) -> dict:
    """Written answers: those of the form that was taught, those that had to be read, and those that do not say, which are wrong."""
    read = [read_conflict(question, text) for text in texts]
    counts = dict(exact=0, repaired=0, unread=0)
    for answer, looked_for in read:
        counts["unread" if answer is None else "repaired" if looked_for else "exact"] += 1
    said = np.array([not right if answer is None else answer for (answer, _), right in zip(read, truth, strict=True)])
    return conflict_metrics(said, truth) | counts


def heads(scorer: Scorer, features: WindowFeatures, rows: list[dict]) -> dict:
    """What answers everywhere else: FAS's tone head, the text model on what is told of the words, and their conflict.

    Clips without words are given none: their words are neutral, and contradict nothing. Empty where no clip has any.
    """
    rows = [row for row in rows if row.get("semantic_emotion")]
    if not any(isinstance(row.get("spoken"), Said) for row in rows):
        return {}
    tone, words = tone_probabilities(scorer, features, rows), words_probabilities([row.get("spoken") for row in rows])
    labels = np.array([[EMOTIONS.index(row[name]) for row in rows] for name in ("emotion", "semantic_emotion")])
    truth = np.array([conflicts(row["emotion"], row["semantic_emotion"]) for row in rows])
    scores = conflict(tone, words)
    accuracies = {
        f"{name}_accuracy": float((p.argmax(1) == right).mean())
        for name, p, right in zip(("tone", "words"), (tone, words), labels, strict=True)
    }
    return accuracies | conflict_metrics(scores > 0.5, truth, scores)


def tone_probabilities(scorer: Scorer, features: WindowFeatures, rows: Sequence[dict]) -> np.ndarray:
    """(N, 7) of the acoustic head, or of the fused answer of a FAS without one; the mean over a clip's windows."""
    fas = scorer.model.fas
    windows = [(row, window) for row, clip in enumerate(rows) for window in features[clip["audio"]]]
    logits = predict_logits(fas, lambda i: windows[i][1], [len(w.acoustic) for _, w in windows])
    has_head = not np.isnan(logits.acoustic).any()
    chosen, temperature = (
        (logits.acoustic, fas.config.acoustic_temperature) if has_head else (logits.fused, fas.config.temperature)
    )
    sums = np.zeros((len(rows), len(EMOTIONS)))
    np.add.at(sums, [row for row, _ in windows], apply_temperature(chosen, temperature))
    return sums / sums.sum(1, keepdims=True)


def words_probabilities(spoken: Sequence[Spoken]) -> np.ndarray:
    """(N, 7) of the shipped text model; neutral without words."""
    found = np.tile(NEUTRAL, (len(spoken), 1))
    read = [place for place, each in enumerate(spoken) if isinstance(each, Said)]
    found[read] = TextModel.from_pretrained()([spoken[place].text for place in read])
    return found
