"""The model card that an adapter or a model directory carries."""

import yaml

from fas_alm.configuration import FASAudioConfig
from fas_core.markdown import cell, plain
from fas_core.training.card import LICENCES

TEMPLATE = """---
library_name: fas-alm
pipeline_tag: audio-text-to-text
tags: [speech-emotion-recognition, fas, audio-language-model]
license: other
base_model: {base_model}
---
# FAS-ALM: {base} that hears the tone of a voice

{what} Each window of up to 30 s of audio is {tokens} tokens for the LLM, made by FAS (Fusion Acoustic-Semantic) from two
layers of a frozen Whisper encoder ({encoder}).

```python
{usage}
```

## Intended use
Research on emotion in speech: choosing one of seven emotions (angry, disgust, fear, happy, neutral, sad, surprise), what
the tone says against what the words say, and conversations about them.

## Misuse
It tells which acted or annotated emotion a voice resembles, not what someone feels. Do not use it on people who did not
agree to it, nor for hiring, policing, credit, education, diagnosis or surveillance. It was trained on few voices and
languages; expect less on others. What it writes as a reason is text that a language model finds likely, not a measurement.

## Data and licences
{data}

The language model, Whisper and the training corpora keep their own licences, and this {kind} is bound by them.

## Metrics
{metrics}

{provenance}
"""
ADAPTER_USAGE = """from fas_alm import load_adapter
model, processor = load_adapter("DIR")"""
MODEL_USAGE = """import fas_alm  # registers the classes
from transformers import AutoModelForMultimodalLM, AutoProcessor
model, processor = AutoModelForMultimodalLM.from_pretrained("DIR"), AutoProcessor.from_pretrained("DIR")"""
ADAPTER = "An adapter: projector and FAS, and LoRA where `adapter_config.json` is present."
MODEL = "A whole model, for transformers and vLLM; `fas/` and `whisper/` hold classifier and encoder by themselves."


def model_card(config: FASAudioConfig, record: dict | None = None, is_adapter: bool = True) -> str:
    """Markdown.

    Args:
        config: of the model.
        record: what `training.json` holds; `data.corpora` (each with `corpus` and numbers of clips), `validation`,
            `test` and `provenance` are told where they are there.
        is_adapter: or a whole model.
    """
    record = record or {}
    base = config.base_language_model or config.text_config.model_type
    commit = record.get("provenance", {}).get("commit")
    return TEMPLATE.format(
        base=plain(base),
        base_model=yaml.safe_dump(base).splitlines()[0],
        encoder=plain(config.streams.acoustic["model"]),
        tokens=config.tokens_per_window,
        kind="adapter" if is_adapter else "model",
        what=ADAPTER if is_adapter else MODEL,
        usage=ADAPTER_USAGE if is_adapter else MODEL_USAGE,
        data=_corpora(record.get("data", {}).get("corpora", [])),
        metrics=_metrics(record),
        provenance=f"Commit {plain(commit)}. Details in `training.json`." if commit else "Details in `training.json`.",
    )


def _corpora(corpora: list[dict]) -> str:
    if not corpora:
        return "No training is recorded: the projector holds its first values."
    return "\n".join(_corpus(dict(corpus)) for corpus in corpora)


def _corpus(values: dict) -> str:
    name = values.pop("corpus", "a corpus")
    numbers = ", ".join(f"{value} {plain(key)}" for key, value in values.items() if isinstance(value, int))
    return f"- {plain(name)}: {numbers or 'see training.json'}; licence: {LICENCES.get(name, 'look it up')}"


def _metrics(record: dict) -> str:
    rows = [
        f"| {side} | {cell(plain(name))} | {value:.4g} |"
        for side in ("validation", "test")
        for name, value in record.get(side, {}).items()
        if isinstance(value, int | float)
    ]
    return "\n".join(["| set | metric | value |", "|---|---|---|", *rows]) if rows else "None recorded."
