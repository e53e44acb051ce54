"""Configuration of FAS; `FASConfig.paper()` is the model of the paper, to the digit."""

from typing import Any, TypeGuard

from transformers import PreTrainedConfig

from fas_core.certainty import Certainty
from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS

FUSIONS = ("query", "concat", "gated")
SELECTIONS = ("energy", "random", "all")
SUMMARIES = ("none", "mean", "mean+deviation")
STREAMS = ("acoustic", "semantic")
ANSWERS_FROM = ("fused", "tone", "gate")
GATE_WEIGHTS = 7  # of `fas_core.gate.FIGURES`
TRAINED, UNTRAINED = "trained", "untrained"
COUNTS = (
    "acoustic_dim",
    "semantic_dim",
    "hidden_size",
    "num_queries",
    "num_attention_heads",
    "intermediate_size",
    "k_acoustic",
    "k_semantic",
    "patch_size",
    "familiar_groups",
)
LARGEST = 1 << 20  # of any width or number; a model of more would not fit a machine
TEMPERATURES = (1e-3, 1e3)


class FASConfig(PreTrainedConfig):
    """Settings of `FASModel` and its heads.

    Args:
        acoustic_dim, semantic_dim: width of one patch of each stream (paper: 64 and 1280).
        hidden_size: width d of tokens, queries and fused tokens (paper: 512).
        num_queries: N_q learnable queries (paper: 2).
        k_acoustic, k_semantic: tokens kept per stream (paper: 8 and 16, eq. 3).
        patch_size: frames averaged into a patch, s (paper: 5).
        fusion: "query" (eq. 4), or the paper's ablations "concat" and "gated".
        selection: "energy" keeps the k tokens of largest L2 norm (eq. 2 and 3), "random" k random ones (the paper's
            ablation), "all" keeps every token.
        learnable_queries: False is the paper's ablation: the mean of the kept tokens goes to the head.
        summary: what the queries know of the whole stream before they attend. "none" is the paper; "mean" and
            "mean+deviation" add a projection of each stream's statistics over all real patches to every query, so that
            nothing is lost by selection.
        summary_streams: streams that give a summary.
        token_norm: LayerNorm after the projections. The energy is always that of the projection itself.
        summary_dropout: dropout on the statistics (0 in the paper).
        head_shrinkage: the acoustic head is a linear discriminant of the training clips, its covariance shrunk by this share
            (see `fas_core.discriminant`); 0: a linear head trained by gradient, like the semantic one.
        head_deviation_weight: of the deviations beside the means, in that discriminant.
        whitening: so many directions of the acoustic statistics in which clips of one emotion differ most are shrunk before the
            queries' summary, as the discriminant shrinks them; 0: none.
        familiarity: directions kept of the covariance by which the distance of a clip to the training clips is measured
            (`fas_core.familiarity`); 0: it is not. familiar_groups: groups (corpus, emotion) of training clips that it is measured to.
        ensemble: share of the acoustic head in the answer, a weighted mean of its log-probabilities and the fused ones;
            0 is the paper.
        residual: the fused answer is the acoustic head's logits plus what the fused tokens add to them.
        standardise: centre and scale each feature by the training set's statistics, kept in the checkpoint.
        pathway_heads: add a light head per pathway that says what this pathway alone hears; it does not touch the
            fused answer.
        semantic_head: "trained", or "untrained" where training saw no words, or words of one emotion alone: the pathway heads are then
            the acoustic one only, and nobody is told what an untrained head says.
        streams: `StreamConfig.to_dict()` of the encoders and the front end; `streams_identity` the digest that
            features must have.
        temperature, acoustic_temperature, semantic_temperature: fitted on validation (Guo et al. 2017).
        answer_from: what the label of an answer comes from: "fused" (the paper: the fused head), "tone" (the acoustic head) or "gate"
            (tone and words, mixed by `fas_core.gate`; the tone where there are no words).
        gate: its weights, where the answer comes from it.
        conflict_calibration: (a, b, d) of `fas_core.conflict.conflict`, fitted on voices and sentences that were not trained on.
        certainty: `fas_core.certainty.Certainty` as a dictionary, fitted on voices and corpora that were left out; None: nothing is known
            of how far an answer is to be relied on.

    Raises:
        CheckpointError: for a value that the model cannot have; the message names the field.
    """

    model_type = "fas"

    def __init__(
        self,
        acoustic_dim: int = 64,
        semantic_dim: int = 1280,
        hidden_size: int = 512,
        num_queries: int = 2,
        num_attention_heads: int = 8,
        intermediate_size: int = 512,
        k_acoustic: int = 8,
        k_semantic: int = 16,
        patch_size: int = 5,
        dropout: float = 0.4,
        fusion: str = "query",
        selection: str = "energy",
        learnable_queries: bool = True,
        summary: str = "none",
        summary_streams: tuple | list = ("acoustic", "semantic"),
        token_norm: bool = False,
        summary_dropout: float = 0.0,
        head_shrinkage: float = 0.0,
        head_deviation_weight: float = 1.0,
        whitening: int = 0,
        familiarity: int = 0,
        familiar_groups: int = 1,
        ensemble: float = 0.0,
        residual: bool = False,
        standardise: bool = False,
        pathway_heads: bool = True,
        semantic_head: str = TRAINED,
        streams: dict | None = None,
        streams_identity: str | None = None,
        temperature: float = 1.0,
        acoustic_temperature: float = 1.0,
        semantic_temperature: float = 1.0,
        answer_from: str = "fused",
        gate: tuple | list | None = None,
        conflict_calibration: tuple | list = (0.0, 1.0, 0.0),
        certainty: dict | None = None,
        **kwargs: Any,
    ):
        self.acoustic_dim, self.semantic_dim = acoustic_dim, semantic_dim
        self.hidden_size, self.num_queries = hidden_size, num_queries
        self.num_attention_heads, self.intermediate_size = num_attention_heads, intermediate_size
        self.k_acoustic, self.k_semantic, self.patch_size = k_acoustic, k_semantic, patch_size
        self.dropout, self.summary_dropout = dropout, summary_dropout
        self.fusion, self.selection, self.learnable_queries = fusion, selection, learnable_queries
        self.summary, self.token_norm = summary, token_norm
        self.summary_streams = list(summary_streams) if isinstance(summary_streams, tuple) else summary_streams
        self.head_shrinkage, self.head_deviation_weight = head_shrinkage, head_deviation_weight
        self.whitening, self.ensemble, self.residual = whitening, ensemble, residual
        self.familiarity, self.familiar_groups = familiarity, familiar_groups
        self.standardise, self.pathway_heads, self.semantic_head = standardise, pathway_heads, semantic_head
        self.streams, self.streams_identity = streams, streams_identity
        self.temperature = temperature
        self.acoustic_temperature, self.semantic_temperature = acoustic_temperature, semantic_temperature
        self.conflict_calibration = (
            list(conflict_calibration) if isinstance(conflict_calibration, tuple) else conflict_calibration
        )
        self.certainty = certainty
        self.answer_from, self.gate = answer_from, None if gate is None else list(gate)
        kwargs.setdefault("id2label", dict(enumerate(EMOTIONS)))
        kwargs.setdefault("label2id", {name: i for i, name in enumerate(EMOTIONS)})
        self._check()
        super().__init__(**kwargs)
        self._expect("id2label", self.id2label == dict(enumerate(EMOTIONS)), f"{', '.join(EMOTIONS)}, in this order")

    def _check(self) -> None:
        choices = ("fusion", FUSIONS), ("selection", SELECTIONS), ("summary", SUMMARIES), ("answer_from", ANSWERS_FROM)
        for name, valid in (*choices, ("semantic_head", (TRAINED, UNTRAINED))):
            value = getattr(self, name)
            self._expect(name, isinstance(value, str) and value in valid, f"one of {', '.join(valid)}")
        for name in COUNTS:
            value = getattr(self, name)
            self._expect(name, type(value) is int and 0 < value <= LARGEST, f"a whole number from 1 to {LARGEST}")
        for name in ("learnable_queries", "token_norm", "residual", "standardise", "pathway_heads"):
            self._expect(name, isinstance(getattr(self, name), bool), "true or false")
        for name in ("dropout", "summary_dropout"):
            self._expect(
                name,
                _is_number(value := getattr(self, name)) and 0 <= value < 1,
                "a probability, at least 0 and below 1",
            )
        for name in ("head_shrinkage", "head_deviation_weight", "ensemble"):
            self._expect(name, _is_number(value := getattr(self, name)) and 0 <= value <= 1, "a share, from 0 to 1")
        for name in ("temperature", "acoustic_temperature", "semantic_temperature"):
            is_right = _is_number(value := getattr(self, name)) and TEMPERATURES[0] <= value <= TEMPERATURES[1]
            self._expect(name, is_right, f"a number from {TEMPERATURES[0]} to {TEMPERATURES[1]}")
        self._expect(
            "answer_from", self.answer_from == "fused" or self.pathway_heads, "fused where pathway_heads is off"
        )
        known = self.gate is None or (len(self.gate) == GATE_WEIGHTS and all(map(_is_finite, self.gate)))
        self._expect("gate", known, f"{GATE_WEIGHTS} numbers, or null")
        self._expect(
            "gate",
            (self.gate is not None) == (self.answer_from == "gate"),
            "weights where answer_from is gate, and there alone",
        )
        values = self.conflict_calibration
        is_right = isinstance(values, list) and len(values) == 3 and all(_is_number(v) and abs(v) < 100 for v in values)
        expected = "three numbers of size below 100, the second above 0, the third not below"
        self._expect("conflict_calibration", is_right and values[1] > 0 <= values[2], expected)
        for name in ("whitening", "familiarity"):
            is_count = type(value := getattr(self, name)) is int and 0 <= value <= LARGEST
            self._expect(name, is_count, f"a whole number from 0 to {LARGEST}")
        self._expect("certainty", self.certainty is None or self.familiarity > 0, "null where familiarity is off")
        Certainty.of(self.certainty)
        self._expect("streams", isinstance(self.streams, dict | None), "an object, as `StreamConfig.to_dict` gives it")
        self._expect("streams_identity", isinstance(self.streams_identity, str | None), "a digest (text)")
        for name, needs in (
            ("head_shrinkage", "standardise"),
            ("head_shrinkage", "pathway_heads"),
            ("whitening", "head_shrinkage"),
            ("familiarity", "head_shrinkage"),
            ("ensemble", "pathway_heads"),
            ("residual", "head_shrinkage"),
        ):
            self._expect(name, getattr(self, needs) or not getattr(self, name), f"0 where {needs} is off")
        self._expect(
            "ensemble",
            not (self.ensemble and self.residual),
            "0 where residual is on: the acoustic head is in the answer",
        )
        named = self.summary_streams
        known = isinstance(named, list) and bool(named) and all(s in STREAMS for s in named)
        self._expect("summary_streams", known, f"some of {', '.join(STREAMS)}")
        if self.fusion == "query" and self.learnable_queries:
            fits = self.hidden_size % self.num_attention_heads == 0
            self._expect("hidden_size", fits, f"a multiple of num_attention_heads, {self.num_attention_heads}")

    def _expect(self, name: str, is_right: bool, expected: str) -> None:
        if not is_right:
            raise CheckpointError(f"FASConfig.{name}: {getattr(self, name)!r}, expected {expected}")

    @classmethod
    def paper(cls, **overrides: Any) -> "FASConfig":
        """The configuration of the paper's Table 3: 3,452,935 parameters without the pathway heads (Table 4)."""
        return cls(**({"pathway_heads": False} | overrides))


def _is_finite(value: object) -> bool:
    return _is_number(value) and abs(value) < float("inf")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
