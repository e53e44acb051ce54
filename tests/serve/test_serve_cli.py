"""`python -m serve`: what it refuses, and a light server as a process from start to stop."""

import asyncio
import concurrent.futures
import signal
import socket
import time

import pytest
from serving import part, started_server, wav
from synthetic import noise, save_tiny_whisper
from tiny_fas import save_tiny_checkpoint
from tiny_text_model import save_tiny_text_model
from tiny_transcriber import save_tiny_transcriber
from typer.testing import CliRunner

from fas_core.errors import CheckpointError, FASError
from fas_serve import launch
from fas_serve.__main__ import app
from fas_serve.launch import Launch, check, load_fas, start_backend
from fas_serve.settings import Settings
from fas_serve.vllm_process import VLLMError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fas")
    return save_tiny_checkpoint(folder / "light", save_tiny_whisper(folder / "whisper"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_others_are_not_served_without_a_key(host):
    with pytest.raises(FASError, match="FAS_API_KEY"):
        check(Launch(None, Settings(), host=host, fas_only=True))
    check(Launch(None, Settings(api_key="k"), host=host, fas_only=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_none(host):
    assert check(Launch(None, Settings(model=""), host=host, fas_only=True)).settings.model == "fas"


def test_directory_is_checked_and_names_the_model(tmp_path, checkpoint):
    with pytest.raises(FASError, match="DIR is missing"):
        check(Launch(None, Settings()))
    with pytest.raises(CheckpointError, match="no config.json"):
        check(Launch(tmp_path, Settings()))
    assert check(Launch(checkpoint, Settings(model=""), fas_only=True)).settings.model == "light"


def test_urls():
    for host, url in (("0.0.0.0", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000"), ("::", "http://[::1]:8000")):
        assert Launch(None, Settings(), host=host).url == url


def run_backend(launch_, said):
    return asyncio.run(start_backend(launch_, said.append))


class Loaded:
    @classmethod
    def load(cls, *arguments):
        return cls()


def test_without_vllm_transformers_goes_on_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("fas_serve.transformers_backend.TransformersBackend", Loaded)
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    said = []
    assert isinstance(run_backend(Launch(tmp_path, Settings()), said), Loaded) and "not installed" in said[0]
    with pytest.raises(FASError, match="vLLM is not installed"):
        run_backend(Launch(tmp_path, Settings(), backend="vllm"), said)


def test_vllm_that_does_not_start_is_replaced_only_where_that_is_wanted(monkeypatch, tmp_path):
    async def fail(launch_, say):
        raise VLLMError("vLLM ended with status 1: no memory")

    monkeypatch.setattr("fas_serve.transformers_backend.TransformersBackend", Loaded)
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(launch, "_start_vllm", fail)
    said = []
    assert isinstance(run_backend(Launch(tmp_path, Settings()), said), Loaded) and "no memory" in said[0]
    with pytest.raises(VLLMError):
        run_backend(Launch(tmp_path, Settings(), backend="vllm"), said)


def test_fas_of_a_model_directory(tmp_path):
    from alm_tiny import save_tiny_fas

    save_tiny_transcriber(tmp_path / "whisper")
    save_tiny_fas(tmp_path)
    pipeline = load_fas(
        Launch(tmp_path, Settings(), device="cpu", words_model=str(save_tiny_text_model(tmp_path / "texts")))
    )
    assert pipeline.name == tmp_path.name and pipeline.words_reader is not None and pipeline.no_words is None
    _, frames = pipeline.extractor.with_frames([noise(1.0), noise(0.4, 1)])
    transcriber = pipeline.words_reader.transcriber
    texts = [each.text for each in transcriber(frames)]
    assert texts == [transcriber([each])[0].text for each in frames]  # together as alone


def test_light_server_from_start_to_stop(checkpoint):
    options = ["--max-clips", "3", "--speech-threshold", "0"]
    with started_server(["--fas-only", str(checkpoint), *options]) as (client, process):
        data = wav(1.0)
        answer = client.post("/v1/emotion", json={"audio": [part(data)] * 3}).json()
        assert answer["model"] == "light" and len(answer["data"]) == 3
        assert client.post("/v1/emotion", json={"audio": [part(data)] * 4}).status_code == 400
        long = [part(wav(250.0, seed=i)) for i in range(3)]
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            future = thread.submit(client.post, "/v1/emotion", json={"audio": long})
            deadline = time.monotonic() + 60
            while "fas_admitted 1.0" not in client.get("/metrics").text and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)  # a request at work is answered before the end
            assert future.result().status_code == 200
        assert process.wait(30) == 0


def invoke(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_port_that_is_taken_is_an_error(checkpoint):
    before = signal.getsignal(signal.SIGTERM)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("--fas-only", str(checkpoint), "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2 and "error: --port" in result.stderr and "Traceback" not in result.stderr
    assert signal.getsignal(signal.SIGTERM) is before


def test_errors_have_exit_code_2_and_no_traceback(tmp_path):
    for arguments in (["--host", "0.0.0.0", "--fas-only"], [str(tmp_path)], ["--max-seconds", "0", "--fas-only"]):
        result = invoke(*arguments)
        assert result.exit_code == 2 and result.stderr.startswith("error: ") and "Traceback" not in result.stderr


def test_signal_during_the_start_ends_it(monkeypatch, tmp_path):
    async def start(launch_, say):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    monkeypatch.setattr(launch, "start_backend", start)
    (tmp_path / "config.json").write_text("{}")
    assert invoke(str(tmp_path)).exit_code == 130
