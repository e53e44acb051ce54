"""Options for tokens that tell emotions, and not corpora or voices; all are off by default (docs/training.md)."""

from dataclasses import dataclass

from fas_core.training.options import expect_between, expect_choice, option

DOMAINS = ("none", "corpus", "speaker", "synthesizer")
PLACES = ("fused", "pooled")
PAIRS = ("all", "across")


@dataclass
class InvarianceArguments:
    """What training asks of FAS's tokens beside the labels."""

    adversarial: str = option(
        "none",
        "a classifier tells this domain of a clip from its tokens, whose gradient is reversed: none, corpus, speaker, synthesizer",
    )
    adversarial_weight: float = option(1.0, "of the domain classifier's loss")
    adversarial_on: list[str] = option(
        ["fused"],
        "what the domain classifiers read: fused (the mean of the fused tokens), pooled (the projected statistics of --summary)",
    )
    domain_balanced_batches: bool = option(
        False,
        "every batch has as many clips of each domain of --adversarial (none: of each corpus) as of any other; small ones repeat",
    )
    contrastive: float = option(0.0, "weight of the category-level contrastive loss of C2SER; 0: off")
    contrastive_on: list[str] = option(["fused"], "what that loss compares: fused, pooled")
    contrastive_pairs: str = option(
        "all", "which clips of a batch it compares: all, or those of different corpora (across)"
    )
    mixup_across_corpora: bool = option(
        False, "the partner of --mixup is a clip of another corpus, wherever the batch has one"
    )

    def __post_init__(self) -> None:
        for name, valid in (
            ("adversarial", DOMAINS), ("adversarial_on", PLACES), ("contrastive_on", PLACES), ("contrastive_pairs", PAIRS)
        ):  # fmt: skip
            expect_choice(self, name, valid)
        expect_between(self, ("adversarial_weight", "contrastive"), 0)
