"""From messages to a batch: windows, placeholders, the chat template, padding."""

import base64
import inspect
import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from alm_tiny import clip, shared_fas, tiny_language_model, tiny_model, tiny_tokenizer, user
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor, ProcessorMixin

from fas_alm.chat import CHATML
from fas_alm.configuration import AUDIO_TOKEN
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.prompts import option_token_ids
from fas_core.errors import AudioError, FASError
from fas_core.windows import count_windows, cut_windows


@pytest.fixture(scope="module")
def processor():
    return tiny_model()[1]


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    sf.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def tokenized(processor, *conversations, **options):
    return processor.apply_chat_template(
        list(conversations), tokenize=True, add_generation_prompt=True, sampling_rate=16_000, **options
    )


def audio_tokens(processor, batch) -> list[int]:
    return (batch["input_ids"] == processor.audio_token_id).sum(1).tolist()


class TestWindows:
    @given(st.integers(0, 1_500_000))
    def test_every_sample_is_in_one_window_but_a_rest_under_25_ms(self, samples):
        windows = cut_windows(np.arange(samples))
        assert len(windows) == count_windows(samples)
        left = samples - sum(map(len, windows))
        assert 0 <= left < 400 and all(len(w) == 480_000 for w in windows[:-1])
        assert not windows or np.concatenate(windows)[-1] == samples - left - 1

    @pytest.mark.parametrize(("seconds", "windows"), [(0.025, 1), (30, 1), (30.02, 1), (30.03, 2), (60, 2), (61, 3)])
    def test_an_audio_has_two_tokens_for_each_window(self, processor, seconds, windows):
        batch = tokenized(processor, [user(clip(seconds), "?")])
        assert audio_tokens(processor, batch) == [2 * windows]
        assert len(batch["audio_window_lengths"][0]) == windows


class TestTemplate:
    def test_parts_become_lines_and_the_language_models_template_goes_on(self, processor):
        messages = [{"role": "system", "content": "Be brief."}, user(clip(), "First?", clip(), "Second?")]
        assert processor.apply_chat_template(messages, add_generation_prompt=True) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<|audio|>\nFirst?\n<|audio|>\nSecond?<|im_end|>\n"
            "<|im_start|>assistant\n"
        )

    @pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be brief."}]], ids=["text", "parts"])
    def test_a_developer_is_the_system(self, processor, content):
        texts = {
            processor.apply_chat_template([{"role": role, "content": content}, user(clip(), "?")])
            for role in ("developer", "system")
        }
        assert len(texts) == 1

    def test_the_tokenizers_own_template_does_the_same(self, processor):
        """vLLM asks the tokenizer."""
        messages = [user(clip(), "?")]
        assert processor.tokenizer.apply_chat_template(messages, tokenize=False) == processor.apply_chat_template(
            messages
        )

    def test_qwen3_does_not_think_unless_asked_to(self):
        processor = tiny_model("qwen3")[1]
        quiet, thinking = (
            processor.apply_chat_template([user("?")], add_generation_prompt=True, **options)
            for options in ({}, {"enable_thinking": True})
        )
        assert quiet.endswith("<think>\n\n</think>\n\n") and thinking.endswith("assistant\n")

    def test_a_template_is_wrapped_once(self, processor):
        template = processor.chat_template
        assert FASAudioProcessor(processor.tokenizer, chat_template=template).chat_template == template

    def test_a_tokenizer_without_template_is_refused(self):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = None
        with pytest.raises(FASError, match="instruct"):
            FASAudioProcessor(tokenizer)

    @pytest.mark.parametrize("content", [f"hi {AUDIO_TOKEN}", [{"type": "text", "text": AUDIO_TOKEN}]])
    def test_a_placeholder_typed_as_text_is_refused(self, processor, content):
        messages = [{"role": "user", "content": content}]
        with pytest.raises(FASError, match="message 0: .*typed as text"):
            processor.apply_chat_template(messages)
        with pytest.raises(Exception, match="typed as text"):  # a server that knows the template only
            processor.tokenizer.apply_chat_template(messages, tokenize=False)

    @pytest.mark.parametrize(
        "messages",
        [
            [],
            "hello",
            user("?"),
            [{"role": "user"}],
            [{"role": "user", "content": [{"type": "image"}]}],
            [user() | {"content": 3}],
            [user("?") | {"role": "human"}],
            [{"content": "no role"}],
            [user("?"), "hello"],
        ],
    )
    def test_messages_of_another_form_are_refused(self, processor, messages):
        with pytest.raises(FASError, match="message"):
            processor.apply_chat_template(messages)

    def test_a_call_of_a_tool_has_no_content(self, processor):
        call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
        assert "assistant\n<|im_end|>" in processor.apply_chat_template(
            [user("?"), call, {"role": "tool", "content": "1"}]
        )


GENERATION = (
    "{%- for message in messages -%}{{- '<|im_start|>' ~ message.role ~ '\\n' -}}{%- if message.role == 'assistant' -%}"
    "{%- generation -%}{{- message.content ~ '<|im_end|>' -}}{%- endgeneration -%}{{- '\\n' -}}"
    "{%- else -%}{{- message.content ~ '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}"
)
ALWAYS_THINKS = CHATML.replace("assistant\\n'", "assistant\\n<think>\\n'")


class TestThinkingOnly:
    """A template that opens a thought in every answer, without a switch (Qwen3-Thinking-2507, DeepSeek-R1)."""

    @pytest.mark.parametrize("tail", ["<think>\\n", "<think>"])
    def test_the_thought_is_closed_unless_it_is_asked_for(self, tail):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = CHATML.replace("assistant\\n'", f"assistant\\n{tail}'")
        processor = FASAudioProcessor(tokenizer)
        quiet, thinking, whole = (
            processor.apply_chat_template([user("?")], **options)
            for options in (
                {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": True}, {},
            )
        )  # fmt: skip
        assert quiet.endswith("assistant\n<think>\n\n</think>\n\n") and "think" not in whole
        assert thinking.endswith("assistant\n" + tail.replace("\\n", "\n"))
        assert tokenizer.apply_chat_template([user("?")], tokenize=False, add_generation_prompt=True) == quiet
        assert (
            FASAudioProcessor(tokenizer, chat_template=processor.chat_template).chat_template == processor.chat_template
        )

    def test_a_lettered_answer_follows_the_closed_thought(self):
        parts = tiny_language_model(), tiny_tokenizer()
        parts[1].chat_template = ALWAYS_THINKS
        model, processor = FASAudioForConditionalGeneration.from_parts(shared_fas(), parts)
        batch = tokenized(processor, [user(clip(), "Which?")])
        assert processor.decode(batch["input_ids"][0]).endswith("</think>\n\n")
        letters = option_token_ids(processor.tokenizer)
        assert torch.isfinite(model(**batch).logits[0, -1, letters]).all()


CHAT = inspect.signature(ProcessorMixin.apply_chat_template).parameters


class TestOptions:
    """Every option of transformers' processors works or is refused; none is ignored."""

    def test_the_arguments_are_those_of_transformers(self, processor):
        own = inspect.signature(processor.apply_chat_template).parameters
        assert set(CHAT) - {"self"} <= set(own)

    @pytest.mark.parametrize("option", ["max_lenght", "images", "reasoning_effort", "stride", "text_pair"])
    @pytest.mark.parametrize("way", ["chat", "processor_kwargs", "call"])
    def test_what_is_not_known_is_refused(self, processor, option, way):
        with pytest.raises(FASError, match=option):
            if way == "call":
                processor(text="hello", **{option: 3})
            else:
                given = {option: 3} if way == "chat" else {"processor_kwargs": {option: 3}}
                processor.apply_chat_template([user("hello")], tokenize=True, **given)

    @pytest.mark.parametrize("option", ["tools", "documents", "load_audio_from_video", "enable_thinking"])
    def test_what_the_template_would_leave_out_is_refused(self, processor, option):
        with pytest.raises(FASError, match=option):
            processor.apply_chat_template([user("hello")], **{option: [{"title": "a", "text": "b"}]})

    def test_tools_documents_and_variables_reach_a_template_that_has_them(self, processor):
        template = "{{ tools[0].name }} {{ documents[0].text }} {{ mood }} {{ messages[0].content }}"
        text = processor.apply_chat_template(
            [user("hello")], template, tools=[{"name": "search"}], documents=[{"text": "Berlin"}], mood="calm"
        )
        assert text == "search Berlin calm hello"

    @pytest.mark.parametrize("return_tensors", ["pt", "np", None])
    def test_tensors(self, processor, return_tensors):
        batch = tokenized(processor, [user(clip(), "?")], [user("none")], return_tensors=return_tensors)
        kind = {"pt": torch.Tensor, "np": np.ndarray, None: list}[return_tensors]
        assert isinstance(batch["input_ids"], kind) and len(batch["audio_mels"]) == 1
        with pytest.raises(FASError, match="return_tensors"):
            tokenized(processor, [user("none")], return_tensors="tf")

    def test_padding(self, processor):
        rows = [user("a")], [user("a longer one")]
        assert len({len(r) for r in tokenized(processor, *rows, padding=False, return_tensors=None)["input_ids"]}) == 2
        assert tokenized(processor, *rows, padding="max_length", max_length=64)["input_ids"].shape == (2, 64)
        assert tokenized(processor, *rows, pad_to_multiple_of=16)["input_ids"].shape[1] % 16 == 0
        assert tokenized(processor, *rows, padding_side="right")["attention_mask"][:, 0].all()
        with pytest.raises(FASError, match="tokenizer: .*padding"):
            tokenized(processor, *rows, padding=False)

    @pytest.mark.parametrize("way", [{"max_length": 20}, {"truncation": True}, {"padding": "max_length"}])
    def test_a_length_that_would_do_nothing_is_refused(self, processor, way):
        with pytest.raises(FASError, match="max_length"):
            tokenized(processor, [user("hello")], **way)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_text_is_cut_and_audio_never(self, side):
        processor = tiny_model()[1]
        processor.tokenizer.truncation_side = side
        options = {"truncation": True, "max_length": 12}
        assert tokenized(processor, [user("word " * 50)], **options)["input_ids"].shape == (1, 12)
        parts = ("word " * 50, clip(31)) if side == "right" else (clip(31), "word " * 50)
        with pytest.raises(FASError, match="text 1: truncation.* leaves 0 of its 4 audio tokens"):
            tokenized(processor, [user("short")], [user(*parts)], **options)

    def test_groups_of_options_and_contradictions(self, processor):
        groups = {"audio_kwargs": {"sampling_rate": 8_000}, "text_kwargs": {"padding": "max_length", "max_length": 40}}
        batch = processor.apply_chat_template([user(clip(), "?")], tokenize=True, processor_kwargs=groups)
        assert batch["input_ids"].shape == (1, 40) and int(batch["audio_window_lengths"][0]) > 150
        with pytest.raises(FASError, match="'sampling_rate' is given twice"):
            processor.apply_chat_template(
                [user(clip())], tokenize=True, sampling_rate=16_000, processor_kwargs={"sampling_rate": 8_000}
            )

    @pytest.mark.parametrize("cut", [{}, {"truncation": True, "max_length": 30}])
    @pytest.mark.parametrize("return_tensors", ["pt", "np"])
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_the_mask_of_the_assistant_is_its_words(self, processor, return_tensors, side, cut):
        answer = {"role": "assistant", "content": "sad"}
        batch = processor.apply_chat_template(
            [[user(clip(31), "?"), answer, user("Why?"), answer], [user("short"), answer]], GENERATION, tokenize=True,
            return_assistant_tokens_mask=True, sampling_rate=16_000, return_tensors=return_tensors, padding_side=side, **cut,
        )  # fmt: skip
        ids, masks = batch["input_ids"], batch["assistant_masks"]
        assert type(ids) is type(masks) and ids.shape == masks.shape
        spoken = [processor.decode(row[mask.astype(bool) if return_tensors == "np" else mask.bool()])
                  for row, mask in zip(ids, masks, strict=True)]  # fmt: skip
        assert spoken == ["sad<|im_end|>" * (1 if cut else 2), "sad<|im_end|>"]

    def test_a_template_that_marks_nothing_gives_no_mask_of_zeros(self, processor):
        with pytest.raises(FASError, match="generation"):
            tokenized(processor, [user("?")], return_assistant_tokens_mask=True)

    def test_the_last_message_is_continued(self, processor):
        messages = [user("How?"), {"role": "assistant", "content": "She sounds"}]
        assert processor.apply_chat_template(messages, continue_final_message=True).endswith("assistant\nShe sounds")
        with pytest.raises(FASError, match="not compatible"):
            processor.apply_chat_template(messages, continue_final_message=True, add_generation_prompt=True)

    def test_an_error_does_not_repeat_the_conversation(self, processor):
        messages = [user("How?"), {"role": "assistant", "content": "a secret"}]
        with pytest.raises(FASError) as caught:
            processor.apply_chat_template(messages, "{{ 'nothing' }}content", continue_final_message=True)
        assert "secret" not in str(caught.value)

    def test_input_ids_alone_and_batches_of_conversations(self, processor):
        one = processor.apply_chat_template([user("a")], tokenize=True, return_dict=False)
        many = processor.apply_chat_template(([user("a")], [user("a")]), tokenize=True, return_dict=False)
        assert one.shape[0] == 1 and torch.equal(many[:1], one) and len(many) == 2


@pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_a_developer_is_the_system(processor, content):
    system, developer = ([{"role": role, "content": content}, user("?")] for role in ("system", "developer"))
    expected = processor.apply_chat_template(system)
    assert processor.apply_chat_template(developer) == expected
    assert processor.tokenizer.apply_chat_template(developer, tokenize=False) == expected, "vLLM asks the tokenizer"


class Decoder:
    """As torchcodec's AudioDecoder, which datasets gives."""

    def get_all_samples(self):
        return SimpleNamespace(data=torch.from_numpy(np.stack([clip(0.8, 1)] * 2)), sample_rate=44_100)


class TestAudio:
    @pytest.mark.parametrize(
        "form", ["rate beside it", "tensor", "pair", "turned pair", "mapping", "bytes", "path", "decoder", "int16"]
    )
    @pytest.mark.parametrize("way", ["part", "call"])
    def test_an_array_says_its_own_rate(self, processor, form, way, tmp_path):
        samples = clip(0.8, 1)
        (tmp_path / "a.wav").write_bytes(wav(samples, 44_100))
        value = {
            "rate beside it": samples, "tensor": torch.from_numpy(samples), "pair": (samples, 44_100),
            "turned pair": (44_100, samples), "mapping": {"array": samples, "sampling_rate": 44_100, "path": None},
            "bytes": {"bytes": wav(samples, 44_100), "path": None}, "path": {"bytes": None, "path": str(tmp_path / "a.wav")},
            "decoder": Decoder(), "int16": ((samples * 32767).astype(np.int16), 44_100),
        }[form]  # fmt: skip
        beside = {"sampling_rate": 44_100} if form in ("rate beside it", "tensor") else {}
        if way == "call":
            batch = processor(text=AUDIO_TOKEN, audio=value, **beside)
        else:
            batch = tokenized(processor, [{"role": "user", "content": [{"type": "audio", "audio": value} | beside]}])
        expected = processor(text=AUDIO_TOKEN, audio=samples, sampling_rate=44_100)
        torch.testing.assert_close(batch["audio_mels"][0], expected["audio_mels"][0], rtol=0, atol=0.02)

    @pytest.mark.parametrize(
        "part",
        [{"audio": {}}, {"audio": {"text": "a"}}, {"audio": 3}, {"audio": "a.wav", "path": "b.wav"},
         {"path": "a.wav", "sampling_rate": 8_000}, {"type": "input_audio", "input_audio": 3}, {"type": "audio_url"}],
    )  # fmt: skip
    def test_a_part_that_is_no_audio_is_one_error(self, processor, part):
        with pytest.raises(FASError):
            tokenized(processor, [{"role": "user", "content": [{"type": "audio"} | part]}])

    @pytest.mark.parametrize("kind", ["array", "path", "file url", "data url", "bytes", "input_audio", "audio_url"])
    def test_every_way_to_give_an_audio_is_the_same(self, processor, kind, tmp_path):
        samples = clip(0.8)
        path = tmp_path / "a clip.wav"
        path.write_bytes(wav(samples))
        coded = base64.b64encode(wav(samples)).decode()
        part = {
            "array": {"type": "audio", "audio": samples},
            "bytes": {"type": "audio", "audio": wav(samples)},
            "path": {"type": "audio", "path": str(path)},
            "file url": {"type": "audio", "url": path.as_uri()},
            "data url": {"type": "audio", "url": f"data:audio/wav;base64,{coded}"},
            "input_audio": {"type": "input_audio", "input_audio": {"data": coded, "format": "wav"}},
            "audio_url": {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{coded}"}},
        }[kind]
        batch = tokenized(processor, [{"role": "user", "content": [part]}])
        torch.testing.assert_close(batch["audio_mels"][0], processor.prepare_audio(samples)[0], rtol=0, atol=0)

    @pytest.mark.parametrize("url", ["http://127.0.0.1/a.wav", "https://example.com/a.wav", "ftp://x/a.wav"])
    def test_the_network_is_not_asked(self, processor, url):
        with pytest.raises(AudioError, match="is not fetched here"):
            tokenized(processor, [{"role": "user", "content": [{"type": "audio", "url": url}]}])

    def test_damaged_base64_and_a_part_without_audio_are_refused(self, processor):
        with pytest.raises(AudioError, match="base64"):
            tokenized(processor, [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}])
        with pytest.raises(FASError, match="without audio"):
            tokenized(processor, [{"role": "user", "content": [{"type": "audio"}]}])

    def test_another_rate_is_resampled(self, processor):
        batch = processor(text=AUDIO_TOKEN, audio=clip(1.0), sampling_rate=8_000)
        assert int(batch["audio_window_lengths"][0][0]) > 150  # 2 s of 10 ms mel frames, less what is trimmed

    def test_an_array_needs_its_rate(self, processor):
        with pytest.raises(AudioError, match="sampling_rate"):
            processor(text=AUDIO_TOKEN, audio=clip(1.0))

    @pytest.mark.parametrize("samples", [np.zeros(399, np.float32), np.zeros((2, 16_000), np.float32)])
    def test_what_is_no_audio_is_refused(self, processor, samples):
        with pytest.raises(AudioError):
            processor.prepare_audio(samples)

    def test_silence_and_a_very_short_clip_are_audio(self, processor):
        for samples in (np.zeros(16_000, np.float32), clip(0.026)):
            mel, lengths = processor.prepare_audio(samples)
            assert mel.dtype == torch.float32 and mel.shape[1] == lengths.sum() and torch.isfinite(mel).all()

    def test_windows_padded_to_30_s_say_how_much_of_them_is_real(self):
        processor = FASAudioProcessor(tiny_tokenizer(), padding="30s")
        mel, lengths = processor.prepare_audio(clip(31.0))
        assert mel.shape == (80, 6000) and 0 < int(lengths[1]) <= 100


class TestBatch:
    def test_rows_pad_on_the_left_and_audios_are_one_flat_list(self, processor):
        batch = tokenized(
            processor, [user(clip(1.0), "short")], [user(clip(31), clip(2), "a longer text")], [user("none")]
        )
        assert audio_tokens(processor, batch) == [2, 6, 0]
        assert len(batch["audio_mels"]) == len(batch["audio_window_lengths"]) == 3
        assert batch["attention_mask"][:, -1].tolist() == [1, 1, 1] and batch["attention_mask"][2, 0] == 0

    @pytest.mark.parametrize(("text", "audios"), [("no placeholder", 1), (AUDIO_TOKEN, 0), (AUDIO_TOKEN * 2, 1)])
    def test_placeholders_and_audios_are_counted(self, processor, text, audios):
        placeholders = text.count(AUDIO_TOKEN)
        with pytest.raises(FASError, match=f"{placeholders} .* placeholders for {audios} audios"):
            processor(text=text, audio=[clip()] * audios, sampling_rate=16_000)

    def test_a_batch_moves_and_its_mels_stay_float32(self, processor):
        batch = tokenized(processor, [user(clip(1.0), "?")]).to("cpu", torch.bfloat16)
        assert batch["audio_mels"][0].dtype == torch.float32 and batch["input_ids"].dtype == torch.int64

    def test_text_alone_needs_no_audio(self, processor):
        assert "audio_mels" not in tokenized(processor, [user("hello")])


def test_a_saved_processor_is_the_same(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, FASAudioProcessor)
    conversation = [user(clip(1.0), "Why?")]
    here, there = (tokenized(p, conversation) for p in (processor, loaded))
    assert torch.equal(here["input_ids"], there["input_ids"]) and torch.equal(
        here["audio_mels"][0], there["audio_mels"][0]
    )
    assert loaded.tokenizer.padding_side == "left" and loaded.front_end == processor.front_end
