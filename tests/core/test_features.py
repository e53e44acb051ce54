"""Patches, augmentation, the cache, and extraction into it."""

import itertools
import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic import noise, save_tiny_whisper, write_clips
from typer.testing import CliRunner

from fas_core.audio import load_audio
from fas_core.encoders import ClipFeatures, FeatureExtractor, StreamConfig
from fas_core.errors import FASError, FeatureError, IdentityMismatchError
from fas_core.features import (
    FeatureCache,
    augment,
    extract_features,
    num_patches,
    patchify,
    process_from_environment,
    variant_key,
)
from fas_core.features.__main__ import app
from fas_core.features.patches import frame_deviation
from fas_core.sources import audio_digest

IDENTITY = {"acoustic": {"type": "made up"}, "patch_size": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_whisper(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def extractor(model):
    return FeatureExtractor.from_config(StreamConfig.whisper(str(model), acoustic_layer=1), device="cpu")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    seconds = [0.3 + 0.17 * (index % 7) for index in range(21)]
    return write_clips(tmp_path_factory.mktemp("clips"), seconds)


def extract(rows, extractor, root, **options):
    cache = FeatureCache(root, extractor.identity())
    report = extract_features(rows, extractor, cache, **{"shard_clips": 4, "progress": False, **options})
    return cache, report


def contents(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def flip(path, position: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def features(patches: int = 3, seed: int = 0) -> ClipFeatures:
    rng = np.random.default_rng(seed)
    acoustic, semantic = (rng.standard_normal((patches, size)).astype(np.float32) for size in (4, 6))
    front_end = {"start": 160, "end": 9000, "gain_db": 1.5}
    return ClipFeatures(acoustic, semantic, 5 * patches - 2, 5 * patches - 2, 0.01, front_end)


class TestPatches:
    @given(st.integers(1, 60), st.integers(1, 7), st.booleans())
    def test_mean_of_real_frames(self, length, size, as_tensor):
        frames = np.random.default_rng(length).standard_normal((length, 3))
        expected = [frames[start : start + size].mean(axis=0) for start in range(0, length, size)]
        found = patchify(torch.from_numpy(frames) if as_tensor else frames, size)
        assert isinstance(found, torch.Tensor if as_tensor else np.ndarray)
        assert len(found) == num_patches(length, size)
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-12)

    def test_gradients_pass(self):
        frames = torch.ones(7, 2, requires_grad=True)
        patchify(frames, 5).sum().backward()
        np.testing.assert_allclose(frames.grad[:, 0], [0.2] * 5 + [0.5] * 2)

    @pytest.mark.parametrize("length", [1, 2, 1500])
    def test_deviation_is_exact_far_from_zero(self, length):
        frames = (100 + np.random.default_rng(length).standard_normal((length, 3))).astype(np.float32)
        found = frame_deviation(torch.from_numpy(frames))
        np.testing.assert_allclose(found, frames.astype(np.float64).std(axis=0), rtol=1e-4)


class TestAugment:
    clip = noise(1.0)

    @pytest.mark.parametrize(
        "variant",
        ["speed:0.9", "speed:1.1", "pitch:2", "pitch:-3", "noise:15", "level:-6", "channel:5", "vtlp:1.1", "formant:0.9", "room:0.4"]
        + ["music:15", "babble:15", "codec:opus-12", "codec:mp3-32", "codec:gsm", "telephone:mulaw"],
    )  # fmt: skip
    def test_deterministic_and_different(self, variant):
        first, second = (augment(self.clip, variant, "digest") for _ in range(2))
        assert first.dtype == np.float32 and first.ndim == 1
        np.testing.assert_array_equal(first, second)
        assert len(first) != len(self.clip) or np.abs(first - self.clip).max() > 1e-3

    def test_speed_changes_duration_and_frequency(self):
        tone = np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000).astype(np.float32)
        fast = augment(tone, "speed:1.25", "")
        assert len(fast) == 12_800 and peak_hz(fast) == pytest.approx(500, abs=3)

    @pytest.mark.parametrize("semitones", [-4, 3, 12])
    def test_pitch_changes_frequency_only(self, semitones):
        tone = 0.1 * np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000).astype(np.float32)
        shifted = augment(tone, f"pitch:{semitones}", "")
        assert len(shifted) == len(tone)
        assert peak_hz(shifted) == pytest.approx(400 * 2 ** (semitones / 12), rel=0.01)
        assert rms(shifted) == pytest.approx(rms(tone), rel=0.1)

    def test_noise_has_its_ratio_and_depends_on_the_clip(self):
        one, two = (augment(self.clip, "noise:10", digest) - self.clip for digest in ("a", "b"))
        assert 20 * np.log10(rms(self.clip) / rms(one)) == pytest.approx(10, abs=0.1)
        assert np.corrcoef(one, two)[0, 1] < 0.5
        spectrum = np.abs(np.fft.rfft(one)) ** 2
        assert spectrum[50:100].mean() > 20 * spectrum[5000:6000].mean()

    def test_level(self):
        np.testing.assert_allclose(augment(self.clip, "level:-6", ""), self.clip * 0.501187, rtol=1e-5)

    @pytest.mark.parametrize(
        "variant", ["speed:1.1", "pitch:2", "noise:15", "level:-6", "channel:5", "vtlp:1.1", "formant:1.1", "room:0.4", "music:9",
                    "babble:9", "codec:opus-12", "codec:mp3-16", "codec:adpcm", "telephone:gsm"]
    )  # fmt: skip
    def test_one_frame(self, variant):
        assert np.isfinite(augment(noise(0.02), variant, "")).all()

    @pytest.mark.parametrize(
        "variant", ["", "speed", "speed:", "speed:3", "echo:1", "noise:nan", "level:loud", "vtlp:2", "room:0"]
    )
    def test_bad_variants(self, variant):
        with pytest.raises(FASError, match="augmentation"):
            augment(self.clip, variant, "")

    def test_key_is_canonical(self):
        assert variant_key("ab", None) == "ab"
        one, same, other = (variant_key("ab", variant) for variant in ("speed:0.90", "speed:.9", "speed:0.8"))
        assert one == same != other
        assert variant_key("ab", "codec:opus-12") == variant_key("ab", "codec:opus-012") == "ab@v1:codec:opus-12"


def rms(samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def peak_hz(samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    return np.argmax(spectrum) * 16_000 / (1 << 17)


def test_deviation_is_that_of_the_frames():
    clip = features(4, 0)
    np.testing.assert_allclose(clip.acoustic_deviation, clip.acoustic.std(0), rtol=1e-6)
    given = ClipFeatures(clip.acoustic, clip.semantic, 20, 20, acoustic_deviation=np.full(4, 3.0, np.float32))
    assert (given.acoustic_deviation == 3).all()


class TestFeatureCache:
    def test_round_trip_in_fp16(self, tmp_path):
        clips = {f"{index:02x}": features(index + 1, index) for index in range(5)}
        FeatureCache(tmp_path, IDENTITY).write_shard(clips)
        cache = FeatureCache(tmp_path, IDENTITY)
        assert len(cache) == 5 and "03" in cache and "ff" not in cache
        for key, clip in clips.items():
            found = cache.get(key)
            assert found.acoustic.dtype == np.float32
            for name in ("acoustic", "semantic", "acoustic_deviation", "semantic_deviation"):
                np.testing.assert_array_equal(getattr(found, name), getattr(clip, name).astype(np.float16))
            for name in ("acoustic_frames", "semantic_frames", "offset", "front_end"):
                assert getattr(found, name) == getattr(clip, name)

    def test_variants_lie_beside_the_clip(self, tmp_path):
        cache = FeatureCache(tmp_path, IDENTITY)
        cache.write_shard({"ab": features(seed=0), variant_key("ab", "noise:15"): features(seed=1)})
        cache.refresh()
        plain, noisy = cache.get("ab"), cache.get("ab", "noise:15")
        assert np.abs(plain.acoustic - noisy.acoustic).max() > 0.1
        with pytest.raises(FeatureError, match="ab@.*not in the cache"):
            cache.get("ab", "noise:10")

    def test_bytes_do_not_depend_on_order(self, tmp_path):
        clips = {f"{index:02x}": features(seed=index) for index in range(4)}
        for name, items in (("a", clips.items()), ("b", reversed(clips.items()))):
            FeatureCache(tmp_path / name, IDENTITY).write_shard(dict(items), failed=["77", "66"])
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_missing_clip(self, tmp_path):
        with pytest.raises(FeatureError, match="not in the cache.*extract_features"):
            FeatureCache(tmp_path, IDENTITY).get("ab")

    def test_other_identity_is_another_cache(self, tmp_path):
        FeatureCache(tmp_path, IDENTITY).write_shard({"ab": features()})
        assert "ab" not in FeatureCache(tmp_path, {**IDENTITY, "patch_size": 4})

    def test_folder_of_another_identity(self, tmp_path):
        path = FeatureCache(tmp_path, IDENTITY).write_shard({"ab": features()})
        (path.parent / "identity.json").write_text(json.dumps({**IDENTITY, "patch_size": 4}))
        with pytest.raises(IdentityMismatchError, match="identity.json"):
            FeatureCache(tmp_path, IDENTITY)

    def test_damage_anywhere_is_found_and_named(self, tmp_path):
        path = FeatureCache(tmp_path, IDENTITY).write_shard({"ab": features()})
        for position in range(path.stat().st_size):  # every byte of the header and of the patches
            flip(path, position)
            cache = FeatureCache(tmp_path, IDENTITY)
            with pytest.raises(FeatureError, match=path.name):
                cache.get("ab")
            assert cache.verify() == [path.name], position
            flip(path, position)
        assert FeatureCache(tmp_path, IDENTITY).verify() == []

    def test_truncated_shard(self, tmp_path):
        cache = FeatureCache(tmp_path, IDENTITY)
        path = cache.write_shard({"ab": features()})
        path.write_bytes(path.read_bytes()[:-10])
        assert cache.verify() == [path.name]
        with pytest.raises(FeatureError, match=path.name):
            cache.get("ab")

    def test_a_shard_under_another_name_is_damaged(self, tmp_path):
        cache = FeatureCache(tmp_path, IDENTITY)
        path = cache.write_shard({"ab": features()})
        other = cache.write_shard({"cd": features(seed=1)})
        shutil.copy(path, other)
        assert cache.verify() == [other.name]

    def test_crosses_to_another_process(self, tmp_path):
        cache = FeatureCache(tmp_path, IDENTITY)
        cache.write_shard({"ab": features()})
        cache.refresh()
        cache.get("ab")
        again = pickle.loads(pickle.dumps(cache))
        np.testing.assert_array_equal(again.get("ab").acoustic, cache.get("ab").acoustic)


class TestExtraction:
    def test_features_are_those_of_the_extractor(self, rows, extractor, tmp_path):
        cache, report = extract(rows, extractor, tmp_path)
        assert (report.done, report.cached, report.failed, report.damaged) == (21, 0, [], [])
        assert report.audio_seconds == pytest.approx(sum(load_audio(row["audio"]).duration for row in rows))
        assert report.x_real_time > 0 and json.dumps(report.to_dict())
        for row in rows:
            (expected,) = extractor([load_audio(row["audio"]).samples])
            found = cache.get(audio_digest(row["audio"]))
            np.testing.assert_allclose(found.acoustic, expected.acoustic, rtol=1e-3, atol=1e-4)
            assert found.semantic_frames == expected.semantic_frames
            assert found.front_end == expected.front_end

    def test_second_run_finds_all(self, rows, extractor, tmp_path, monkeypatch):
        extract(rows, extractor, tmp_path)
        before = contents(tmp_path)
        monkeypatch.setattr(extractor, "encode", None)
        _, report = extract(rows, extractor, tmp_path)
        assert (report.done, report.cached) == (0, 21) and contents(tmp_path) == before

    def test_same_bytes_from_every_order_and_number_of_processes(self, rows, extractor, tmp_path):
        extract(rows, extractor, tmp_path / "one")
        extract(rows[::-1], extractor, tmp_path / "reversed")
        done = []
        for index in (1, 0):  # the later one sees what the earlier one wrote
            _, report = extract(rows, extractor, tmp_path / "two", process_index=index, num_processes=2)
            done.append(report.done)
        assert sorted(done) == [9, 12]  # of six shards, the last with one clip
        assert contents(tmp_path / "one") == contents(tmp_path / "reversed") == contents(tmp_path / "two")

    def test_resumes_at_the_shard(self, rows, extractor, tmp_path, monkeypatch):
        extract(rows, extractor, tmp_path / "whole")
        writes = itertools.count()
        write = FeatureCache.write_shard

        def dies_at_the_third(self, *args, **kwargs):
            if next(writes) == 2:
                raise KeyboardInterrupt
            return write(self, *args, **kwargs)

        monkeypatch.setattr(FeatureCache, "write_shard", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            extract(rows, extractor, tmp_path / "broken")
        cache, report = extract(rows, extractor, tmp_path / "broken")
        assert (report.done, report.cached, len(cache)) == (13, 8, 21)
        assert contents(tmp_path / "broken") == contents(tmp_path / "whole")

    @pytest.mark.parametrize("position", [3, 60, -1])  # header length, index, patches
    def test_damaged_shard_is_named_and_built_again(self, rows, extractor, tmp_path, position):
        cache, _ = extract(rows, extractor, tmp_path)
        before = contents(tmp_path)
        broken = cache.shard_paths()[2:4]
        for path in broken:
            flip(path, position)
        cache, report = extract(rows, extractor, tmp_path)
        assert report.damaged == [path.name for path in broken]
        assert report.done + report.cached == 21 and report.done <= 8
        assert contents(tmp_path) == before and cache.verify() == []

    def test_damaged_shard_of_clips_that_are_not_wanted_any_more_goes(self, rows, extractor, tmp_path):
        cache, _ = extract(rows, extractor, tmp_path)
        for path in cache.shard_paths():
            flip(path)
        cache, report = extract(rows[:3], extractor, tmp_path)
        assert len(report.damaged) == 6 and len(cache) == 3 and cache.verify() == []

    def test_new_clips_do_not_touch_old_shards(self, rows, extractor, tmp_path):
        extract(rows[:10], extractor, tmp_path)
        before = contents(tmp_path)
        cache, report = extract(rows, extractor, tmp_path)
        assert (report.done, report.cached, len(cache)) == (11, 10, 21)
        assert before.items() <= contents(tmp_path).items()

    def test_bad_files_are_reported_and_the_rest_is_done(self, rows, extractor, tmp_path):
        bad = tmp_path / "bad.wav"
        bad.write_bytes(b"RIFF this is no audio")
        mixed = [*rows[:5], {"audio": str(bad)}, {"audio": str(tmp_path / "none.wav")}, *rows[5:]]
        for _ in range(2):  # a second run tries them again, and no more than them
            cache, report = extract(mixed, extractor, tmp_path / "cache")
            assert sorted(entry["file"] for entry in report.failed) == [str(bad), str(tmp_path / "none.wav")]
            assert all(entry["error"] for entry in report.failed)
            assert report.done + report.cached == len(cache) == 21
        before = contents(tmp_path / "cache")
        for index in (0, 1):
            extract(mixed, extractor, tmp_path / "two", process_index=index, num_processes=2)
        assert contents(tmp_path / "two") == before

    def test_a_clip_that_failed_is_extracted_once_it_can_be_read(self, rows, extractor, tmp_path, monkeypatch):
        victim = rows[7]["audio"]

        def load(path):
            return load_audio(path if path != victim else tmp_path / "no codec yet.wav")

        monkeypatch.setattr("fas_core.features.extract.load_audio", load)
        cache, report = extract(rows, extractor, tmp_path / "cache")
        assert len(report.failed) == 1 and audio_digest(victim) not in cache
        monkeypatch.undo()
        cache, report = extract(rows, extractor, tmp_path / "cache")
        assert (report.done, report.cached, report.failed) == (1, 20, []) and audio_digest(victim) in cache

    def test_features_that_overflow_are_a_failure_of_that_clip(self, rows, extractor, tmp_path, monkeypatch):
        encode = extractor.encode

        def overflows(prepared):
            clips = encode(prepared)
            return [replace(c, semantic=c.semantic * np.nan) if c.semantic_frames == 15 else c for c in clips]

        monkeypatch.setattr(extractor, "encode", overflows)
        _, report = extract(rows, extractor, tmp_path)
        assert len(report.failed) == 3 and report.done == 18 and "finite" in report.failed[0]["error"]

    def test_copies_are_encoded_once(self, rows, extractor, tmp_path):
        copy = tmp_path / "copy.wav"
        shutil.copy(rows[0]["audio"], copy)
        cache, report = extract([*rows[:4], {"audio": str(copy)}], extractor, tmp_path / "cache")
        assert report.done == 5 and len(cache) == 4

    def test_augmentation_lies_beside_the_plain_features(self, rows, extractor, tmp_path):
        extract(rows[:3], extractor, tmp_path)
        cache, report = extract(rows[:3], extractor, tmp_path, augmentation="speed:0.5")
        assert report.done == 3 and len(cache) == 6
        digest = audio_digest(rows[1]["audio"])
        plain, slow = cache.get(digest), cache.get(digest, "speed:0.5")
        assert abs(slow.semantic_frames - 2 * plain.semantic_frames) <= 2

    def test_level_reaches_the_encoder(self, rows, extractor, tmp_path):
        extract(rows[:1], extractor, tmp_path)
        cache, _ = extract(rows[:1], extractor, tmp_path, augmentation="level:-20")
        digest = audio_digest(rows[0]["audio"])
        assert np.abs(cache.get(digest).semantic - cache.get(digest, "level:-20").semantic).max() > 0.01

    def test_long_audio_goes_in_groups(self, rows, extractor, tmp_path, monkeypatch):
        whole, _ = extract(rows, extractor, tmp_path / "whole")
        monkeypatch.setattr("fas_core.features.extract.GROUP_SECONDS", 0.5)
        groups, report = extract(rows, extractor, tmp_path / "groups")
        assert report.done == 21
        for digest in (audio_digest(row["audio"]) for row in rows):
            np.testing.assert_allclose(whole.get(digest).semantic, groups.get(digest).semantic, atol=1e-3)

    def test_old_leftovers_of_killed_processes_go(self, rows, extractor, tmp_path):
        cache, _ = extract(rows[:2], extractor, tmp_path)
        old, new = cache.path / ".tmp-old", cache.path / ".tmp-new"
        for path in (old, new):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        extract(rows[:2], extractor, tmp_path)
        assert not old.exists() and new.exists()

    def test_bad_arguments(self, rows, extractor, tmp_path):
        with pytest.raises(FASError, match="process_index 2"):
            extract(rows, extractor, tmp_path, process_index=2, num_processes=2)
        with pytest.raises(FASError, match="augmentation"):
            extract(rows, extractor, tmp_path, augmentation="echo:1")
        with pytest.raises(FeatureError, match="another identity"):
            extract_features(rows, extractor, FeatureCache(tmp_path, IDENTITY))

    def test_process_from_environment(self, monkeypatch):
        for name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        assert process_from_environment() == (0, 1)
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "4")
        assert process_from_environment() == (1, 4)


class TestCommands:
    def run(self, *arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def test_extract_and_verify(self, rows, model, tmp_path):
        data = rows[0]["audio"].rpartition("/")[0]
        arguments = ("extract", "--data", data, "--cache", tmp_path, "--model", model, "--acoustic-layer", 1)
        result = self.run(*arguments, "--augmentation", "speed:1.1")
        assert result.exit_code == 0, result.output
        reports = [json.loads(line) for line in result.stdout.splitlines()]
        assert [report["done"] for report in reports] == [21, 21]
        assert [report["augmentation"] for report in reports] == [None, "speed:1.1"]
        verified = self.run("verify", "--cache", tmp_path)
        assert verified.exit_code == 0 and "42 clips" in verified.stdout
        path = next(tmp_path.rglob("*.safetensors"))
        flip(path)
        verified = self.run("verify", "--cache", tmp_path)
        assert verified.exit_code == 1 and path.name in verified.stdout

    def test_yaml_equals_flags(self, rows, model, tmp_path):
        config = tmp_path / "streams.yaml"
        config.write_text(json.dumps(StreamConfig.whisper(str(model), acoustic_layer=1).to_dict()))
        data = rows[0]["audio"].rpartition("/")[0]
        common = ("extract", "--data", data, "--cache", tmp_path / "cache")
        assert json.loads(self.run(*common, "--config", config).stdout)["done"] == 21
        result = self.run(*common, "--model", model, "--acoustic-layer", 1)
        assert json.loads(result.stdout)["cached"] == 21

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--model", "/no/such/model"], "option 'model'"),
            (["--acoustic-layer", "9"], "'layer': 9"),
            (["--padding", "60s"], "'padding'"),
            (["--augmentation", "echo:1"], "augmentation"),
            (["--data", "/no/such/folder"], "no such file or folder"),
        ],
    )
    def test_errors_are_one_line_and_exit_2(self, rows, model, tmp_path, options, message):
        data = rows[0]["audio"].rpartition("/")[0]
        arguments = ["extract", "--data", data, "--cache", tmp_path, "--model", model, *options]
        result = self.run(*arguments)
        assert result.exit_code == 2 and message in result.stderr
