"""The card of a text model: what it was trained on, by which command, and its validation figures."""

from huggingface_hub import ModelCardData

from fas_core import card_data
from fas_core.words.figures import as_markdown
from fas_core.words.texts import XED_LANGUAGES

_CARD = """{metadata}# What words say: {kind}

Seven probabilities of a text (angry, disgust, fear, happy, neutral, sad, surprise), calibrated on validation texts.

```python
from fas_core.words.text_model import TextModel
TextModel.from_pretrained("DIR")(["I got the job!"])
```

**Not for** judging people: it tells which annotated emotion a sentence resembles, not what someone feels.

## Data
{sources}

{count} texts, some as transcripts have them (without marks and capitals, with a filler, a word lost). Command: `{command}`, commit {commit}.
The whole record is `training.json`.

## Validation (the temperature, {temperature:.2f}, was fitted on these texts), per cent
{table}
"""
_SOURCES = {
    "goemotions": "GoEmotions (Demszky et al., ACL 2020), grouped by Ekman, training part: Apache-2.0",
    "xed_en": "XED (Öhman et al., COLING 2020), English, annotated: CC BY 4.0",
    "xed_neutral_en": "XED's neutral lines, English: CC BY 4.0",
    "plain": "plain declaratives of our own from templates (`plain.json`): Apache-2.0",
    "emotional": "emotional sentences of our own from templates (`plain.json`): Apache-2.0",
    "meld": "MELD (Poria et al., ACL 2019), training part: GPL-3.0",
} | {f"xed_{code}": f"XED, {code}, projected: CC BY 4.0" for code in XED_LANGUAGES}


_DATASETS = {
    "goemotions": "google-research-datasets/go_emotions",
    "meld": "declare-lab/MELD",
    "xed_en": "Helsinki-NLP/xed_en_fi",
    "xed_neutral_en": "Helsinki-NLP/xed_en_fi",
}


def metadata(record: dict) -> ModelCardData:
    """What a hub is told, from what `training.json` holds."""
    options, figures = record["options"], record["validation"]
    return ModelCardData(
        library_name="fas-alm",
        pipeline_tag="text-classification",
        tags=["emotion", "speech-emotion-recognition"],
        license="gpl-3.0" if options["meld"] else "cc-by-4.0",
        language=card_data.codes(["en", *options["languages"]]),
        datasets=card_data.names(_DATASETS.get(source, source) for source in record["data"]["sources"]),
        metrics=["accuracy", "f1"],
        model_name="What words say",
        eval_results=card_data.results(
            "text-classification",
            [(_DATASETS.get(name, name), f"{name}, validation", found) for name, found in figures.items()],
        ),
    )


def card_of(record: dict) -> str:
    """Markdown of a `training.json`."""
    options, made = record["options"], record["provenance"]
    kind = f"{options['base']}, fine-tuned" if options["base"] else "linear over n-grams of words and letters"
    kind += f", {options['layers']} layers and {options['pieces']} word pieces in 8 bits" if options["layers"] else ""
    return _CARD.format(
        metadata=card_data.header(metadata(record)),
        kind=kind + (f", taught by {', '.join(options['teacher'])}" if options["teacher"] else ""),
        sources="\n".join(f"- {_SOURCES[name]}" for name in record["data"]["sources"]),
        count=record["data"]["training_texts"],
        command=" ".join(made["command"]),
        commit=made["commit"],
        temperature=record["temperature"],
        table=as_markdown({("this", name): found for name, found in record["validation"].items()}),
    )
