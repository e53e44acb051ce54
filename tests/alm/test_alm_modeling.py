"""The model: the features that it hears, embeddings in their places, generation, training mode, types, saving."""

import copy

import pytest
import torch
from alm_tiny import KINDS, clip, save_tiny_fas, shared_fas, tiny_language_model, tiny_model, tiny_tokenizer, user
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM, GPT2Config, GPT2LMHeadModel

from fas_alm import FASAudioConfig, FASAudioForConditionalGeneration
from fas_alm.tower import AudioTower, audio_tokens
from fas_core.batching import collate
from fas_core.errors import CheckpointError, FASError
from fas_core.frontend import FrontEnd
from fas_core.pipeline import EmotionPipeline

CONVERSATIONS = (
    [user(clip(1.0), "How does she sound?")],
    [user(clip(30.5, 1), "and", clip(0.3, 2), "do they agree, in a few words of your own?")],
    [user("No audio here.")],
)


@pytest.fixture(scope="module")
def parts():
    return tiny_model()


@pytest.fixture(scope="module")
def model(parts):
    return parts[0]


@pytest.fixture(scope="module")
def processor(parts):
    return parts[1]


def inputs(processor, *conversations):
    return processor.apply_chat_template(
        list(conversations), tokenize=True, add_generation_prompt=True, sampling_rate=16_000
    )


class TestFeatures:
    @pytest.mark.parametrize("seconds", [0.03, 0.7, 3.33, 30.0])
    def test_they_are_those_of_fas_core_on_the_same_window(self, model, processor, seconds):
        samples = clip(seconds, 5)
        pipeline = EmotionPipeline.from_pretrained(shared_fas(), device="cpu")
        expected = collate(pipeline.extractor([samples]))
        mel, lengths = processor.prepare_audio(samples)
        found = model.audio_tower([mel], [lengths])
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            logits = model.fas(**found).logits
            torch.testing.assert_close(logits, pipeline.model(**expected).logits, rtol=1e-5, atol=1e-5)

    def test_an_audio_is_heard_the_same_alone_and_in_a_batch(self, model, processor):
        prepared = [processor.prepare_audio(clip(s, i)) for i, s in enumerate((2.0, 0.4, 31.0, 7.0))]
        together = model.get_audio_features(*zip(*prepared, strict=True))
        for (mel, lengths), rows in zip(prepared, together, strict=True):
            torch.testing.assert_close(model.get_audio_features([mel], [lengths])[0], rows, rtol=1e-5, atol=1e-5)

    def test_long_audio_is_its_windows_in_order_each_through_the_front_end_by_itself(self, model, processor):
        samples = clip(65.0, 3)
        samples[480_000:] *= 0.05  # the level of one window must not reach the next
        whole = model.get_audio_features(*[[part] for part in processor.prepare_audio(samples)])[0]
        windows = [samples[:480_000], samples[480_000:960_000], samples[960_000:]]
        pieces = [model.get_audio_features(*[[part] for part in processor.prepare_audio(w)])[0] for w in windows]
        torch.testing.assert_close(whole, torch.cat(pieces), rtol=1e-5, atol=1e-5)
        assert whole.shape == (6, model.config.hidden_size)

    def test_a_30_s_window_is_encoded_as_fas_core_does(self, tmp_path):
        fas = EmotionPipeline.from_pretrained(shared_fas(), device="cpu")
        for encoder in (fas.extractor.acoustic, fas.extractor.semantic):
            encoder.padding = "30s"
        for stream in ("acoustic", "semantic"):
            fas.model.config.streams[stream]["padding"] = "30s"
        model, processor = FASAudioForConditionalGeneration.from_parts(fas, (tiny_language_model(), tiny_tokenizer()))
        samples = clip(31.0)
        mel, lengths = processor.prepare_audio(samples)
        found = model.audio_tower([mel], [lengths])
        expected = collate(fas.extractor([samples[:480_000], samples[480_000:]]))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)

    def test_mel_frames_that_the_lengths_do_not_explain_are_refused(self, model):
        with pytest.raises(FASError, match="100 mel frames for windows of \\[98\\]"):
            model.get_audio_features([torch.zeros(80, 100)], [torch.tensor([98])])


@pytest.fixture(scope="module")
def distilled():
    return tiny_model(audio_tokens="distilled")


class TestDistilled:
    def test_a_window_is_the_kept_tokens_of_both_streams(self, distilled):
        model, processor = distilled
        assert model.config.tokens_per_window == 10
        batch = inputs(processor, [user(clip(31.0), "?")])
        assert int((batch["input_ids"] == processor.audio_token_id).sum()) == 20
        assert model(**batch).logits.isfinite().all()

    def test_they_are_fas_cores_tokens_and_zero_where_a_clip_has_fewer(self, distilled):
        model, processor = distilled
        mel, lengths = processor.prepare_audio(clip(0.25))  # 3 patches for k of 4 and 6
        features = model.audio_tower([mel], [lengths])
        tokens, mask = audio_tokens(model.fas, features, "distilled")
        with torch.no_grad():
            kept = model.fas(**features)
        assert mask.tolist() == [[True] * 3 + [False] + [True] * 3 + [False] * 3]
        torch.testing.assert_close(tokens[0, :3], kept.acoustic_kept.tokens[0])
        torch.testing.assert_close(tokens[0, 4:7], kept.semantic_kept.tokens[0])
        rows = model.get_audio_features([mel], [lengths])[0]
        assert (rows[~mask[0]] == 0).all() and (rows[mask[0]].abs().sum(1) > 0).all()

    def test_a_fas_that_keeps_all_tokens_gives_those_of_highest_energy(self, tmp_path):
        fas = save_tiny_fas(tmp_path, selection="all", token_norm=True)
        model, processor = tiny_model(audio_tokens="distilled", fas=fas)
        mel, lengths = processor.prepare_audio(clip(3.0))
        features = model.audio_tower([mel], [lengths])
        tokens, mask = audio_tokens(model.fas, features, "distilled")
        kept = model.fas(**features).acoustic_kept
        best = kept.scores[0].topk(4).indices.sort().values
        torch.testing.assert_close(tokens[0, :4], model.fas.fas.token_norm["acoustic"](kept.tokens[0, best]))
        assert tokens.shape == (1, 10, 16) and mask.all()


@pytest.mark.parametrize(
    ("overrides", "tokens", "width"),
    [
        ({"num_queries": 4}, 4, 16),
        ({"fusion": "concat"}, 1, 32),
        ({"fusion": "gated"}, 1, 16),
        ({"learnable_queries": False, "summary": "mean"}, 1, 16),
    ],
)
def test_every_fusion_of_fas_gives_its_tokens(overrides, tokens, width, tmp_path):
    model, processor = tiny_model(fas=save_tiny_fas(tmp_path, **overrides))
    assert (model.config.tokens_per_window, model.config.audio_token_size) == (tokens, width)
    assert model(**inputs(processor, [user(clip(31.0), "?")])).logits.isfinite().all()


class TestForward:
    def test_audio_stands_where_its_tokens_are_row_by_row(self, model, processor):
        batch = inputs(processor, *CONVERSATIONS)
        embeddings = model.embed(batch["input_ids"], batch["audio_mels"], batch["audio_window_lengths"])
        is_audio = batch["input_ids"] == processor.audio_token_id
        rows = model.get_audio_features(batch["audio_mels"], batch["audio_window_lengths"])
        torch.testing.assert_close(embeddings[0, is_audio[0]], rows[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(embeddings[1, is_audio[1]], torch.cat(rows[1:]), rtol=1e-5, atol=1e-6)
        text = model.get_input_embeddings()(batch["input_ids"])
        torch.testing.assert_close(embeddings[~is_audio], text[~is_audio])

    @pytest.mark.parametrize("missing", ["audio", "token"])
    def test_tokens_and_embeddings_that_differ_are_told_both(self, model, processor, missing):
        batch = inputs(processor, CONVERSATIONS[1])
        if missing == "audio":
            batch = {key: value[:1] if key.startswith("audio") else value for key, value in batch.items()}
        else:
            batch["input_ids"] = batch["input_ids"].clone()
            position = (batch["input_ids"][0] == processor.audio_token_id).nonzero()[0]
            batch["input_ids"][0, position] = 5
        expected = "6 audio tokens for 4 " if missing == "audio" else "5 audio tokens for 6 "
        with pytest.raises(FASError, match=expected):
            model(**batch)

    def test_a_placeholder_without_audio_is_an_error_and_not_a_row_of_the_table(self, model, processor):
        with pytest.raises(FASError, match="1 audio tokens for 0 "):
            model(input_ids=torch.tensor([[5, processor.audio_token_id]]))

    def test_features_of_a_cache_are_as_good_as_mels(self, model, processor):
        batch = inputs(processor, CONVERSATIONS[0])
        front_end = FrontEnd()(CONVERSATIONS[0][0]["content"][0]["audio"]).samples
        assert len(front_end)
        pipeline = EmotionPipeline.from_pretrained(shared_fas(), device="cpu")
        cached = collate(pipeline.extractor([CONVERSATIONS[0][0]["content"][0]["audio"]]))
        text = {key: batch[key] for key in ("input_ids", "attention_mask")}
        logits = model(**text, audio_features=cached).logits
        torch.testing.assert_close(logits, model(**batch).logits, rtol=1e-4, atol=1e-3)

    def test_loss_is_on_the_labels_only(self, model, processor):
        batch = inputs(processor, CONVERSATIONS[0])
        labels = torch.full_like(batch["input_ids"], -100)
        labels[:, -1] = 7
        output = model(**batch, labels=labels)
        expected = torch.nn.functional.cross_entropy(output.logits[:, -2], torch.tensor([7]))
        torch.testing.assert_close(output.loss, expected)

    def test_another_voice_gives_other_logits(self, model, processor):
        one, two = (model(**inputs(processor, [user(clip(1.0, seed), "?")])).logits[:, -1] for seed in (1, 9))
        assert (one - two).abs().max() > 1e-3


class TestGenerate:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_batch_equals_its_rows(self, kind):
        model, processor = tiny_model(kind)
        options = dict(max_new_tokens=8, do_sample=False)
        batch = inputs(processor, *CONVERSATIONS)
        together = model.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
        for conversation, row in zip(CONVERSATIONS, together, strict=True):
            single = inputs(processor, conversation)
            alone = model.generate(**single, **options)
            assert torch.equal(alone[:, : single["input_ids"].shape[1]], single["input_ids"]), "the prompt comes first"
            answer = alone[0, single["input_ids"].shape[1] :]
            assert torch.equal(answer, row[: len(answer)])

    def test_padding_takes_no_position(self):
        """Rotary embeddings would not show it; learned positions do."""
        tokenizer = tiny_tokenizer()
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=256, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3,
            bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        llm = GPT2LMHeadModel(config).eval()
        model, processor = FASAudioForConditionalGeneration.from_parts(shared_fas(), (llm, tokenizer))
        batch = inputs(processor, *CONVERSATIONS)
        options = dict(max_new_tokens=5, do_sample=False, pad_token_id=0)
        together = model.generate(**batch, **options)[:, batch["input_ids"].shape[1] :]
        for conversation, row in zip(CONVERSATIONS, together, strict=True):
            single = inputs(processor, conversation)
            answer = model.generate(**single, **options)[0, single["input_ids"].shape[1] :]
            assert torch.equal(answer, row[: len(answer)])

    def test_it_is_what_forward_says_step_by_step(self, model, processor):
        batch = inputs(processor, CONVERSATIONS[0])
        sequence = model.generate(**batch, max_new_tokens=4, do_sample=False)
        audio = {key: batch[key] for key in ("audio_mels", "audio_window_lengths")}
        logits = model(input_ids=sequence, **audio).logits
        prompt = batch["input_ids"].shape[1]
        assert torch.equal(logits[0, prompt - 1 : -1].argmax(-1), sequence[0, prompt:])

    def test_several_answers_and_beams(self, model, processor):
        batch = inputs(processor, *CONVERSATIONS[:2])
        for options in (dict(num_beams=2), dict(do_sample=True, num_return_sequences=2)):
            out = model.generate(**batch, max_new_tokens=3, **options)
            assert len(out) == 2 * options.get("num_return_sequences", 1)

    def test_an_answer_never_holds_the_audio_token(self, processor):
        model, processor = tiny_model(tie=False)
        with torch.no_grad():
            head = model.get_output_embeddings().weight
            head[processor.audio_token_id] = head.abs().max() * 100
        batch = inputs(processor, CONVERSATIONS[0])
        answer = model.generate(**batch, max_new_tokens=6, do_sample=False)[0, batch["input_ids"].shape[1] :]
        assert processor.audio_token_id not in answer.tolist()


class TestParts:
    @pytest.mark.parametrize("tie", [True, False])
    @pytest.mark.parametrize("rows", [None, 512])
    def test_the_audio_token_is_inside_the_vocabulary(self, rows, tie):
        model, processor = tiny_model(rows=rows, tie=tie)
        table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert len(table) == len(head) == (512 if rows else 448) == model.config.vocab_size
        assert processor.audio_token_id < len(table)
        assert (table.data_ptr() == head.data_ptr()) == tie == model.config.tie_word_embeddings
        if rows is None:
            old = table[: processor.audio_token_id]
            torch.testing.assert_close(table[processor.audio_token_id], old.mean(0))

    def test_a_table_that_grows_changes_the_configuration(self):
        model, processor = tiny_model()
        model.resize_token_embeddings(600)
        assert model.config.vocab_size == model.language_model.config.vocab_size == 600
        batch = inputs(processor, CONVERSATIONS[0])
        assert model(**batch, labels=batch["input_ids"]).logits.shape[-1] == 600

    def test_streams_that_are_not_one_whisper_are_refused(self, model):
        for change in ({"type": "soundstream", "model": "a.tflite"}, {"type": "whisper", "model": "another"}):
            config = copy.deepcopy(model.config).to_dict()
            config["fas_config"]["streams"]["acoustic"] = change
            with pytest.raises(CheckpointError, match="fas_config.streams.*one Whisper"):
                FASAudioConfig(**config)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("audio_token_id", 10**6), ("audio_tokens", "all"), ("option_temperature", 0), ("encoder_config", None)],
    )
    def test_a_bad_field_is_named(self, model, field, value):
        with pytest.raises(CheckpointError, match=field):
            FASAudioConfig(**copy.deepcopy(model.config).to_dict() | {field: value})

    def test_a_pipeline_that_was_given_is_not_touched(self):
        pipeline = EmotionPipeline.from_pretrained(shared_fas(), device="cpu")
        model, _ = FASAudioForConditionalGeneration.from_parts(pipeline, (tiny_language_model(), tiny_tokenizer()))
        with torch.no_grad():
            next(model.fas.parameters()).add_(1)
        ours, theirs = next(model.fas.parameters()), next(pipeline.model.parameters())
        assert not torch.equal(ours, theirs)


class TestTraining:
    def test_only_the_projector_is_trainable_at_first(self, model):
        names = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        assert names == {"multi_modal_projector"}

    def test_frozen_parts_stay_in_evaluation_mode(self):
        model, _ = tiny_model()
        model.train()
        assert model.language_model.training and not model.fas.training and not model.audio_tower.training
        model.freeze_parts(fas=False).train()
        assert model.fas.training and not model.audio_tower.training

    @pytest.mark.parametrize("train_fas", [False, True])
    def test_a_step_reaches_projector_lora_and_fas_and_nothing_else(self, train_fas):
        model, processor = tiny_model()
        model.freeze_parts(fas=not train_fas)
        model.language_model = get_peft_model(model.language_model, LoraConfig(r=2, target_modules="all-linear"))
        model.gradient_checkpointing_enable()
        model.train()
        batch = inputs(processor, CONVERSATIONS[0])
        model(**batch, labels=batch["input_ids"]).loss.backward()
        with_gradient = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert with_gradient == {"multi_modal_projector", "language_model"} | ({"fas"} if train_fas else set())
        assert all("lora" in n for n, p in model.language_model.named_parameters() if p.grad is not None)

    def test_lora_generates(self):
        model, processor = tiny_model()
        plain = model.generate(**inputs(processor, CONVERSATIONS[0]), max_new_tokens=4, do_sample=False)
        lora = LoraConfig(r=2, target_modules="all-linear")  # B starts at zero: nothing changes yet
        model.language_model = get_peft_model(model.language_model, lora)
        assert torch.equal(
            model.eval().generate(**inputs(processor, CONVERSATIONS[0]), max_new_tokens=4, do_sample=False), plain
        )


class TestTypes:
    @pytest.mark.parametrize("cast", [lambda m: m.to(torch.bfloat16), lambda m: m.bfloat16(), lambda m: m.half()])
    def test_a_cast_reaches_the_language_model_only(self, cast):
        model, processor = tiny_model()
        before = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("language_model")}
        model = cast(model)
        assert model.dtype in (torch.bfloat16, torch.float16)
        for name, value in before.items():
            assert torch.equal(model.state_dict()[name], value), name
        if model.dtype == torch.bfloat16:
            assert model(**inputs(processor, CONVERSATIONS[0])).logits.dtype == torch.bfloat16

    def test_audio_is_heard_in_float32_under_autocast(self, model, processor):
        prepared = [[part] for part in processor.prepare_audio(clip(2.0))]
        plain = model.get_audio_features(*prepared)[0]
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.get_audio_features(*prepared)[0], plain)


class TestSaving:
    @pytest.mark.parametrize("tie", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_round_trip(self, kind, tie, tmp_path):
        model, processor = tiny_model(kind, tie=tie)
        model.save_pretrained(tmp_path)
        auto = AutoModelForMultimodalLM if tie else AutoModelForCausalLM
        loaded = auto.from_pretrained(tmp_path)
        assert isinstance(loaded, FASAudioForConditionalGeneration)
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value), name
        tables = loaded.get_input_embeddings().weight, loaded.get_output_embeddings().weight
        assert (tables[0].data_ptr() == tables[1].data_ptr()) == tie
        batch = inputs(processor, CONVERSATIONS[0])
        torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-3)
        options = dict(max_new_tokens=4, do_sample=False)
        assert torch.equal(loaded.generate(**batch, **options), model.generate(**batch, **options))

    def test_a_language_model_in_half_precision_comes_back_so_and_the_rest_in_float32(self, tmp_path):
        model, processor = tiny_model()
        model.to(torch.bfloat16).save_pretrained(tmp_path)
        loaded = FASAudioForConditionalGeneration.from_pretrained(tmp_path)
        for name, value in model.state_dict().items():
            assert loaded.state_dict()[name].dtype == value.dtype, name
            assert torch.equal(loaded.state_dict()[name], value), name
        assert loaded(**inputs(processor, CONVERSATIONS[0])).logits.isfinite().all()

    def test_the_configuration_comes_back(self, model, tmp_path):
        model.config.save_pretrained(tmp_path)
        config = AutoConfig.from_pretrained(tmp_path)
        here, there = (c.fas_config.to_diff_dict() | {"_name_or_path": ""} for c in (model.config, config))
        assert isinstance(config, FASAudioConfig) and here == there
        assert config.text_config.architectures == ["Qwen2ForCausalLM"]
        assert config.tokens_per_window == 2 and config.audio_token_id == model.config.audio_token_id
        assert str(shared_fas().parent) not in str(config.text_config) + str(config.encoder_config)

    def test_a_tower_by_itself_takes_the_weights(self, model):
        """What the vLLM plugin does."""
        tower = AudioTower(model.config)
        tower.load_state_dict(model.audio_tower.state_dict())
        mel = torch.randn(80, 60)
        found, expected = (t([mel], [torch.tensor([60])]) for t in (tower, model.audio_tower))
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
