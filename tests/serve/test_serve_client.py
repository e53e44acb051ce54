"""Client and `serve.chat` against a gateway with stand-ins."""

import types

import numpy as np
import pytest
from serving import FakeBackend, audios, fake_app, running, wav
from typer.testing import CliRunner

from fas_core.errors import FASError
from fas_serve import chat
from fas_serve.client import Client, ServerError, audio_part
from fas_serve.settings import Settings


@pytest.fixture(scope="module")
def backend():
    return FakeBackend()


@pytest.fixture(scope="module")
def url(backend):
    with running(fake_app(Settings(model="tiny", api_key="key"), backend), key="key") as http:
        yield str(http.base_url)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("FAS_API_KEY", "key")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav())
    return path


def test_emotion_of_path_bytes_and_array(url, file):
    with Client(url) as client:
        one = client.emotion(file, words=True)
        several = client.emotion([file, wav(), b"no audio"], tokens=True)
        array = client.emotion(np.full(8000, 0.1, np.float32), sampling_rate=8000)
        assert one["label"] == "sad" and one["words"]["transcript"]
        assert [each["error"] is not None for each in several] == [False, False, True]
        assert array["audio"]["rate"] == 8000
        assert client.healthy() and client.models()[0]["id"] == "tiny"


def test_timeline_comes_window_by_window_and_then_the_summary(url, tmp_path):
    path = tmp_path / "a\udcff.wav"
    path.write_bytes(wav(7.0, channels=2))
    with Client(url) as client:
        *windows, summary = client.timeline(path, window=2, hop=2)
        assert [(w["start"], w["end"]) for w in windows] == [(0, 2), (2, 4), (4, 6), (6, 7)] and summary[
            "start"
        ] is None
        whole = client.emotion(path, timeline=True, window=2, hop=2)
        assert len(whole["timeline"]) == 4 and whole["audio"]["channel"] == "mix" and whole["file"] == "a?.wav"
        assert [c["audio"]["channel"] for c in client.emotion(path, channels="each")] == [1, 2]
        samples = np.full((32_000, 2), 0.1, np.float32)
        assert len(list(client.timeline(samples, sampling_rate=16_000, window=1, hop=1))) == 3
        for bad in (lambda: client.timeline(b"no audio"), lambda: client.timeline(path, window=99)):
            with pytest.raises(ServerError) as caught:
                list(bad())
            assert caught.value.status == 400
        with pytest.raises(FASError, match="nothing.wav: cannot be read"):
            client.emotion("nothing.wav")
        with pytest.raises(FASError, match="cannot be read"):
            client.emotion("null\0.wav")


def test_chat_and_stream(url, backend, file):
    with Client(url) as client:
        assert client.chat("How?", [file], max_tokens=5) == "heard 1"
        assert backend.requests[-1]["max_tokens"] == 5
        assert list(client.stream("How?", [file])) == ["0 ", "1 ", "2 "]


def test_errors_carry_status_code_and_param(url, file):
    with Client(url) as client:
        with pytest.raises(ServerError, match="messages\\[0\\].content\\[0\\]") as bad:
            client.chat("How?", [b"no audio"])
        assert (bad.value.status, bad.value.code, bad.value.param) == (400, "invalid_audio", "messages[0].content[0]")
        with pytest.raises(ServerError, match="broken midway"):
            list(client.stream("break", [file]))
        with pytest.raises(ServerError, match="refused by the model"):
            list(client.stream("refuse", [file]))
    with pytest.raises(ServerError, match="API key") as wrong:
        Client(url, api_key="wrong").chat("How?")
    assert wrong.value.status == 401
    with pytest.raises(ServerError, match="is it running"):
        Client("http://127.0.0.1:9").models()
    assert not Client("http://127.0.0.1:9").healthy()
    with pytest.raises(FASError, match="nothing.wav: cannot be read"):
        audio_part("nothing.wav")
    with pytest.raises(FASError, match="sampling_rate"):
        audio_part(np.zeros(10))


def test_full_server_is_asked_again(monkeypatch):
    waits = []
    monkeypatch.setattr("fas_serve.client.time", types.SimpleNamespace(sleep=waits.append))
    with running(fake_app(Settings(concurrency=1, queue=-1))) as http:
        with pytest.raises(ServerError) as full:
            Client(str(http.base_url), retries=2).chat("How?")
    assert full.value.status == 429 and waits == [1.0, 1.0]


def run_chat(url: str, *arguments: str, typed: str = ""):
    return CliRunner().invoke(chat.app, [*arguments, "--url", url], input=typed)


def test_one_question(url, backend, file):
    result = run_chat(url, str(file), "How does she feel, and do her words agree?")
    assert result.exit_code == 0 and result.stdout == "0 1 2 \n"
    request = backend.requests[-1]
    assert len(audios(request)) == 1 and request["temperature"] == 0.0
    assert request["messages"][0]["content"][1]["text"] == "How does she feel, and do her words agree?"


def test_conversation_goes_on(url, backend, file):
    lines = [
        "How?",
        f"/audio {file}",
        "/emotion",
        "And this?",
        "/audio nothing.wav",
        "/what",
        "/clear",
        "Again",
        "/quit",
    ]
    result = run_chat(url, str(file), typed="\n".join(lines) + "\n")
    assert result.exit_code == 0
    assert (
        "1: sad 1.00" in result.stdout
        and "2: sad" in result.stdout
        and "(tone sad, words happy; conflict 1.00) “I am so glad”" in result.stdout
    )
    assert "nothing.wav: cannot be read" in result.stderr and "/audio FILE" in result.stdout
    first, second, third = backend.requests[-7], backend.requests[-2], backend.requests[-1]
    assert len(audios(first)) == 1
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"] and len(audios(second)) == 2
    assert len(third["messages"]) == 1 and not audios(third)


def test_exit_codes(url, file, tmp_path):
    assert run_chat("http://127.0.0.1:9", str(file), "How does she feel?").exit_code == 1
    missing = run_chat(url, str(tmp_path / "missing.wav"), "How does she feel?")
    assert missing.exit_code == 2 and "missing.wav: cannot be read" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "files", "question"),
    [
        (["a.wav", "How?"], ["a.wav"], "How?"), (["a.wav"], ["a.wav"], None), ([], [], None),
        (["Who are you."], [], "Who are you."), (["a.wav", "b.flac"], ["a.wav", "b.flac"], None),
    ],
)  # fmt: skip
def test_the_question_is_told_from_the_files(arguments, files, question):
    assert chat.split_arguments(arguments) == (files, question)
