"""What a server tells a language model of the words of an audio: the same in chat and in `/v1/emotion`, and only where it was learned."""

import pytest
from serving import FakeBackend, fake_app, question, running, wav

from fas_alm.conversations import Question
from fas_alm.transcript import is_transcript, transcript_line
from fas_serve.settings import Settings

TOLD = 'Transcript (en): "I am so glad"'


@pytest.fixture(scope="module", params=[True, False], ids=["learned", "not learned"])
def served(request):
    backend = FakeBackend()
    with running(fake_app(Settings(model="tiny"), backend, transcripts=request.param)) as client:
        yield client, backend, request.param


def texts(messages: list[dict]) -> list[str]:
    return [part.get("text", "<audio>") for message in messages for part in message["content"]]


def test_a_chat_is_told_the_words_behind_each_audio_where_the_model_has_learned_them(served):
    client, backend, learned = served
    assert client.post("/v1/chat/completions", json=question(wav(), wav(seed=1))).status_code == 200
    heard = ["<audio>", TOLD] if learned else ["<audio>"]
    assert texts(backend.requests[-1]["messages"]) == [*heard, *heard, "How does she feel?"]


def test_a_chat_in_chinese_is_told_in_chinese(served):
    client, backend, learned = served
    client.post("/v1/chat/completions", json=question(wav(), text="她怎么样？"))
    assert any(text.startswith("转写（en）") for text in texts(backend.requests[-1]["messages"])) == learned


def test_a_chat_without_audio_is_sent_on_as_it_is(served):
    client, backend, _ = served
    messages = [{"role": "user", "content": "hello"}]
    client.post("/v1/chat/completions", json={"messages": messages})
    assert backend.requests[-1]["messages"] == messages


def test_the_emotion_of_a_clip_is_asked_as_in_training(served):
    client, backend, learned = served
    before = len(backend.requests)
    answer = client.post("/v1/emotion", files={"file": wav()}, data={"words": "true"}).json()["data"][0]
    asked = [
        texts(request["messages"]) if not isinstance(request["messages"][0]["content"], str) else None
        for request in backend.requests[before:]
    ]
    told = [TOLD] if learned else []
    assert asked[0] == [Question("choose").text, "<audio>", *told]
    heard = answer["language_model"]
    if learned:
        assert asked[1:] == [[Question(task).text, "<audio>", TOLD] for task in ("words", "conflict")]
        assert heard["conflict"] == pytest.approx(0.6 / 0.65)
    else:
        assert asked[1:] == [None] and heard["conflict"] is None  # words alone, read as text
    assert heard["words"] is not None


def test_the_line_is_the_one_of_training():
    from serving import glad

    assert transcript_line(glad()) == TOLD and is_transcript(TOLD)
