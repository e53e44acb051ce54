"""`/v1/emotion`: stand-ins for the sums, and a tiny FAS for the real thing."""

import base64
import concurrent.futures
from dataclasses import asdict

import numpy as np
import pytest
from serving import FakeBackend, FakeListener, certain, encoded, fake_app, part, running, url_part, wav
from synthetic import noise, save_tiny_whisper
from tiny_fas import save_tiny_checkpoint

from fas_core.audio import load_audio
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline
from fas_core.words.types import Words
from fas_serve.app import create_app
from fas_serve.batching import Batcher
from fas_serve.emotion import EmotionService
from fas_serve.listening import Listener, Question
from fas_serve.settings import Settings

EMOTION = "/v1/emotion"
SILENT = encoded(np.zeros(16_000, np.int16), 16_000)


@pytest.fixture(scope="module")
def client():
    with running(fake_app()) as client:
        yield client


@pytest.fixture(scope="module")
def fas_only():
    with running(fake_app(fas_only=True)) as client:
        yield client


def answer(client, *clips, **options) -> dict:
    response = client.post(EMOTION, json={"audio": [part(c) for c in clips] or part(wav()), **options})
    assert response.status_code == 200, response.text
    return response.json()


def test_label_tone_and_words_are_those_of_fas_and_the_language_model_has_its_own(client):
    body = answer(client)
    (clip,) = body["data"]
    assert body["object"] == "emotion.list" and body["model"] == "tiny"
    assert clip["label"] == clip["tone"]["label"] == "sad" and clip["words"]["label"] == "happy"
    assert clip["words"]["transcript"] == "I am so glad" and clip["words_missing"] is None
    assert clip["conflict"] == clip["disagreement"] == 1.0
    heard = clip["language_model"]
    assert heard["label"] == "angry" and list(heard["probabilities"]) == list(EMOTIONS)
    assert heard["probabilities"]["angry"] == pytest.approx(0.6 / 0.9)
    assert sum(heard["probabilities"].values()) == pytest.approx(1) and heard["option_mass"] == pytest.approx(0.9)
    assert heard["words"] is heard["rationale"] is clip["kept_tokens"] is clip["error"] is None
    assert clip["audio"]["seconds"] == 0.5 and clip["audio"]["rate"] == 16_000


def test_the_language_model_reads_the_transcript_on_request(client):
    (clip,) = answer(client, words=True)["data"]
    assert clip["language_model"]["words"]["label"] == "happy"
    assert clip["language_model"]["words"]["probabilities"]["happy"] == pytest.approx(0.6 / 0.9)


def test_without_words_nothing_is_guessed(client):
    (clip,) = answer(client, words=False)["data"]
    assert clip["words"] is clip["conflict"] is clip["disagreement"] is None and clip["words_missing"] == "off"
    assert clip["tone"]["label"] == "sad" and clip["language_model"]["words"] is None


def test_rationale_and_tokens_on_request(client):
    (clip,) = answer(client, rationale=True, tokens=True)["data"]
    assert clip["language_model"]["rationale"] == "heard 1" and clip["kept_tokens"]["acoustic"][0]["score"] == 1.0


def test_fas_alone_answers_without_a_language_model(fas_only):
    (clip,) = answer(fas_only, words=True)["data"]
    assert clip["label"] == "sad" and clip["language_model"] is None
    assert clip["words"]["label"] == "happy" and clip["words"]["transcript"] == "I am so glad"
    refused = fas_only.post(EMOTION, json={"audio": part(wav()), "rationale": True})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "rationale"
    chat = fas_only.post("/v1/chat/completions", json={"messages": []})
    assert chat.status_code == 404 and "--fas-only" in chat.json()["error"]["message"]


def test_bad_clip_of_a_batch_is_an_error_in_its_place(client):
    data = answer(client, wav(), b"no audio", wav()[:1000], wav(seed=1))["data"]
    assert [c["index"] for c in data] == [0, 1, 2, 3]
    assert [c["error"] is not None for c in data] == [False, True, True, False]
    assert data[1]["error"].startswith("audio[1]") and data[2]["code"] == "invalid_audio"
    assert {k for k, v in data[1].items() if v not in (None, False)} == {"index", "error", "code", "audio"}
    assert data[1].keys() == data[0].keys() and set(data[1]["audio"].values()) == {None}


@pytest.mark.parametrize("words", [False, True])
def test_where_nobody_speaks_no_emotion_is_named_and_no_model_asked(client, fas_only, words):
    for each in (client, fas_only):
        (clip,) = answer(each, SILENT, words=words, rationale=each is client)["data"]
        assert clip["label"] is None and clip["speech"] == 0 and clip["words_missing"] == "no speech"
        assert set(clip["probabilities"].values()) == {0.0}
        assert not any(clip[name] for name in ("tone", "words", "conflict", "language_model", "error", "pathways"))
    assert answer(client)["data"][0]["speech"] is None


def test_files_json_and_urls_are_one(client):
    data = wav(seed=2)
    files = client.post(
        EMOTION, files=[("files", ("a.wav", data)), ("files", ("b.wav", data))], data={"tokens": "true"}
    )
    url = "data:audio/wav;base64," + base64.b64encode(data).decode()
    several = client.post(EMOTION, json={"audio": [url, url_part(url)], "tokens": True})
    first, second = files.json()["data"], several.json()["data"]
    assert [c.pop("file") for c in first] == ["a.wav", "b.wav"]
    assert [c.pop("file") for c in second] == [None, None] and first == second


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"audio": []}, "audio"), ({}, "audio"), ({"audio": [1]}, "audio[0]"), ({"audio": "file:///etc/passwd"}, "audio[0]"),
        ({"audio": "a.wav"}, "audio[0]"), ({"audio": {"type": "text"}}, "audio[0]"), ({"audio": "x", "word": True}, "word"),
        ({"audio": "x", "words": "maybe"}, "words"), ({"audio": "x", "language": "fr"}, "language"),
        ({"audio": ["data:,x"] * 33}, "audio"),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(client, body, param):
    response = client.post(EMOTION, json=body)
    assert response.status_code == 400 and response.json()["error"]["param"] == param
    assert len(answer(client)["data"]) == 1


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"words": "true"}, "files": None},
        {"data": {"file": "text"}, "files": [("file", wav())]},
        {"data": {}, "files": [("other", wav())]},
        {"data": {}, "files": [("file", wav())] * 33},
        {"data": {"words": "maybe"}, "files": [("file", wav())]},
    ],
    ids=["no file", "text as file", "other field", "too many", "no bool"],
)
def test_bad_forms_are_400(client, form):
    headers = {} if form["files"] else {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post(EMOTION, **form, headers=headers)
    assert response.status_code == 400 and set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_openapi_describes_request_and_answer(client):
    schema = client.get("/openapi.json").json()
    body = schema["paths"][EMOTION]["post"]["requestBody"]["content"]
    assert "files" in body["multipart/form-data"]["schema"]["properties"]
    assert resolve(schema, body["application/json"]["schema"])["required"] == ["audio"]
    described = schema["components"]["schemas"]["ClipEmotion"]["properties"]
    assert all(field in described for field in answer(client)["data"][0])
    for reference in references(schema):
        resolve(schema, {"$ref": reference})


def resolve(schema: dict, node: dict) -> dict:
    for key in node["$ref"].removeprefix("#/").split("/"):
        schema = schema[key]
    return schema


def references(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def test_requests_at_once_are_answered_in_batches():
    listener = FakeListener(delay=0.1)
    with running(fake_app(listener=listener, fas_only=True)) as client:
        with concurrent.futures.ThreadPoolExecutor(12) as threads:
            list(threads.map(lambda seed: answer(client, wav(seed=seed)), range(12)))
    assert sum(listener.batches) == 12 and len(listener.batches) <= 4


def test_failure_of_one_clip_does_not_fail_its_batch():
    class Picky(FakeListener):
        def __call__(self, questions):
            if any(q.audio.duration == 0.75 for q in questions):
                raise RuntimeError("cannot")
            return super().__call__(questions)

    with running(fake_app(listener=Picky(delay=0.05), fas_only=True)) as client:
        with concurrent.futures.ThreadPoolExecutor(6) as threads:
            clips = [wav(0.75 if i == 3 else 0.5) for i in range(6)]
            codes = [r.status_code for r in threads.map(lambda c: client.post(EMOTION, json={"audio": part(c)}), clips)]
    assert codes == [200, 200, 200, 500, 200, 200]


def test_language_model_that_fails_is_no_wrong_answer():
    class Dead(FakeBackend):
        async def option_logprobs(self, messages, token_ids):
            from fas_serve.errors import APIError

            raise APIError(503, "gone", code="backend_unavailable", retry_after=3)

    with running(fake_app(backend=Dead())) as client:
        response = client.post(EMOTION, json={"audio": [part(wav()), part(wav())]})
        assert response.status_code == 503 and response.headers["retry-after"] == "3"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fas")
    checkpoint = save_tiny_checkpoint(folder / "fas", save_tiny_whisper(folder / "whisper"))
    return EmotionPipeline.from_pretrained(checkpoint, speech_threshold=0)  # a buzz counts as a voice


class Letters:
    """A reader of frames: how many there were."""

    def __call__(self, clips) -> list[Words]:
        return [Words.read(f"{len(frames)} frames", "en", 0.5, certain("happy").values()) for frames in clips]


def test_real_fas_answers_as_the_pipeline_does(pipeline):
    app = create_app(Settings(), EmotionService(Batcher(Listener(pipeline)), None))
    clips = [wav(s, seed=i) for i, s in enumerate((0.3, 1.2, 2.5))]
    with running(app) as client:
        answers = answer(client, *clips, tokens=True)["data"]
        refused = client.post(EMOTION, json={"audio": part(wav()), "words": True}).json()["error"]
        assert refused["param"] == "words" and "told not to" in refused["message"]
    for clip, got in zip(clips, answers, strict=True):
        expected = pipeline(clip)
        assert got["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
        assert got["tone"]["probabilities"] == pytest.approx(expected.tone.probabilities, abs=1e-5)
        assert got["pathways"]["semantic"] == pytest.approx(expected.pathways.semantic, abs=1e-5)
        assert got["pathways"]["divergence"] == pytest.approx(expected.pathways.divergence, abs=1e-5)
        for token, wanted in zip(got["kept_tokens"]["acoustic"], expected.kept_tokens["acoustic"], strict=True):
            assert token == pytest.approx(wanted, abs=1e-3)
        assert got["audio"] == asdict(expected.audio)


def test_words_come_from_the_same_encoder_pass(pipeline, monkeypatch):
    passes = []
    backbone = pipeline.extractor.semantic.backbone
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda mels, layers: passes.append(len(mels)) or forward(mels, layers))
    listener = Listener(pipeline)
    clips = [load_audio(wav(s, seed=i)) for i, s in enumerate((1.0, 0.5, 1.5))]
    heard = listener([Question(clip, words=i != 1) for i, clip in enumerate(clips)])
    assert sum(passes) == 3  # each clip once
    frames = [pipeline.extractor([clip.samples])[0].semantic_frames for clip in clips]
    assert [h.frames is None or len(h.frames) for h in heard] == [frames[0], True, frames[2]]
    for clip, h in zip(clips, heard, strict=True):
        expected = pipeline(clip.samples, sampling_rate=16_000)
        assert h.answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_long_audio_is_answered_as_the_pipeline_does_and_has_words(pipeline):
    service = EmotionService(Batcher(Listener(pipeline)), read=Batcher(Letters()))
    audio = encoded(noise(65.0), 16_000, subtype="FLOAT")
    with running(create_app(Settings(), service)) as client:
        (got,) = answer(client, audio, words=True)["data"]
    expected = pipeline(audio)
    assert got["audio"]["windows"] == expected.audio.windows == 3
    assert got["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert got["pathways"]["divergence"] == pytest.approx(expected.pathways.divergence, abs=1e-5)
    assert got["words"]["transcript"].count("frames") == 3
    happy = expected.tone.probabilities["happy"]
    assert got["conflict"] == got["disagreement"] == pytest.approx(1 - happy, abs=1e-5)


@pytest.mark.parametrize("words", [False, True])
def test_speech_is_that_of_the_pipeline(words, tmp_path):
    strict = EmotionPipeline.from_pretrained(save_tiny_checkpoint(tmp_path / "fas", save_tiny_whisper(tmp_path / "w")))
    listen = Listener(strict)
    clips = [load_audio(noise(1.0, seed) * (seed != 1), sampling_rate=16_000) for seed in range(3)]
    for h, clip in zip(listen([Question(clip, words) for clip in clips]), clips, strict=True):
        expected = strict(clip.samples, sampling_rate=16_000)
        assert (h.answer.label, h.answer.speech, h.answer.no_speech) == (
            expected.label, expected.speech, expected.no_speech
        )  # fmt: skip


def test_channels_are_mixed_taken_or_answered_each(pipeline):
    app = create_app(Settings(), EmotionService(Batcher(Listener(pipeline))))
    both = encoded(np.stack([noise(2.0, 1), noise(2.0, 2)], axis=1), 16_000, subtype="FLOAT")
    with running(app) as client:
        by_channel = {c: answer(client, both, wav(), channels=c)["data"] for c in ("mix", "each", 1)}
        windows = answer(client, both, channels="each", timeline=True, window=1, hop=1)["data"]
        missing = client.post(EMOTION, json={"audio": part(both), "channels": 3})
        for wrong in (0, -1, "both", 1.5, None):
            refused = client.post(EMOTION, json={"audio": part(both), "channels": wrong})
            assert refused.status_code == 400 and refused.json()["error"]["param"].startswith("channels")
    assert [c["audio"]["channel"] for c in by_channel["mix"]] == ["mix", None]
    assert [(c["index"], c["audio"]["channel"]) for c in by_channel["each"]] == [(0, 1), (0, 2), (1, None)]
    assert [c["audio"]["channel"] for c in by_channel[1]] == [1, None]
    for channel, clip in enumerate(by_channel["each"][:2], 1):
        expected = pipeline(load_audio(both, channel=channel).samples, sampling_rate=16_000)
        assert clip["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert [[w["audio"]["channel"] for w in c["timeline"]] for c in windows] == [[1, 1], [2, 2]]
    assert missing.status_code == 400 and "no channel 3" in missing.json()["error"]["message"]


def test_the_clip_is_asked_about_as_in_training(tmp_path):
    """A question in another order is another prompt: the answer would come from a model that was never trained on it."""
    from alm_tiny import clip as tiny_clip
    from alm_tiny import tiny_model

    from fas_alm.conversations.questions import Question
    from fas_serve.language import _question

    _, processor = tiny_model("qwen2")
    served = _question(tiny_clip(1.0), "en")
    trained = {"role": "user", "content": Question("choose", "en").content({"type": "audio", "path": "a.wav"})}
    render = lambda message: processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)  # noqa: E731
    assert render(served) == render(trained)
