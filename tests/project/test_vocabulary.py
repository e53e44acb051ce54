"""One vocabulary: every surface gives the same fields, which are always there, and the same values (synthetic clips)."""

import csv
import io
import json
from dataclasses import fields

import numpy as np
import pytest
import soundfile
from serving import running
from synthetic import noise
from tiny_fas import save_tiny_checkpoint
from tiny_text_model import save_tiny_text_model
from tiny_transcriber import save_tiny_transcriber
from typer.testing import CliRunner

from fas_core import EmotionPipeline
from fas_core.answers import Answer, AudioFacts
from fas_core.audio import load_audio
from fas_core.cli import door
from fas_core.labels import EMOTIONS
from fas_core.words.transcriber import Transcriber
from fas_core.words.transcript import Transcript
from fas_core.words.types import NoWords
from fas_serve.app import create_app
from fas_serve.batching import Batcher
from fas_serve.client import Client
from fas_serve.emotion import EmotionService
from fas_serve.listening import Listener
from fas_serve.schemas import ClipEmotion
from fas_serve.settings import Settings

SAID = ["label", "probabilities"]
# What every surface gives. A name is added here, in `Answer` and in `ClipEmotion`, or nowhere.
VOCABULARY = {
    "file": None, "label": None, "unsure": None, "confidence": None, "familiarity": None, "label_set": None, "probabilities": [*EMOTIONS],
    "tone": SAID, "words": ["transcript", "language", "confidence", *SAID], "words_missing": None,
    "conflict": None, "conflict_max": None, "disagreement": None, "speech": None,
    "audio": [
        "seconds", "rate", "channels", "channel", "start", "end", "gain_db", "silent", "windows", "windows_without_speech"
    ],
    "kept_tokens": None, "start": None, "end": None,
    "pathways": ["fused", "acoustic", "semantic", "divergence"], "error": None,
}  # fmt: skip
OF_THE_SERVER = {"index", "code", "language_model", "timeline"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A FAS on a tiny English Whisper with a decoder, a tiny text model, a clip of two channels."""
    folder = tmp_path_factory.mktemp("vocabulary")
    checkpoint = save_tiny_checkpoint(folder / "fas", save_tiny_transcriber(folder / "whisper", multilingual=False))
    soundfile.write(folder / "call.wav", np.stack([noise(0.8, 1), noise(0.8, 2)], axis=1), 16_000, subtype="FLOAT")
    return folder, checkpoint, save_tiny_text_model(folder / "texts")


@pytest.fixture(scope="module")
def pipeline(place):
    return EmotionPipeline.from_pretrained(place[1], device="cpu", speech_threshold=0, words_model=str(place[2]))


@pytest.fixture
def everything_is_clear(monkeypatch):
    """Random weights would be sure of nothing."""
    said = Transcript("well, well", "en", 0.9, 1.0, 0.0, 1.0, english="well, well")
    monkeypatch.setattr(Transcriber, "__call__", lambda self, clips: [said] * len(clips))


def check(answer: dict, *, has_words: bool = True) -> dict:
    """The fields are those of the vocabulary, and those of each part that is there."""
    assert list(answer) == list(VOCABULARY)
    for name, inner in VOCABULARY.items():
        if inner is not None and answer[name] is not None:
            assert list(answer[name]) == inner, name
    assert (answer["words"] is not None) == has_words and (answer["words_missing"] is None) == has_words
    return answer


def near(found, expected):
    """Equal, figures within rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(near(found[k], expected[k]) for k in expected)
    return found == pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else found == expected


class TestSurfaces:
    def test_python_command_server_client_say_the_same(self, pipeline, place, everything_is_clear):
        folder, checkpoint, texts = place
        file = str(folder / "call.wav")
        expected = check(pipeline(file).to_dict(tokens=False))
        assert expected["words"]["transcript"] == "well, well" and 0 <= expected["conflict"] <= 1

        arguments = ["predict", file, "--device", "cpu", "--speech-threshold", "0", "--checkpoint", str(checkpoint)]
        arguments += ["--words-model", str(texts), "--format"]
        (printed,) = json.loads(CliRunner().invoke(door.app, [*arguments, "json"]).stdout)
        assert near(check(printed), expected)
        (row,) = csv.DictReader(io.StringIO(CliRunner().invoke(door.app, [*arguments, "csv"]).stdout))
        assert list(row) == list(pipeline(file).to_row())
        for name, value in row.items():
            assert (
                value == ""
                if (known := _at(expected, name)) is None
                else near(type(known)(value), known) or known is False
            )

        service = EmotionService(Batcher(Listener(pipeline)), None, Batcher(pipeline.words_reader))
        with running(create_app(Settings(), service)) as http:
            served = http.post("/v1/emotion", files={"file": ("call.wav", open(file, "rb"))}).json()["data"][0]
            asked = Client(str(http.base_url)).emotion(file)
        assert served.keys() == VOCABULARY.keys() | OF_THE_SERVER and near(asked, served)
        assert near(check({name: served[name] for name in VOCABULARY}), expected | {"file": "call.wav"})

    def test_the_table_says_it_in_one_look(self, place, everything_is_clear):
        folder, checkpoint, texts = place
        arguments = ["predict", str(folder / "call.wav"), "--device", "cpu", "--speech-threshold", "0"]
        arguments += ["--checkpoint", str(checkpoint), "--words-model", str(texts)]
        header, line, *_ = CliRunner().invoke(door.app, arguments).stdout.splitlines()
        assert header.split() == [*"file emotion prob. tone words conflict what was said".split()]
        assert "“well, well”" in line and ("yes 0." in line or "no 0." in line)

    def test_the_schema_has_no_other_fields(self):
        assert [f.name for f in fields(Answer) if f.repr] == list(VOCABULARY)
        assert set(ClipEmotion.model_fields) == VOCABULARY.keys() | OF_THE_SERVER
        assert [f.name for f in fields(AudioFacts)] == VOCABULARY["audio"]

    def test_what_is_missing_is_null_and_says_why(self, pipeline, place):
        folder, checkpoint, _ = place
        failed = pipeline([folder / "missing.wav"])[0]
        assert check(failed.to_dict() | {"words_missing": "-"}, has_words=False)["error"]
        silent = EmotionPipeline.from_pretrained(checkpoint, device="cpu")(
            np.zeros(16_000, np.int16), sampling_rate=16_000
        )
        assert check(silent.to_dict(), has_words=False)["words_missing"] == "no speech"
        assert set(silent.to_row()) == set(failed.to_row()) == set(Answer("").to_row())


class TestWords:
    def test_reasons_come_from_the_reader(self, pipeline, place, monkeypatch):
        monkeypatch.setattr(pipeline, "words_reader", lambda frames: [NoWords("language: ur") for _ in frames])
        answer = pipeline(place[0] / "call.wav")
        assert answer.words is answer.conflict is answer.disagreement is None
        assert answer.words_missing == "language: ur" and answer.tone.label

    def test_off_says_why(self, place):
        _, checkpoint, texts = place
        told = EmotionPipeline.from_pretrained(checkpoint, device="cpu", words=False, words_model=str(texts))
        assert told.words_reader is None and "not asked" in told.describe()["no_words"]
        bare = EmotionPipeline.from_pretrained(_without_tokenizer(place), device="cpu", words_model=str(texts))
        assert "no decoder, or no tokenizer" in bare.describe()["no_words"]
        assert bare(noise(1.0), sampling_rate=16_000).words_missing in ("off", "no speech")

    def test_one_pass_of_the_encoder(self, pipeline, place, monkeypatch):
        passes, backbone = [], pipeline.extractor.whisper.backbone
        forward = backbone.forward
        monkeypatch.setattr(backbone, "forward", lambda mels, layers: passes.append(len(mels)) or forward(mels, layers))
        pipeline(place[0] / "call.wav")
        assert sum(passes) == 1

    def test_frames_are_the_last_layer_whatever_the_streams_take(self, place):
        from fas_core.encoders.extractor import FeatureExtractor, StreamConfig

        samples = [noise(0.7, 1), noise(1.4, 2)]
        named = {"model": str(place[0] / "whisper")}
        last = StreamConfig.whisper(**named, acoustic_layer=1)
        expected = FeatureExtractor.from_config(last, device="cpu").semantic.encode(samples)
        for streams in (
            last,
            StreamConfig.whisper(**named, acoustic_layer=1, semantic_layer=2),
            StreamConfig(last.acoustic, last.acoustic),
        ):
            extractor = FeatureExtractor.from_config(streams, device="cpu")
            extractor.front_end = lambda s: _untouched(s)
            features, frames = extractor.with_frames(samples)
            for row, (each, alone) in enumerate(zip(features, extractor(samples), strict=True)):
                np.testing.assert_allclose(each.acoustic, alone.acoustic, atol=1e-6)
                np.testing.assert_allclose(frames[row], expected.clip(row), atol=1e-5)


def _at(values: dict, name: str):
    """The value of a column: "tone.angry" is tone -> probabilities -> angry."""
    *parts, last = name.split(".")
    for part in parts:
        values = values[part]
        if values is None:
            return None
    return values[last] if last in values else values["probabilities"][last]


def _untouched(samples):
    from fas_core.frontend import FrontEndResult

    return FrontEndResult(samples, 0, len(samples), 0.0)


def _without_tokenizer(place):
    from synthetic import save_tiny_whisper

    return save_tiny_checkpoint(place[0] / "bare", save_tiny_whisper(place[0] / "bare_whisper"))


def test_facts_of_audio_say_what_was_heard(place):
    facts = AudioFacts.of(load_audio(place[0] / "call.wav"))
    assert (facts.seconds, facts.rate, facts.channels, facts.channel, facts.silent) == (0.8, 16_000, 2, "mix", False)
    assert AudioFacts.of(load_audio(noise(1.0), sampling_rate=8000)).channel is None
