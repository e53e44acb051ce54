"""FAS: patches in, emotions out. Reads from top to bottom like section 3 of the paper (Huang et al. 2026)."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from fas_core.configuration_fas import STREAMS, TRAINED, UNTRAINED, FASConfig
from fas_core.discriminant import Discriminant, whiten
from fas_core.distillation import distil
from fas_core.familiarity import Familiarity
from fas_core.fusion import GatedFusion, QueryFusion, masked_mean, masked_statistics, mlp
from fas_core.losses import classification_loss
from fas_core.outputs import FASOutput


class Standardise(nn.Module):
    """(x - mean) / deviation per feature, with the training set's statistics kept in the checkpoint."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., D)
        return (x - self.mean) / self.deviation

    def project(self, x: Tensor, linear: nn.Linear) -> Tensor:
        """`linear(self(x))` without writing the standardised patches: the weights are scaled, not the batch."""
        if torch.is_autocast_enabled(x.device.type):
            return linear(self(x))  # in low precision a raw feature's mean would drown its deviation
        weight = linear.weight / self.deviation
        return F.linear(x, weight, linear.bias - weight @ self.mean)


class FASPreTrainedModel(PreTrainedModel):
    config_class = FASConfig
    base_model_prefix = "fas"
    main_input_name = "acoustic"

    def _init_weights(self, module: nn.Module) -> None:
        """Modules initialise themselves (PyTorch's defaults, the queries in `QueryFusion`)."""


class FASModel(FASPreTrainedModel):
    """Both streams to fused tokens: projection (eq. 1), distillation (eq. 2, 3), fusion (eq. 4)."""

    def __init__(self, config: FASConfig):
        super().__init__(config)
        d = config.hidden_size
        dims = {"acoustic": config.acoustic_dim, "semantic": config.semantic_dim}
        self.k = {"acoustic": config.k_acoustic, "semantic": config.k_semantic}
        # Zero mean and unit deviation until `set_feature_statistics`: without standardisation, nothing happens.
        self.standardise = nn.ModuleDict({s: Standardise(dims[s]) for s in STREAMS})
        self.standardise_statistics = nn.ModuleDict({s: Standardise(2 * dims[s]) for s in STREAMS})
        if config.whitening:
            self.register_buffer("within_emotion", torch.zeros(config.whitening, 2 * dims["acoustic"]))
        if config.familiarity:
            self.familiarity = Familiarity(config.familiarity, config.familiar_groups, 2 * dims["acoustic"])
        self.projection = nn.ModuleDict({s: nn.Linear(dims[s], d) for s in STREAMS})
        self.token_norm = nn.ModuleDict({s: nn.LayerNorm(d) if config.token_norm else nn.Identity() for s in STREAMS})
        self.summary_dropout = nn.Dropout(config.summary_dropout)
        self.summary = nn.ModuleDict()
        if config.summary != "none":
            width = 2 if config.summary == "mean+deviation" else 1
            for s in config.summary_streams:
                self.summary[s] = nn.Sequential(nn.Linear(width * dims[s], d), nn.LayerNorm(d))
        self.fusion: GatedFusion | QueryFusion
        if config.fusion == "gated":
            self.fusion = GatedFusion(config)
        elif config.fusion == "query" and config.learnable_queries:
            self.fusion = QueryFusion(config)
        self.post_init()

    @property
    def output_size(self) -> int:
        """Width of the vector that the head reads."""
        return self.config.hidden_size * (2 if self.config.fusion == "concat" else 1)

    def forward(
        self,
        acoustic: Tensor,
        semantic: Tensor,
        acoustic_mask: Tensor,
        semantic_mask: Tensor,
        acoustic_deviation: Tensor | None = None,
        semantic_deviation: Tensor | None = None,
    ) -> FASOutput:
        """Patches (B, P_a, D_a), (B, P_s, D_s) and their masks (True: real) -> fused tokens and kept tokens.

        The deviations (B, D_a), (B, D_s) are those over frames; over patches where not given.
        """
        deviations = {"acoustic": acoustic_deviation, "semantic": semantic_deviation}
        masks = {"acoustic": acoustic_mask.bool(), "semantic": semantic_mask.bool()}
        patches = {"acoustic": acoustic, "semantic": semantic}
        # Whatever lies in the padding, NaN included, is replaced before any arithmetic.
        patches = {s: x.masked_fill(~masks[s][..., None], 0.0) for s, x in patches.items()}
        tokens = {s: self._project(x, s) for s, x in patches.items()}  # (B, P, d)  eq. 1
        selection = self.config.selection
        kept = {s: distil(tokens[s], masks[s], self.k[s], selection, self.training) for s in STREAMS}  # eq. 2, 3
        statistics = {s: self._statistics(patches[s], masks[s], deviations[s], s) for s in STREAMS}
        summary = self._summary(statistics, masks)
        return FASOutput(
            fused=self._fuse(kept, patches, masks, summary), acoustic_kept=kept["acoustic"], semantic_kept=kept["semantic"],
            statistics=statistics, summary=summary,
            distance=self.familiarity(statistics["acoustic"]) if self.config.familiarity else None,
        )  # fmt: skip

    def _statistics(self, patches: Tensor, mask: Tensor, deviation: Tensor | None, stream: str) -> Tensor:
        """(B, 2 D): mean over the real patches and deviation, each feature standardised over patches, then over clips.

        A stream without patches (a dropped pathway) has none; it gives zeros, what the average clip has.
        """
        if deviation is None:
            mean, deviation = masked_statistics(patches, mask).chunk(2, -1)
        else:
            mean = masked_mean(patches, mask)
        return self.standardised_statistics(mean, deviation, stream).masked_fill(~mask.any(1, keepdim=True), 0.0)

    def standardised_statistics(self, mean: Tensor, deviation: Tensor, stream: str) -> Tensor:
        """Mean (B, D) over the patches of each clip and deviation (B, D) -> (B, 2 D), what the acoustic head reads."""
        scale = self._standardiser(stream).deviation
        statistics = torch.cat([self.standardise[stream](mean), deviation / scale], -1)
        return self.standardise_statistics[stream](statistics)

    def _project(self, patches: Tensor, stream: str) -> Tensor:
        return self._standardiser(stream).project(patches, cast(nn.Linear, self.projection[stream]))

    def _standardiser(self, stream: str) -> Standardise:
        return cast(Standardise, self.standardise[stream])

    def _summary(self, statistics: dict, masks: dict) -> dict[str, Tensor]:
        """stream -> (B, d): the projected statistics over all real patches, of the streams that give a summary."""
        parts = {}
        for s, layer in self.summary.items():
            x = statistics[s]
            if s == "acoustic" and self.config.whitening:
                x = whiten(x, self.within_emotion)
            x = x if self.config.summary == "mean+deviation" else x.chunk(2, -1)[0]
            # A stream without patches (a dropped pathway) says nothing.
            parts[s] = layer(self.summary_dropout(x)) * masks[s].any(1, keepdim=True)
        return parts

    def _fuse(self, kept: dict, patches: dict, masks: dict, summary: dict[str, Tensor]) -> Tensor:
        config = self.config
        distilled = {s: self.token_norm[s](kept[s].tokens) for s in STREAMS}  # (B, k, d)
        if config.fusion != "query":
            return self._fuse_pooled(distilled, kept, patches, masks, summary)
        context = torch.cat([distilled[s] for s in STREAMS], 1)  # (B, k_aco + k_sem, d)
        mask = torch.cat([kept[s].mask for s in STREAMS], 1)
        if config.learnable_queries:
            return self.fusion(context, mask, sum(summary.values()) if summary else None)  # (B, N_q, d)  eq. 4
        return (masked_mean(context, mask) + sum(summary.values()))[:, None]  # (B, 1, d)

    def _fuse_pooled(self, distilled: dict, kept: dict, patches: dict, masks: dict, summary: dict) -> Tensor:
        """The paper's ablations "concat" and "gated": (B, 1, d') from one vector per stream."""
        pooled = {s: masked_mean(distilled[s], kept[s].mask) for s in STREAMS}
        if self.config.fusion == "concat":
            return torch.cat([pooled[s] + summary.get(s, 0) for s in STREAMS], -1)[:, None]
        # A stream without patches gives the gate zeros, not the distance of zero to the mean.
        raw = {s: self.standardise[s](masked_mean(patches[s], masks[s])) for s in STREAMS}
        raw = {s: x * masks[s].any(1, keepdim=True) for s, x in raw.items()}
        fused = self.fusion(pooled["acoustic"], pooled["semantic"], raw["acoustic"], raw["semantic"])
        return (fused + sum(summary.values()))[:, None]


class PathwayHead(nn.Module):
    """What one pathway alone hears: a linear map of the mean and deviation of its patches.

    It reads the frozen features' statistics, which no parameter of the fused path has touched, so that training it
    changes nothing else, and it stays as simple as the linear probes of the literature.
    """

    def __init__(self, width: int, num_labels: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, num_labels)

    def forward(self, statistics: Tensor) -> Tensor:  # (B, width) -> (B, 7)
        is_trained = self.linear.weight.requires_grad
        return self.linear(self.dropout(statistics.detach()) if is_trained else statistics.detach())

    @torch.no_grad()
    def set(self, discriminant: Discriminant) -> None:
        """Take over what was fitted in closed form; training leaves it as it is."""
        self.linear.weight.copy_(torch.from_numpy(discriminant.weight))
        self.linear.bias.copy_(torch.from_numpy(discriminant.bias))
        self.linear.requires_grad_(False)


class FASForEmotionClassification(FASPreTrainedModel):
    """FAS with the emotion head, and a light head on each pathway.

    Examples:
        >>> from fas_core import FASConfig, FASForEmotionClassification
        >>> FASForEmotionClassification(FASConfig.paper()).num_parameters()
        3452935
    """

    def __init__(self, config: FASConfig):
        super().__init__(config)
        self.fas = FASModel(config)
        hidden = 256 if config.fusion == "query" else config.hidden_size
        self.head = mlp(self.fas.output_size, hidden, config.num_labels, config.dropout)
        if config.residual:  # nothing is added until something is learned
            last = cast(nn.Linear, self.head[-1])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.pathway = nn.ModuleDict()
        if config.pathway_heads:
            for s in STREAMS if config.semantic_head == TRAINED else ("acoustic",):
                self.pathway[s] = PathwayHead(2 * getattr(config, f"{s}_dim"), config.num_labels, config.dropout)
        self.post_init()

    def drop_semantic_head(self) -> None:
        """Of a checkpoint whose semantic head nobody trained: what it would say is noise."""
        self.config.semantic_head = UNTRAINED
        if "semantic" in self.pathway:
            del self.pathway["semantic"]

    def set_feature_statistics(self, statistics: dict) -> None:
        """Set what standardisation subtracts and divides by; the configuration must say `standardise=True`.

        Args:
            statistics: stream -> `FeatureStatistics` (see `fas_core.standardisation`).
        """
        for stream, values in statistics.items():
            for module, (mean, deviation) in (
                (self.fas.standardise[stream], values.patches),
                (self.fas.standardise_statistics[stream], values.clips),
            ):
                cast(Standardise, module).mean.copy_(torch.as_tensor(mean))
                cast(Standardise, module).deviation.copy_(torch.as_tensor(deviation))

    def forward(
        self,
        acoustic: Tensor,
        semantic: Tensor,
        acoustic_mask: Tensor,
        semantic_mask: Tensor,
        acoustic_deviation: Tensor | None = None,
        semantic_deviation: Tensor | None = None,
        labels: Tensor | None = None,
        semantic_labels: Tensor | None = None,
        mixing: tuple[Tensor, float] | None = None,
        tone_logits: Tensor | None = None,
    ) -> FASOutput:
        """Classify a batch.

        Args:
            acoustic: (B, P_a, D_a) patches; semantic: (B, P_s, D_s).
            acoustic_mask, semantic_mask: (B, P) bool, True for real patches.
            acoustic_deviation, semantic_deviation: (B, D) deviation over frames; over patches where not given.
            labels: (B,) emotion of the tone, -100 where unknown. Trains the fused answer and the acoustic head.
            semantic_labels: (B,) emotion of the words, -100 where unknown, or (B, 7) probabilities. Trains the semantic head only.
            mixing: in training, (partners (B,), share): the fused tokens of each clip are mixed with its partner's
                (manifold mixup, Verma et al. 2019), `share` of its own.
            tone_logits: in training on residuals, (B, 7) what the acoustic head would say had it not met the clips.

        Training with class weights, label smoothing or a split batch computes its loss with `classification_loss`.
        """
        output = self.fas(acoustic, semantic, acoustic_mask, semantic_mask, acoustic_deviation, semantic_deviation)
        output.logits = self.head(_mixed(output.fused.mean(1), mixing))  # (B, d) -> (B, 7)
        for stream, head in self.pathway.items():
            output[f"{stream}_logits"] = head(output.statistics[stream])
        if self.config.residual:
            output.logits = output.logits + _mixed(
                output.acoustic_logits if tone_logits is None else tone_logits, mixing
            )
        if labels is not None:
            output.loss = classification_loss(output, labels, semantic_labels)
        if self.config.ensemble and not self.training:
            parts = output.logits.log_softmax(-1), output.acoustic_logits.log_softmax(-1)
            output.logits = torch.lerp(*parts, self.config.ensemble)
        return output


def _mixed(x: Tensor, mixing: tuple[Tensor, float] | None) -> Tensor:
    """(B, D), each row with its share of its partner's."""
    if mixing is None:
        return x
    partners, share = mixing
    return share * x + (1 - share) * x[partners]
