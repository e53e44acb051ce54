"""What a server tells a language model of the acoustic cues of an audio: behind it and its words, in chat and in `/v1/emotion`."""

from dataclasses import replace
from pathlib import Path

import pytest
from alm_tiny import tiny_model
from serving import FakeBackend, fake_app, question, running, wav

from fas_alm.conversations import Question
from fas_alm.cues import cue_line
from fas_core.errors import FASError
from fas_serve.launch import Launch, check
from fas_serve.settings import Settings

LEVELS = ("high", "low", "medium", "high", "low", "medium")
TOLD = cue_line(LEVELS)
WORDS = 'Transcript (en): "I am so glad"'


@pytest.fixture(scope="module", params=[True, False], ids=["cues", "no cues"])
def served(request):
    backend, cues = FakeBackend(), (lambda clips: [LEVELS for _ in clips]) if request.param else None
    with running(fake_app(Settings(model="tiny"), backend, transcripts=True, cues=cues)) as client:
        yield client, backend, [TOLD] if request.param else []


def texts(messages: list[dict]) -> list[str]:
    return [part.get("text", "<audio>") for message in messages for part in message["content"]]


def test_a_chat_is_told_the_cues_of_each_audio_behind_its_words(served):
    client, backend, told = served
    assert client.post("/v1/chat/completions", json=question(wav(), wav(seed=1))).status_code == 200
    heard = ["<audio>", WORDS, *told]
    assert texts(backend.requests[-1]["messages"]) == [*heard, *heard, "How does she feel?"]


def test_the_emotion_of_a_clip_is_asked_as_in_training(served):
    client, backend, told = served
    before = len(backend.requests)
    client.post("/v1/emotion", files={"file": wav()}, data={"words": "true"})
    asked = [texts(request["messages"]) for request in backend.requests[before:]]
    assert asked == [[Question(task).text, "<audio>", WORDS, *told] for task in ("choose", "words", "conflict")]


def test_what_the_server_asks_is_what_the_processor_renders(served):
    """HF and vLLM are sent the same messages; the processor writes the same line where it is given the levels."""
    client, backend, told = served
    client.post("/v1/chat/completions", json=question(wav()))
    _, processor = tiny_model()
    sent = processor.apply_chat_template(backend.requests[-1]["messages"], transcript=None)
    plain = question(wav())["messages"]
    assert sent == processor.apply_chat_template(plain, transcript=[_said()], cues=[LEVELS] if told else None)


def _said():
    from serving import glad

    return glad()


def test_cues_need_a_language_model_that_has_learned_them(tmp_path):
    with pytest.raises(FASError, match="--fas-only"):
        check(Launch(None, Settings(), fas_only=True, cues=True))
    model, processor = tiny_model()
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(FASError, match="has not learned to read acoustic cues"):
        check(replace(Launch(Path(tmp_path), Settings()), cues=True))
