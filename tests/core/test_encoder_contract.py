"""The contract that every registered encoder keeps, on small models of random weights; then what each kind adds."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from repository import ROOT
from synthetic import noise
from tiny_encoders import TINY, install_stand_ins

from fas_core.encoders import FeatureExtractor, StreamConfig, identity_digest
from fas_core.encoders.registry import ENCODERS, build_encoder
from fas_core.encoders.speech_models import BATCH_SECONDS
from fas_core.errors import CheckpointError, FASError, MissingDependencyError

TOLERANCE = 1e-5
CLIPS = [noise(seconds, seed) for seed, seconds in enumerate((0.5, 0.025, 1.99, 0.3, 1.234, 0.5))]
LAYERED = [name for name in TINY if "layer" in ENCODERS[name.partition(",")[0]].options]
NAMED = [name for name in ENCODERS if "model" in ENCODERS[name].options]


@pytest.fixture(scope="module", autouse=True)
def stand_ins():
    with pytest.MonkeyPatch.context() as patch:
        install_stand_ins(patch)
        yield


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """(name, seed) -> the configuration of a small model, written once."""
    made = {}

    def config(name: str, seed: int = 0) -> dict:
        if (name, seed) not in made:
            if name.startswith("egemaps"):
                pytest.importorskip("opensmile")
            folder = tmp_path_factory.mktemp("tiny") / name.replace(", ", "-")
            made[name, seed] = TINY[name](folder, seed)
        return made[name, seed]

    return config


@pytest.fixture(scope="module")
def make(configs):
    return lambda name, seed=0, **options: build_encoder(configs(name, seed) | options, "cpu")


@pytest.fixture(params=TINY, scope="module")
def encoder(request, make):
    return make(request.param)


@pytest.fixture(scope="module")
def output(encoder):
    return encoder.encode(CLIPS)


def test_every_registered_encoder_has_a_small_model():
    assert {name.partition(",")[0] for name in TINY} == set(ENCODERS)


class TestContract:
    def test_shapes_and_lengths(self, encoder, output):
        longest = int(output.lengths.max())
        assert output.frames.shape == (len(CLIPS), longest, encoder.dimension)
        assert output.lengths.dtype == torch.int64 and output.lengths.min() >= 1
        assert output.frames.isfinite().all()

    def test_frame_rate(self, encoder, output):
        """As many frames as the duration says, up to one and what the last ones would look ahead (60 ms at most)."""
        for clip, length in zip(CLIPS, output.lengths.tolist(), strict=True):
            assert abs(length - len(clip) / 16_000 * encoder.frame_rate) <= 1 + 0.06 * encoder.frame_rate

    def test_padding_frames_are_zero(self, output):
        for row, length in zip(output.frames, output.lengths, strict=True):
            assert not row[length:].any() and row[:length].any(dim=1).all()

    def test_batch_equals_single(self, encoder, output):
        for index, clip in enumerate(CLIPS):
            alone = encoder.encode([clip])
            assert alone.frames.shape == (1, int(output.lengths[index]), encoder.dimension)
            torch.testing.assert_close(output.clip(index), alone.clip(0), rtol=0, atol=TOLERANCE)

    def test_the_same_again(self, encoder, output):
        torch.rand(3)  # nor does it depend on the state of chance
        np.random.rand(3)
        assert torch.equal(encoder.encode(CLIPS).frames, output.frames)

    def test_hears_the_clip(self, encoder):
        there, back = encoder.encode([CLIPS[0], CLIPS[0][::-1].copy()]).frames
        assert (there - back).abs().max() > 0.01

    def test_silence(self, encoder):
        assert encoder.encode([np.zeros(8000, np.float32)]).frames.isfinite().all()

    def test_less_than_a_frame(self, encoder):
        """The front end may leave 20 ms of a clip."""
        found = encoder.encode([CLIPS[0][:320], CLIPS[0][:1]])
        assert found.lengths.min() >= 1 and found.frames.isfinite().all()

    def test_dtype_and_device(self, encoder, output):
        assert output.frames.dtype == torch.float32 and output.frames.device.type == "cpu"
        assert isinstance(encoder.dimension, int) and isinstance(encoder.frame_rate, float)
        assert encoder.weights in ("real", "random")

    def test_identity_is_json_without_paths(self, encoder):
        identity = encoder.identity()
        text = json.dumps(identity)
        assert "/" not in text and identity == encoder.identity()
        assert {"type", "model", "dimension", "code_version"} <= set(identity)
        assert identity["type"] in ENCODERS and identity["dimension"] == encoder.dimension

    @pytest.mark.parametrize("waveforms", [[], np.zeros(800, np.float32), [np.zeros(0)], [np.zeros((800, 2))]])
    def test_bad_waveforms(self, encoder, waveforms):
        with pytest.raises(FASError, match="waveform"):
            encoder.encode(waveforms)


@pytest.mark.parametrize("name", [name for name in TINY if name.partition(",")[0] in NAMED])
def test_identity_tells_weights_apart_but_not_places(name, make, tmp_path):
    identity = make(name).identity()
    assert len(identity["weights_sha256"]) == 64
    assert identity_digest(make(name, seed=1).identity()) != identity_digest(identity)
    again = build_encoder(TINY[name](tmp_path / "elsewhere", 0), "cpu")
    assert identity_digest(again.identity()) == identity_digest(identity)


@pytest.mark.parametrize("name", LAYERED)
def test_layers(name, make):
    one, last = make(name, layer=1), make(name, layer="last")
    both = make(name, layer=["last", 1])
    assert len({identity_digest(each.identity()) for each in (one, last, both)}) == 3
    assert both.dimension == 2 * one.dimension
    frames = torch.cat([last.encode(CLIPS).frames, one.encode(CLIPS).frames], -1)
    torch.testing.assert_close(both.encode(CLIPS).frames, frames, rtol=0, atol=TOLERANCE)
    for bad in (0, 3, True, "first", [1, 1], []):
        with pytest.raises(FASError, match="'layer'"):
            make(name, layer=bad)


@pytest.mark.parametrize("name", NAMED)
def test_a_directory_without_weights(name, tmp_path):
    with pytest.raises(CheckpointError, match="option 'model'"):
        build_encoder({"type": name, "model": str(tmp_path)}, "cpu")


@pytest.mark.parametrize("name", [name for name in NAMED if ENCODERS[name].default_model])
def test_a_hub_that_cannot_be_reached(name, monkeypatch):
    """The default model of each type is a hub id."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=f"{ENCODERS[name].default_model}.*hf download"):
        build_encoder({"type": name}, "cpu")


@pytest.mark.parametrize(
    ("name", "module"),
    [("egemaps", "opensmile"), ("emotion2vec", "funasr"), ("soundstream", "ai_edge_litert.interpreter")],
)
def test_a_missing_package_names_its_extra(name, module, configs, monkeypatch):
    config = configs(name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'fas-alm\[{ENCODERS[name].extra}\]'"):
        build_encoder(config, "cpu")


class TestRegistry:
    def test_the_documented_encoder_of_ones_own(self):
        """The example of docs/encoders.md, as it stands there, beside a built-in one."""
        text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len([line for line in code.splitlines() if line.strip()]) <= 30
        try:
            exec(compile(code, "docs/encoders.md", "exec"), {"__name__": "example"})
            extractor = FeatureExtractor.from_config(
                {"acoustic": {"type": "bands", "bands": 16}, "semantic": {"type": "bands"}}
            )
            assert extractor.dimensions == {"acoustic": 16, "semantic": 8}
            assert [clip.acoustic_frames for clip in extractor(CLIPS[2:3])] == [99]
            with pytest.raises(FASError, match="unknown option 'volume', bands takes bands"):
                StreamConfig({"type": "bands", "volume": 2}, {"type": "bands"})
        finally:
            ENCODERS.pop("bands", None)

    def test_an_encoder_without_options(self):
        with pytest.raises(FASError, match="unknown option 'model', egemaps takes none"):
            build_encoder({"type": "egemaps", "model": "x"})


class TestSpeechModels:
    @pytest.mark.parametrize("name", ["hubert", "hubert, base", "wavlm", "wav2vec2", "data2vec"])
    def test_it_is_what_transformers_gives(self, name, configs, make):
        from transformers import AutoFeatureExtractor, AutoModel

        model = AutoModel.from_pretrained(configs(name)["model"]).eval()
        inputs = AutoFeatureExtractor.from_pretrained(configs(name)["model"])(
            CLIPS[0], sampling_rate=16_000, return_tensors="pt"
        )
        with torch.no_grad():
            expected = model(inputs.input_values, output_hidden_states=True)
        outputs = make(name).encode_layers(CLIPS, [1, "last"])
        torch.testing.assert_close(outputs[-1].clip(0), expected.last_hidden_state[0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(outputs[1].clip(0), expected.hidden_states[1][0], rtol=0, atol=TOLERANCE)

    def test_lengths_are_the_models_own(self, make):
        encoder = make("wavlm")
        expected = [int(encoder.backbone.model._get_feat_extract_output_lengths(max(400, len(c)))) for c in CLIPS]
        assert encoder.encode(CLIPS).lengths.tolist() == expected

    @pytest.mark.parametrize(
        ("name", "passes"), [("wavlm", 1), ("hubert", 1), ("wavlm, base", 5), ("hubert, base", 5), ("data2vec", 5)]
    )
    def test_batches_of_a_gpu_mask_padding_or_avoid_it(self, name, passes, make, monkeypatch):
        """Two of the six clips are equally long; the others share a pass only where padding is masked out."""
        encoder, calls = make(name), []
        alone = encoder.encode(CLIPS)
        monkeypatch.setitem(BATCH_SECONDS, "cpu", 600)
        hook = encoder.backbone.model.feature_extractor.register_forward_hook(lambda *_: calls.append(1))
        found = encoder.encode(CLIPS)
        hook.remove()
        assert len(calls) == passes
        torch.testing.assert_close(found.frames, alone.frames, rtol=0, atol=TOLERANCE)

    def test_layers_above_the_highest_are_not_computed(self, make):
        encoder, calls = make("wavlm", layer=1), []
        hook = encoder.backbone.model.encoder.layers[1].register_forward_hook(lambda *_: calls.append(1))
        encoder.encode(CLIPS)
        hook.remove()
        assert not calls and len(encoder.backbone.model.encoder.layers) == 2

    def test_long_clips_are_windows_without_a_gap(self, make, monkeypatch):
        encoder, clip = make("hubert"), noise(2.51)
        whole = encoder.encode([clip])
        monkeypatch.setattr("fas_core.encoders.speech_models.WINDOW_SECONDS", 1)
        cut = encoder.encode([clip, CLIPS[0]])
        assert cut.lengths.tolist() == [int(whole.lengths[0]), 24]

    def test_a_pair_of_layers_is_one_model_and_one_pass(self, configs):
        config = configs("wavlm")
        extractor = FeatureExtractor.from_config(
            {"acoustic": config | {"layer": 1}, "semantic": config | {"layer": "last"}}, "cpu"
        )
        assert extractor.acoustic.backbone is extractor.semantic.backbone
        calls = []
        hook = extractor.acoustic.backbone.model.feature_extractor.register_forward_hook(lambda *_: calls.append(1))
        (features,) = extractor(CLIPS[:1])
        hook.remove()
        assert len(calls) == 1 and np.abs(features.acoustic - features.semantic).max() > 0.01

    def test_precision(self, make):
        exact, half = make("hubert"), make("hubert", dtype="bfloat16")
        found = half.encode(CLIPS)
        assert found.frames.dtype == torch.float32
        assert 0 < (found.frames - exact.encode(CLIPS).frames).abs().mean() < 0.1
        assert identity_digest(half.identity()) != identity_digest(exact.identity())
        with pytest.raises(FASError, match="'dtype': 'int8', expected one of float32"):
            make("hubert", dtype="int8")

    def test_model_of_another_kind(self, configs):
        with pytest.raises(CheckpointError, match="it is a 'hubert' model.*weights of wavlm"):
            build_encoder(configs("hubert") | {"type": "wavlm"}, "cpu")

    def test_missing_weights_are_not_replaced_by_random_ones(self, configs, tmp_path):
        from transformers import AutoModel

        model = AutoModel.from_pretrained(configs("wavlm")["model"])
        state = {key: value for key, value in model.state_dict().items() if "layers.1.attention.k_proj" not in key}
        model.save_pretrained(tmp_path, state_dict=state)
        with pytest.raises(CheckpointError, match="lack encoder.layers.1.attention.k_proj"):
            build_encoder({"type": "wavlm", "model": str(tmp_path)}, "cpu")

    def test_a_directory_without_its_preprocessor(self, configs, tmp_path):
        from transformers import AutoModel

        AutoModel.from_pretrained(configs("hubert")["model"]).save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match="preprocessor_config.json"):
            build_encoder({"type": "hubert", "model": str(tmp_path)}, "cpu")


class TestClap:
    @pytest.mark.parametrize("name", ["clap", "clap, fused"])
    def test_it_is_what_transformers_gives(self, name, configs, make):
        """A clip that fills the window leaves nothing to repeat: the mean of its frames is the pooled output."""
        import soxr
        from transformers import AutoFeatureExtractor, ClapModel

        clip = noise(10.0)
        inputs = AutoFeatureExtractor.from_pretrained(configs(name)["model"])(
            soxr.resample(clip, 16_000, 48_000), sampling_rate=48_000, return_tensors="pt"
        )
        model = ClapModel.from_pretrained(configs(name)["model"]).eval().audio_model
        with torch.no_grad():
            pooled = model(inputs.input_features, is_longer=torch.tensor([[False]])).pooler_output[0]
        encoder = make(name)
        frames = encoder.encode([clip]).clip(0)
        assert len(frames) == 10 * encoder.frame_rate
        torch.testing.assert_close(frames.mean(dim=0), pooled, rtol=0, atol=TOLERANCE)

    def test_long_clips_are_windows_of_10_s(self, make):
        encoder, clip = make("clap"), noise(12.0)
        found = encoder.encode([clip]).clip(0)
        head = encoder.encode([clip[:160_000]]).clip(0)
        torch.testing.assert_close(found[: len(head)], head, rtol=0, atol=0.05)  # the resampler hears on
        assert len(found) == pytest.approx(12 * encoder.frame_rate, abs=1)


def test_egemaps_measures_pitch():
    pytest.importorskip("opensmile")
    times = np.arange(16_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 110 * n * times) / n for n in range(1, 20)).astype(np.float32) * 0.1
    encoder = build_encoder({"type": "egemaps"})
    pitch = encoder.encode([voice]).clip(0)[:, encoder.smile.feature_names.index("F0semitoneFrom27.5Hz_sma3nz")]
    assert pitch.median() == pytest.approx(24, abs=0.5)  # two octaves above 27.5 Hz


def test_emotion2vec_refuses_what_funasr_would_install(configs, tmp_path):
    config = TINY["emotion2vec"](tmp_path / "model", 0)
    (tmp_path / "model" / "requirements.txt").write_text("anything\n")
    with pytest.raises(CheckpointError, match="requirements.txt"):
        build_encoder(config, "cpu")


@pytest.mark.parametrize(("acoustic", "semantic"), [("wavlm", "hubert"), ("egemaps", "clap"), ("data2vec", "whisper")])
def test_fas_runs_on_any_pair(acoustic, semantic, configs):
    from fas_core.batching import collate
    from fas_core.configuration_fas import FASConfig
    from fas_core.modeling_fas import FASForEmotionClassification

    streams = StreamConfig(configs(acoustic), configs(semantic))
    extractor = FeatureExtractor.from_config(StreamConfig.from_dict(streams.to_dict()), device="cpu")
    features = extractor(CLIPS)
    for stream, rate in extractor.frame_rates.items():
        for clip, found in zip(CLIPS, features, strict=True):
            frames = getattr(found, f"{stream}_frames")
            assert len(getattr(found, stream)) == -(-frames // 5) and frames <= len(clip) / 16_000 * rate + 1
    sizes = {f"{stream}_dim": size for stream, size in extractor.dimensions.items()}
    config = FASConfig(
        **sizes, hidden_size=16, intermediate_size=16, num_attention_heads=4, k_acoustic=4, k_semantic=6,
        streams=streams.to_dict(), streams_identity=extractor.digest,
    )  # fmt: skip
    torch.manual_seed(0)
    output = FASForEmotionClassification(config).eval()(**collate(features))
    assert output.logits.shape == (len(CLIPS), 7) and output.logits.isfinite().all()
