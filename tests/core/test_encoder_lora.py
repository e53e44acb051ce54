"""Low-rank adaptation of Whisper's shallow layers: what is trained is what is loaded, on that Whisper alone, and a checkpoint keeps it."""

import json

import numpy as np
import pytest
import soundfile
import torch
from synthetic import noise, save_tiny_whisper

from fas_core.checkpoint import local_streams
from fas_core.encoders.extractor import FeatureExtractor, StreamConfig
from fas_core.encoders.lora import LowRank, add_lora, merge_lora, save_lora
from fas_core.encoders.whisper import WhisperBackbone
from fas_core.errors import CheckpointError, FASError
from fas_core.pipeline import EmotionPipeline
from fas_core.training import encoder_lora
from fas_core.training import fas as run
from fas_core.training.arguments import DataArguments, ModelArguments, stream_config
from fas_core.training.encoder_lora import LoraArguments, adapt, augmented, pooled, pooled_all


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


def backbone(whisper) -> WhisperBackbone:
    return WhisperBackbone(str(whisper), device="cpu")


def mels(model: WhisperBackbone, count: int = 12):
    """Two emotions: noise, and noise with its spectrum turned up."""
    clips = [model.mel(noise(0.6 + 0.05 * i, i), "clip") for i in range(count)]
    return [mel + (torch.linspace(0, 1, len(mel))[:, None] if i % 2 else 0) for i, mel in enumerate(clips)], np.arange(
        count
    ) % 2


OPTIONS = dict(rank=2, epochs=6, batch_size=4, learning_rate=1e-2, cpu=True)


def adapted(whisper, **options):
    model, losses = backbone(whisper), []
    clips, labels = mels(model)
    adapt(
        model,
        clips,
        labels,
        np.arange(12) % 3,
        np.ones(7),
        [1, 2],
        LoraArguments(**OPTIONS | options),
        lambda *step: losses.append(step[2]),
    )
    return model, losses


class TestAdapter:
    def test_it_is_nothing_at_first(self, whisper):
        model = backbone(whisper)
        clips, _ = mels(model)
        before = pooled_all(model, clips, [1])
        assert len(add_lora(model.encoder, 1, 4)) == 12
        assert torch.equal(pooled_all(model, clips, [1]), before)
        assert isinstance(model.encoder.layers[0].fc1, LowRank) and not isinstance(model.encoder.layers[1].fc1, LowRank)

    def test_what_is_trained_is_what_is_loaded(self, whisper, tmp_path):
        base = backbone(whisper)
        model, losses = adapted(whisper)
        assert np.mean(losses[-3:]) < 0.7 * losses[0]
        clips, _ = mels(base)
        save_lora(model.encoder, tmp_path / "adapter.safetensors", base.weights_sha256)
        loaded = WhisperBackbone(str(whisper), device="cpu", adapter=tmp_path / "adapter.safetensors")
        trained, merged, plain = (pooled_all(each, clips, [1, 2]) for each in (model, loaded, base))
        torch.testing.assert_close(merged, trained, atol=5e-3, rtol=5e-3)  # fp16
        assert (trained - plain).abs().max() > 0.05
        assert loaded.weights_sha256 != base.weights_sha256

    def test_the_same_seed_gives_the_same_bytes(self, whisper, tmp_path):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            save_lora(adapted(whisper, epochs=1, seed=seed)[0].encoder, tmp_path / name, "x")
        a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
        assert a == b != c

    def test_another_model_or_no_adapter_is_refused(self, whisper, tmp_path):
        model = backbone(whisper)
        add_lora(model.encoder, 1, 2)
        save_lora(model.encoder, tmp_path / "adapter.safetensors", "0" * 64)
        (tmp_path / "text").write_text("no")
        for name in ("adapter.safetensors", "text", "nowhere"):
            with pytest.raises(CheckpointError, match=f"adapter '.*{name}': cannot be used: .*encoder_lora.py"):
                merge_lora(backbone(whisper).encoder, tmp_path / name, "1" * 64)


class TestTraining:
    def test_statistics_are_those_of_the_frames(self, whisper):
        model = backbone(whisper)
        clips, _ = mels(model, 3)
        rows = pooled(model, clips, [2, 1])
        frames = model.forward(clips, [1, 2])
        for i in range(3):
            whole = torch.cat([frames[2][i], frames[1][i]], -1)
            torch.testing.assert_close(
                rows[i], torch.cat([whole.mean(0), whole.std(0, correction=0)]), atol=1e-4, rtol=1e-4
            )

    def test_variants_are_drawn_and_the_clip_stays(self):
        mel = torch.randn(80, 60)
        kept = mel.clone()
        found = [augmented(mel, np.random.default_rng(seed)) for seed in (0, 0, 1, 2)]
        assert torch.equal(mel, kept) and torch.equal(found[0], found[1])
        assert all(len(each) == 80 and each.shape[1] % 2 == 0 and 54 <= each.shape[1] <= 68 for each in found)
        assert len({each.shape[1] for each in found}) > 1

    @pytest.mark.parametrize("given", [dict(rank=0), dict(epochs=0), dict(head_dropout=1.0), dict(learning_rate=-1.0)])
    def test_a_value_that_is_none_is_named(self, given):
        with pytest.raises(FASError, match=f"--{next(iter(given))}"):
            LoraArguments(**given)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("corpus"), []
    for i in range(12):
        soundfile.write(folder / f"{i}.wav", noise(0.7 + i / 20, i) * (1 + i % 2), 16_000)
        rows.append(
            dict(
                audio=f"{i}.wav",
                emotion=("angry", "sad")[i % 2],
                speaker=f"s{i % 3}",
                split="validation" if i % 3 == 2 else "train",
            )
        )
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_checkpoint_keeps_its_adapter(whisper, corpus, tmp_path, capsys):
    flags = ["--corpora", f"manifest={corpus}", "--encoder", str(whisper), "--cache_dir", str(tmp_path / "cache")]
    assert (
        encoder_lora.main(
            [
                *flags,
                "--layers",
                "1",
                "--rank",
                "2",
                "--epochs",
                "1",
                "--cpu",
                "true",
                "--output_dir",
                str(tmp_path / "lora"),
            ]
        )
        == 0
    )
    told = json.loads((tmp_path / "lora" / "adapter.json").read_text())
    assert told["clips"] == {"manifest": 8} and told["arguments"]["rank"] == 2
    adapter = tmp_path / "lora" / "adapter.safetensors"
    flags += [
        "--acoustic_layer",
        "1",
        "--acoustic_adapter",
        str(adapter),
        "--hidden_size",
        "16",
        "--epochs",
        "1",
        "--cpu",
        "true",
    ]
    assert run.main([*flags, "--output_dir", str(tmp_path / "fas")]) == 0
    config = json.loads((tmp_path / "fas" / "config.json").read_text())
    assert (
        config["streams"]["acoustic"]["adapter"] == "acoustic_adapter.safetensors"
        and "adapter" not in config["streams"]["semantic"]
    )
    adapter.unlink()  # the checkpoint has its own
    found = EmotionPipeline.from_pretrained(str(tmp_path / "fas"), device="cpu", words=False)
    assert found.extractor.digest == config["streams_identity"]
    assert not found.extractor.acoustic.shares_pass(found.extractor.semantic)
    assert found(str(corpus / "0.wav")).error is None


def test_a_checkpoint_names_no_other_file_of_the_machine(whisper, tmp_path):
    (tmp_path / "adapter.safetensors").write_bytes(b"")
    streams = StreamConfig.whisper(str(whisper), acoustic_layer=1).to_dict()
    for name in (str(tmp_path / "adapter.safetensors"), "../adapter.safetensors", "missing.safetensors", 3):
        streams["acoustic"]["adapter"] = name
        with pytest.raises(CheckpointError, match="streams.acoustic.adapter"):
            local_streams(streams, tmp_path / "sub" / "config.json")


def test_only_a_whisper_is_adapted():
    with pytest.raises(FASError, match="--acoustic_adapter: the acoustic encoder is a soundstream"):
        stream_config(DataArguments(acoustic_encoder="a.tflite", acoustic_adapter="x"), ModelArguments())


def test_features_differ_only_where_they_are_adapted(whisper, tmp_path):
    model, _ = adapted(whisper)
    save_lora(model.encoder, tmp_path / "a", backbone(whisper).weights_sha256)
    plain = StreamConfig.whisper(str(whisper), acoustic_layer=1).to_dict()
    changed = plain | dict(acoustic=plain["acoustic"] | dict(adapter=str(tmp_path / "a")))
    (one,), (two,) = (FeatureExtractor.from_config(each, device="cpu")([noise(1.0)]) for each in (plain, changed))
    assert np.abs(one.acoustic - two.acoustic).max() > 0.01
    np.testing.assert_allclose(one.semantic, two.semantic, atol=1e-5)
