"""C²SER's connector: what holds of every way to hear (fused tokens, frames, both), and what its own shape means."""

import json

import pytest
import soundfile
import torch
from alm_runs import Interrupted, flags, interrupt_at, trained, weights, write_material
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, shared_fas, tiny_model, user
from peft import LoraConfig, get_peft_model

from fas_alm import FASAudioConfig, FASAudioForConditionalGeneration, export_model, load_adapter, save_adapter
from fas_alm.artifacts import load_model_directory
from fas_alm.card import model_card
from fas_alm.connector import ConnectorConfig, FrameConnector, sinusoids
from fas_alm.scorer import Scorer
from fas_alm.training import adapter as run
from fas_core.errors import CheckpointError
from fas_core.pipeline import EmotionPipeline

KINDS = ("fused", "frames", "fused+frames")
SIZES = {"semantic": 8, "acoustic": 12}
SMALL = dict(num_layers=2, num_heads=2, intermediate_size=16)
FRAMES_TOO = KINDS[1:]


@pytest.fixture(scope="module", params=KINDS)
def parts(request):
    return tiny_model(audio_tokens=request.param)


def prompts(processor, *conversations):
    options = dict(tokenize=True, add_generation_prompt=True, sampling_rate=16_000)
    return processor.apply_chat_template([[c] for c in conversations], **options)


def logits(model, processor, *audios):
    with torch.no_grad():
        return model(**prompts(processor, *(user(a, "Why?") for a in audios))).logits


class TestEveryWayToHear:
    @pytest.mark.parametrize(("seconds", "frames"), [(3, [150]), (30.02, [1500]), (60, [1500, 1500]), (31, [1500, 50])])
    def test_a_clip_is_as_many_tokens_as_it_has_embeddings(self, parts, seconds, frames):
        model, processor = parts
        kind = model.config.audio_tokens
        expected = sum(2 * ("fused" in kind) + 2 * (count // 5) * ("frames" in kind) for count in frames)
        batch = prompts(processor, user(clip(seconds), "Why?"))
        assert int((batch["input_ids"] == processor.audio_token_id).sum()) == expected
        rows = model.get_audio_features(batch["audio_mels"], batch["audio_window_lengths"])[0]
        assert rows.shape == (expected, model.config.hidden_size) and rows.isfinite().all()

    def test_an_audio_is_heard_the_same_alone_and_in_a_batch(self, parts):
        model, processor = parts
        prepared = [processor.prepare_audio(clip(s, i)) for i, s in enumerate((2.0, 0.4, 31.0, 7.03))]
        together = model.get_audio_features(*zip(*prepared, strict=True))
        for (mel, lengths), rows in zip(prepared, together, strict=True):
            torch.testing.assert_close(model.get_audio_features([mel], [lengths])[0], rows, rtol=1e-4, atol=1e-5)

    def test_an_answer_is_the_same_alone_and_in_a_padded_batch(self, parts):
        audios = clip(2.0), clip(0.5, 1)
        together = logits(*parts, *audios)
        for row, audio in zip(together, audios, strict=True):
            torch.testing.assert_close(logits(*parts, audio)[0, -1], row[-1], rtol=1e-3, atol=1e-3)

    def test_what_stands_in_the_padding_is_not_heard(self, parts):
        model, processor = parts
        prepared = [processor.prepare_audio(clip(s, i)) for i, s in enumerate((2.0, 0.4))]
        features = model.audio_tower(*zip(*prepared, strict=True))
        loud = {
            k: x.masked_fill(~features[f"{k}_mask"][..., None], 99.0) if x.ndim == 3 else x for k, x in features.items()
        }
        quiet, read = model.embed_windows(features)
        torch.testing.assert_close(model.embed_windows(loud)[0][read], quiet[read])

    def test_adapter_and_export_give_the_same_answer(self, parts, tmp_path):
        """Nothing of them is in the LLM: projector, connector and LoRA come back from their files."""
        kind = parts[0].config.audio_tokens
        save_tiny_language_model(tmp_path / "llm")
        model, processor = FASAudioForConditionalGeneration.from_parts(
            save_tiny_fas(tmp_path), tmp_path / "llm", kind, seed=7
        )
        model.language_model = get_peft_model(
            model.language_model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
        )
        model.eval()
        expected = logits(model, processor, clip(1.0))
        adapter = save_adapter(model, processor, tmp_path / "adapter")
        assert (adapter / "projector.safetensors").is_file()
        again = load_adapter(adapter)
        assert again[0].config.connector == model.config.connector
        torch.testing.assert_close(logits(*again, clip(1.0)), expected, rtol=1e-4, atol=1e-3)
        whole = load_model_directory(export_model(adapter, tmp_path / "whole"))
        torch.testing.assert_close(logits(*whole, clip(1.0)), expected, rtol=1e-4, atol=1e-3)

    def test_the_evaluation_hears_what_the_whole_model_hears(self, parts, tmp_path):
        """From patches of the feature cache, which are float16."""
        model, processor = parts
        soundfile.write(tmp_path / "a.wav", clip(1.0), 16_000, subtype="FLOAT")
        extractor = EmotionPipeline.from_pretrained(shared_fas(), device="cpu").extractor
        scorer = Scorer(model, processor, extractor, tmp_path / "cache")
        conversation = [user(clip(1.0), "Why?")]
        path = [
            {
                "role": "user",
                "content": [{"type": "audio", "path": str(tmp_path / "a.wav")}, conversation[0]["content"][1]],
            }
        ]
        features = scorer.features([{"audio": str(tmp_path / "a.wav")}])
        expected = logits(model, processor, clip(1.0))[0, -1].log_softmax(-1)[scorer.answers.option_ids]
        found = torch.from_numpy(scorer.options(scorer.hearing(features), [path])[0]).float()
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.05)
        (answer,) = scorer.write(scorer.hearing(features), [path])
        ids = model.generate(**prompts(processor, *conversation), do_sample=False, max_new_tokens=4)
        start = processor.batch_decode(ids[:, -4:], skip_special_tokens=True)[0]
        assert answer.startswith(start[:1])


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_material(tmp_path_factory.mktemp("material"))


class TestTraining:
    SMALL = ("--connector_layers", "1", "--connector_intermediate_size", "16", "--stage2_epochs", "1")

    @pytest.mark.parametrize(("kind", "step"), [("frames", 2), ("fused+frames", 5)])  # in stage 1; in stage 2
    def test_resumed_equals_uninterrupted_bit_for_bit(self, material, tmp_path, monkeypatch, kind, step):
        more = ("--audio_tokens", kind, *self.SMALL)
        record = trained(material, tmp_path / "whole", *more)
        assert record["validation"]["clips"] == 12 and record["arguments"]["model"]["audio_tokens"] == kind
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            with pytest.raises(Interrupted):
                run.main(flags(material, tmp_path / "resumed", *more))
        trained(material, tmp_path / "resumed", *more, "--resume", "true")
        whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
        assert any("transformers.joint.layers.0" in name for name in whole)
        assert whole.keys() == resumed.keys() and all(torch.equal(whole[n], resumed[n]) for n in whole)

    def test_fas_learns_beside_frames(self, material, tmp_path):
        more = ("--audio_tokens", "fused+frames", "--train_fas", "true", "--stage1_epochs", "0", *self.SMALL)
        trained(material, tmp_path / "run", *more)
        model, _ = load_adapter(tmp_path / "run" / "adapter")
        before = EmotionPipeline.from_pretrained(material / "fas", device="cpu", words=False).model.state_dict()
        assert any(not torch.equal(before[name], value) for name, value in model.fas.state_dict().items())

    @pytest.mark.parametrize(
        ("more", "problem"),
        [
            (("--audio_tokens", "frames", "--train_fas", "true"), "--train_fas: the LLM hears frames alone"),
            (("--audio_tokens", "frames", "--distil_options", "true"), "--distil_options needs a frozen FAS"),
            (("--audio_tokens", "frames", "--connector_streams", "words"), "connector: streams is"),
            (("--audio_tokens", "frames", "--connector_layers", "0"), "connector: num_layers is 0"),
        ],
    )
    def test_what_cannot_work_is_one_clear_error(self, material, tmp_path, capsys, more, problem):
        assert run.main(flags(material, tmp_path / "run", *more)) == 2
        assert problem in capsys.readouterr().err


class TestShape:
    def features(self, acoustic: float = 1.0):
        torch.manual_seed(0)
        found = {"semantic": torch.randn(1, 3, 8), "acoustic": torch.randn(1, 3, 12) * acoustic}
        return found | {f"{stream}_mask": torch.ones(1, 3, dtype=torch.bool) for stream in SIZES}

    @pytest.mark.parametrize("joint", [True, False])
    def test_streams_attend_to_each_other_where_they_share_a_transformer(self, joint):
        torch.manual_seed(0)
        connector = FrameConnector(ConnectorConfig(joint=joint, **SMALL), SIZES, 6).eval()
        (one, read), (other, _) = connector(self.features()), connector(self.features(acoustic=-2.0))
        assert one.shape == (1, 6, 6) and read.all()
        assert torch.allclose(one[:, :3], other[:, :3]) != joint  # the semantic stream comes first
        assert not torch.allclose(one[:, 3:], other[:, 3:])

    def test_one_stream_alone(self):
        """What the paper's ablation leaves out."""
        connector = FrameConnector(ConnectorConfig(streams=("acoustic",), hidden_size=4, **SMALL), SIZES, 6)
        assert connector(self.features())[0].shape == (1, 3, 6)

    def test_layers_begin_with_values_of_their_own(self):
        connector = FrameConnector(ConnectorConfig(**SMALL), SIZES, 6)
        first, second = connector.transformers["joint"].layers
        assert not torch.equal(first.linear1.weight, second.linear1.weight)

    def test_time_is_heard(self):
        connector = FrameConnector(ConnectorConfig(**SMALL), SIZES, 6).eval()
        features = self.features()
        turned = features | {name: features[name].flip(1) for name in SIZES}
        assert not torch.allclose(connector(turned)[0].mean(1), connector(features)[0].mean(1), atol=1e-4)
        assert sinusoids(4, 5).shape == (4, 5)

    def test_the_published_sizes(self):
        """Of Whisper-medium and Qwen2-7B. The published code notes 51.6 million for its connector, 9.4 of them in convolutions
        whose place patches take here.
        """
        with torch.device("meta"):
            connector = FrameConnector(ConnectorConfig(), {"semantic": 1024, "acoustic": 1024}, 3584)
        layers = connector.transformers["joint"].layers
        assert len(layers) == 4 and layers[0].linear1.out_features == 2560
        assert sum(p.numel() for p in connector.parameters()) == pytest.approx(43.6e6, rel=0.01)


def test_peft_on_the_whole_model_leaves_the_connector_alone():
    model, processor = tiny_model(audio_tokens="frames")
    before = model.get_audio_features(*[[part] for part in processor.prepare_audio(clip(1.0))])[0]
    whole = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    adapted = {name.split(".")[2] for name, _ in whole.named_parameters() if "lora_" in name}
    after = whole.get_base_model().get_audio_features(*[[part] for part in processor.prepare_audio(clip(1.0))])[0]
    assert adapted == {"language_model"}
    torch.testing.assert_close(before, after)


class TestConfiguration:
    def test_files_of_before_have_no_connector(self):
        model, _ = tiny_model()
        values = {k: v for k, v in model.config.to_dict().items() if k != "connector"}
        config = FASAudioConfig.from_dict(values)
        assert config.connector is None and config.window_tokens.of_window(1500) == 2

    def test_it_survives_json(self):
        model, _ = tiny_model(audio_tokens="frames")
        config = FASAudioConfig.from_dict(json.loads(json.dumps(model.config.to_diff_dict())))
        assert config.connector_config == ConnectorConfig() and config.tokens_per_window == 0

    @pytest.mark.parametrize(
        ("kind", "connector", "problem"),
        [
            ("fused", {}, "connector: {}; expected null with audio_tokens fused"),
            ("frames", {"layers": 4}, "layers is 'an unknown field'; expected one of streams"),
            ("frames", {"num_heads": 5}, "num_heads is 5; expected a divisor of the width 32"),
            ("frames", {"streams": []}, "streams is \\[\\]; expected one or both of semantic, acoustic"),
            ("frames", {"dropout": 1}, "dropout is 1; expected at least 0 and below 1"),
            ("frames", {"joint": "no"}, "joint is 'no'; expected true or false"),
            ("frames", [4], "expected fields with values"),
        ],
    )
    def test_what_is_wrong_is_named(self, kind, connector, problem):
        model, _ = tiny_model()
        values = model.config.to_dict() | {"audio_tokens": kind, "connector": connector}
        with pytest.raises(CheckpointError, match=problem):
            FASAudioConfig.from_dict(values)

    @pytest.mark.parametrize("kind", FRAMES_TOO)
    def test_the_card_says_what_is_heard(self, kind):
        model, _ = tiny_model(audio_tokens=kind)
        card = model_card(model.config)
        assert "2 tokens for every 100 ms" in card and "C²SER" in card
        assert ("2 tokens and 2 tokens" in card) == (kind == "fused+frames")
