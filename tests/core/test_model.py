"""FAS itself: the paper's sizes, one contract over every variant, and what each part promises."""

from itertools import product

import numpy as np
import pytest
import torch

from fas_core.configuration_fas import FUSIONS, SELECTIONS, SUMMARIES, FASConfig
from fas_core.distillation import distil
from fas_core.encoders.base import ClipFeatures
from fas_core.errors import CheckpointError, FASError, FeatureError
from fas_core.fusion import masked_statistics
from fas_core.inference import predict_logits
from fas_core.modeling_fas import FASForEmotionClassification, classification_loss
from fas_core.standardisation import feature_statistics

ACOUSTIC, SEMANTIC = 6, 10  # features of a patch in these tests
HEADS = ("logits", "acoustic_logits", "semantic_logits")


def tiny_config(**overrides) -> FASConfig:
    sizes = dict(acoustic_dim=ACOUSTIC, semantic_dim=SEMANTIC, hidden_size=16, intermediate_size=16)
    return FASConfig(**(sizes | dict(num_attention_heads=4, k_acoustic=3, k_semantic=5) | overrides))


def tiny_model(seed: int = 0, **overrides) -> FASForEmotionClassification:
    torch.manual_seed(seed)
    return FASForEmotionClassification(tiny_config(**overrides)).eval()


def make_batch(lengths=((7, 9), (2, 12), (12, 3)), seed: int = 0) -> dict[str, torch.Tensor]:
    """Clips of so many acoustic and semantic patches; the padding is NaN, which nobody may read.

    So is the deviation over frames of a stream without patches.
    """
    generator = torch.Generator().manual_seed(seed)
    batch = {}
    for column, (stream, dim) in enumerate((("acoustic", ACOUSTIC), ("semantic", SEMANTIC))):
        counts = torch.tensor([pair[column] for pair in lengths])
        values = torch.randn(len(lengths), max(1, int(counts.max())), dim, generator=generator)
        mask = torch.arange(values.shape[1]) < counts[:, None]
        batch[stream] = values.masked_fill(~mask[..., None], torch.nan)
        batch[f"{stream}_mask"] = mask
        deviation = torch.rand(len(lengths), dim, generator=generator) + 0.5
        batch[f"{stream}_deviation"] = deviation.masked_fill(counts[:, None] == 0, torch.nan)
    return batch


def one_clip(batch: dict, row: int) -> dict:
    """The clip alone, without its padding."""
    clip = {}
    for stream in ("acoustic", "semantic"):
        count = max(1, int(batch[f"{stream}_mask"][row].sum()))
        clip[stream] = batch[stream][row : row + 1, :count]
        clip[f"{stream}_mask"] = batch[f"{stream}_mask"][row : row + 1, :count]
        clip[f"{stream}_deviation"] = batch[f"{stream}_deviation"][row : row + 1]
    return clip


def logits(model, batch: dict) -> torch.Tensor:
    """(B, heads, 7)"""
    with torch.no_grad():
        output = model(**batch)
    return torch.stack([output[head] for head in HEADS], 1)


def random_statistics(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    dims = {"acoustic": ACOUSTIC, "semantic": SEMANTIC}
    return {s: feature_statistics(rng.normal(2, 3, (20, 5, d))) for s, d in dims.items()}


class TestPaper:
    """Table 4 of the paper, with layouts that give its numbers of parameters."""

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ({}, 3_452_935),
            ({"fusion": "concat"}, 1_217_543),
            ({"fusion": "gated"}, 1_645_063),
            ({"learnable_queries": False}, 822_279),
            ({"selection": "random"}, 3_452_935),
        ],
    )
    def test_parameter_count(self, overrides, expected):
        model = FASForEmotionClassification(FASConfig.paper(**overrides))
        assert model.num_parameters() == expected
        assert sum(p.numel() for p in model.parameters()) == expected

    def test_settings_of_table_3(self):
        config = FASConfig.paper()
        assert (config.hidden_size, config.num_queries, config.dropout) == (512, 2, 0.4)
        assert (config.k_acoustic, config.k_semantic, config.patch_size) == (8, 16, 5)
        assert (config.fusion, config.selection, config.summary) == ("query", "energy", "none")
        assert not (config.token_norm or config.standardise or config.pathway_heads)


VARIANTS = [
    pytest.param(
        dict(fusion=fusion, selection=selection, summary=summary, learnable_queries=queries),
        id=f"{fusion if queries else 'no-queries'}-{selection}-{summary}",
    )
    for (fusion, queries), selection, summary in product(
        [(fusion, True) for fusion in FUSIONS] + [("query", False)], SELECTIONS, SUMMARIES
    )
]


@pytest.mark.parametrize("variant", VARIANTS)
class TestContract:
    """What every fusion x selection x summary promises."""

    @pytest.fixture
    def model(self, variant):
        model = tiny_model(**variant, standardise=True)
        model.set_feature_statistics(random_statistics())
        return model

    def test_batch_equals_single(self, model):
        batch = make_batch()
        alone = torch.cat([logits(model, one_clip(batch, row)) for row in range(3)])
        torch.testing.assert_close(logits(model, batch), alone, atol=1e-5, rtol=0)

    def test_padding_and_order_do_not_matter(self, model):
        batch, order = make_batch(), [2, 0, 1]
        expected = logits(model, batch)
        assert torch.isfinite(expected).all()  # the padding is NaN
        filled = {k: v if v.dtype == torch.bool else v.nan_to_num(1e4) for k, v in batch.items()}
        assert torch.equal(logits(model, filled), expected)
        shuffled = logits(model, {k: v[order] for k, v in batch.items()})
        torch.testing.assert_close(shuffled, expected[order], atol=1e-5, rtol=0)

    def test_clips_shorter_than_k(self, model):
        with torch.no_grad():
            output = model(**make_batch([(1, 2), (2, 1)]))
        assert torch.isfinite(output.logits).all()
        assert output.acoustic_kept.mask.sum(1).tolist() == [1, 2]
        assert output.semantic_kept.mask.sum(1).tolist() == [2, 1]

    def test_streams_without_patches(self, model):
        lengths = [(0, 4), (3, 0), (0, 0)]
        batch = make_batch([*lengths, (6, 6)])
        together = logits(model, batch)
        assert torch.isfinite(together).all()
        for row in range(len(lengths)):
            torch.testing.assert_close(logits(model, one_clip(batch, row))[0], together[row], atol=1e-5, rtol=0)

    def test_content_matters(self, model):
        batch = make_batch()
        expected = logits(model, batch)
        for stream in ("acoustic", "semantic"):
            changed = logits(model, batch | {stream: batch[stream] + 1})
            assert ((changed[:, 0] - expected[:, 0]).abs().amax(1) > 1e-4).all()  # the fused answer
            other = 3 - (1 if stream == "acoustic" else 2)
            assert torch.equal(changed[:, other], expected[:, other])  # the other pathway's

    def test_round_trip_through_disk(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        loaded = FASForEmotionClassification.from_pretrained(tmp_path).eval()
        batch = make_batch()
        weights = loaded.state_dict()
        assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
        # other memory alignment, other rounding
        torch.testing.assert_close(logits(loaded, batch), logits(model, batch), atol=1e-6, rtol=0)
        ours, theirs, saved = (
            model.config.to_dict(),
            loaded.config.to_dict(),
            ("_name_or_path", "architectures", "dtype"),
        )
        assert {k: v for k, v in ours.items() if theirs[k] != v and k not in saved} == {}

    def test_deviations_over_frames_are_optional(self, model):
        batch = {k: v for k, v in make_batch().items() if "deviation" not in k}
        found = logits(model, batch)
        real = {s: batch[s].masked_fill(~batch[f"{s}_mask"][..., None], 0) for s in ("acoustic", "semantic")}
        over_patches = {
            f"{s}_deviation": masked_statistics(x, batch[f"{s}_mask"]).chunk(2, -1)[1] for s, x in real.items()
        }
        torch.testing.assert_close(logits(model, batch | over_patches), found, atol=1e-5, rtol=0)
        other = logits(model, batch | {k: 2 * v for k, v in over_patches.items()})
        assert (other[:, 1:] - found[:, 1:]).abs().amax() > 0.01  # the pathway heads read them

    def test_gradient_reaches_every_parameter(self, model):
        labels = torch.tensor([0, 3, 5])
        torch.manual_seed(1)
        model.train()(**make_batch(), labels=labels, semantic_labels=labels).loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


class TestDistillation:
    def test_keeps_the_highest_norms_in_order_of_time(self):
        norms = torch.tensor([[1.0, 5.0, 2.0, 4.0, 3.0, 9.0], [3.0, 2.0, 1.0, 9.0, 9.0, 9.0]])
        mask = torch.tensor([[True] * 5 + [False], [True] * 3 + [False] * 3])
        kept = distil(norms[..., None].expand(-1, -1, 4) / 2, mask, k=3)  # (B, P, 4) of these norms
        assert kept.indices.tolist() == [[1, 3, 4], [0, 1, 2]]
        torch.testing.assert_close(kept.scores, torch.tensor([[5.0, 4.0, 3.0], [3.0, 2.0, 1.0]]))
        torch.testing.assert_close(kept.tokens[..., 0] * 2, kept.scores)
        assert kept.mask.all()

    def test_fewer_patches_than_k_are_kept_and_the_rest_is_masked(self):
        mask = torch.tensor([[True, True, False, False]])
        kept = distil(torch.ones(1, 4, 2), mask, k=3)
        assert kept.indices.tolist() == [[0, 1, -1]]
        assert kept.mask.tolist() == [[True, True, False]]
        assert kept.tokens[0, 2].tolist() == [0, 0] and kept.scores[0, 2] == 0

    def test_all_keeps_every_real_patch(self):
        mask = torch.tensor([[True, True, True], [True, False, False]])
        kept = distil(torch.ones(2, 3, 2), mask, k=1, selection="all")
        assert kept.indices.tolist() == [[0, 1, 2], [0, -1, -1]]

    def test_random_is_fixed_in_evaluation_with_and_without_gradients(self):
        tokens = torch.randn(1, 40, 4)
        with torch.no_grad():
            first = distil(tokens, torch.ones(1, 40, dtype=torch.bool), 8, "random")
        padded = torch.cat([tokens.expand(2, -1, -1), torch.ones(2, 30, 4)], 1)
        mask = torch.arange(70) < torch.tensor([[40], [70]])
        second = distil(padded, mask, 8, "random")
        assert first.indices[0].tolist() == second.indices[0].tolist()
        assert first.indices[0].tolist() not in (list(range(8)), list(range(32, 40)))

    def test_random_differs_from_step_to_step_in_training(self):
        mask = torch.ones(1, 200, dtype=torch.bool)
        torch.manual_seed(0)
        drawn = [distil(torch.ones(1, 200, 2), mask, 5, "random", training=True).indices.tolist() for _ in range(2)]
        assert drawn[0] != drawn[1]

    def test_random_never_keeps_padding(self):
        mask = torch.arange(50) < torch.tensor([[5], [50]])
        for training in (False, True):
            kept = distil(torch.ones(2, 50, 2), mask, 6, "random", training)
            assert kept.indices[0].tolist() == [0, 1, 2, 3, 4, -1] or kept.mask[0].sum() == 5
            assert kept.indices[0][kept.mask[0]].max() < 5


class TestHeads:
    LABELS = torch.tensor([0, 3, 5])

    def _fused_gradients(self, **overrides):
        model = tiny_model(dropout=0.0, **overrides)
        fused_path = {k: v for k, v in model.named_parameters() if "pathway" not in k}
        if overrides.get("pathway_heads", True):
            reference = tiny_model(dropout=0.0, pathway_heads=False)
            model.load_state_dict(reference.state_dict(), strict=False)
        model(**make_batch(), labels=self.LABELS, semantic_labels=self.LABELS).loss.backward()
        return {k: v.grad for k, v in fused_path.items()}

    def test_pathway_heads_leave_the_fused_path_alone(self):
        with_heads, without = self._fused_gradients(), self._fused_gradients(pathway_heads=False)
        assert with_heads.keys() == without.keys()
        for name, gradient in with_heads.items():
            assert torch.equal(gradient, without[name]), name

    def test_words_train_only_the_semantic_head(self):
        model = tiny_model()
        unknown = torch.full((3,), -100)
        model(**make_batch(), labels=unknown, semantic_labels=self.LABELS).loss.backward()
        trained = {k for k, v in model.named_parameters() if v.grad is not None and v.grad.abs().sum() > 0}
        assert trained == {"pathway.semantic.linear.weight", "pathway.semantic.linear.bias"}

    def test_tone_never_trains_the_semantic_head(self):
        model = tiny_model()
        model(**make_batch(), labels=self.LABELS).loss.backward()
        assert model.pathway["semantic"].linear.weight.grad is None
        assert model.pathway["acoustic"].linear.weight.grad.abs().sum() > 0

    def test_loss_is_the_sum_of_cross_entropies(self):
        model, words = tiny_model(), torch.tensor([1, -100, 2])
        output = model(**make_batch(), labels=self.LABELS, semantic_labels=words)
        entropy = torch.nn.functional.cross_entropy
        expected = entropy(output.logits, self.LABELS) + entropy(output.acoustic_logits, self.LABELS)
        torch.testing.assert_close(output.loss, expected + entropy(output.semantic_logits, words))

    def test_class_weights_are_those_of_torch(self):
        output, weights = tiny_model(pathway_heads=False)(**make_batch()), torch.linspace(0.5, 2, 7)
        expected = torch.nn.functional.cross_entropy(output.logits, self.LABELS, weight=weights)
        torch.testing.assert_close(classification_loss(output, self.LABELS, class_weights=weights), expected)

    def test_nothing_known_is_no_loss(self):
        unknown = torch.full((3,), -100)
        assert tiny_model()(**make_batch(), labels=unknown, semantic_labels=unknown).loss == 0

    def test_a_dropped_pathway_is_the_average_clip_to_its_head(self):
        model = tiny_model(standardise=True)
        model.set_feature_statistics(random_statistics())
        batch = make_batch([(0, 4)])
        head = model.pathway["acoustic"].linear
        torch.testing.assert_close(logits(model, batch)[0, 1], head.bias.detach())


class TestStandardisation:
    def test_statistics_are_those_of_numpy(self):
        rng = np.random.default_rng(0)
        clips = [rng.normal(50, 0.5, (n, 4)).astype(np.float16) for n in (1, 7, 30, 4)]
        found, every = feature_statistics(clips), np.concatenate(clips).astype(np.float64)
        np.testing.assert_allclose(found.patches[0], every.mean(0), rtol=1e-6)
        np.testing.assert_allclose(found.patches[1], every.std(0), rtol=1e-5)
        exact = [c.astype(np.float64) for c in clips]
        means = [(c.mean(0) - every.mean(0)) / every.std(0) for c in exact]
        deviations = [np.sqrt(c.var(0) + 1e-6) / every.std(0) for c in exact]
        rows = np.concatenate([np.stack(means), np.stack(deviations)], 1)
        np.testing.assert_allclose(found.clips[0], rows.mean(0), atol=1e-5)
        np.testing.assert_allclose(found.clips[1], rows.std(0), rtol=1e-4)

    def test_model_standardises_patches_and_their_statistics(self):
        rng = np.random.default_rng(1)
        clips = {s: rng.normal(3, 2, (12, 6, d)).astype(np.float32) for s, d in (("acoustic", 6), ("semantic", 10))}
        model = tiny_model(standardise=True)
        model.set_feature_statistics({s: feature_statistics(x) for s, x in clips.items()})
        batch = {s: torch.from_numpy(x) for s, x in clips.items()}
        masks = {f"{s}_mask": torch.ones(12, 6, dtype=torch.bool) for s in clips}
        statistics = model.fas(**batch, **masks).statistics
        for values in statistics.values():
            torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-4, rtol=0)
            torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1]), atol=1e-3, rtol=0)
        plain = tiny_model()  # the same weights on features that were standardised beforehand
        ready = {s: (x - x.mean((0, 1))) / x.std((0, 1), correction=0) for s, x in batch.items()}
        expected = plain(**ready, **masks).logits
        torch.testing.assert_close(model(**batch, **masks).logits, expected, atol=1e-4, rtol=0)

    def test_a_feature_that_never_moved_is_not_blown_up(self):
        values = np.random.default_rng(0).normal(size=(5, 4, 3))
        values[..., 1] = 7.0
        found = feature_statistics(values)
        assert found.patches[1][1] == 1 and (found.clips[1] > 1e-4).all()

    def test_no_clips_is_an_error_of_ours(self):
        with pytest.raises(FeatureError, match="no clip"):
            feature_statistics([])

    def test_masked_statistics_are_those_of_the_real_patches(self):
        x, mask = torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]])
        found = masked_statistics(x, mask)
        for row, count in enumerate((5, 2)):
            real = x[row, :count].numpy()
            expected = np.concatenate([real.mean(0), np.sqrt(real.var(0) + 1e-6)])
            np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


class TestConfig:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("fusion", "sum"),
            ("selection", "best"),
            ("summary", "max"),
            ("summary_streams", ["video"]),
            ("summary_streams", []),
            ("k_acoustic", 0),
            ("num_queries", -1),
            ("patch_size", 2.5),
            ("dropout", 1.5),
            ("hidden_size", 18),  # not a multiple of the heads
        ],
    )
    def test_bad_values_name_the_field(self, field, value):
        with pytest.raises(CheckpointError, match=rf"FASConfig\.{field}") as error:
            tiny_config(**{field: value})
        assert repr(value) in str(error.value) and "expected" in str(error.value)
        assert isinstance(error.value, FASError)

    def test_labels_are_the_seven_emotions(self):
        assert tiny_config().num_labels == 7
        assert tiny_config().id2label[0] == "angry" and tiny_config().label2id["surprise"] == 6

    def test_round_trip(self):
        config = tiny_config(summary="mean", summary_streams=["semantic"], temperature=1.7, streams={"patch_size": 5})
        again = FASConfig.from_dict(config.to_dict())
        assert again.to_dict() == config.to_dict()


class TestPredictLogits:
    def test_order_kept_whatever_the_batch_size(self):
        rng = np.random.default_rng(0)
        clips = [
            ClipFeatures(rng.normal(size=(n, ACOUSTIC)), rng.normal(size=(n + 1, SEMANTIC)), 5 * n, 5 * n + 5)
            for n in (3, 11, 1, 7, 5)
        ]
        model = tiny_model().train()
        seen = []
        runs = [
            predict_logits(model, clips.__getitem__, [len(c.acoustic) for c in clips], batch_size=size,
                           on_output=lambda indices, output: seen.extend(indices))
            for size in (1, 2, 64)
        ]  # fmt: skip
        assert sorted(seen[:5]) == list(range(5)) and seen[0] == 1  # the longest goes first
        for run in runs[1:]:
            for head in ("fused", "acoustic", "semantic"):
                np.testing.assert_allclose(getattr(run, head), getattr(runs[0], head), atol=1e-5)
        assert model.training

    def test_a_head_that_is_not_there_is_nan(self):
        clip = ClipFeatures(np.ones((2, ACOUSTIC)), np.ones((2, SEMANTIC)), 10, 10)
        found = predict_logits(tiny_model(pathway_heads=False), lambda i: clip, [2])
        assert np.isfinite(found.fused).all() and np.isnan(found.acoustic).all()
