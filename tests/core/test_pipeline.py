"""From audio to answers, with random weights: what comes out must not depend on how it was asked for."""

import io
import itertools
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from synthetic import noise, save_tiny_whisper, write_clips
from tiny_fas import save_tiny_checkpoint
from transformers.pipelines.pt_utils import KeyDataset

from fas_core import EmotionPipeline, answers
from fas_core.answers import Answer, Pathways, no_speech
from fas_core.audio import Audio, AudioLimits, load_audio
from fas_core.batching import collate
from fas_core.distillation import KeptTokens
from fas_core.encoders.base import ClipFeatures
from fas_core.errors import AudioError, CheckpointError, FASError, IdentityMismatchError
from fas_core.inference import predict_logits
from fas_core.kept_tokens import kept_token_times
from fas_core.labels import EMOTIONS
from fas_core.summaries import in_a_row, summarise
from fas_core.windows import check_windows, cut
from fas_core.words.types import NoWords, Words

RATE = 16_000
HEADS = ("fused", "acoustic", "semantic")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> SimpleNamespace:
    """A Whisper, a checkpoint, and clips of different length."""
    folder = tmp_path_factory.mktemp("pipeline")
    whisper = save_tiny_whisper(folder / "whisper")
    checkpoint = save_tiny_checkpoint(folder / "fas", whisper)
    rows = write_clips(folder / "clips", [1.3, 0.4, 3.1, 0.05, 2.2])
    return SimpleNamespace(folder=folder, whisper=whisper, checkpoint=checkpoint, files=[r["audio"] for r in rows])


@pytest.fixture(scope="module")
def pipeline(place) -> EmotionPipeline:
    """It takes noise for a voice."""
    return load(place.checkpoint)


def load(checkpoint) -> EmotionPipeline:
    return EmotionPipeline.from_pretrained(checkpoint, device="cpu", speech_threshold=0)


def numbers(answer: Answer) -> np.ndarray:
    """(3, 7): the probabilities of all heads."""
    assert answer.probabilities == answer.pathways.fused and answer.tone.probabilities == answer.pathways.acoustic
    return np.array([[getattr(answer.pathways, head)[e] for e in EMOTIONS] for head in HEADS])


def assert_same(a: Answer, b: Answer, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(numbers(a), numbers(b), atol=tolerance)
    assert a.pathways.divergence == pytest.approx(b.pathways.divergence, abs=tolerance)


class TestSources:
    def test_path_bytes_file_and_array_give_one_answer(self, pipeline, place):
        path = place.files[2]
        expected = pipeline(path)
        content = open(path, "rb").read()
        samples, rate = soundfile.read(path, dtype="int16")
        answers = [pipeline(content), pipeline(io.BytesIO(content)), pipeline(samples, sampling_rate=rate)]
        for answer in answers:
            assert_same(answer, expected, 1e-6)
        assert expected.file == str(path)
        assert [a.file for a in answers] == ["<bytes>", "<file>", "<array>"]

    def test_what_transformers_pipelines_take(self, pipeline, place):
        """Dictionaries of an array and its rate, pairs, generators and data sets of torch."""
        expected = pipeline(place.files[:2])
        arrays = [soundfile.read(path, dtype="float32")[0] for path in place.files[:2]]
        rows = [{"array": array, "sampling_rate": RATE, "path": None} for array in arrays]
        raw = [{"raw": torch.from_numpy(array), "sampling_rate": RATE} for array in arrays]
        pairs = [(array, RATE) for array in arrays]
        stream = pipeline(row for row in rows)
        assert next(stream).label == expected[0].label and len(list(stream)) == 1
        for given in (rows, raw, pairs, (row for row in rows), KeyDataset([{"audio": row} for row in rows], "audio")):
            for a, b in zip(pipeline(given, batch_size=1), expected, strict=True):
                assert_same(a, b)
        for one in (rows[0], raw[0], pairs[0]):
            assert_same(pipeline(one), expected[0])
        assert [a.start for a in pipeline.timeline(rows[0], window=1.0, hop=1.0)] == [0.0, 1.0]
        with pytest.raises(AudioError, match="mapping with samples.*'array' and 'sampling_rate'"):
            pipeline({"samples": arrays[0]})

    def test_the_most_probable_emotions_as_transformers_pipelines_give_them(self, pipeline, place, tmp_path):
        answer, (best, second) = pipeline(place.files[0]), pipeline(place.files[0], top_k=2)
        assert best == {"label": answer.label, "score": answer.probabilities[answer.label]}
        assert best["score"] >= second["score"] == sorted(answer.probabilities.values())[-2]
        assert [len(scores) for scores in pipeline(place.files[:2], top_k=100)] == [7, 7]
        assert [len(scores) for scores in pipeline((f for f in place.files[:2]), top_k=1)] == [1, 1]
        with pytest.raises(AudioError, match="missing.wav"):
            pipeline([place.files[0], tmp_path / "missing.wav"], top_k=1)
        for wrong in ({"top_k": 0}, {"batch_size": 0}):
            with pytest.raises(FASError, match=f"{next(iter(wrong))} 0.*1 or more"):
                pipeline(place.files[0], **wrong)

    def test_an_answer_is_whole(self, pipeline, place):
        answer = pipeline(place.files[0])
        assert np.allclose(numbers(answer).sum(1), 1)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.get)
        assert 0 <= answer.pathways.divergence <= 1 and answer.error is None
        assert answer.audio.rate == RATE and answer.audio.seconds == pytest.approx(1.3)
        assert not answer.audio.silent
        found = json.loads(json.dumps(answer.to_dict()))
        assert set(found["kept_tokens"]) == {"acoustic", "semantic"}
        assert answer.to_dict(tokens=False) == found | {"kept_tokens": None}

    def test_temperatures_are_applied(self, pipeline, place):
        features = pipeline.extractor([load_audio(place.files[0]).samples])
        logits = predict_logits(pipeline.model, features.__getitem__, [len(features[0].acoustic)])
        rows = [logits.fused[0] / 0.5, logits.acoustic[0] / 0.7, logits.semantic[0] / 1.4]  # of the tiny checkpoint
        np.testing.assert_allclose(numbers(pipeline(place.files[0])), softmax(rows, axis=1), atol=1e-5)


class TestBatches:
    def test_batch_equals_single_in_order(self, pipeline, place):
        singles = [pipeline(path) for path in place.files]
        together = pipeline(place.files)
        assert [a.file for a in together] == [str(p) for p in place.files]
        for a, b in zip(singles, together, strict=True):
            assert_same(a, b)
        for a, b in zip(singles, pipeline(place.files[::-1])[::-1], strict=True):
            assert_same(a, b)

    def test_little_audio_at_once_is_the_same(self, pipeline, place):
        for a, b in zip(pipeline(place.files), pipeline(place.files, batch_seconds=0.1), strict=True):
            assert_same(a, b)

    def test_a_bad_file_is_one_error_in_its_place(self, pipeline, place, tmp_path):
        broken = tmp_path / "broken.wav"
        broken.write_bytes(b"RIFF no wave at all")
        answers = pipeline([place.files[0], broken, tmp_path / "missing.wav", place.files[1]])
        assert [bool(a.error) for a in answers] == [False, True, True, False]
        assert answers[1].file == str(broken) and "broken.wav" in answers[1].error
        assert answers[1].label is None and isinstance(answers[1].exception, AudioError)
        found = answers[1].to_dict()
        assert {k for k, v in found.items() if v not in (None, False)} == {"file", "audio", "error"}
        assert set(found) == set(answers[0].to_dict()) and set(found["audio"].values()) == {None}
        assert_same(answers[3], pipeline(place.files[1]))

    def test_a_single_bad_source_raises(self, pipeline, tmp_path):
        with pytest.raises(AudioError, match="missing.wav"):
            pipeline(tmp_path / "missing.wav")
        with pytest.raises(AudioError, match="too long"):
            pipeline(noise(1.0), sampling_rate=RATE, limits=AudioLimits(max_seconds=0.5))

    def test_nothing_is_no_answers(self, pipeline):
        assert pipeline([]) == []


class TestKeptTokens:
    def test_times_ascend_inside_the_clip(self, pipeline):
        speech = noise(2.0, seed=3)
        silence = np.zeros(RATE, dtype=np.float32)
        answer = pipeline(np.concatenate([silence, speech, silence]), sampling_rate=RATE)
        assert answer.audio.start == pytest.approx(1.0, abs=0.1)
        for stream, k in (("acoustic", 4), ("semantic", 6)):
            tokens = answer.kept_tokens[stream]
            starts, ends = [t["start"] for t in tokens], [t["end"] for t in tokens]
            assert len(tokens) == k and starts == sorted(set(starts))
            assert starts[0] >= answer.audio.start - 1e-3 and ends[-1] <= 3.1
            assert all(0 < end - start <= 0.1 + 1e-6 for start, end in zip(starts, ends, strict=True))
            assert all(t["score"] > 0 for t in tokens)

    def test_a_clip_of_one_patch(self, pipeline, place):
        tokens = pipeline(place.files[3]).kept_tokens  # 50 ms: two frames
        for stream in ("acoustic", "semantic"):
            (token,) = tokens[stream]
            assert 0 <= token["start"] < token["end"] <= 0.05 + 1e-6

    def test_times_follow_each_streams_own_frame_rate(self):
        """A stream of 12.5 frames a second beside one of 50: five frames are 400 ms there and 100 ms here."""
        kept = KeptTokens(
            torch.zeros(1, 2, 4), torch.tensor([[True, True]]), torch.tensor([[0, 2]]), torch.tensor([[3.0, 2.0]])
        )
        features = ClipFeatures(
            np.zeros((3, 4)), np.zeros((10, 4)), acoustic_frames=13, semantic_frames=50, offset=0.5,
            front_end={"start": 8000, "end": 24000, "gain_db": 0.0},
        )  # fmt: skip
        slow = kept_token_times(kept, 0, features, "acoustic", 12.5, 5)
        assert [(t["start"], t["end"]) for t in slow] == [
            (0.5, 0.9),
            (1.3, 1.5),
        ]  # 13 frames end at 1.54, the clip at 1.5
        fast = kept_token_times(kept, 0, features, "semantic", 50.0, 5)
        assert [(t["start"], t["end"]) for t in fast] == [(0.5, 0.6), (0.7, 0.8)]

    def test_nothing_of_a_larger_norm_is_left_out(self, pipeline):
        features = pipeline.extractor([noise(3.0, 1)])[0]
        with torch.no_grad():
            output = pipeline.model.fas(**collate([features]))
            standardise = pipeline.model.fas.standardise["semantic"]
            tokens = pipeline.model.fas.projection["semantic"](standardise(torch.from_numpy(features.semantic)))
        norms = tokens.norm(dim=-1)
        kept = output.semantic_kept.indices[0]
        left_out = torch.ones(len(norms), dtype=torch.bool)
        left_out[kept] = False
        assert norms[kept].min() >= norms[left_out].max()


class TestSilence:
    @pytest.mark.parametrize("seconds", [0.03, 1.0])
    def test_a_silent_clip_is_flagged_and_answered(self, pipeline, seconds):
        answer = pipeline(np.zeros(int(RATE * seconds), np.float32), sampling_rate=RATE)
        assert answer.audio.silent is True and answer.to_row()["audio.silent"] is True
        assert np.isfinite(numbers(answer)).all() and answer.error is None


class TestLongClips:
    def test_over_a_minute_is_the_mean_of_its_windows_by_duration(self, pipeline):
        samples = noise(66.0, seed=2)
        answer = pipeline(samples, sampling_rate=RATE)
        assert answer.audio.windows == 3 and answer.audio.seconds == 66.0
        parts = pipeline(
            [samples[: 30 * RATE], samples[30 * RATE : 60 * RATE], samples[60 * RATE :]], sampling_rate=RATE
        )
        expected = np.average([numbers(p) for p in parts], axis=0, weights=[30, 30, 6])
        np.testing.assert_allclose(numbers(answer), expected, atol=1e-5)
        assert answer.label == EMOTIONS[expected[0].argmax()]
        found = [p.pathways.divergence for p in parts]
        assert answer.pathways.divergence == pytest.approx(np.average(found, weights=[30, 30, 6]), abs=1e-5)
        for stream, tokens in answer.kept_tokens.items():  # of all windows, timed in the file
            moved = [t["start"] + 30 * i for i, p in enumerate(parts) for t in p.kept_tokens[stream]]
            assert [t["start"] for t in tokens] == pytest.approx(moved, abs=2e-3)

    @pytest.mark.parametrize(("seconds", "windows"), [(60.0, None), (60.1, 3)])
    def test_what_is_long(self, pipeline, seconds, windows):
        answer = pipeline(noise(seconds, seed=3), sampling_rate=RATE)
        assert answer.audio.windows == windows and answer.audio.seconds == pytest.approx(seconds)

    def test_it_keeps_its_place_among_others(self, pipeline, place):
        sources = [noise(0.5, 1), noise(61.0, 2), noise(0.7, 3)]
        answers = pipeline(sources, sampling_rate=RATE)
        assert [a.audio.windows for a in answers] == [None, 3, None]
        assert_same(answers[2], pipeline(sources[2], sampling_rate=RATE))


def blocks_of(samples: np.ndarray, sizes) -> list[Audio]:
    pieces = np.split(samples, np.cumsum(sizes))
    return [Audio(p, "<array>", RATE, 1, len(p) / RATE, False) for p in pieces if len(p)]


class TestWindows:
    @pytest.mark.parametrize("seconds", [0.03, 1.99, 2.0, 2.01, 2.5, 4.0, 7.3, 8.0])
    @pytest.mark.parametrize(("window", "hop"), [(2.0, 2.0), (2.0, 1.0), (2.0, 0.7)])
    def test_windows_cover_the_audio(self, seconds, window, hop):
        samples = np.arange(round(seconds * RATE), dtype=np.float32)
        found = list(cut(blocks_of(samples, []), window, hop))
        starts, ends = [start for start, _, _ in found], [end for _, end, _ in found]
        np.testing.assert_allclose(starts, np.arange(len(found)) * hop, atol=1e-4)
        assert all(end - start == pytest.approx(window) for start, end in zip(starts[:-1], ends[:-1], strict=True))
        assert all(after <= end + 1e-9 for end, after in zip(ends[:-1], starts[1:], strict=True))
        assert len(samples) / RATE - 0.025 < ends[-1] <= len(samples) / RATE
        assert ends == sorted(set(ends))  # no window inside another
        for start, end, part in found:
            assert np.array_equal(part.samples, samples[round(start * RATE) : round(end * RATE)])

    def test_blocks_do_not_matter(self):
        samples = noise(9.7)
        whole = list(cut(blocks_of(samples, []), 2.0, 0.9))
        for size in (1_000, 16_000, 50_001):
            pieces = list(cut(blocks_of(samples, [size] * (len(samples) // size)), 2.0, 0.9))
            assert [p[:2] for p in pieces] == [p[:2] for p in whole]
            assert all(np.array_equal(a[2].samples, b[2].samples) for a, b in zip(pieces, whole, strict=True))

    @pytest.mark.parametrize(
        ("window", "hop"), [(2.0, 3.0), (2.0, 0.0), (2.0, -1.0), (0.01, 0.01), (np.nan, 1.0), (np.inf, 1)]
    )
    def test_windows_that_cannot_be(self, window, hop):
        with pytest.raises(FASError, match="--window, --hop"):
            check_windows(window, hop)


def window_answer(start: float, end: float, tone: str, words: str | NoWords, speech: float = 1.0) -> Answer:
    """As the pipeline gives it for a window, certain of both; the words are their emotion's name."""
    if not speech:
        answer = no_speech(Audio(np.zeros(1, np.float32), "call.wav", RATE, 1, end - start, False))
    else:
        certain = {e: np.array([float(e == at) for at in EMOTIONS]) for e in EMOTIONS}
        audio = Audio(np.zeros(1, np.float32), "call.wav", RATE, 1, end - start, False)
        clip = ClipFeatures(np.zeros((1, 2)), np.zeros((1, 2)), acoustic_frames=5, semantic_frames=5)
        heads = {"fused": certain[tone], "acoustic": certain[tone], "semantic": certain[tone]}
        answer = answers.answer(audio, heads, {}, clip, speech)
        answer.hears(words if isinstance(words, NoWords) else Words.read(words, "en", 0.5, certain[words]))
    answer.start, answer.end = start, end
    return answer


class TestSummary:
    def test_conflicts_of_opposite_windows_do_not_cancel(self):
        """The averaged pathways would agree to the digit: half angry, half happy, both of them."""
        whole = summarise([window_answer(0, 30, "angry", "happy"), window_answer(30, 60, "happy", "angry")])
        assert whole.conflict == pytest.approx(1) and whole.conflict_max == pytest.approx(1)
        assert whole.tone.probabilities == whole.words.probabilities

    def test_by_duration_with_the_largest_beside(self):
        whole = summarise([window_answer(0, 30, "angry", "angry"), window_answer(30, 40, "happy", "sad")])
        assert (whole.conflict, whole.conflict_max) == (pytest.approx(0.25), pytest.approx(1))
        assert whole.disagreement == pytest.approx(0.25)
        assert whole.label == "angry" and whole.probabilities["happy"] == pytest.approx(0.25)

    def test_windows_without_speech_do_not_count(self):
        windows = [
            window_answer(0, 30, "", "", 0),
            window_answer(30, 60, "sad", "sad", 0.5),
            window_answer(60, 90, "", "", 0),
        ]
        whole = summarise(windows)
        assert whole.label == "sad" and whole.probabilities["sad"] == 1 and not whole.no_speech
        assert whole.speech == pytest.approx(0.5 / 3)
        assert (whole.audio.windows, whole.audio.windows_without_speech, whole.audio.seconds) == (3, 2, 90)

    def test_no_window_with_speech(self):
        whole = summarise([window_answer(0, 30, "", "", 0), window_answer(30, 61, "", "", 0)])
        assert whole.no_speech and whole.label is None and whole.conflict is None and whole.start is None
        assert whole.audio.seconds == 61 and set(whole.probabilities.values()) == {0.0}

    def test_what_one_window_lacks_is_not_made_up(self):
        bare = window_answer(0, 30, "angry", "happy")
        bare.tone = bare.conflict = bare.disagreement = None
        bare.pathways = Pathways(bare.probabilities, semantic=bare.probabilities)
        whole = summarise([bare, window_answer(30, 60, "angry", "happy")])
        assert whole.tone is None and whole.pathways.acoustic is None and whole.pathways.divergence is None

    def test_words_are_those_of_the_windows_that_have_some(self):
        unclear, foreign = NoWords("unclear"), NoWords("language: ur")
        windows = [
            window_answer(0, 30, "sad", "happy"), window_answer(30, 60, "sad", unclear),
            window_answer(60, 70, "sad", "neutral"), window_answer(70, 90, "", "", 0),
        ]  # fmt: skip
        whole = summarise(windows)
        assert whole.words.transcript == "happy neutral" and whole.words_missing is None
        assert whole.words.probabilities["happy"] == pytest.approx(0.75) and whole.words.label == "happy"
        assert (whole.words.language, whole.words.confidence) == ("en", pytest.approx(0.5))
        assert (whole.conflict, whole.conflict_max) == (pytest.approx(0.75), pytest.approx(1))
        assert whole.disagreement == pytest.approx(1)
        none = summarise([window_answer(0, 30, "sad", foreign), window_answer(30, 50, "sad", unclear), windows[-1]])
        assert none.words is None and none.words_missing == "language: ur"
        assert none.conflict is none.conflict_max is none.disagreement is None

    @pytest.mark.parametrize(("hop", "told"), [(4, 3), (2, 3), (3, 3), (1, 3)])
    def test_windows_that_overlap_tell_nothing_twice(self, hop, told):
        starts = np.arange(0, 9, hop)
        windows = [window_answer(s, min(s + 4, 12), "sad", "happy") for s in starts]
        row = in_a_row(windows)
        assert len(row) == told and row[0].start == 0 and row[-1].end == windows[-1].end
        assert all(a.end >= b.start for a, b in itertools.pairwise(row))
        assert summarise(windows).words.transcript == " ".join(["happy"] * told)

    def test_silent_only_where_all_of_it_is(self):
        windows = [window_answer(0, 30, "", "", 0), window_answer(30, 60, "sad", "sad")]
        windows[0].audio = replace(windows[0].audio, silent=True)
        assert summarise(windows).audio.silent is False


class TestTimeline:
    def test_each_window_is_answered_like_a_clip_of_its_own(self, pipeline):
        samples = noise(33.0, seed=5)  # more than one block of the stream
        found = list(pipeline.timeline(samples, window=4.0, hop=4.0, sampling_rate=RATE, batch=3))
        assert [(a.start, a.end) for a in found] == [(4.0 * i, min(4.0 * i + 4, 33.0)) for i in range(9)]
        for answer in (found[0], found[7], found[8]):
            part = samples[round(answer.start * RATE) : round(answer.end * RATE)]
            assert_same(answer, pipeline(part, sampling_rate=RATE))

    def test_kept_tokens_are_timed_in_the_file(self, pipeline):
        for answer in pipeline.timeline(noise(5.0, seed=5), window=2.0, hop=1.0, sampling_rate=RATE):
            for tokens in answer.kept_tokens.values():
                assert tokens and all(answer.start <= t["start"] < t["end"] <= answer.end + 1e-3 for t in tokens)

    def test_bad_windows_are_refused_at_once(self, pipeline):
        with pytest.raises(FASError, match="hop"):
            pipeline.timeline("never-opened.wav", window=1.0, hop=2.0)

    def test_a_bad_file_raises(self, pipeline, tmp_path):
        with pytest.raises(AudioError, match="no such file"):
            list(pipeline.timeline(tmp_path / "missing.wav"))


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    people = [noise(2.0, seed=1), noise(2.0, seed=2)]
    path = tmp_path_factory.mktemp("call") / "call.wav"
    soundfile.write(path, np.stack(people, axis=1), RATE, subtype="FLOAT")
    return path, people


class TestChannels:
    """Two people of a call, a channel each."""

    def test_mix_is_said(self, pipeline, call):
        path, people = call
        answer = pipeline(path)
        assert (answer.audio.channels, answer.audio.channel) == (2, "mix")
        assert_same(answer, pipeline((people[0] + people[1]) / 2, sampling_rate=RATE))

    @pytest.mark.parametrize(
        "as_source", [str, lambda p: p.read_bytes(), lambda p: open(p, "rb")], ids=["path", "bytes", "file"]
    )
    def test_each_is_every_channel_alone(self, pipeline, call, as_source):
        path, people = call
        answers = pipeline(as_source(path), channels="each")
        assert [a.audio.channel for a in answers] == [1, 2]
        for number, (answer, person) in enumerate(zip(answers, people, strict=True), 1):
            assert_same(answer, pipeline(person, sampling_rate=RATE))
            assert_same(answer, pipeline(path, channels=number))
            assert_same(answer, pipeline(path, channels=str(number)))

    def test_each_among_others_and_of_one_channel(self, pipeline, call, place, tmp_path):
        path, _ = call
        answers = pipeline([place.files[0], path, tmp_path / "missing.wav", path], channels="each")
        assert [a.audio.channel for a in answers] == [None, 1, 2, None, 1, 2] and answers[3].error
        groups = pipeline.groups([place.files[0], path], channels="each")
        assert [len(group) for group in groups] == [1, 2]
        assert len(pipeline(place.files[0], channels="each")) == 1

    @pytest.mark.parametrize("as_source", [str, lambda p: open(p, "rb")], ids=["path", "file"])
    def test_a_timeline_of_each_goes_by_time(self, pipeline, call, as_source):
        path, people = call
        found = list(pipeline.timeline(as_source(path), window=1.0, hop=1.0, channels="each", batch=1))
        assert [(a.start, a.audio.channel) for a in found] == [(0, 1), (0, 2), (1, 1), (1, 2)]
        assert_same(found[3], pipeline(people[1][RATE:], sampling_rate=RATE))

    def test_a_long_call(self, pipeline, tmp_path):
        path = tmp_path / "long.wav"
        soundfile.write(path, np.stack([noise(61.0, seed=1), noise(61.0, seed=2)], axis=1), RATE)
        seen = []
        ((first, second),) = pipeline.groups([path], channels="each", on_window=seen.append)
        assert first.audio.windows == second.audio.windows == 3 and len(seen) == 6
        assert (first.audio.channel, second.audio.channel) == (1, 2)
        assert not np.allclose(numbers(first), numbers(second))

    @pytest.mark.parametrize("channels", ["left", "", 0, -1, 1.5, True, None, "0"])
    def test_channels_that_cannot_be(self, pipeline, call, channels):
        with pytest.raises(FASError, match="--channels"):
            pipeline(call[0], channels=channels)
        with pytest.raises(FASError, match="--channels"):
            pipeline.timeline(call[0], channels=channels)

    def test_a_channel_that_is_not_there(self, pipeline, call):
        with pytest.raises(AudioError, match="no channel 3"):
            pipeline(call[0], channels=3)


class TestCheckpoints:
    def test_without_pathway_heads(self, place, tmp_path):
        checkpoint = save_tiny_checkpoint(tmp_path / "bare", place.whisper, pathway_heads=False)
        answer = load(checkpoint)(place.files[0])
        assert answer.tone is answer.pathways.acoustic is answer.pathways.semantic is answer.pathways.divergence is None
        answer.hears(Words.read("So glad.", "en", 0.9, np.eye(7)[3]))
        assert answer.words.label == "happy" and answer.conflict is None and answer.to_row()["conflict"] is None

    def test_other_encoder_weights_are_refused(self, place, tmp_path):
        other = save_tiny_whisper(tmp_path / "whisper", seed=1)
        with pytest.raises(IdentityMismatchError, match="streams.json"):
            EmotionPipeline.from_pretrained(self._with_config(place, tmp_path, str(other)), device="cpu")

    def test_the_same_weights_elsewhere_are_taken(self, place, tmp_path, pipeline):
        moved = shutil.copytree(place.whisper, tmp_path / "moved")
        found = load(self._with_config(place, tmp_path, str(moved)))
        assert_same(found(place.files[0]), pipeline(place.files[0]), 1e-6)

    @staticmethod
    def _with_config(place, folder, whisper: str | None):
        """A copy of the checkpoint that names another Whisper, or none."""
        checkpoint = shutil.copytree(place.checkpoint, folder / "fas")
        config = json.loads((checkpoint / "config.json").read_text())
        for stream in ("acoustic", "semantic"):
            config["streams"][stream]["model"] = whisper
        config["streams"] = config["streams"] if whisper else None
        (checkpoint / "config.json").write_text(json.dumps(config))
        return checkpoint

    def test_no_encoders_named(self, place, tmp_path):
        with pytest.raises(CheckpointError, match="does not name the encoders"):
            EmotionPipeline.from_pretrained(self._with_config(place, tmp_path, None), device="cpu")

    @pytest.mark.parametrize("damage", ["nothing there", "no weights", "cut", "incomplete", "another model"])
    def test_not_a_checkpoint(self, place, tmp_path, damage):
        folder = shutil.copytree(place.checkpoint, tmp_path / "fas")
        weights = folder / "model.safetensors"
        if damage == "nothing there":
            folder = tmp_path / "nowhere"
        elif damage == "no weights":
            weights.unlink()
        elif damage == "cut":
            weights.write_bytes(weights.read_bytes()[:-500])
        elif damage == "incomplete":
            tensors = load_file(weights)
            tensors.pop("head.0.weight")
            save_file(tensors, weights, metadata={"format": "pt"})
        else:
            folder = place.whisper
        with pytest.raises(CheckpointError, match="not a FAS checkpoint|model.safetensors: |config.json: ") as error:
            EmotionPipeline.from_pretrained(folder, device="cpu")
        assert str(folder) in str(error.value) and "\n" not in str(error.value)

    def test_no_such_device(self, place):
        with pytest.raises(FASError, match="device 'abacus'"):
            EmotionPipeline.from_pretrained(place.checkpoint, device="abacus")

    def test_describe_is_ready_for_json(self, pipeline, place, tmp_path):
        checkpoint = shutil.copytree(place.checkpoint, tmp_path / "told")
        corpora = [{"corpus": "tess", "learns": "tone and words"}, {"corpus": "synthetic", "learns": "words"}]
        record = {"data": {"corpora": corpora}, "arguments": {"data": {"fold": 3}}, "provenance": {"commit": "abc"}}
        (checkpoint / "training.json").write_text(json.dumps(record))
        found = json.loads(json.dumps(EmotionPipeline.from_pretrained(checkpoint, device="cpu").describe()))
        assert (found["training_corpora"], found["fold"], found["trained_at_commit"]) == (["tess"], 3, "abc")
        assert str(place.folder) not in json.dumps(found)
        assert pipeline.describe()["training_corpora"] == []
