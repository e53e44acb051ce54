"""The model card that an adapter or a model directory carries."""

from pathlib import Path

from huggingface_hub import ModelCardData

from fas_alm.configuration import FASAudioConfig
from fas_core import card_data
from fas_core.markdown import cell, plain
from fas_core.training.card import LICENCES

TEMPLATE = """{metadata}# FAS-ALM: {base} that hears the tone of a voice

{what} Each window of up to 30 s of audio is {tokens} for the LLM, made {maker} from layers of a frozen Whisper encoder
({encoder}).

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
TASK = "audio-text-to-text"
SIDES = ("validation", "test")
ON_THE_HUB = {"offline:smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
ADAPTER_USAGE = """from fas_alm import load_adapter
model, processor = load_adapter("DIR")"""
MODEL_USAGE = """import fas_alm  # registers the classes
from transformers import AutoModelForMultimodalLM, AutoProcessor
model, processor = AutoModelForMultimodalLM.from_pretrained("DIR"), AutoProcessor.from_pretrained("DIR")"""
MAKERS = {
    "fused": (by_fas := "by FAS (Fusion Acoustic-Semantic)"),
    "distilled": by_fas,
    "frames": (by_connector := "by C²SER's connector (a Transformer and a linear layer over all patches)"),
    "fused+frames": f"{by_fas} and {by_connector}",
}
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
    base = str(config.base_language_model or getattr(config.text_config, "model_type", ""))
    commit = record.get("provenance", {}).get("commit")
    return TEMPLATE.format(
        base=plain(base),
        metadata=card_data.header(metadata(base, record)),
        encoder=plain(config.streams.acoustic["model"]),
        tokens=_tokens(config),
        maker=MAKERS[config.audio_tokens],
        kind="adapter" if is_adapter else "model",
        what=ADAPTER if is_adapter else MODEL,
        usage=ADAPTER_USAGE if is_adapter else MODEL_USAGE,
        data=_corpora(record.get("data", {}).get("corpora", [])),
        metrics=_metrics(record),
        provenance=f"Commit {plain(commit)}. Details in `training.json`." if commit else "Details in `training.json`.",
    )


def metadata(base: str, record: dict) -> ModelCardData:
    """What a hub is told; `base_model` where the language model has an id there."""
    corpora = [str(corpus.get("corpus")) for corpus in record.get("data", {}).get("corpora", [])]
    figures = [(side, f"{side} clips", _numbers(record.get(side, {}))) for side in SIDES]
    return ModelCardData(
        library_name="fas-alm",
        pipeline_tag=TASK,
        tags=["speech-emotion-recognition", "fas", "audio-language-model"],
        license="other",
        license_name="licences-of-its-parts",
        license_link="README.md",
        base_model=ON_THE_HUB.get(base, base if "/" in base and not Path(base).is_absolute() else None),
        language=card_data.language_of(corpora),
        datasets=card_data.names(corpora),
        model_name="FAS-ALM",
        eval_results=card_data.results(TASK, figures),
    )


def _numbers(figures: dict) -> dict[str, float]:
    return {name: value for name, value in figures.items() if isinstance(value, int | float)}


def _tokens(config: FASAudioConfig) -> str:
    """How many tokens a window is."""
    counted = config.window_tokens
    fixed = f"{counted.fixed} tokens" if counted.fixed else ""
    if not counted.streams:
        return fixed
    milliseconds = 20 * counted.patch_size
    frames = f"{counted.streams} tokens for every {milliseconds} ms"
    return f"{fixed} and {frames}" if fixed else frames


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
        for side in SIDES
        for name, value in _numbers(record.get(side, {})).items()
    ]
    return "\n".join(["| set | metric | value |", "|---|---|---|", *rows]) if rows else "None recorded."
