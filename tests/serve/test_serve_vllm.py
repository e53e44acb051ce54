"""The vLLM backend: its process against a stand-in for vLLM, and (slow) vLLM itself with a tiny model."""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from alm_tiny import clip
from repository import ROOT
from serving import audios, encoded, events_of, part, question, wait_until, wav

from fas_alm.prompts import option_token_ids
from fas_core.audio import AudioLimits
from fas_core.errors import FASError
from fas_serve import child_log
from fas_serve.backend_audio import wav_part
from fas_serve.errors import APIError
from fas_serve.settings import Settings
from fas_serve.vllm_backend import VLLMBackend
from fas_serve.vllm_process import VLLMError, VLLMProcess, gpu_arguments, vllm_arguments, vllm_environment

STAND_IN = """
    import json, os, sys, time, uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, StreamingResponse
    app = FastAPI()
    served = 0

    @app.get("/health")
    async def health():
        return {}

    @app.get("/metrics")
    async def metrics():
        return "vllm"

    @app.post("/v1/chat/completions")
    async def chat(request: Request):
        body = await request.json()
        if request.headers["authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            return JSONResponse({"error": {"message": "key"}}, 401)
        text = body["messages"][0]["content"]
        if text == "die":
            os._exit(7)
        if text.startswith("canary"):
            import json as module
            try:
                module.loads(text)
            except ValueError:
                import traceback
                where = "(APIServer pid=12) ERROR 11-26 22:00:01 [serving.py:123]"
                print(where, text, flush=True)
                print("\\n".join(f"{where} {line}" for line in traceback.format_exc().splitlines()), flush=True)
                print(text, 'File "canary.py", line 1, in canary', "canaryError: x", "torch.cuda.OutOfMemoryError: canary",
                      json.dumps(body), sep="\\n", flush=True)
        if text == "bad":
            return JSONResponse({"error": {"message": "no: " + "QUJD" * 99 + " end", "param": "messages", "code": 400}}, 400)
        if text == "no grammar":
            return JSONResponse({"error": {"message": "Internal server error", "code": 500}}, 500)
        if text == "fail":
            return JSONResponse({"error": {"message": "inner detail"}}, 500)
        if body.get("stream"):
            async def events():
                yield b"data: {}\\n\\n"
                if text == "break":
                    os._exit(7)
                yield b"data: [DONE]\\n\\n"
            return StreamingResponse(events(), media_type="text/event-stream")
        logprobs = [{"token": f"token_id:{t}", "logprob": -t / 10} for t in body.get("logprob_token_ids", [])]
        first = {"token": "token_id:99", "logprob": -0.5, "top_logprobs": logprobs}
        return {"choices": [{"message": {"content": body["model"]}, "logprobs": {"content": [first]}}]}

    print("stand-in for vLLM", flush=True)
    if os.environ.get("STAND_IN_FAILS"):
        sys.exit("no memory")
    uvicorn.run(app, uds=sys.argv[sys.argv.index("--uds") + 1], log_level="warning")
"""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    path = tmp_path_factory.mktemp("stand-in") / "server.py"
    path.write_text(textwrap.dedent(STAND_IN))
    (path.parent / "config.json").write_text("{}")
    return path


def process_of(stand_in: Path, monkeypatch, log_file: Path | None = None) -> VLLMProcess:
    process = VLLMProcess(stand_in.parent, Settings(model="tiny"), log_file=log_file)
    command = [sys.executable, str(stand_in), *process._command[3:]]
    monkeypatch.setattr(process, "_command", command)
    return process


def with_backend(stand_in, monkeypatch, work, log_file: Path | None = None):
    """Runs `work(backend)` on a started stand-in."""

    async def run():
        process = process_of(stand_in, monkeypatch, log_file)
        await process.start()
        backend = VLLMBackend(process, "tiny")
        try:
            return await work(backend)
        finally:
            pid = process._process.pid
            await backend.close()
            assert not psutil.pid_exists(pid) and not process.socket.parent.exists()

    return asyncio.run(run())


def ask(text: str, **options) -> dict:
    return {"messages": [{"role": "user", "content": text}], **options}


async def error_of(work) -> APIError:
    with pytest.raises(APIError) as caught:
        await work
    return caught.value


def test_requests_answers_and_errors_pass_through(stand_in, monkeypatch):
    async def work(backend):
        assert (await backend.chat(ask("hello")))["choices"][0]["message"]["content"] == "tiny"
        assert await backend.option_logprobs(ask("x")["messages"], [3, 1, 2]) == [-0.3, -0.1, -0.2]
        events = b"".join([event async for event in backend.stream(ask("hello", stream=True))])
        assert events_of(events.decode()) == ["{}", "[DONE]"]
        assert await backend.healthy() and b"vllm" in await backend.metrics()
        bad = await error_of(backend.chat(ask("bad")))
        assert (bad.status, bad.message, bad.param) == (400, "no: ... end", "messages")  # base64 is not told on
        failed = await error_of(backend.chat(ask("fail")))
        assert failed.status == 502 and "inner" not in failed.message
        grammar = await error_of(backend.chat(ask("no grammar", structured_outputs={"regex": "x"})))
        assert (grammar.status, grammar.param, grammar.code) == (400, "structured_outputs", "invalid_grammar")
        assert (await error_of(backend.chat(ask("no grammar")))).status == 502
        refused = await error_of(anext(backend.stream(ask("bad", stream=True))))
        assert refused.status == 400

    with_backend(stand_in, monkeypatch, work)


def test_vllm_that_dies_is_reported_and_started_again(stand_in, monkeypatch, caplog):
    async def work(backend):
        died = await error_of(backend.chat(ask("die")))
        assert died.status == 503 and died.retry_after
        for _ in range(100):
            if await backend.healthy():
                break
            await asyncio.sleep(0.1)
        assert (await backend.chat(ask("hello")))["choices"] and backend.process.restarts == 1
        stream = backend.stream(ask("break", stream=True))
        assert await anext(stream) == b"data: {}\n\n"
        assert (await error_of(anext(stream))).status == 503

    with_backend(stand_in, monkeypatch, work)
    assert "vLLM ended with status 7" in caplog.text and "stand-in for vLLM" in caplog.text


def test_log_tells_where_and_never_what(stand_in, monkeypatch, tmp_path):
    (tmp_path / "vllm.log").write_text("older\n")

    async def work(backend):
        schema = {"json": {"properties": {"canary": {"const": "canary"}}}}
        assert await backend.chat(ask("canary" * 20_000, structured_outputs=schema, user="canary"))
        assert await backend.chat(ask("canary\r\n Traceback canary", stop=["canary"]))
        await error_of(backend.chat(ask("die")))
        wait = asyncio.get_running_loop().time() + 20
        while backend.process.restarts == 0 and asyncio.get_running_loop().time() < wait:
            await asyncio.sleep(0.05)

    with_backend(stand_in, monkeypatch, work, tmp_path / "vllm.log")
    log = (tmp_path / "vllm.log").read_text()
    assert "canary" not in log and log.startswith("older\nstand-in for vLLM")
    assert "(APIServer pid=12) ERROR 11-26 22:00:01 [serving.py:123] File " in log
    assert "json.decoder" not in log and "\ntorch.cuda.OutOfMemoryError\n" in log and "Traceback (most recent" in log
    assert (tmp_path / "vllm.log").stat().st_mode & 0o777 == 0o600


def test_log_rotates(tmp_path, monkeypatch):
    monkeypatch.setattr(child_log, "MOST_BYTES", 1000)
    log = child_log.PrivateLog(tmp_path / "vllm.log")
    printed = child_log.ChildLog(log)
    for number in range(200):
        printed.feed(f"line {number} of many, one after ".encode())
        printed.feed(b"another\n" if number % 2 else b"\nand half of")
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + child_log.OLDER and all(f.stat().st_size <= 1000 for f in files)
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in files)


def test_log_that_cannot_be_written_is_an_error(stand_in, monkeypatch, tmp_path):
    with pytest.raises(FASError, match="--vllm-log .*nowhere.*: cannot be written"):
        process_of(stand_in, monkeypatch, tmp_path / "nowhere" / "vllm.log")


def test_vllm_that_does_not_start_says_why(stand_in, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAILS", "1")

    async def run():
        process = process_of(stand_in, monkeypatch)
        try:
            await process.start()
        finally:
            await process.stop()

    with pytest.raises(VLLMError, match="no memory"):
        asyncio.run(run())


def test_vllm_ends_with_a_gateway_that_is_killed(tmp_path):
    (tmp_path / "vllm/entrypoints/openai").mkdir(parents=True)
    for folder in ("vllm", "vllm/entrypoints", "vllm/entrypoints/openai"):
        (tmp_path / folder / "__init__.py").touch()
    server = "import subprocess, sys, time\nsubprocess.Popen(['sleep', '99'])\nprint('up', flush=True)\ntime.sleep(99)"
    (tmp_path / "vllm/entrypoints/openai/api_server.py").write_text(server)
    gateway = (
        "import subprocess, sys, time\n"
        "run = 'import fas_serve.vllm_child as child; child.check = lambda: None; child.main()'\n"  # kernels that are not here
        "child = subprocess.Popen([sys.executable, '-c', run], stdin=subprocess.PIPE, "
        "stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(99)"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with subprocess.Popen([sys.executable, "-c", gateway], stdout=subprocess.PIPE, env=environment) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        family = [child, *child.children()]
        assert len(family) == 2
        parent.kill()
    wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), 15)


def test_vllm_gets_the_gateways_limits_and_no_secret_on_its_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("FAS_API_KEY", "public key")
    settings = Settings(model="m", audio=AudioLimits(max_seconds=60), max_audios=3)
    environment = vllm_environment(settings, "private key", eager=True)
    assert environment["VLLM_API_KEY"] == "private key" and "FAS_API_KEY" not in environment
    assert environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0" and environment["VLLM_NO_USAGE_STATS"] == "1"
    assert float(environment["VLLM_MAX_AUDIO_CLIP_FILESIZE_MB"]) * 2**20 > 60 * 64_000
    assert int(environment["VLLM_MAX_AUDIO_DECODE_BYTES"]) > 60 * 64_000
    assert 60 < float(environment["VLLM_MAX_AUDIO_DECODE_DURATION_S"]) < 65
    (tmp_path / "config.json").write_text("{}")
    arguments = vllm_arguments(tmp_path, settings, tmp_path / "socket", eager=True)
    assert json.loads(arguments[arguments.index("--limit-mm-per-prompt") + 1]) == {"audio": 3}
    assert arguments[arguments.index("--allowed-media-domains") + 1].endswith(".invalid")
    assert "--trust-remote-code" not in arguments and not any("key" in a for a in arguments)


@pytest.mark.parametrize(
    ("free", "weights", "share"), [(80, 0, "0.920"), (80, 3, "0.900"), (40, 3, "0.400"), (12, 5, None), (5, 0, None)]
)
def test_vllm_leaves_room_for_fas_and_whisper(tmp_path, monkeypatch, free, weights, share):
    (tmp_path / "whisper").mkdir()
    with open(tmp_path / "whisper" / "model.safetensors", "wb") as file:
        file.truncate(weights * 2**30)  # takes no room on the disk
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (free * 2**30, 80 * 2**30))
    if share is None:
        with pytest.raises(FASError, match="too little is left for vLLM; --device cpu"):
            gpu_arguments(tmp_path)
    else:
        assert gpu_arguments(tmp_path) == ["--gpu-memory-utilization", share]


# From here on vLLM itself.


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`python -m serve` with vLLM and a tiny model, on a port of its own."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from serving import started_server
    from test_vllm_plugin import save_model

    directory = save_model(tmp_path_factory.mktemp("vllm") / "model")
    complete(directory)
    environment = {"PYTHONPATH": f"{plugin_path(tmp_path_factory)}{os.pathsep}{ROOT}"}
    options = ["--backend", "vllm", "--enforce-eager", "--speech-threshold", "0", "--max-audios", "2", "--name", "tiny"]
    with started_server([str(directory), *options], environment, python=sys.executable) as (client, process):
        client.directory = directory
        yield client, process


def complete(directory: Path) -> None:
    """FAS and Whisper beside the model, as fas_alm.export writes them."""
    import shutil

    from alm_tiny import shared_fas

    shutil.copytree(shared_fas(), directory / "fas")
    shutil.copytree(shared_fas().parent / "whisper", directory / "whisper")


def plugin_path(tmp_path_factory) -> str:
    """A folder that declares the plugin, where the package is not installed."""
    found = importlib.metadata.entry_points(group="vllm.general_plugins")
    folder = tmp_path_factory.mktemp("plugin")
    if not any(point.value.startswith("fas_alm.vllm") for point in found):
        info = folder / "fas_alm_plugin-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fas-alm-plugin\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[vllm.general_plugins]\nfas_alm = fas_alm.vllm:register\n")
    return str(folder)


@pytest.mark.slow
def test_chat_and_emotion_through_vllm(server):
    client, _ = server
    request = question(wav(1.0), max_tokens=8)
    chat = client.post("/v1/chat/completions", json=request)
    assert chat.status_code == 200, chat.text
    streamed = client.post("/v1/chat/completions", json=request | {"stream": True})
    events = [json.loads(e) for e in events_of(streamed.text) if e != "[DONE]"]
    text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
    assert text == chat.json()["choices"][0]["message"]["content"]
    emotion = client.post("/v1/emotion", json={"audio": [part(wav(1.0)), part(b"no")], "rationale": True}).json()[
        "data"
    ]
    assert 0 < emotion[0]["language_model"]["option_mass"] <= 1
    assert sum(emotion[0]["language_model"]["probabilities"].values()) == pytest.approx(1)
    assert emotion[0]["language_model"]["rationale"] is not None
    assert emotion[1]["code"] == "invalid_audio"
    choice = client.post(
        "/v1/chat/completions", json=request | {"structured_outputs": {"choice": ["happy", "sad"]}, "max_tokens": 20}
    )
    assert choice.json()["choices"][0]["message"]["content"] in ("happy", "sad")
    assert "vllm:" in client.get("/metrics").text


@pytest.mark.slow
def test_vllm_and_transformers_give_the_same_option_probabilities(server):
    from fas_serve.language import LanguageModel
    from fas_serve.transformers_backend import TransformersBackend

    client, _ = server
    backend = TransformersBackend.load(client.directory, "cpu")
    language = LanguageModel(backend, option_token_ids(backend.processor.tokenizer))
    for seed in range(3):
        samples = clip(1.0 + seed, seed)
        data = encoded(samples, 16_000, subtype="FLOAT")
        through = client.post("/v1/emotion", json={"audio": part(data)}).json()["data"][0]["language_model"]
        expected, mass = asyncio.run(language.hear(samples, "en"))
        assert through["probabilities"] == pytest.approx(expected, abs=1e-3)
        assert through["option_mass"] == pytest.approx(mass, abs=1e-3)


@pytest.mark.slow
def test_abuse_leaves_vllm_alive(server):
    client, _ = server
    abuse = [
        question(wav(), text="<|audio|>"), question(wav(), wav(), wav()), question(b""),
        question(encoded(np.zeros(16_000, np.int16), 16_000)), question(wav(), text="x " * 40_000),
        question(wav(), max_tokens=10**9), question(wav(), chat_template="x"),
        question(wav(), response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "wrong"}}}),
    ]  # fmt: skip
    for request in abuse:
        response = client.post("/v1/chat/completions", json=request)
        assert 400 <= response.status_code < 500, (response.status_code, response.text)
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert client.post("/v1/chat/completions", json=question(wav(), max_tokens=2)).status_code == 200


@pytest.mark.slow
def test_sigterm_lets_the_request_finish_and_ends_every_process(server):
    import concurrent.futures

    client, process = server
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        future = thread.submit(client.post, "/v1/chat/completions", json=question(wav(), max_tokens=200))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert future.result().status_code == 200
    assert process.wait(40) == 0
    wait_until(lambda: not any(p.is_running() for p in family), 15)


def test_wav_part_is_what_the_stand_ins_read():
    samples = clip(0.3)
    np.testing.assert_array_equal(audios({"messages": [{"content": [wav_part(samples)]}]})[0], samples)
