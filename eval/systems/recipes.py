"""The systems that docs/results.md compares, each with the settings chosen for it on validation speakers."""

from dataclasses import asdict, dataclass, field

from fas_core.cli.from_dataclasses import parse
from fas_core.cli.recipes import recipe_file
from fas_core.training.arguments import DataArguments, ModelArguments, TrainingArguments

# Chosen by `python -m experiments run --stage choose` (validation speakers and URDU), the same grid for every system.
TABLE3 = dict(learning_rate=2e-4, weight_decay=1e-4, warmup_ratio=0.05)
BATCH = dict(global_batch_size=64, per_device_batch_size=64)
OF_A_RUN = ("keep", "refit")  # how a checkpoint that ships is made; here all end after a fixed number of epochs


def of_file(name: str) -> tuple[dict, dict, tuple[str, ...]]:
    """Of a recipe of train/configs what is not the paper's: fields of `ModelArguments`, of `TrainingArguments`, variants of clips."""
    data, model, training = parse((DataArguments, ModelArguments, TrainingArguments), [str(recipe_file(name))], name)
    trained = {name: value for name, value in _changed(training).items() if name not in OF_A_RUN}
    return _changed(model), trained, tuple(data.augmentation)


def _changed(arguments: ModelArguments | TrainingArguments) -> dict:
    default = asdict(type(arguments)())
    return {name: value for name, value in asdict(arguments).items() if value != default[name]}


RECOMMENDED_MODEL, RECOMMENDED_TRAINING, AUGMENTATION = of_file("adapter_fas")
DISCRIMINANT = {name: value for name, value in of_file("recommended")[0].items() if name not in RECOMMENDED_MODEL}
LINES = ("codec:gsm", "telephone:mulaw")  # wide codecs cost nothing (docs/results.md)
# Training on several corpora: each weighs alike, what differs between them is mistrusted, how sure an answer is holds for the unknown.
BALANCED = dict(corpus_balance=True, between_corpora=5.0, temperature_on="corpora")


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    Attributes:
        title: how the table calls it.
        model: fields of `ModelArguments`; empty for the pooled baselines.
        training: fields of `TrainingArguments`.
        acoustic: "single" (one shallow layer) or "stack" (several shallow layers).
        augmentation: variants of the training clips.
        linear: the discriminant alone, the acoustic head of the recommended recipe.
        corpora: of leave-corpus-out: trained on these alone, whatever others there are.
        pooled: (stream, statistics) of each logistic regression whose probabilities are averaged, for baselines.
    """

    title: str
    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    acoustic: str = "single"
    augmentation: tuple[str, ...] = ()
    pooled: tuple[tuple[str, str], ...] = ()
    linear: bool = False
    corpora: tuple[str, ...] = ()


def _linear(title: str, augmentation: tuple[str, ...] = (), **training) -> Recipe:
    model = dict(standardise=True, head_shrinkage=0.6, head_deviation_weight=0.5)
    return Recipe(title, model, training, acoustic="stack", augmentation=augmentation, linear=True)


def _ablation(title: str, **model) -> Recipe:
    return Recipe(title, dict(standardise=True, pathway_heads=False) | model, TABLE3 | BATCH | dict(epochs=12))


def _method(title: str, model: dict | None = None, **training) -> Recipe:
    """The recommended recipe on balanced corpora, clips as they are, and one thing more."""
    title = f"FAS, corpora balanced{title}"
    return Recipe(
        title,
        RECOMMENDED_MODEL | DISCRIMINANT | (model or {}),
        RECOMMENDED_TRAINING | BALANCED | training,
        acoustic="stack",
    )


ON_BOTH = dict(adversarial_on=["fused", "pooled"])
SYSTEMS = {
    "paper": Recipe(
        "the paper's architecture and loss (batch 64, 12 epochs, trimmed clips)",
        dict(pathway_heads=False),
        TABLE3 | BATCH | dict(epochs=12),
    ),
    "fas": _ablation("FAS of the paper, standardised features"),
    "concat": _ablation("concat", fusion="concat"),
    "gated": _ablation("gated", fusion="gated"),
    "random": _ablation("w/o top-k (random tokens)", selection="random"),
    "all": _ablation("all tokens", selection="all"),
    "no-queries": _ablation("w/o learnable queries", learnable_queries=False),
    "summary": _ablation("FAS with summary-conditioned queries", summary="mean+deviation", token_norm=True),
    "gradient": Recipe(
        "FAS, recommended recipe without the discriminant",
        RECOMMENDED_MODEL,
        RECOMMENDED_TRAINING,
        acoustic="stack",
        augmentation=AUGMENTATION,
    ),
    "shipped": Recipe(
        "FAS, recommended recipe",
        RECOMMENDED_MODEL | DISCRIMINANT,
        RECOMMENDED_TRAINING,
        acoustic="stack",
        augmentation=AUGMENTATION,
    ),
    "unaugmented": Recipe(
        "FAS, recommended recipe without augmentation",
        RECOMMENDED_MODEL | DISCRIMINANT,
        RECOMMENDED_TRAINING,
        acoustic="stack",
    ),
    "padded": Recipe(  # for --padding 30s; fewer variants, because a padded clip takes many times as long
        "FAS, recommended recipe, on two speeds",
        RECOMMENDED_MODEL | DISCRIMINANT,
        RECOMMENDED_TRAINING,
        acoustic="stack",
        augmentation=("speed:0.8", "speed:1.25"),
    ),
    "before": Recipe(
        "the recipe before: recommended.yaml on RAVDESS and TESS",
        RECOMMENDED_MODEL | DISCRIMINANT,
        RECOMMENDED_TRAINING,
        acoustic="stack",
        augmentation=AUGMENTATION,
        corpora=("ravdess", "tess"),
    ),
    "linear": _linear("discriminant alone, as in the recommended recipe"),
    "before-unaugmented": Recipe(
        "the recipe before without augmentation, on RAVDESS and TESS",
        RECOMMENDED_MODEL | DISCRIMINANT,
        RECOMMENDED_TRAINING,
        acoustic="stack",
        corpora=("ravdess", "tess"),
    ),
    "linear-corpora": _linear("discriminant alone, sure as on corpora left out", temperature_on="corpora"),
    "linear-augmented": _linear("the same, augmented", AUGMENTATION, temperature_on="corpora"),
    "linear-lines": _linear("the same, through GSM and a telephone too", LINES, temperature_on="corpora"),
    "linear-balance": _linear("discriminant alone, corpora balanced", corpus_balance=True, temperature_on="corpora"),
    "linear-between": _linear(
        "discriminant alone, corpora balanced, differences between them x 5",
        corpus_balance=True,
        between_corpora=5.0,
        temperature_on="corpora",
    ),
    "balanced": _method(""),
    "adversarial-corpus": _method(" + corpus adversary", adversarial="corpus", **ON_BOTH),
    "adversarial-corpus-even": _method(
        " + corpus adversary, corpora even in the batch", adversarial="corpus", domain_balanced_batches=True, **ON_BOTH
    ),
    "adversarial-speaker": _method(" + speaker adversary", adversarial="speaker", **ON_BOTH),
    "contrastive": _method(" + contrast of emotions", contrastive=0.3, contrastive_on=["fused", "pooled"]),
    "contrastive-across": _method(
        " + contrast of emotions across corpora",
        contrastive=0.3,
        contrastive_on=["fused", "pooled"],
        contrastive_pairs="across",
    ),
    "mixup-across": _method(" + mixup across corpora", mixup_across_corpora=True),
    "residual": _method(" + fused tokens on the discriminant's residual", dict(ensemble=0.0, residual=True)),
    "semantic": Recipe("semantic only (mean)", pooled=(("semantic", "mean"),)),
    "acoustic-mean": Recipe("acoustic only (mean)", pooled=(("acoustic", "mean"),)),
    "acoustic": Recipe("acoustic only (mean and deviation)", pooled=(("acoustic", "mean+deviation"),)),
    "stack": Recipe(
        "acoustic only, shallow layers stacked (mean and deviation)",
        pooled=(("acoustic", "mean+deviation"),),
        acoustic="stack",
    ),  # fmt: skip
    "stack-augmented": Recipe(
        "acoustic only, shallow layers stacked (mean and deviation), augmented",
        pooled=(("acoustic", "mean+deviation"),),
        acoustic="stack",
        augmentation=AUGMENTATION,
    ),  # fmt: skip
    "late": Recipe(
        "late average (semantic mean, acoustic mean and deviation)",
        pooled=(("semantic", "mean"), ("acoustic", "mean+deviation")),
    ),
}

SYSTEMS["many"] = Recipe("as shipped: train/configs/shipped_base.yaml", *of_file("shipped_base")[:2], acoustic="stack")

# Of `experiments.invariance`: no recipe of train/fas.py, but the discriminant on statistics over frames.
LORA = {
    "lora": "discriminant, corpora balanced, on layers of Whisper after low-rank adaptation",
    "lora-none": "the same without the adaptation",
}

# Of runs that are kept in docs/results, by code that is not.
RETIRED = {"filtered": "the recipe without the discriminant, with the nuisance filter, without noise (code at c354465)"}
