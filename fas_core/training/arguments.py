"""What `fas train` and `train/fas.py` can be told, by flags or YAML; the defaults of model and optimiser are the paper's Table 3.

Nothing heavy is imported at the top: `--help` reads the dataclasses.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fas_core.errors import CheckpointError, FASError
from fas_core.paths import expanded
from fas_core.training.invariance_arguments import InvarianceArguments
from fas_core.training.options import expect_between, expect_choice, option

if TYPE_CHECKING:
    from fas_core.configuration_fas import FASConfig

log = logging.getLogger(__name__)
CHOICES = {
    "words_from": ("none", "corpus", "transcript"),
    "keep": ("best", "last"),
    "mixed_precision": ("no", "bf16", "fp16"),
    "tracker": ("none", "tensorboard"),
    "temperature_on": ("voices", "corpora"),
    "answer_from": ("fused", "tone"),  # a gate is fitted afterwards (experiments.gate)
}


@dataclass
class DataArguments:
    """Which clips, and how they become features."""

    corpora: list[str] = option(
        [],
        "training corpora as NAME=FOLDER, e.g. ravdess=data/ravdess tess=data/tess; any other NAME for a folder with a manifest",
        metavar="NAME=FOLDER...",
    )
    words_corpora: list[str] = option(
        [],
        "corpora NAME=FOLDER that teach only the semantic head (the emotion of the words); their tone is ignored",
        metavar="NAME=FOLDER...",
    )
    words_from: str = option(
        "none",
        "what the semantic head learns beside the labels of words that a corpus has: none; corpus: what a text model says of the "
        "corpora's texts; transcript: of these and, where a clip has none, of a transcript by the encoder's own decoder",
    )
    words_model: str | None = option(
        None, "the text model: directory or hub id of a sequence classifier; default: the shipped one"
    )
    fold: int | None = option(None, "fold of corpora that have folds (RAVDESS: 1 to 6, the EmoBox speakers)")
    exclude: str | None = option(None, "exclusion list written by `python -m fas_core.data check`")
    exclude_labels: list[str] = option(
        [], "labels of the corpora whose clips are left out; '*': all that no table knows, which are an error otherwise"
    )
    cache_dir: str = option("~/.cache/fas_alm/features", "feature cache; features are extracted once", flag="cache")
    encoder: str = option("offline:tiny.en", "Whisper of both streams: hub id, directory, or offline:tiny.en")
    semantic_encoder: str | None = option(
        None, "semantic stream: a Whisper, or TYPE:MODEL as --acoustic_encoder takes it; default: --encoder"
    )
    semantic_layer: str = option(
        "-1", "layer of the semantic stream; -1 or last: the last one, after the final norm; several: 2,3,4"
    )
    acoustic_encoder: str | None = option(
        None,
        "acoustic stream: a Whisper (hub id, directory, offline:...), a SoundStream .tflite, or TYPE:MODEL of any "
        "registered encoder, like wavlm:microsoft/wavlm-large; TYPE alone takes its default model; default: --encoder",
    )
    acoustic_layer: str = option(
        "2", "layer of the acoustic stream; several, like 2,3,4, are stacked along the feature axis"
    )
    acoustic_adapter: str | None = option(
        None,
        "adapter.safetensors of train/encoder_lora.py for the Whisper of the acoustic stream; it is kept in the checkpoint",
    )
    padding: str = option("clip", "Whisper encodes the clip's real frames only ('clip') or pads to 30 s ('30s')")
    trim: bool = option(True, "trim silence at both ends before encoding")
    level: bool = option(True, "bring the active speech to one level before encoding")
    augmentation: list[str] = option(
        [],
        "variants of each training clip, one is drawn per epoch: speed:0.9 noise:15 codec:opus-12 ... (docs/training.md has all)",
    )
    validation_fraction: float = option(
        0.15, "share of speakers kept for validation when no corpus has such a split; 0: train without validation"
    )

    def __post_init__(self):
        expect_between(self, ("validation_fraction",), 0, 1)
        expect_choice(self, "words_from", CHOICES["words_from"])
        if self.augmentation:
            from fas_core.features.augment import parse_variant

            for variant in self.augmentation:
                parse_variant(variant)
        parse_layer(self.acoustic_layer)
        parse_layer(self.semantic_layer, "--semantic_layer")


@dataclass
class ModelArguments:
    """The model; see `FASConfig` for the meaning of each."""

    hidden_size: int = option(512, "width d of tokens and queries")
    num_queries: int = option(2, "N_q learnable queries")
    k_acoustic: int = option(8, "acoustic tokens kept")
    k_semantic: int = option(16, "semantic tokens kept")
    patch_size: int = option(5, "frames in a patch, s")
    dropout: float = option(0.4, "dropout")
    summary_dropout: float = option(0.0, "dropout on the statistics")
    fusion: str = option("query", "query, concat or gated")
    selection: str = option("energy", "energy (the paper), random or all")
    learnable_queries: bool = option(True, "False: the paper's ablation")
    summary: str = option("none", "statistics given to the queries: none (the paper), mean, mean+deviation")
    summary_streams: list[str] = option(["acoustic", "semantic"], "streams that give a summary")
    token_norm: bool = option(False, "LayerNorm after the projections")
    head_shrinkage: float = option(
        0.0, "the acoustic head is a linear discriminant, its covariance shrunk by this share; 0: trained by gradient"
    )
    head_deviation_weight: float = option(1.0, "of the deviations beside the means, in that discriminant")
    whitening: int = option(0, "shrink so many directions of the acoustic statistics as the discriminant does; 0: off")
    familiarity: int = option(
        0,
        "directions of the covariance by which the distance of a clip to the training clips is measured, which says of what the "
        "checkpoint is unsure (docs/unsure.md); needs --head_shrinkage; 0: off",
    )
    answer_from: str = option("fused", "what labels come from: fused (the paper), or tone, the acoustic head alone")
    ensemble: float = option(0.0, "share of the acoustic head in the answer; 0: the fused answer alone, the paper")
    residual: bool = option(
        False,
        "the fused answer is trained on what the discriminant leaves: its calibrated logits are added, in training those of a "
        "discriminant without the clip's voice or corpus; needs --head_shrinkage, and --ensemble 0",
    )
    standardise: bool = option(False, "standardise features by training statistics, kept in the checkpoint")
    pathway_heads: bool = option(True, "a light head per pathway; conflict needs both")

    def __post_init__(self):
        from fas_core.configuration_fas import FASConfig

        expect_choice(self, "answer_from", CHOICES["answer_from"])
        try:
            FASConfig(**asdict(self))
        except CheckpointError as error:
            raise FASError(str(error).replace("FASConfig.", "--")) from None


@dataclass
class TrainingArguments(InvarianceArguments):
    """Optimisation and bookkeeping; what is asked of the tokens beside the labels is in `InvarianceArguments`."""

    output_dir: str = option("runs/fas", "where the checkpoint, the history and the resume state go", flag="output")
    learning_rate: float = option(2e-4, "peak learning rate, cosine schedule")
    weight_decay: float = option(1e-4, "AdamW weight decay")
    max_grad_norm: float = option(0.0, "gradients of a step are scaled down to this norm; 0: as they are, the paper")
    warmup_ratio: float = option(0.05, "share of the steps with a rising learning rate")
    epochs: int = option(100, "epochs")
    global_batch_size: int = option(2048, "clips per optimiser step, over all processes")
    per_device_batch_size: int = option(256, "clips per forward pass; the rest is gradient accumulation")
    seed: int = option(42, "seed of initialisation, order, dropout and augmentation")
    class_weighting: bool = option(False, "weight classes by the inverse of their frequency")
    corpus_balance: bool = option(
        False, "each corpus weighs alike, in the loss and in the discriminant, whatever its size"
    )
    corpus_weights: list[str] = option(
        [], "what a corpus counts for as NAME=NUMBER, e.g. ased=0.5 for labels that are trusted less; 1 for the others"
    )
    between_corpora: float = option(
        1.0,
        "the discriminant mistrusts directions in which corpora of one emotion differ so many times as its own; 1: as any other",
    )
    mask_absent: bool = option(
        False, "emotions that a clip's corpus does not have are no wrong answers for it; False: they are"
    )
    temperature_on: str = option(
        "voices",
        "the discriminant's temperature is fitted on left-out voices, or on left-out corpora where there are several",
    )
    label_smoothing: float = option(0.0, "label smoothing of the fused answer")
    mixup: float = option(0.0, "Beta parameter of mixup between the fused tokens of two clips; 0: off")
    pathway_dropout: float = option(0.0, "probability of dropping one whole pathway of a clip in training")
    patience: int = option(0, "stop after this many epochs without a better validation macro-F1; 0: never")
    keep: str = option("best", "weights kept: best (epoch of the best validation macro-F1) or last")
    refit: bool = option(
        False,
        "after the epoch and the temperatures are chosen on validation, train again on training and validation clips",
    )
    save_every: int = option(1, "epochs between two resume states")
    mixed_precision: str = option("no", "no, bf16 or fp16")
    tracker: str = option("none", "none or tensorboard (pip install 'fas-alm[trackers]')")
    resume: bool = option(False, "continue in output_dir; equal to no interruption")
    cpu: bool = option(False, "train on the CPU even where there is a GPU")

    def __post_init__(self):
        super().__post_init__()
        if self.mixed_precision is False:  # what YAML 1.1 makes of "no"
            self.mixed_precision = "no"
        for name in ("keep", "mixed_precision", "tracker", "temperature_on"):
            expect_choice(self, name, CHOICES[name])
        for name in ("epochs", "global_batch_size", "per_device_batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise FASError(f"--{name} {getattr(self, name)}: expected at least 1")
        expect_between(self, ("warmup_ratio", "label_smoothing", "pathway_dropout"), 0, 1)
        expect_between(self, ("learning_rate", "weight_decay", "max_grad_norm", "mixup", "patience", "seed"), 0)
        expect_between(self, ("between_corpora",), 0)
        parse_weights(self.corpus_weights)


def parse_weights(pairs: list[str]) -> dict[str, float]:
    """NAME=NUMBER strings of --corpus_weights.

    Raises:
        FASError: for a string of another form, or a number that is not above 0.
    """
    weights = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = math.nan
        if not name or not 0 < weights[name] < math.inf:
            raise FASError(f"--corpus_weights {pair!r}: expected NAME=NUMBER, a number above 0, e.g. ased=0.5")
    return weights


def parse_pairs(pairs: list[str], option_name: str) -> list[tuple[str, Path]]:
    """NAME=FOLDER strings -> (name, path).

    Raises:
        FASError: for a string of another form.
    """
    out = []
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not separator or not folder:
            raise FASError(f"{option_name} {pair!r}: expected NAME=FOLDER, e.g. ravdess=data/ravdess")
        out.append((name, expanded(folder)))
    return out


def parse_layer(text: str | int, option_name: str = "--acoustic_layer") -> int | list[int]:
    """'3' -> 3, 'last' -> -1, '2,3,4' -> [2, 3, 4].

    Raises:
        FASError: for anything else.
    """
    try:
        layers = [-1 if part.strip() == "last" else int(part) for part in str(text).split(",")]
    except ValueError:
        raise FASError(
            f"{option_name} {text!r}: expected a number or numbers with commas, like 3 or 2,3,4, or last"
        ) from None
    return layers[0] if len(layers) == 1 else layers


def parse_encoder(text: str, layer: int | list[int], padding: str) -> dict:
    """An encoder's configuration from a flag.

    Args:
        text: TYPE:MODEL of the registry, or TYPE where that has a default model or needs none; else a SoundStream
            .tflite, or a Whisper's hub id, directory or offline name.
        layer, padding: for types that have these options; the others go without.
    """
    from fas_core.encoders.registry import ENCODERS

    name, _, model = text.partition(":")
    if name not in ENCODERS or (ENCODERS[name].needs_model and not model):
        name, model = ("soundstream" if text.endswith(".tflite") else "whisper"), text
    given = dict(revision=None, layer=layer, padding=padding)
    named = dict(model=model) if model else {}
    return dict(type=name) | named | {key: given[key] for key in given if key in ENCODERS[name].options}


def _tell_unused(data: DataArguments, streams: dict[str, dict]) -> None:
    """Options that these encoders do not have; a recipe may hold them for others, and so they are no error."""
    for stream, config in streams.items():
        name = f"{stream}_layer"
        if "layer" not in config and getattr(data, name) != type(data).__dataclass_fields__[name].default:
            log.warning(
                "--%s %s is not used: the encoder %s has no layers to choose from",
                name,
                getattr(data, name),
                config["type"],
            )
    if data.padding != "clip" and not any("padding" in config for config in streams.values()):
        log.warning("--padding %s is not used: neither encoder pads", data.padding)


def stream_config(data: DataArguments, model: ModelArguments) -> dict:
    """The encoders and the front end, in the form of `StreamConfig`."""
    layers = dict(
        acoustic=parse_layer(data.acoustic_layer), semantic=parse_layer(data.semantic_layer, "--semantic_layer")
    )
    encoders = dict(acoustic=data.acoustic_encoder or data.encoder, semantic=data.semantic_encoder or data.encoder)
    streams = {stream: parse_encoder(encoders[stream], layer, data.padding) for stream, layer in layers.items()}
    if data.acoustic_adapter is not None:
        if streams["acoustic"]["type"] != "whisper":
            raise FASError(
                f"--acoustic_adapter: the acoustic encoder is a {streams['acoustic']['type']}, expected a Whisper"
            )
        streams["acoustic"]["adapter"] = str(expanded(data.acoustic_adapter))
    _tell_unused(data, streams)
    return dict(
        **streams,
        front_end=dict(trim=data.trim, level=data.level),
        patch_size=model.patch_size,
    )


def fas_config(model: ModelArguments, dimensions: dict[str, int], streams: dict, identity: str) -> FASConfig:
    """The model's configuration for these encoders."""
    from fas_core.configuration_fas import FASConfig

    return FASConfig(
        acoustic_dim=dimensions["acoustic"],
        semantic_dim=dimensions["semantic"],
        streams=streams,
        streams_identity=identity,
        **asdict(model),
    )
