"""The transformers backend on a tiny model of random weights: generate, stream, options, and being told to stop."""

import asyncio
import concurrent.futures
import json
import threading

import numpy as np
import pytest
import torch
from alm_tiny import clip, tiny_model
from serving import events_of, part, question, running, wait_until, wav
from test_serve_gateway import OPENAI_DEFAULTS

from fas_alm.prompts import choice_prompt, option_probabilities, option_token_ids
from fas_core.audio import load_audio
from fas_core.pipeline import EmotionPipeline
from fas_serve.app import create_app
from fas_serve.backend_audio import array_part, as_json, samples_of, wav_part
from fas_serve.batching import Batcher
from fas_serve.emotion import EmotionService
from fas_serve.errors import APIError
from fas_serve.language import LanguageModel
from fas_serve.listening import Listener
from fas_serve.settings import Settings
from fas_serve.transformers_backend import TransformersBackend

CHAT, EMOTION = "/v1/chat/completions", "/v1/emotion"


@pytest.fixture(scope="module")
def parts():
    return tiny_model()


@pytest.fixture(scope="module")
def backend(parts):
    return TransformersBackend(*parts, max_tokens=12)


@pytest.fixture(scope="module")
def client(parts, backend):
    from alm_tiny import shared_fas

    listen = Batcher(Listener(EmotionPipeline.from_pretrained(shared_fas(), speech_threshold=0)))
    language = LanguageModel(backend, option_token_ids(parts[1].tokenizer), temperature=2.0)
    with running(create_app(Settings(model="tiny"), EmotionService(listen, language), backend)) as client:
        yield client


def ready(*samples: np.ndarray, text: str = "How does she feel?", **options) -> dict:
    """A request as the gateway passes it on."""
    return question(*map(array_part, samples), text=text, **{"temperature": 0.0, **options})


def run(work):
    return asyncio.run(work)


def test_wav_part_loses_nothing():
    samples = clip(0.7)
    np.testing.assert_array_equal(samples_of(wav_part(samples)), samples)
    (message,) = as_json(ready(samples))["messages"]  # what vLLM is sent
    assert message["content"][0] == wav_part(samples)


def test_answer_is_that_of_generate(parts, backend):
    model, processor = parts
    samples = clip(1.3)
    messages = [{"role": "user", "content": [{"type": "audio", "audio": samples}, {"type": "text", "text": "Hm?"}]}]
    inputs = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, sampling_rate=16_000)
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = run(backend.chat(ready(samples, text="Hm?", max_tokens=8)))
    choice = answer["choices"][0]
    assert choice["message"]["content"] == processor.decode(expected, skip_special_tokens=True)
    assert answer["usage"]["completion_tokens"] == len(expected) <= 8
    assert answer["usage"]["prompt_tokens"] == inputs["input_ids"].shape[1]
    assert choice["finish_reason"] in ("length", "stop")


def test_answer_depends_on_the_audio(backend):
    messages = [ready(clip(1.0, seed))["messages"] for seed in (0, 5)]
    first, second = (np.array(run(backend.option_logprobs(m, list(range(100))))) for m in messages)
    assert np.abs(first - second).max() > 1e-3


async def collected(backend, request) -> list[dict | str]:
    events = events_of(b"".join([event async for event in backend.stream(request)]).decode())
    return [event if event == "[DONE]" else json.loads(event) for event in events]


def test_stream_adds_up_to_the_answer(backend):
    request = ready(clip(1.0), max_tokens=10)
    *events, usage, done = run(collected(backend, request | {"stream_options": {"include_usage": True}}))
    whole = run(backend.chat(request))
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in events)
    assert text == whole["choices"][0]["message"]["content"] and done == "[DONE]"
    assert events[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert usage["usage"] == whole["usage"] and usage["choices"] == []


def test_stop_words_end_answer_and_stream(backend):
    request = ready(clip(1.0), max_tokens=12)
    whole = run(backend.chat(request))["choices"][0]["message"]["content"]
    word = whole[len(whole) // 2 : len(whole) // 2 + 2]
    stopped = run(backend.chat(request | {"stop": [word]}))["choices"][0]
    assert stopped["message"]["content"] == whole[: whole.index(word)] and stopped["finish_reason"] == "stop"
    *events, _ = run(collected(backend, request | {"stop": word}))
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events) == whole[: whole.index(word)]


def test_seed_decides_what_is_drawn(backend):
    request = ready(clip(1.0), temperature=1.5, max_tokens=8)
    texts = [run(backend.chat(request | {"seed": s}))["choices"][0]["message"]["content"] for s in (1, 1, 2, 0, 0)]
    assert texts[0] == texts[1] != texts[2] and texts[3] == texts[4]


def test_option_logprobs_are_those_of_the_model(parts, backend):
    model, processor = parts
    ids = option_token_ids(processor.tokenizer)
    request = ready(clip(1.0), text=choice_prompt())
    got = run(backend.option_logprobs(request["messages"], ids))
    inputs = processor.apply_chat_template(request["messages"], tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        expected = model(**inputs).logits[0, -1].log_softmax(-1)
    assert got == pytest.approx(expected[ids].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_needs_vllm_says_so(backend, options, param):
    with pytest.raises(APIError, match="needs vLLM") as caught:
        run(backend.chat(ready(clip(0.5), **options)))
    assert caught.value.status == 400 and caught.value.param == param


def test_defaults_of_openai_and_extreme_numbers_are_answered(client):
    numbers = [{"temperature": 5e-324}, {"temperature": 0.01}, {"temperature": 2}, {"temperature": 1, "top_p": 0}]
    numbers += [{"temperature": 1, "top_p": 5e-324}, {"temperature": 1, "min_p": 1, "repetition_penalty": 1}]
    numbers += [{"temperature": 1, "top_k": 0, "repetition_penalty": 10}, {"seed": 0}, {"seed": -(2**63)}]
    for options in (OPENAI_DEFAULTS, *numbers):
        response = client.post(CHAT, json=question(text="x", max_tokens=2, **options))
        assert response.status_code == 200, (options, response.text)


@pytest.mark.parametrize("request_", [{"text": "x " * 3000}, {"text": "x", "max_tokens": 2040}])
def test_prompt_that_does_not_fit_is_a_400(backend, request_):
    with pytest.raises(APIError, match="context length is 2048") as caught:
        run(backend.chat(ready(clip(0.5), **request_)))
    assert caught.value.code == "context_length_exceeded"


def test_hanging_up_stops_generation(parts):
    model, processor = parts
    steps = []

    class Slow(TransformersBackend):
        def _inputs(self, messages):
            steps.append("begun")
            return super()._inputs(messages)

    backend = Slow(model, processor, max_tokens=1500)
    model.generation_config.eos_token_id, ends = None, model.generation_config.eos_token_id
    try:

        async def hang_up():
            task = asyncio.ensure_future(backend.chat(ready(clip(0.5))))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await asyncio.wait_for(backend.chat(ready(clip(0.5), max_tokens=1)), 5)

        assert run(hang_up())["usage"]["completion_tokens"] == 1 and len(steps) == 2
    finally:
        model.generation_config.eos_token_id = ends


def test_through_the_gateway(client, parts, backend):
    data = wav(1.0)
    chat = client.post(CHAT, json=question(data, max_tokens=5))
    assert chat.status_code == 200 and chat.json()["model"] == "tiny"
    emotion = client.post(EMOTION, json={"audio": part(data), "rationale": True}).json()["data"][0]
    messages = ready(load_audio(data).samples, text=choice_prompt())["messages"]
    messages[-1]["content"].reverse()  # the question before the audio, as in training
    ids = option_token_ids(parts[1].tokenizer)
    expected, mass = option_probabilities(run(backend.option_logprobs(messages, ids)), temperature=2.0)
    heard = emotion["language_model"]
    assert heard["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert heard["option_mass"] == pytest.approx(mass, abs=1e-5)
    assert isinstance(heard["rationale"], str) and emotion["tone"]["label"]


def test_requests_at_once_get_their_own_answers(client):
    requests = [question(wav(0.5 + i / 10, seed=i), max_tokens=6) for i in range(6)]
    alone = [client.post(CHAT, json=r).json()["choices"][0]["message"] for r in requests]
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda r: client.post(CHAT, json=r).json()["choices"][0]["message"], requests))
    assert together == alone


def test_thread_ends_with_the_backend(parts):
    before = set(threading.enumerate())
    backend = TransformersBackend(*parts)
    run(backend.chat(ready(clip(0.5), max_tokens=1)))
    (worker,) = {t for t in set(threading.enumerate()) - before if t.name.startswith("generate")}
    run(backend.close())
    wait_until(lambda: not worker.is_alive())
