"""What is special of neural codecs as encoders; what they share with every encoder is in test_encoder_contract.py."""

import json
import shutil
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_codecs import CODEC_KINDS, save_tiny_codec

from fas_core.encoders import FeatureExtractor
from fas_core.encoders import codec as codec_module
from fas_core.encoders.registry import build_encoder
from fas_core.errors import CheckpointError, FASError

QUANTISED = [kind for kind in CODEC_KINDS if kind not in ("vibevoice", "mingtok")]
STREAMS = {"acoustic": "vibevoice", "semantic": "mingtok"}
RATES = {"encodec": 75, "mimi": 12.5, "vibevoice": 7.5}  # the others: 50


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("codecs")
    return {kind: save_tiny_codec(kind, root / kind) for kind in CODEC_KINDS}


@pytest.fixture(scope="module")
def build(directories):
    @cache
    def cached(kind, **options):
        return build_encoder({"type": kind, "model": str(directories[kind]), **options}, "cpu")

    return cached


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Synthetic: noise whose level changes, so that frames differ."""
    level = 0.1 + 0.08 * np.sin(np.arange(samples) / 900)
    return (np.random.default_rng(seed).normal(size=samples) * level).astype(np.float32)


def change_file(directory, target, name="model.safetensors", **changes):
    """A copy of a checkpoint with tensors replaced, or left out where the new one is None."""
    shutil.copytree(directory, target)
    tensors = {**load_file(target / name), **changes}
    save_file({key: value.contiguous() for key, value in tensors.items() if value is not None}, target / name)
    return target


def change_config(directory, target, **changes):
    shutil.copytree(directory, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return target


@pytest.mark.parametrize("kind", CODEC_KINDS)
@pytest.mark.parametrize("samples", [1, 320, 16_000, 17_023])
def test_lengths_are_the_real_frames(build, kind, samples):
    encoder = build(kind)
    assert encoder.frame_rate == RATES.get(kind, 50)
    output = encoder.encode([noise(samples), noise(24_000)])
    assert output.lengths[0] == max(1, int(samples / 16_000 * encoder.frame_rate))
    assert output.frames.shape[2] == encoder.dimension


def own_quantised(kind, directory, samples):
    """The quantised latent as transformers' own model computes it from the whole pipeline."""
    classes = {"encodec": "EncodecModel", "dac": "DacModel", "mimi": "MimiModel", "xcodec": "XcodecModel"}
    model = getattr(transformers, classes[kind]).from_pretrained(directory).eval()
    with torch.no_grad():
        if kind == "encodec":
            codes = model.encode(samples, bandwidth=model.config.target_bandwidths[-1]).audio_codes[0]
            return model.quantizer.decode(codes.transpose(0, 1))
        if kind == "dac":
            return model.encode(samples).quantized_representation
        codes = model.encode(samples).audio_codes
        return model.quantizer.decode(codes.transpose(0, 1) if kind == "xcodec" else codes)


@pytest.mark.parametrize("kind", ["encodec", "dac", "mimi", "xcodec"])
def test_quantised_latent_is_that_of_the_model_itself(build, directories, kind):
    encoder = build(kind, latent="quantised")
    clip = noise(16_000)
    heard = codec_module.resample(clip, encoder.sampling_rate)
    heard = np.pad(heard, (0, -len(heard) % encoder.hop))
    expected = own_quantised(kind, directories[kind], torch.from_numpy(heard)[None, None])[0].T
    frames = encoder.encode([clip]).clip(0)
    torch.testing.assert_close(frames, expected[: len(frames)])
    assert frames.std(0).max() > 0  # a codebook of zeros would pass too


@pytest.mark.parametrize("kind", ["xcodec2", "neucodec"])
@pytest.mark.parametrize("samples", [8_000, 8_319, 8_100])
def test_codecs_with_wav2vec2_bert_prepare_clips_as_their_processors(build, directories, kind, samples):
    """Written out from Xcodec2FeatureExtractor and NeuCodecFeatureExtractor, which need torchaudio."""
    clip = noise(samples)
    padded = np.append(clip, np.float32(0))
    padded = np.pad(padded, (0, -len(padded) % 320))
    heard = np.pad(padded, 160) if kind == "xcodec2" else padded
    mel = transformers.SeamlessM4TFeatureExtractor()(heard, sampling_rate=16_000, return_tensors="pt")
    classes = {"xcodec2": "Xcodec2Model", "neucodec": "NeuCodecModel"}
    model = getattr(transformers, classes[kind]).from_pretrained(directories[kind]).eval()
    with torch.no_grad():
        waveform = torch.from_numpy(padded)[None, None]
        own = model.encode(waveform, mel["input_features"], output_latents=True).latents[0].T
    frames = build(kind, latent="quantised").encode([clip]).clip(0)
    assert len(frames) == samples // 320
    torch.testing.assert_close(frames, own[: len(frames)])


@pytest.mark.parametrize("kind", QUANTISED)
def test_continuous_latent_has_more_values_than_the_codebooks(build, kind):
    continuous, quantised = build(kind), build(kind, latent="quantised")
    clip = noise(16_000)
    before, after = continuous.encode([clip]).clip(0), quantised.encode([clip]).clip(0)
    assert before.shape == after.shape and continuous.identity() != quantised.identity()
    assert len(before.unique(dim=0)) == len(before) >= len(after.unique(dim=0)) > 1
    nudged = continuous.encode([clip * 1.001]).clip(0)
    assert (before != nudged).any(1).all()  # every frame follows the sound, however little it changes


@pytest.mark.parametrize("kind", ["encodec", "mimi", "mingtok"])
def test_resampling_keeps_time(build, kind):
    """A causal codec hears a change from the frame on in which it happens."""
    encoder = build(kind)
    clip = noise(32_000)
    changed = clip.copy()
    changed[20_000:] = noise(12_000, seed=1)
    frames = encoder.encode([clip, changed]).frames
    difference = (frames[0] - frames[1]).abs().amax(1)
    first = int((difference > 0.05 * difference.max()).nonzero()[0])
    assert abs(first - int(20_000 / 16_000 * encoder.frame_rate)) <= 1


def test_resampled_tone_is_the_same_tone():
    time = np.arange(16_000) / 16_000
    resampled = codec_module.resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), 24_000)
    expected = np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    assert len(resampled) == 24_000 and resampled.dtype == np.float32
    assert np.abs(resampled - expected)[1_000:-1_000].max() < 1e-3


@pytest.mark.parametrize("kind", ["dac", "mimi"])
def test_long_clips_are_windows_joined(build, monkeypatch, kind):
    monkeypatch.setattr(codec_module, "WINDOW_SECONDS", 1)
    encoder = build(kind)
    clip = noise(40_000)
    output = encoder.encode([clip])
    assert output.lengths[0] == int(2.5 * encoder.frame_rate)
    window = encoder.sampling_rate // encoder.hop * encoder.hop
    first = encoder._encode_window(codec_module.resample(clip, encoder.sampling_rate)[:window])
    assert torch.equal(output.clip(0)[: len(first)], first)


def test_dac_of_another_rate_has_an_exact_frame_rate(tmp_path):
    sizes = dict(encoder_hidden_size=2, decoder_hidden_size=32, codebook_size=32, codebook_dim=4, n_codebooks=2)
    config = transformers.DacConfig(downsampling_ratios=(2, 4, 8, 8), sampling_rate=44_100, **sizes)
    transformers.DacModel(config).save_pretrained(tmp_path)
    encoder = build_encoder({"type": "dac", "model": str(tmp_path)}, "cpu")
    assert encoder.frame_rate == 44_100 / 512 and encoder.weights == "real"
    assert encoder.encode([noise(16_000)]).lengths[0] == 86


def test_streams_of_two_rates_in_one_extractor(directories):
    streams = {name: {"type": kind, "model": str(directories[kind])} for name, kind in STREAMS.items()}
    extractor = FeatureExtractor.from_config({**streams, "patch_size": 5}, device="cpu")
    assert extractor.frame_rates == {"acoustic": 7.5, "semantic": 50.0}
    alone, together = extractor([noise(32_000)]), extractor([noise(32_000), noise(9_000)])
    assert alone[0].acoustic.shape[1] == 16 and len(alone[0].acoustic) == -(-alone[0].acoustic_frames // 5)
    assert np.array_equal(alone[0].acoustic, together[0].acoustic)
    assert np.array_equal(alone[0].semantic, together[0].semantic)


def test_vibevoice_gives_the_mean_at_its_processors_level(build, directories):
    encoder = build("vibevoice")
    clip = noise(16_000)
    frames = encoder.encode([clip, clip, clip * 0.1]).frames
    assert torch.equal(frames[0], frames[1])  # no noise is added
    torch.testing.assert_close(frames[0], frames[2], atol=1e-3, rtol=1e-3)  # its processor sets the level
    assert encoder.identity()["level_dbfs"] == -25
    model = transformers.VibeVoiceAcousticTokenizerModel.from_pretrained(directories["vibevoice"]).eval()
    inputs = encoder.processor(codec_module.resample(clip, 24_000), sampling_rate=24_000)
    expected = model.encode(inputs["input_values"], sample=False).latents[0]
    torch.testing.assert_close(frames[0], expected[: len(frames[0])].detach())


def test_only_whole_mono_clips(directories, tmp_path):
    stereo = transformers.EncodecModel(transformers.EncodecConfig(audio_channels=2, num_filters=2, codebook_size=4))
    stereo.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="2 channels"):
        build_encoder({"type": "encodec", "model": str(tmp_path)}, "cpu")


def test_wrong_options_and_models(build, directories, tmp_path):
    with pytest.raises(FASError, match="'latent': 'codes', expected continuous or quantised for dac"):
        build("dac", latent="codes")
    with pytest.raises(FASError, match="unknown option 'latent'"):
        build("mingtok", latent="quantised")
    with pytest.raises(CheckpointError, match="it is a 'dac' model.*option 'model'"):
        build_encoder({"type": "mimi", "model": str(directories["dac"])}, "cpu")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        build_encoder({"type": "dac", "model": str(tmp_path)}, "cpu")


def test_weights_of_the_encoder_half_must_be_there(directories, tmp_path):
    name = "encoder.conv1.weight"
    broken = change_file(directories["dac"], tmp_path / "broken", **{name: None})
    with pytest.raises(CheckpointError, match=f"lack {name}"):
        build_encoder({"type": "dac", "model": str(broken)}, "cpu")
    half = change_file(directories["dac"], tmp_path / "half", **{"decoder.conv1.weight": None})
    encoder = build_encoder({"type": "dac", "model": str(half)}, "cpu")
    whole = build_encoder({"type": "dac", "model": str(directories["dac"])}, "cpu")
    assert encoder.weights_sha256 == whole.weights_sha256
    other = change_file(directories["dac"], tmp_path / "other", **{"encoder.conv1.bias": torch.ones(4)})
    assert build_encoder({"type": "dac", "model": str(other)}, "cpu").weights_sha256 != whole.weights_sha256


class TestMingTok:
    """The layout of inclusionAI/MingTok-Audio, with random weights."""

    def test_is_the_posterior_mean_not_a_sample(self, build):
        encoder = build("mingtok")
        clip = noise(16_000)
        frames = encoder.encode([clip, clip]).frames
        with torch.no_grad():
            mean, deviation = encoder.model(torch.from_numpy(clip)[None])
        torch.testing.assert_close(frames[0], mean[0])
        assert torch.equal(frames[0], frames[1])
        assert deviation.min() > 1e-4  # what a sample would have added

    def test_arithmetic_without_layers(self, directories, tmp_path):
        """Frames of 320 samples, two linear layers, the norm of Qwen2, the first half of the last layer."""
        path = directories["mingtok"]
        weights = load_file(path / "model.safetensors")
        layers = {name: None for name in weights if ".layers." in name}
        config = json.loads((path / "config.json").read_text())
        config["enc_kwargs"]["backbone"]["num_hidden_layers"] = 0
        target = change_file(path, tmp_path / "flat", **layers)
        (target / "config.json").write_text(json.dumps(config))
        clip = noise(8_000)
        frames = build_encoder({"type": "mingtok", "model": str(target)}, "cpu").encode([clip]).clip(0)
        hidden = clip.reshape(25, 320) @ weights["encoder.fc1.weight"].numpy().T
        hidden = hidden @ weights["encoder.fc2.weight"].numpy().T + weights["encoder.fc2.bias"].numpy()
        hidden = hidden / np.sqrt((hidden**2).mean(1, keepdims=True) + 1e-6)
        out = hidden @ weights["encoder.fc3.weight"].numpy().T + weights["encoder.fc3.bias"].numpy()
        np.testing.assert_allclose(frames.numpy(), out[:, :8], atol=1e-5)

    def test_is_causal(self, build):
        clip = noise(16_000)
        whole, part = build("mingtok").encode([clip, clip[:8_000]]).frames
        torch.testing.assert_close(whole[:25], part[:25], atol=1e-5, rtol=1e-4)

    def test_shards_and_bfloat16(self, directories, tmp_path, build):
        whole = load_file(directories["mingtok"] / "model.safetensors")
        names = sorted(whole)
        (tmp_path / "config.json").write_bytes((directories["mingtok"] / "config.json").read_bytes())
        files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        index = {name: files[number % 2] for number, name in enumerate(names)}
        for file in files:
            save_file({name: whole[name].bfloat16() for name in names if index[name] == file}, tmp_path / file)
        text = json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
        (tmp_path / "model.safetensors.index.json").write_text(text)
        frames = build_encoder({"type": "mingtok", "model": str(tmp_path)}, "cpu").encode([noise(8_000)]).frames
        assert frames.dtype == torch.float32
        torch.testing.assert_close(frames, build("mingtok").encode([noise(8_000)]).frames, atol=0.05, rtol=0.05)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"encoder.fc1.weight": None}, r"1 missing \(encoder.fc1.weight\)"),
            ({"encoder.fc9.weight": torch.ones(1)}, r"1 unexpected \(encoder.fc9.weight\)"),
            ({"encoder.fc3.bias": torch.ones(3)}, r"1 of another shape \(encoder.fc3.bias\)"),
        ],
    )
    def test_names_of_weights_are_strict(self, directories, tmp_path, changes, message):
        broken = change_file(directories["mingtok"], tmp_path / "broken", **changes)
        with pytest.raises(CheckpointError, match=message):
            build_encoder({"type": "mingtok", "model": str(broken)}, "cpu")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"patch_size": 4}, "'patch_size' is 4"), ({"enc_kwargs": None}, "no 'enc_kwargs'")],
    )
    def test_other_configurations_are_refused(self, directories, tmp_path, changes, message):
        other = change_config(directories["mingtok"], tmp_path / "other", **changes)
        with pytest.raises(CheckpointError, match=message):
            build_encoder({"type": "mingtok", "model": str(other)}, "cpu")

    def test_no_weights(self, directories, tmp_path):
        shutil.copy(directories["mingtok"] / "config.json", tmp_path)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            build_encoder({"type": "mingtok", "model": str(tmp_path)}, "cpu")
