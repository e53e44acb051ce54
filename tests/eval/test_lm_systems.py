"""Audio language models as systems of the suite: endpoints, transformers, FAS-ALM, the cascade."""

import base64
import io
import json
import logging
import math
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import fake_opensmile
import numpy as np
import pytest
import soundfile
from standin import completion, error, standin

from fas_core.errors import CheckpointError, FASError
from fas_core.labels import EMOTIONS
from fas_eval.systems import chat, endpoint
from fas_eval.systems.base import BenchmarkClip, SystemAnswer

LOGPROBS = {"D": math.log(0.5), " D": math.log(0.1), "A": math.log(0.2), "The": math.log(0.1)}
SLOW = 20.0  # seconds that a stand-in sleeps in the place of hanging for ever


def context(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(cache_dir=tmp_path / "cache", device="cpu", quiet=True)


def write_clips(folder: Path, number: int, broken: tuple[int, ...] = ()) -> list[BenchmarkClip]:
    """Synthetic clips, noise of 0.5 s at 22.05 kHz in stereo; the broken ones are no audio."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for i in range(number):
        path = folder / f"{i}.wav"
        if i in broken:
            path.write_bytes(b"RIFF no audio")
        else:
            rng = np.random.default_rng(i)
            soundfile.write(path, 0.1 * rng.standard_normal((11_025, 2)), 22_050)
        clips.append(BenchmarkClip(f"clip-{i}", str(path), f"digest-{i}"))
    return clips


@pytest.fixture
def clips(tmp_path) -> list[BenchmarkClip]:
    return write_clips(tmp_path / "clips", 3)


def ask(system, clips) -> dict[str, SystemAnswer]:
    """Answers by clip; there is exactly one for each."""
    answers = list(system.answer(clips))
    system.close()
    assert sorted(a.clip for a in answers) == sorted(c.id for c in clips)
    return {answer.clip: answer for answer in answers}


def endpoint_system(server, **options):
    values = dict(name="e", model="m", base_url=server.url, retries=2, timeout=5) | options
    return endpoint.build(values, None)


class TestEndpoint:
    def test_options_by_log_probability(self, clips):
        with standin(lambda number, body: completion("D", LOGPROBS)) as server:
            answers = ask(endpoint_system(server), clips)
        for answer in answers.values():
            assert (answer.label, answer.how, answer.text, answer.retries) == ("happy", "options", "D", 0)
            assert answer.mass == pytest.approx(0.8) and answer.probabilities[3] == pytest.approx(0.75, abs=1e-4)
            assert answer.seconds > 0
        body = server.asked[0]
        assert body["logprobs"] is True and body["top_logprobs"] == 20 and body["temperature"] == 0
        audio, text = body["messages"][0]["content"]
        assert audio["type"] == "input_audio" and audio["input_audio"]["format"] == "wav" and "A angry" in text["text"]
        info = soundfile.info(io.BytesIO(base64.b64decode(audio["input_audio"]["data"])))
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 8_000)

    def test_text_says_the_same_where_there_are_no_log_probabilities(self, clips):
        with standin(lambda number, body: completion("D")) as server:
            answers = ask(endpoint_system(server), clips)
        assert {(a.label, a.how) for a in answers.values()} == {("happy", "exact")}
        assert all(a.probabilities is None for a in answers.values())

    @pytest.mark.parametrize(
        ("reply", "expected"),
        [
            (completion("D", LOGPROBS, before="\n"), ("happy", "options")),
            # letters hold almost nothing: the model writes a sentence, and the sentence counts
            (completion("The voice is sad", {"The": math.log(0.99), "A": math.log(0.001)}), ("sad", "rules")),
            (completion("Hard to say", {"Hard": math.log(0.99), "A": math.log(0.001)}), ("angry", "options")),
            (completion("Hard to say", {"Hard": -0.01}), (None, "unparsed")),
            (completion("(B)", None), ("disgust", "rules")),
            (completion(None, audio={"id": "a", "transcript": "It is B."}), ("disgust", "rules")),
            (completion([{"type": "text", "text": "B"}]), ("disgust", "exact")),
            (completion(None, refusal="I cannot judge voices."), (None, "unparsed")),
            (completion(None), (None, "unparsed")),
            (completion("D", {"D": float("nan")}), ("happy", "exact")),
        ],
    )
    def test_what_endpoints_answer(self, clips, reply, expected):
        with standin(lambda number, body: reply) as server:
            answer = ask(endpoint_system(server), clips[:1])["clip-0"]
        assert (answer.label, answer.how) == expected

    def test_a_parameter_that_is_refused_is_given_up_for_all_clips(self, clips):
        def script(number, body):
            if "logprobs" in body:
                return 400, {}, error("logprobs are not supported by this model", "logprobs")
            if "max_tokens" in body:
                return 400, {}, error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
            return completion("D") if body["temperature"] == 0 else (400, {}, error("no"))

        with standin(script) as server:
            system = endpoint_system(server, concurrency=1)
            answers = ask(system, clips)
        assert {(a.label, a.how, a.retries) for a in answers.values()} == {("happy", "exact", 0)}
        assert len(server.asked) == 2 + len(clips)
        assert server.asked[-1]["max_completion_tokens"] == 64 and "max_tokens" not in server.asked[-1]

    def test_429_is_asked_again_after_the_time_it_names(self, clips):
        def script(number, body):
            return (429, {"Retry-After": "1"}, error("slow down")) if number == 1 else completion("D", LOGPROBS)

        with standin(script) as server:
            answer = ask(endpoint_system(server), clips[:1])["clip-0"]
        assert (answer.label, answer.retries) == ("happy", 1)
        assert server.times[1] - server.times[0] >= 0.95

    @pytest.mark.parametrize(
        ("reply", "problem"),
        [
            ((500, {}, error("broken")), "500"),
            ((200, {"Content-Type": "text/html"}, "<html>maintenance</html>"), "no chat completion"),
            ((200, {}, {"error": {"message": "overloaded"}}), "no chat completion"),
            ((200, {}, '{"choices": ["a"]}'), "no chat completion"),
        ],
    )
    def test_500_and_nonsense_are_retried_counted_and_reported(self, clips, reply, problem):
        with standin(lambda number, body: reply) as server:
            answer = ask(endpoint_system(server, retries=1), clips[:1])["clip-0"]
        assert (answer.label, answer.how, answer.retries) == (None, "failed", 1)
        assert problem in answer.error and len(server.asked) == 2

    def test_nonsense_once_costs_a_retry(self, clips):
        script = lambda number, body: (200, {}, "?") if number == 1 else completion("D")  # noqa: E731
        with standin(script) as server:
            answer = ask(endpoint_system(server), clips[:1])["clip-0"]
        assert (answer.label, answer.retries) == ("happy", 1)

    def test_one_clip_that_times_out_and_one_corrupt_do_not_end_the_run(self, tmp_path):
        clips = write_clips(tmp_path / "clips", 4, broken=(2,))
        done, hung = threading.Event(), []

        def script(number, body):
            if not hung:
                hung.append(body["messages"])
            if body["messages"] == hung[0]:
                done.wait(SLOW)
            return completion("D", LOGPROBS)

        with standin(script) as server:
            answers = ask(endpoint_system(server, timeout=0.5, retries=1, concurrency=1), clips)
            done.set()
        assert [answers[c.id].how for c in clips] == ["failed", "options", "failed", "options"]
        assert "timed out" in answers["clip-0"].error and answers["clip-0"].retries == 1
        assert "2.wav" in answers["clip-2"].error and len(server.asked) == 4

    def test_an_endpoint_that_is_down_is_given_up(self, tmp_path, monkeypatch):
        monkeypatch.setattr(endpoint, "GIVE_UP_AFTER", 3)
        clips = write_clips(tmp_path / "clips", 8)
        with standin(lambda number, body: (401, {}, error("who are you"))) as server:
            system = endpoint_system(server, retries=0, concurrency=1)
            answers = ask(system, clips)
            assert len(server.asked) == 3
            assert all(a.how == "failed" for a in answers.values())
            assert "3 times in a row" in answers["clip-7"].error and "who are you" in answers["clip-0"].error
            assert "401" in ask(system, clips[:1])["clip-0"].error  # the next benchmark tries again

    def test_nobody_there(self, clips):
        system = endpoint.build(dict(name="e", model="m", base_url="http://127.0.0.1:9/v1", retries=0), None)
        assert "Connection error" in ask(system, clips[:1])["clip-0"].error

    def test_requests_run_side_by_side_and_no_more_than_allowed(self, tmp_path):
        clips, running, most, lock = write_clips(tmp_path / "c", 8), [0], [0], threading.Lock()

        def script(number, body):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.1)
            with lock:
                running[0] -= 1
            return completion("D")

        with standin(script) as server:
            ask(endpoint_system(server, concurrency=4), clips)
        assert 2 <= most[0] <= 4

    def test_a_run_that_stops_asks_no_more(self, tmp_path):
        clips = write_clips(tmp_path / "c", 12)
        with standin(lambda number, body: time.sleep(0.05) or completion("D")) as server:
            answers = endpoint_system(server, concurrency=1).answer(clips)
            next(answers)
            answers.close()
            asked = len(server.asked)
            time.sleep(0.3)
            assert len(server.asked) <= asked + 1 < len(clips)

    def test_the_judge_reads_what_the_rules_cannot(self, clips):
        def script(number, body):
            if body["model"] == "j":
                assert "trembling" in body["messages"][1]["content"]
                return completion("fear")
            return completion("a trembling voice")

        with standin(script) as server:
            system = endpoint_system(server, prompt="free-en@1", judge={"model": "j", "base_url": server.url})
            answers = ask(system, clips)
        assert {(a.label, a.how, a.text) for a in answers.values()} == {("fear", "judge", "a trembling voice")}

    def test_a_judge_that_fails_is_an_answer_that_failed(self, clips):
        def script(number, body):
            return (400, {}, error("no")) if body["model"] == "j" else completion("a trembling voice")

        with standin(script) as server:
            system = endpoint_system(
                server, prompt="paper@1", judge={"model": "j", "base_url": server.url, "retries": 0}
            )
            assert ask(system, clips[:1])["clip-0"].error.startswith("judge: ")

    def test_the_key_goes_to_the_endpoint_and_nowhere_else(self, clips, monkeypatch, caplog):
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("MY_KEY", "sk-very-secret")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
        sent = {}

        def script(number, body):
            sent["audio"] = body["messages"][0]["content"][0]["input_audio"]["data"]
            return 400, {}, error(f"key sk-very-secret may not send {sent['audio']}")

        with standin(script) as server:
            system = endpoint_system(server, api_key_env="MY_KEY")
            answer = ask(system, clips[:1])["clip-0"]
            assert server.keys[-1] == "Bearer sk-very-secret"
            ask(endpoint_system(server), clips[:1])
            assert "sk-of-openai" not in server.keys[-1]
        said = json.dumps([answer.to_dict(), system.identity(), system.describe()])
        assert (
            "secret" not in said and sent["audio"][:80] not in said and "127.0.0.1" not in json.dumps(system.identity())
        )
        assert sent["audio"][64:300] not in caplog.text  # audio is never logged

    def test_the_identity_follows_what_decides_an_answer(self):
        base = dict(name="e", model="m", base_url="http://a/v1")
        one = endpoint.build(base, None).digest
        for change in ({"model": "n"}, {"base_url": "http://b/v1"}, {"prompt": "paper@1"}, {"audio_first": False},
                       {"max_tokens": 9}, {"extra": {"seed": 1}}, {"judge": {"model": "j", "base_url": "http://a/v1"}}):  # fmt: skip
            assert endpoint.build(base | change, None).digest != one, change
        for change in (
            {"concurrency": 2},
            {"timeout": 9},
            {"retries": 0},
            {"title": "T"},
            {"base_url": "http://u:p@a/v1/"},
        ):
            assert endpoint.build(base | change, None).digest == one, change

    def test_what_cannot_work_is_one_clear_error(self, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(FASError, match="model is missing"):
            endpoint.build({"name": "e"}, None)
        with pytest.raises(FASError, match="unknown option modle"):
            endpoint.build({"name": "e", "model": "m", "modle": "n"}, None)
        with pytest.raises(FASError, match="system judge: model is missing"):
            endpoint.build({"name": "e", "model": "m", "base_url": "http://a/v1", "judge": {}}, None)
        for options in ({"api_key_env": "NOT_THERE", "base_url": "http://a/v1"}, {}):
            with pytest.raises(CheckpointError, match="NOT_THERE|OPENAI_API_KEY"):
                endpoint.build({"name": "e", "model": "m", **options}, None)

    def test_spellings_of_a_letter_add_up(self):
        found = chat.Completion("D", {"▁D": math.log(0.25), "D": math.log(0.25), "d": -1.0}).letters()
        assert math.exp(found[3]) == pytest.approx(0.5) and found[0] == -math.inf and len(found) == len(EMOTIONS)
        assert chat.Completion("x", {"x": -0.1}).letters() is None


@pytest.fixture(scope="module")
def qwen2_audio(tmp_path_factory) -> Path:
    """A Qwen2-Audio of two layers and random weights, as the hub has it."""
    import torch
    from alm_tiny import tiny_tokenizer
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        Qwen2Config,
        WhisperFeatureExtractor,
    )
    from transformers.models.qwen2_audio import Qwen2AudioEncoderConfig

    folder = tmp_path_factory.mktemp("qwen2-audio")
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]})
    torch.manual_seed(0)
    text = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=0.3,
    )  # fmt: skip
    audio = Qwen2AudioEncoderConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, num_mel_bins=80, init_std=0.2
    )
    index = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=index)
    ).save_pretrained(folder)
    Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    return folder


def audio_llm(directory, tmp_path, **options):
    from fas_eval.systems import audio_llm

    return audio_llm.build({"name": "q", "model": str(directory), "batch_size": 2} | options, context(tmp_path))


class TestAudioLLM:
    def test_options_follow_the_audio_and_not_the_batch(self, qwen2_audio, tmp_path):
        clips = write_clips(tmp_path / "c", 5, broken=(3,))
        batched = ask(audio_llm(qwen2_audio, tmp_path, batch_size=5), clips)
        single = ask(audio_llm(qwen2_audio, tmp_path, batch_size=1), clips)
        assert [batched[c.id].how for c in clips] == ["options"] * 3 + ["failed", "options"]
        assert "3.wav" in batched["clip-3"].error
        good = [c.id for c in clips if c.id != "clip-3"]
        for clip in good:
            np.testing.assert_allclose(batched[clip].probabilities, single[clip].probabilities, atol=1e-4)
            assert 0 < batched[clip].mass <= 1
        assert len({tuple(batched[clip].probabilities) for clip in good}) == len(good), "it hears"

    def test_options_are_the_probabilities_of_the_next_token(self, qwen2_audio, tmp_path, clips):
        import torch
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        from fas_core.audio import load_audio
        from fas_eval.systems.generation import letter_token_ids

        answer = ask(audio_llm(qwen2_audio, tmp_path), clips[:1])["clip-0"]
        model = Qwen2AudioForConditionalGeneration.from_pretrained(qwen2_audio).eval()
        processor = AutoProcessor.from_pretrained(qwen2_audio)
        text = audio_llm(qwen2_audio, tmp_path).rendered()
        assert text.index("<|AUDIO|>") < text.index("Which emotion") and text.endswith("<|im_start|>assistant\n")
        inputs = processor(
            text=text, audio=load_audio(clips[0].audio).samples, sampling_rate=16_000, return_tensors="pt"
        )
        with torch.no_grad():
            p = model(**inputs).logits[0, -1].softmax(-1)
        expected = torch.stack([p[ids].sum() for ids in letter_token_ids(processor.tokenizer)])
        assert answer.mass == pytest.approx(float(expected.sum()), abs=1e-5)
        np.testing.assert_allclose(answer.probabilities, (expected / expected.sum()).tolist(), atol=1e-5)

    def test_free_text_is_kept_and_read(self, qwen2_audio, tmp_path, clips):
        system = audio_llm(qwen2_audio, tmp_path, prompt="paper@1", max_tokens=5)
        answers = ask(system, clips)
        assert all(a.text is not None and a.how in ("exact", "rules", "unparsed") for a in answers.values())
        assert system.describe()["parameters"] > 1000 and "/" not in system.describe()["source"]

    def test_the_identity_follows_weights_and_prompt(self, qwen2_audio, tmp_path):
        import shutil

        moved = shutil.copytree(qwen2_audio, tmp_path / "elsewhere")
        one = audio_llm(qwen2_audio, tmp_path)
        assert audio_llm(moved, tmp_path, batch_size=9).digest == one.digest
        assert audio_llm(moved, tmp_path, prompt="options-zh@1").digest != one.digest
        assert str(tmp_path) not in json.dumps(audio_llm(moved, tmp_path).identity())
        weights = moved / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        assert audio_llm(moved, tmp_path).digest != one.digest

    def test_a_model_that_is_not_there_or_lacks_weights_is_one_clear_error(self, qwen2_audio, tmp_path, clips):
        import shutil

        from safetensors.torch import load_file, save_file

        with pytest.raises(CheckpointError, match="no such model"):
            audio_llm(tmp_path / "none", tmp_path)
        folder = shutil.copytree(qwen2_audio, tmp_path / "m")
        weights = load_file(folder / "model.safetensors")
        weights.pop(next(key for key in weights if "layers.1" in key))
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match="weights lack"):
            list(audio_llm(folder, tmp_path).answer(clips))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """An adapter of random weights with a tiny FAS and a tiny LLM; the LLM lies in llm/ beside it."""
    from alm_tiny import save_tiny_language_model, shared_fas

    from fas_alm import FASAudioForConditionalGeneration
    from fas_alm.artifacts import save_adapter

    root = tmp_path_factory.mktemp("alm")
    llm = save_tiny_language_model(root / "llm")
    model, processor = FASAudioForConditionalGeneration.from_parts(shared_fas(), str(llm))
    corpora = [{"corpus": "ravdess", "train": 1, "validation": 0}]
    record = {"data": {"corpora": corpora}, "arguments": {"data": {"fold": 1}}, "seconds": 5.0}
    model.config.option_temperature = 2.0
    return save_adapter(model, processor, root / "adapter", record)


def alm(directory, tmp_path, **options):
    from fas_eval.systems import fas_alm

    return fas_alm.build({"name": "a", "directory": str(directory)} | options, context(tmp_path))


class TestFASALM:
    def test_options_are_those_of_the_scorer(self, adapter, tmp_path):
        from fas_alm.conversations import Question
        from fas_alm.prompts import option_probabilities
        from fas_alm.scorer import Scorer

        clips = write_clips(tmp_path / "c", 4, broken=(1,))
        system = alm(adapter, tmp_path)
        answers = ask(system, clips)
        assert [answers[c.id].how for c in clips] == ["options", "failed", "options", "options"]
        assert "1.wav" in answers["clip-1"].error
        scorer = Scorer.from_directory(adapter, tmp_path / "cache" / "features", device="cpu")
        features = scorer.features([{"audio": clip.audio} for clip in clips])
        asked = [[{"role": "user", "content": Question("choose").content({"type": "audio", "path": clips[2].audio})}]]
        probabilities, mass = option_probabilities(scorer.options(scorer.hearing(features), asked)[0], temperature=2.0)
        np.testing.assert_allclose(answers["clip-2"].probabilities, list(probabilities.values()), atol=1e-4)
        assert answers["clip-2"].mass == pytest.approx(mass, abs=1e-4)

    def test_without_audio_every_clip_has_the_same_answer(self, adapter, tmp_path, clips):
        hears, deaf = alm(adapter, tmp_path), alm(adapter, tmp_path, audio=False)
        assert hears.digest != deaf.digest and deaf.title.endswith("not hearing")
        assert len({tuple(a.probabilities) for a in ask(hears, clips).values()}) == 3
        same = np.array([a.probabilities for a in ask(deaf, clips).values()])
        np.testing.assert_allclose(same, same[:1].repeat(3, 0), atol=1e-5)

    def test_a_model_that_reads_transcripts_is_told_them_and_asked_for_the_conflict(
        self, adapter, tmp_path, clips, monkeypatch
    ):
        from fas_alm.scorer import Scorer
        from fas_alm.transcript import Said
        from fas_core.words.types import NoWords

        said = {clips[0].audio: Said("I won!", "en"), clips[1].audio: NoWords("unclear")}

        def told(scorer, rows, features, source):
            return [r | {"spoken": said.get(r["audio"]) if source == "auto" else None} for r in rows]

        monkeypatch.setattr(Scorer, "told", told)
        plain = ask(alm(adapter, tmp_path), clips)
        assert all(a.conflict is a.disagreement is a.transcript is None for a in plain.values())
        system = alm(adapter, tmp_path)
        system.scorer.model.config.transcripts = True
        found = ask(system, clips)
        heard, *others = (found[clip.id] for clip in clips)
        assert heard.transcript == "I won!" and 0 < heard.conflict < 1 and 0 < heard.disagreement < 1
        assert sum(heard.heads["words"]) == pytest.approx(1, abs=1e-4)
        assert heard.probabilities != plain[clips[0].id].probabilities  # the words stand in the prompt
        assert [(a.conflict, a.words_missing) for a in others] == [(None, "unclear")] * 2
        assert "words" in system.identity()["settings"]
        quiet = alm(adapter, tmp_path, words=False)
        quiet.scorer.model.config.transcripts = True
        assert quiet.digest != system.digest and all(a.transcript is None for a in ask(quiet, clips).values())

    def test_acoustic_cues_stand_behind_the_audio(self, adapter, tmp_path, clips, monkeypatch):
        from fas_alm.scorer import Scorer

        fake_opensmile.use(monkeypatch)
        asked, options = [], Scorer.options

        def kept(scorer, audio, messages):
            asked.extend(messages)
            return options(scorer, audio, messages)

        monkeypatch.setattr(Scorer, "options", kept)
        plain, cued = (ask(alm(adapter, tmp_path, **more), clips) for more in ({}, {"cues": "conflict"}))
        behind = [message[0]["content"][2:] for message in asked]
        assert behind[:3] == [[]] * 3 and all(part["text"].startswith("Acoustic cues") for (part,) in behind[3:])
        assert {name: a.probabilities for name, a in plain.items()} != {
            name: a.probabilities for name, a in cued.items()
        }
        with pytest.raises(FASError, match="learned no cues"):
            alm(adapter, tmp_path, cues="aligned", cue_statistics="model")

    def test_free_text_and_what_is_known_of_it(self, adapter, tmp_path, clips):
        system = alm(adapter, tmp_path, prompt="free-en@1")
        assert all(a.text is not None for a in ask(system, clips).values())
        assert (system.training_corpora, system.fold) == (("ravdess",), 1)
        facts = system.describe()
        assert facts["training_seconds"] == 5.0 and facts["parameters_trained"] > 0 and facts["source"] == "adapter"
        assert str(tmp_path) not in json.dumps(system.identity())

    def test_presets_are_the_same_model_otherwise_asked(self, adapter, tmp_path, clips):
        from fas_eval.systems import fas_alm

        options = {"name": "n", "directory": str(adapter), "language_model": str(adapter.parent / "llm")}
        deaf, free = (build(options, context(tmp_path)) for build in (fas_alm.build_no_audio, fas_alm.build_free_text))
        assert not deaf.settings["audio"] and "no-audio" in deaf.title and free.prompt.kind == "free"
        assert len({tuple(a.probabilities) for a in ask(deaf, clips).values()}) == 1, "it hears nothing"
        with pytest.raises(FASError, match="preset 'loud'; expected one of no-audio"):
            fas_alm.build(options | {"preset": "loud"}, context(tmp_path))

    def test_another_language_model_is_another_identity(self, adapter, tmp_path):
        from alm_tiny import save_tiny_language_model

        other = save_tiny_language_model(tmp_path / "other", seed=1)
        assert alm(adapter, tmp_path).digest != alm(adapter, tmp_path, language_model=str(other)).digest
        assert (
            alm(adapter, tmp_path).digest == alm(adapter, tmp_path, language_model=str(adapter.parent / "llm")).digest
        )

    def test_what_is_not_there_is_one_clear_error(self, adapter, tmp_path):
        from fas_eval.systems import fas_alm

        with pytest.raises(CheckpointError, match="no model there"):
            alm(tmp_path, tmp_path)
        pytest.importorskip("vllm")
        with pytest.raises(CheckpointError, match="fas_alm.export"):
            fas_alm.build_vllm({"name": "v", "directory": str(adapter)}, context(tmp_path))

    @pytest.mark.slow
    def test_vllm_says_what_transformers_says(self, tmp_path, clips):
        pytest.importorskip("vllm")
        from test_vllm_plugin import save_model

        from fas_alm import export_model
        from fas_alm.artifacts import save_adapter
        from fas_alm.modeling import FASAudioForConditionalGeneration
        from fas_alm.processing import FASAudioProcessor
        from fas_eval.systems import fas_alm

        bare = save_model(tmp_path / "bare")
        model, processor = (
            FASAudioForConditionalGeneration.from_pretrained(bare),
            FASAudioProcessor.from_pretrained(bare),
        )
        model.language_model.save_pretrained(tmp_path / "llm")
        processor.tokenizer.save_pretrained(tmp_path / "llm")
        save_adapter(model, processor, tmp_path / "adapter")
        directory = export_model(tmp_path / "adapter", tmp_path / "model", language_model=str(tmp_path / "llm"))
        clips = [*clips, *write_clips(tmp_path / "broken", 1, broken=(0,))]
        clips[3] = BenchmarkClip("clip-3", clips[3].audio, "digest-3")
        expected = ask(alm(directory, tmp_path), clips)
        found = ask(fas_alm.build_vllm({"name": "v", "directory": str(directory)}, context(tmp_path)), clips)
        assert [found[c.id].how for c in clips] == ["options"] * 3 + ["failed"]
        for clip in clips[:3]:
            np.testing.assert_allclose(found[clip.id].probabilities, expected[clip.id].probabilities, atol=1e-3)


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> Path:
    """A Whisper and an LLM, tiny and of random weights."""
    from alm_tiny import save_tiny_language_model, save_tiny_whisper

    root = tmp_path_factory.mktemp("cascade")
    save_tiny_whisper(root / "whisper")
    save_tiny_language_model(root / "llm")
    return root


def cascade(readers, tmp_path, **options):
    from fas_eval.systems import cascade

    local = {} if "endpoint" in options else {"language_model": str(readers / "llm")}
    return cascade.build({"name": "c", "whisper": str(readers / "whisper"), **local, **options}, context(tmp_path))


@pytest.fixture
def spoken(monkeypatch):
    """What is said in each clip, without a Whisper that understands anything."""
    import fas_eval.systems.transcripts as module

    def decode(self, clips):
        return [f"so {len(each)} is said" for each in clips]

    monkeypatch.setattr(module._Decoder, "__call__", decode)


class TestCascade:
    def test_a_language_model_reads_the_transcripts(self, readers, tmp_path, spoken):
        clips = write_clips(tmp_path / "c", 4, broken=(0,))
        answers = ask(cascade(readers, tmp_path), clips)
        assert [answers[c.id].how for c in clips] == ["failed", "options", "options", "options"]
        assert answers["clip-1"].text == "so 8000 is said" and "0.wav" in answers["clip-0"].error
        assert answers["clip-1"].probabilities == pytest.approx(answers["clip-2"].probabilities, abs=1e-5), "same words"

    def test_the_options_are_the_probabilities_of_the_next_token(self, readers, tmp_path, clips, spoken):
        import torch

        from fas_alm.language_models import load_language_model
        from fas_alm.prompts import transcript_prompt
        from fas_eval.systems.generation import letter_token_ids

        answer = ask(cascade(readers, tmp_path), clips[:1])["clip-0"]
        model, tokenizer = load_language_model(readers / "llm")
        asked = [{"role": "user", "content": transcript_prompt("so 8000 is said")}]
        inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            p = model(**inputs).logits[0, -1].softmax(-1)
        expected = torch.stack([p[ids].sum() for ids in letter_token_ids(tokenizer)])
        np.testing.assert_allclose(answer.probabilities, (expected / expected.sum()).tolist(), atol=1e-5)

    def test_a_template_that_always_thinks_is_answered_without_a_thought(self, readers, tmp_path):
        from transformers import AutoTokenizer

        shutil.copytree(readers / "llm", tmp_path / "llm")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "llm")
        tokenizer.chat_template = "{{ messages[0].content }}{% if add_generation_prompt %}<think>\n{% endif %}"
        tokenizer.save_pretrained(tmp_path / "llm")
        system = cascade(readers, tmp_path, language_model=str(tmp_path / "llm"))
        assert system._render("Which?").endswith("Which?<think>\n\n</think>\n\n")

    def test_whisper_itself_writes_and_each_clip_once(self, readers, tmp_path, clips):
        system = cascade(readers, tmp_path, prompt="cascade-zh@1", batch_size=2)
        assert all(isinstance(a.text, str) for a in ask(system, clips).values())
        system = cascade(readers, tmp_path)
        system.transcripts.transcriber.decoder = None  # would fail if it were asked
        assert all(a.how == "options" for a in ask(system, clips).values())

    def test_a_text_model_behind_an_endpoint(self, readers, tmp_path, spoken):
        clips = write_clips(tmp_path / "c", 3, broken=(2,))
        with standin(lambda number, body: completion("D", LOGPROBS)) as server:
            system = cascade(readers, tmp_path, endpoint={"model": "m", "base_url": server.url})
            answers = ask(system, clips)
        assert [answers[c.id].how for c in clips] == ["options", "options", "failed"]
        assert answers["clip-0"].text == "so 8000 is said" and system.kind == "cascade"
        assert server.asked[0]["messages"][0]["content"].startswith('Someone says: "so 8000 is said"')

    def test_what_cannot_work_is_one_clear_error(self, readers, tmp_path):
        for options, problem in (
            ({"prompt": "options-en@1"}, "has no {transcript}"),
            (
                {"endpoint": {"model": "m", "base_url": "http://a/v1"}, "language_model": "x"},
                "both language_model and endpoint",
            ),
            ({"endpoint": {"base_url": "http://a/v1"}}, "model is missing"),
            ({"whisper": "nothing/there"}, "no such model"),
        ):
            with pytest.raises(FASError, match=problem):
                cascade(readers, tmp_path, **options)
