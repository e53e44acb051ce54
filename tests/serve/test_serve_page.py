"""The page's parts: pictures, text, and answers of a server with stand-ins."""

import importlib.util

import numpy as np
import pytest
from serving import fake_app, running, wav

from fas_core.audio import load_audio
from fas_core.labels import EMOTIONS
from fas_core.plots import outline, tone_against_words, waveform
from fas_serve.client import Client
from fas_serve.settings import Settings

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed")


@pytest.fixture(scope="module")
def client():
    with running(fake_app(Settings(model="tiny"))) as http:
        yield Client(str(http.base_url))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(1.0))
    return str(path)


def test_outline_holds_every_peak():
    samples = np.zeros(100_001, np.float32)
    samples[54_321], samples[99_999] = 0.7, -0.9
    times, low, high = outline(samples)
    assert len(times) <= 2000 and high.max() == np.float32(0.7) and low.min() == np.float32(-0.9)
    assert times[high.argmax()] == pytest.approx(54_321 / 16_000, abs=0.01)


def test_kept_tokens_stand_where_they_are(file):
    kept = {
        "acoustic": [{"start": 0.2, "end": 0.3, "score": 2.0}, {"start": 0.5, "end": 0.6, "score": 0.0}],
        "semantic": [],
    }
    axes = waveform(load_audio(file), kept).axes[0]
    bars = [c for c in axes.collections if c.get_alpha()]
    assert [c.get_paths()[0].get_extents().x0 for c in bars] == pytest.approx([0.2, 0.5])
    assert bars[0].get_alpha() == 1.0 > bars[1].get_alpha() > 0
    assert axes.get_xlim() == (0, 1)


def test_tone_goes_left_and_words_right():
    tone = {e: float(e == "sad") for e in EMOTIONS}
    words = {e: float(e == "happy") for e in EMOTIONS}
    widths = [bar.get_width() for bar in tone_against_words(tone, words).axes[0].patches]
    assert widths[EMOTIONS.index("sad")] == -1 and widths[7 + EMOTIONS.index("happy")] == 1
    assert len(tone_against_words(tone, None).axes[0].patches) == 7


@needs_gradio
def test_answer_of_the_server_is_shown(client, file):
    from fas_serve.page_layout import build, show

    probabilities, sides, wave, text = show(client, file, True)
    assert max(probabilities, key=probabilities.get) == "sad" and len(probabilities) == 7
    assert sides.axes and wave.axes
    assert "**sad**, 100%" in text and "the language model says angry, 67%, of the words happy" in text
    assert "“I am so glad”: the words say happy, the tone says sad: a conflict, 1.00" in text
    assert build(client, can_chat=True) and build(client, can_chat=False)


@needs_gradio
def test_errors_are_told(client, tmp_path):
    import gradio

    from fas_serve.page_layout import show

    broken = tmp_path / "b.wav"
    broken.write_bytes(b"no audio")
    for path, words in ((None, "no audio yet"), (str(broken), "not audio")):
        with pytest.raises(gradio.Error, match=words):
            show(client, path, True)


@needs_gradio
def test_conversation_grows_and_sends_the_audio_once(client, file):
    from fas_serve.page_layout import ask

    *_, (box, shown, history) = ask(client, "How?", file, [], [])
    assert box == "" and shown[-1] == {"role": "assistant", "content": "0 1 2 "}
    assert [p["type"] for p in history[0]["content"]] == ["input_audio", "text"]
    *_, (_, shown, history) = ask(client, "Why?", file, shown, history)
    assert [p["type"] for p in history[2]["content"]] == ["text"] and len(shown) == 4


@needs_gradio
def test_markdown_of_a_transcript_is_text():
    from fas_serve.page_layout import _plain

    assert _plain("a *b* <img src=x> [c](d)") == r"a \*b\* \<img src=x\> \[c\]\(d\)"
