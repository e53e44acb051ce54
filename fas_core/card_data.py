"""The metadata at the head of a card, written by huggingface_hub's own classes, so that the hub reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData

METRICS = {  # field of our records -> type of the hub, and its name for a reader
    "accuracy": ("accuracy", "accuracy"),
    "ua": ("recall", "unweighted accuracy (macro recall)"),
    "macro_f1": ("f1", "macro-F1"),
}
LANGUAGES = {
    "ravdess": "en",
    "tess": "en",
    "cremad": "en",
    "savee": "en",
    "iemocap": "en",
    "meld": "en",
    "nemo": "pl",
    "ased": "am",
    "korean": "ko",
    "urdu": "ur",
    "emodb": "de",
}
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_CODE = re.compile(r"[a-z]{2,3}")


def header(data: CardData) -> str:
    """The YAML between two lines of dashes that a card begins with."""
    return f"---\n{data.to_yaml()}\n---\n"


def names(given: Iterable[str]) -> list[str] | None:
    """Names of data sets that the hub takes for ids, each once; None where there is none."""
    return list(dict.fromkeys(name for name in given if _NAME.fullmatch(name))) or None


def codes(languages: Iterable[str | None]) -> list[str] | None:
    """ISO 639 codes, "en" of "en_us", each once and in order; None where there is none."""
    found = {str(language).lower().replace("_", "-").partition("-")[0] for language in languages if language}
    return sorted(code for code in found if _CODE.fullmatch(code)) or None


def language_of(corpora: Iterable[str]) -> list[str] | None:
    """The languages of corpora by name, as far as they are known here."""
    return codes(LANGUAGES.get(name) for name in corpora)


def results(task: str, rows: Iterable[tuple[str, str, Mapping[str, float]]]) -> list[EvalResult] | None:
    """The model-index of a card.

    Args:
        task: of the hub, "audio-classification".
        rows: of each data set its id, its name for a reader, and figures from 0 to 1, of which those of `METRICS` are told.
    """
    return [
        EvalResult(
            task_type=task,
            dataset_type=dataset,
            dataset_name=name,
            metric_type=METRICS[field][0],
            metric_name=METRICS[field][1],
            metric_value=round(float(value), 4),
        )
        for dataset, name, figures in rows
        for field, value in figures.items()
        if field in METRICS and _NAME.fullmatch(dataset)
    ] or None


def with_results(card: str, found: list[EvalResult] | None) -> str:
    """A card whose metadata have these results in the place of others; one without metadata stays as it is."""
    if not card.startswith("---\n") or found is None:
        return card
    parsed = ModelCard(card)
    data = cast(ModelCardData, parsed.data)
    data.eval_results = found
    data.model_name = data.model_name or "FAS"
    return header(parsed.data) + parsed.text.lstrip("\n")
