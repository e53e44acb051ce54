"""A FAS checkpoint (random weights) as a system of the suite, and both protocols."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import save_tiny_whisper, write_clips
from tiny_fas import save_tiny_checkpoint
from tiny_transcriber import save_tiny_transcriber

from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline
from fas_core.sources import audio_digest
from fas_core.words.transcript import Limits
from fas_eval.benchmarks.locations import DataLocations
from fas_eval.presets import Preset
from fas_eval.suite.run import RunSettings, run_suite
from fas_eval.suite.score import Statistics, detected
from fas_eval.systems.base import BenchmarkClip, SystemAnswer
from fas_eval.systems.context import BuildContext
from fas_eval.systems.fas import FASSystem, build

SECONDS = [1.3, 0.4, 3.1, 0.05, 2.2, 0.9, 1.7]
HEADS = ("acoustic", "semantic")
ACOUSTIC_TEMPERATURE = 0.7  # of the tiny checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("fas")
    whisper = save_tiny_whisper(folder / "whisper")
    checkpoint = save_tiny_checkpoint(folder / "tiny", whisper)
    clips = [
        BenchmarkClip(r["id"], r["audio"], audio_digest(r["audio"])) for r in write_clips(folder / "clips", SECONDS)
    ]
    broken = folder / "broken.wav"
    broken.write_bytes(b"not audio")
    return SimpleNamespace(
        folder=folder, whisper=whisper, checkpoint=checkpoint, clips=clips, features=folder / "features",
        broken=BenchmarkClip("broken", str(broken), audio_digest(str(broken))),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(place) -> EmotionPipeline:
    return EmotionPipeline.from_pretrained(place.checkpoint, device="cpu", speech_threshold=0)


@pytest.fixture(scope="module")
def system(place, pipeline) -> FASSystem:
    return FASSystem(pipeline, place.features, name="tiny", title="tiny")


@pytest.fixture(scope="module")
def transductive(place, pipeline) -> FASSystem:
    return FASSystem(pipeline, place.features, name="tiny, own", title="tiny", own_statistics=True)


def asked(system, clips) -> dict:
    return {answer.clip: answer for answer in system.answer(clips)}


def numbers(answer) -> np.ndarray:
    """(22,): the probabilities of all heads, and the conflict."""
    return np.concatenate([answer.probabilities, *(answer.heads[head] for head in HEADS), [answer.conflict]])


def largest_difference(some: dict, others: dict) -> float:
    assert set(some) <= set(others)
    return max(np.abs(numbers(some[name]) - numbers(others[name])).max() for name in some)


class TestAnswers:
    def test_they_are_those_of_the_pipeline(self, place, system, pipeline):
        found = asked(system, place.clips)
        for clip, expected in zip(place.clips, pipeline([clip.audio for clip in place.clips]), strict=True):
            ways = expected.pathways
            probabilities = [getattr(ways, head) for head in ("fused", *HEADS)]
            theirs = np.concatenate([[p[e] for e in EMOTIONS] for p in probabilities] + [[ways.divergence]])
            np.testing.assert_allclose(numbers(found[clip.id]), theirs, atol=0.02)  # fp16 in the cache
            assert found[clip.id].label == EMOTIONS[int(np.argmax(found[clip.id].probabilities))]

    def test_together_and_one_by_one_they_are_the_same(self, place, system):
        together = asked(system, place.clips)
        alone = {clip.id: asked(system, [clip])[clip.id] for clip in place.clips}
        assert largest_difference(together, alone) < 1e-5
        assert largest_difference(together, asked(system, place.clips[::-1])) < 1e-5
        assert {name: answer.kept for name, answer in together.items()} == {n: a.kept for n, a in alone.items()}

    def test_a_clip_that_cannot_be_read_fails_in_its_place(self, place, system):
        found = asked(system, [place.clips[0], place.broken, *place.clips[1:]])
        assert found["broken"].how == "failed" and found["broken"].error
        assert largest_difference(asked(system, place.clips), found) < 1e-5
        assert [a.how for a in system.answer([place.broken])] == ["failed"]

    def test_kept_tokens_are_those_of_the_pipeline_as_shares_of_the_largest(self, place, system, pipeline):
        found = asked(system, place.clips)
        for clip, expected, seconds in zip(place.clips, pipeline([c.audio for c in place.clips]), SECONDS, strict=True):
            for pathway, k in (("acoustic", 4), ("semantic", 6)):
                ours = [token for token in found[clip.id].kept if token["pathway"] == pathway]
                theirs = expected.kept_tokens[pathway]
                assert 1 <= len(ours) <= k
                assert [(t["start"], t["end"]) for t in ours] == [(t["start"], t["end"]) for t in theirs]
                largest = max(t["score"] for t in theirs)
                np.testing.assert_allclose(
                    [t["score"] for t in ours], [t["score"] / largest for t in theirs], atol=5e-3
                )
                assert max(t["score"] for t in ours) == 1.0
                assert all(0 <= t["start"] < t["end"] <= seconds + 1e-3 for t in ours)

    def test_the_map_has_a_point_a_clip_whatever_the_order(self, place, system):
        points = system.embed(place.clips)
        assert points.shape == (len(SECONDS), 16)
        np.testing.assert_allclose(system.embed(place.clips[::-1])[::-1], points, atol=1e-5)
        assert system.embed([place.clips[0], place.broken]).shape == (1, 16)
        assert system.embed([place.broken]) is None


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    """A pipeline that writes down what its random Whisper says, however unsure, but for what it says of one clip."""
    folder = tmp_path_factory.mktemp("words")
    checkpoint = save_tiny_checkpoint(
        folder / "tiny", save_tiny_transcriber(folder / "whisper"), conflict_calibration=(0.3, 0.8, 0.1)
    )
    pipeline = EmotionPipeline.from_pretrained(checkpoint, device="cpu", speech_threshold=0)
    pipeline.words_reader.transcriber.limits = Limits(
        confidence=0, compression_ratio=99, language_probability=0, no_speech=1
    )
    return pipeline


class TestWords:
    def test_conflict_is_that_of_the_answer_with_words(self, place, hearing, tmp_path):
        system = FASSystem(hearing, tmp_path, name="tiny", title="tiny")
        found = asked(system, place.clips)
        for clip, expected in zip(place.clips, hearing([clip.audio for clip in place.clips]), strict=True):
            ours = found[clip.id]
            assert (ours.transcript, ours.words_missing) == (
                expected.words and expected.words.transcript,
                expected.words_missing,
            )
            if expected.words:
                assert ours.conflict == pytest.approx(expected.conflict, abs=0.02)  # fp16 in the cache
                assert ours.disagreement == pytest.approx(expected.disagreement, abs=0.02)
                assert ours.heads["words"] == pytest.approx(list(expected.words.probabilities.values()), abs=1e-5)
            assert ours.divergence == pytest.approx(expected.pathways.divergence, abs=0.02)
        assert any(answer.transcript for answer in found.values())

    def test_without_words_it_is_the_divergence_and_another_system(self, place, hearing, system, tmp_path):
        assert FASSystem(hearing, tmp_path, name="tiny", title="tiny").identity()["words"]
        assert system.identity()["words"] is None
        assert all(a.conflict == a.divergence and a.disagreement is None for a in asked(system, place.clips).values())

    def test_what_no_words_are_heard_in_is_no_conflict(self):
        answers = [
            SystemAnswer("a", "sad", "classifier", conflict=0.9, disagreement=0.9),
            SystemAnswer("b", "sad", "classifier", words_missing="unclear"),
        ]
        assert detected(answers, "conflict", np.array([True, False])) == {
            "auroc": 1.0,
            "interval": [0.0, 1.0],
            "unknown": 1,
        }
        assert detected(answers, "divergence", np.array([True, False])) is None
        assert detected(answers, "conflict", np.array([True, True])) is None


class TestTransductive:
    def test_the_benchmark_is_centred_without_its_labels(self, place, transductive, pipeline):
        """A linear head on features of mean zero: over the clips its mean logits are its bias."""
        heads = np.array([answer.heads["acoustic"] for answer in transductive.answer(place.clips)])
        logits = ACOUSTIC_TEMPERATURE * np.log(heads)
        bias = pipeline.model.pathway["acoustic"].linear.bias.detach().numpy()
        # softmax forgets what is common to the seven
        centred = (logits - logits.mean(1, keepdims=True)).mean(0)
        np.testing.assert_allclose(centred, bias - bias.mean(), atol=2e-3)

    def test_it_is_another_answer_and_leaves_the_checkpoint_alone(self, place, system, transductive):
        before, own, after = (asked(each, place.clips) for each in (system, transductive, system))
        assert largest_difference(before, own) > 1e-2
        assert largest_difference(before, after) == 0
        assert system.digest != transductive.digest
        assert transductive.whole_benchmark and not system.whole_benchmark

    def test_it_depends_on_the_set_and_not_on_its_order(self, place, transductive):
        whole = asked(transductive, place.clips)
        assert largest_difference(whole, asked(transductive, place.clips[::-1])) < 1e-5
        assert largest_difference(asked(transductive, place.clips[1:]), whole) > 1e-3
        with_broken = asked(transductive, [place.broken, *place.clips])
        assert largest_difference(whole, with_broken) < 1e-5  # a clip that fails has no say

    def test_a_checkpoint_without_statistics_has_none_to_replace(self, place, tmp_path):
        plain = save_tiny_checkpoint(tmp_path / "plain", place.whisper, standardise=False)
        options = {"type": "fas", "name": "plain", "checkpoint": str(plain), "own_statistics": True}
        with pytest.raises(CheckpointError, match="does not standardise"):
            build(options, BuildContext(cache_dir=tmp_path, device="cpu"))


class TestRun:
    """Both protocols through `run_suite`, as `--protocol` asks for them."""

    @pytest.fixture
    def run(self, place, tmp_path):
        def run(clips=len(SECONDS), **settings):
            rows = [[c.audio, EMOTIONS[i % 3], EMOTIONS[i % 2], "test"] for i, c in enumerate(place.clips[:clips])]
            with (tmp_path / "manifest.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["audio", "emotion", "semantic_emotion", "split"], *rows])
            preset = Preset(
                systems=[{"type": "fas", "name": "tiny", "checkpoint": str(place.checkpoint)}],
                benchmarks=[f"manifest:{tmp_path / 'manifest.csv'}"],
            )
            context = BuildContext(locations=DataLocations(), cache_dir=tmp_path, device="cpu", quiet=True)
            how = RunSettings(tmp_path / "report", statistics=Statistics(resamples=20))
            return run_suite(preset, context, replace(how, **settings))

        return run

    @staticmethod
    def stored(folder: Path) -> dict[str, int]:
        """Answers in the store, by system."""
        files = (folder / "report" / "answers").glob("*/answers*.jsonl")
        return {file.parent.name.rsplit("-", 1)[0]: len(file.read_text().splitlines()) for file in files}

    def test_both_protocols_are_two_systems(self, run, tmp_path):
        found = run(protocols=("inductive", "transductive"))
        assert list(found["systems"]) == ["tiny", "tiny, own statistics"]
        assert "transductive" in found["systems"]["tiny, own statistics"]["title"]
        inductive, own = found["scores"]
        assert inductive["clips"] == own["clips"] == len(SECONDS) and not own["failed"]
        assert inductive["ece"] != own["ece"]
        assert inductive["halves"]["congruent"]["clips"] + inductive["halves"]["conflicting"]["clips"] == len(SECONDS)
        assert set(own["halves"]["congruent"]["answers"]) == {"answer", *HEADS}
        kept = [json.loads(line)["kept"] for line in (tmp_path / "report" / "clips.jsonl").open()]
        assert all(set(clip) == {"tiny", "tiny, own statistics"} for clip in kept)

    def test_transductive_alone(self, run):
        assert list(run(protocols=("transductive",))["systems"]) == ["tiny, own statistics"]

    def test_one_clip_more_is_another_set_for_the_transductive_protocol_only(self, run, tmp_path):
        both = ("inductive", "transductive")
        few = len(SECONDS) - 1
        first = run(few, protocols=both)
        assert sorted(self.stored(tmp_path).values()) == [few, few]
        assert run(few, protocols=both)["scores"] == first["scores"]
        assert sorted(self.stored(tmp_path).values()) == [few, few]  # nobody was asked again
        run(protocols=both)
        assert sorted(self.stored(tmp_path).values()) == [len(SECONDS), few + len(SECONDS)]
