"""From messages to a batch: windows, placeholders, the chat template, padding."""

import base64
import io

import numpy as np
import pytest
import soundfile as sf
import torch
from alm_tiny import clip, tiny_model, tiny_tokenizer, user
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor

from fas_alm.processing import FASAudioProcessor
from fas_alm.windows import AUDIO_TOKEN, count_windows, cut_windows
from fas_core.errors import AudioError, FASError


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
        [[], [{"role": "user"}], [{"role": "user", "content": [{"type": "image"}]}], [user() | {"content": 3}]],
    )
    def test_messages_of_another_form_are_refused(self, processor, messages):
        with pytest.raises(FASError, match="message"):
            processor.apply_chat_template(messages)


class TestAudio:
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
