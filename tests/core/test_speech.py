"""What is no speech gets no emotion, however it is asked; what is speech keeps its answer."""

import numpy as np
import pytest
import torch
from repository import SPEECH
from scipy.signal import lfilter
from synthetic import save_tiny_whisper
from tiny_fas import save_tiny_checkpoint

from benchmarks.sounds import SOUNDS
from fas_core import EmotionPipeline
from fas_core.audio import load_audio
from fas_core.errors import FASError
from fas_core.speech import BLOCK, FRAME, SpeechCheck, _load

RATE = 16_000
NOT_SPEECH = sorted(set(SOUNDS) - {"buzz with syllables", "melody", "band", "birds"})  # of these a few pass
EXPECTED = [0.3738, 0.2484, 0.069, 0.0299, 0.0157, 0.0078, 0.0081, 0.0082]
SAID = ["I have told you a hundred times.", "What a wonderful surprise!", "Nobody ever comes here any more."]


@pytest.fixture(scope="module")
def voice() -> list[np.ndarray]:
    pytest.importorskip("espeakng_loader")
    from fas_core.synth.espeak import speak

    return [load_audio(samples, sampling_rate=rate).samples for samples, rate in (speak(t, "en-us") for t in SAID)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> EmotionPipeline:
    folder = tmp_path_factory.mktemp("speech")
    return EmotionPipeline.from_pretrained(
        save_tiny_checkpoint(folder / "fas", save_tiny_whisper(folder / "whisper")), device="cpu"
    )


def sound(kind: str, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    return SOUNDS[kind](seconds, np.random.default_rng(seed)).astype(np.float32)


class TestShare:
    @pytest.mark.parametrize("seconds", [0.03, 1.0, 4.0])
    @pytest.mark.parametrize("kind", NOT_SPEECH)
    def test_no_speech(self, kind, seconds):
        assert [SpeechCheck()(sound(kind, seconds, seed)) for seed in range(2)] == [0.0, 0.0]

    @pytest.mark.parametrize("gain", [1e-3, 0.03, 1.0, 30.0])
    def test_speech_at_any_level(self, voice, gain):
        for clip in voice:
            assert 0.5 < SpeechCheck()(clip * np.float32(gain)) <= 1

    def test_the_share_is_of_the_clip(self, voice):
        alone = SpeechCheck()(voice[0])
        for before, after in ((0, 1), (1, 0), (2, 5)):
            padded = np.pad(voice[0], (before * len(voice[0]), after * len(voice[0])))
            assert SpeechCheck()(padded) == pytest.approx(alone / (1 + before + after), abs=0.04)

    def test_noise_around_speech_is_not_counted(self, voice):
        hiss = sound("white noise", 3.0) * 0.03
        assert 0.2 < SpeechCheck()(np.concatenate([hiss, voice[0], hiss])) < 0.4

    @pytest.mark.parametrize("seconds", [0.2, 0.4])
    def test_a_word_is_speech_with_any_silence_around_it(self, voice, seconds):
        clip = voice[1][3200 : 3200 + round(seconds * RATE)]
        assert all(SpeechCheck()(np.pad(clip, (n, n))) > 0 for n in (0, 100, 5_000, 40_000))

    def test_blocks_do_not_matter(self, voice):
        long = np.tile(voice[0], 40)
        whole = _load()(torch.from_numpy(np.pad(long, (64, -len(long) % FRAME))).unfold(0, 64 + FRAME, FRAME))[0]
        assert len(whole) > 2 * BLOCK
        np.testing.assert_allclose(_load().probabilities(long), whole.detach().numpy(), atol=1e-5)

    def test_a_higher_threshold_hears_less(self, voice):
        shares = [SpeechCheck(t)(voice[2]) for t in (0.1, 0.5, 0.99)]
        assert shares == sorted(shares, reverse=True) and shares[0] > shares[2]

    @pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), float("inf"), "0.5", None])
    def test_thresholds_that_cannot_be(self, threshold):
        with pytest.raises(FASError, match="--speech-threshold"):
            SpeechCheck(threshold)

    def test_the_network_is_silero_s(self):
        """The numbers are those of silero_vad.jit, package silero-vad 6.2.3, for a vowel whose pitch glides."""
        t = np.arange(8 * FRAME) / RATE
        vowel = np.sin(2 * np.pi * 130 * t + 3 * np.sin(2 * np.pi * 4 * t)) > 0.9
        for formant in (600, 1200, 2500):
            vowel = lfilter([1], [1, -1.94 * np.cos(2 * np.pi * formant / RATE), 0.97**2], vowel)
        samples = (0.2 * vowel / np.abs(vowel).max()).astype(np.float32)
        np.testing.assert_allclose(_load().probabilities(samples), EXPECTED, atol=1e-3)


class TestAnswers:
    @pytest.mark.parametrize("kind", ["zeros", "white noise", "dial tone", "chords"])
    def test_no_emotion_is_named(self, pipeline, kind):
        answer = pipeline(sound(kind), sampling_rate=RATE)
        assert answer.label is None and answer.no_speech and answer.speech == 0 and answer.error is None
        assert list(answer.probabilities) and set(answer.probabilities.values()) == {0.0}
        assert answer.tone is answer.words is answer.pathways is answer.conflict is None
        told = answer.to_dict()
        assert told["words_missing"] == "no speech" and told["label"] is None and told["speech"] == 0
        row = answer.to_row()
        assert row["words_missing"] == "no speech" and row["label"] is None and row["probabilities.angry"] == 0

    def test_the_same_alone_and_among_others(self, pipeline, voice):
        clips = [voice[0], sound("white noise"), voice[1], sound("zeros"), voice[2]]
        together = pipeline(clips, sampling_rate=RATE)
        assert [a.no_speech for a in together] == [False, True, False, True, False]
        for clip, answer in zip(clips, together, strict=True):
            assert pipeline(clip, sampling_rate=RATE).speech == answer.speech
        assert all(0.5 < a.speech <= 1 and a.label for a in together[::2])

    def test_turned_off(self, pipeline, voice):
        off = EmotionPipeline(pipeline.model, pipeline.extractor, speech_threshold=0)
        answer = off(sound("white noise"), sampling_rate=RATE)
        assert answer.label and answer.speech is None and answer.no_speech is False
        assert off(voice[0], sampling_rate=RATE).probabilities == pytest.approx(
            pipeline(voice[0], sampling_rate=RATE).probabilities, abs=1e-5
        )

    def test_windows_of_a_timeline(self, pipeline, voice):
        samples = np.concatenate(
            [sound("pink noise", 4.0), np.resize(voice[0], 4 * RATE), np.zeros(4 * RATE, np.float32)]
        )
        found = list(pipeline.timeline(samples, window=4.0, hop=4.0, sampling_rate=RATE))
        assert [a.no_speech for a in found] == [True, False, True]
        assert [(a.start, a.end) for a in found] == [(0, 4), (4, 8), (8, 12)]

    def test_a_long_clip_is_its_windows_with_speech(self, pipeline, voice):
        spoken = np.resize(voice[0], 30 * RATE)
        quiet = np.zeros(30 * RATE, np.float32)
        whole = pipeline(np.concatenate([quiet, spoken, quiet]), sampling_rate=RATE)
        alone = pipeline(spoken, sampling_rate=RATE)
        assert whole.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert whole.pathways.divergence == pytest.approx(alone.pathways.divergence, abs=1e-5)
        assert whole.speech == pytest.approx(alone.speech / 3, abs=0.01)
        assert whole.audio.windows_without_speech == 2
        assert pipeline(np.concatenate([quiet, quiet, quiet]), sampling_rate=RATE).no_speech


@pytest.mark.real_speech
@pytest.mark.parametrize(("corpus", "pattern"), [("ravdess", "*/*.flac"), ("tess", "*/*.flac"), ("nemo", "*.opus")])
def test_real_speech_is_speech(corpus, pattern):
    files = sorted((SPEECH / corpus).glob(pattern))[::60]
    if not files:
        pytest.skip(f"no {corpus} below FAS_SPEECH_DATA")
    lost = [f.name for f in files if SpeechCheck()(load_audio(f).samples) == 0]
    assert len(lost) <= len(files) / 50, lost
