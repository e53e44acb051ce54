"""The model card that a checkpoint carries."""

from collections import Counter

from huggingface_hub import ModelCardData

from fas_core import card_data
from fas_core.markdown import plain

TASK = "audio-classification"

# Licences that bind what is trained on a corpus; others are for the user to look up.
LICENCES = {
    "ravdess": "CC BY-NC-SA 4.0",
    "tess": "CC BY-NC-ND 4.0",
    "emodb": "free for research",
    "urdu": "research use",
    "nemo": "CC BY-NC-SA 4.0",
    "ased": "none stated",
    "korean": "CC BY-NC-SA 4.0, research",
}

LEARNS = {"tone and words": "the tone (and the words where they are labelled)", "words": "the words only"}

TEMPLATE = """{metadata}# FAS: speech emotion recognition with separate acoustic and semantic pathways

Seven emotions (angry, disgust, fear, happy, neutral, sad, surprise), what tone and words say by themselves, and whether they conflict.

```python
from fas_core import EmotionPipeline
EmotionPipeline.from_pretrained("DIR")("clip.wav")
```

**Use**: research. The licences of the training data bind this checkpoint: {licences}.

**Not for** judging people: it tells which acted or annotated emotion a voice resembles, not what someone feels. Do not
use it for hiring, policing, credit, diagnosis or surveillance. It was trained on few voices and languages; expect less
on others, and see the results by corpus before you rely on it.

## Training
{corpora}

{parameters:,} parameters; encoders: {encoders}. Commit {commit}. Details in `training.json`, features in `streams.json`.

{words}

## Validation ({calibration})
| head | clips | WA | UA | macro-F1 | ECE before | ECE |
|---|---|---|---|---|---|---|
{metrics}

## On each corpus
<!-- figures -->
`python -m experiments.card DIR ravdess=data/ravdess ...` writes what it does on which corpus here.
<!-- /figures -->
"""


def metadata(result: dict) -> ModelCardData:
    """What a hub is told, from what `training.json` holds: the figures are those of validation, of the head that answers."""
    corpora = [corpus["corpus"] for corpus in result["data"]["corpora"]]
    heads = result["validation"]
    head = (
        heads.get("acoustic")
        if result["arguments"].get("model", {}).get("answer_from") == "tone"
        else heads.get("fused")
    )
    return ModelCardData(
        library_name="fas-alm",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "fas"],
        license="other",
        license_name="licences-of-the-training-corpora",
        license_link="README.md",
        language=card_data.language_of(corpora),
        datasets=card_data.names(corpora),
        metrics=["accuracy", "recall", "f1"],
        model_name="FAS",
        eval_results=card_data.results(
            TASK, [("validation", "validation clips of the training corpora", head)] if head else []
        ),
    )


def words_line(result: dict) -> str:
    """What the semantic head learned, or that it is not there."""
    if why := result.get("wordless"):
        return f"**The semantic head is not trained, and not there**: {why}. Its probabilities, and the divergence of both heads, are None."
    learned: Counter[str] = Counter()
    for corpus in result["data"]["corpora"]:
        learned += corpus.get("words", {})
    counts = ", ".join(f"{plain(source)} {count}" for source, count in learned.items())
    return f"Words that the semantic head learns, and clips without, by reason: {counts}." if counts else ""


def calibration_line(result: dict) -> str:
    """Where it was learned how sure an answer is."""
    if result["arguments"]["training"].get("temperature_on") != "corpora":
        return "temperatures were fitted on the same clips"
    return "how sure the tone is was fitted on corpora left out in turn, so that voices like those of the training are named with too little confidence"


def model_card(result: dict) -> str:
    """Markdown from what `training.json` holds."""
    corpora = result["data"]["corpora"]
    streams = result["streams"]
    heads = result["validation"].items()
    keys = ("accuracy", "ua", "macro_f1", "ece_before", "ece")
    return TEMPLATE.format(
        metadata=card_data.header(metadata(result)),
        licences="; ".join(
            f"{plain(c['corpus'])}: {LICENCES[c['corpus']]}" for c in corpora if c["corpus"] in LICENCES
        ),
        corpora="\n".join(
            f"- {plain(c['corpus'])}: {c['train']} training and {c['validation']} validation clips, learns {LEARNS[c['learns']]}"
            for c in corpora
        ),
        parameters=result["parameters"],
        encoders="; ".join(
            f"{s}: {plain(streams[s]['model'])} layer {streams[s].get('layer', '-')}" for s in ("acoustic", "semantic")
        ),
        commit=result["provenance"]["commit"],
        words=words_line(result),
        calibration=calibration_line(result),
        metrics="\n".join(
            f"| {head} | {m['clips']} | " + " | ".join(f"{100 * m[k]:.1f}" for k in keys) + " |" for head, m in heads
        ),
    )
