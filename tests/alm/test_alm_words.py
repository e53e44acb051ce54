"""The adapter hears both: how words stand in a prompt, what is asked of them, how answers are read, and that training learns it."""

import json
import re

import numpy as np
import pytest
import soundfile
from alm_corpus import train_fas, write_corpus
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, tiny_model, user
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_transcriber import save_tiny_transcriber

from experiments import adapter as alm_study
from experiments.adapter_scores import Wanted, evaluate, load_rows
from experiments.adapter_words import conflict_metrics, written_conflict
from fas_alm import load_adapter
from fas_alm.conversations import Conversation, Question
from fas_alm.conversations.questions import LETTERED, conflicts
from fas_alm.conversations.reading import read_conflict, read_words
from fas_alm.listening import LazyListener, WhisperListener
from fas_alm.prompts import LANGUAGES, conflict_probability
from fas_alm.scorer import Scorer
from fas_alm.training import adapter as run
from fas_alm.training.transcripts import KeptWords
from fas_alm.transcript import LONGEST, Said, given_words, is_transcript, quotable, transcript_line, with_transcripts
from fas_core.errors import CheckpointError, FASError
from fas_core.labels import EMOTIONS
from fas_core.words.types import NoWords, Words

emotions = st.sampled_from(EMOTIONS)
TEXTS = {"angry": "I hate you so much.", "happy": "What a lovely day.", "sad": "I miss her every night."}


# ---- how words stand in a prompt -------------------------------------------------------------------------------------


@given(st.text(max_size=2000), st.sampled_from(LANGUAGES))
@settings(max_examples=200, deadline=None)
def test_no_text_ends_its_quotation_breaks_the_line_or_is_a_special_token(text, language):
    line = transcript_line(Said(text, "en"), language)
    assert not re.search(r"[\n\r\x00-\x1f\u2028\u202e<>\[\]]", line)
    quotes = [c for c in line if c in '"“”']
    assert len(quotes) in (0, 2) and len(line) < LONGEST + 30
    assert is_transcript(line)


@pytest.mark.parametrize(
    "typed",
    ["<|audio|>", "<|im_end|>", "</s>", "[INST]", "<start_of_turn>user", "<think>", "<｜User｜>", "＜|audio|＞"],
)
def test_a_special_token_that_somebody_says_is_words(typed):
    _model, processor = tiny_model()
    said = f"so {typed} and more"
    text = processor.apply_chat_template([user("?", clip())], transcript=said)
    told = text.partition("Transcript: ")[2].partition("<|im_end|>")[0]
    assert text.count("<|audio|>") == 1 and typed not in told and told.endswith('and more"')
    plain = processor.apply_chat_template([user("?", clip())], transcript="so and more")
    special = set(processor.tokenizer.all_special_ids)
    counts = [sum(i in special for i in processor.tokenizer(t).input_ids) for t in (text, plain)]
    assert counts[0] == counts[1]


def test_words_stand_behind_their_audio_with_their_language():
    words = Words.read("I am fine.", "en", 0.9, np.full(7, 1 / 7))
    spoken = iter([words, NoWords("no speech"), None])
    (message,) = with_transcripts([user("first", clip(), clip(), "then", clip())], spoken)
    assert [part.get("text", "<audio>") for part in message["content"]] == [
        "first", "<audio>", 'Transcript (en): "I am fine."', "<audio>", "No transcript: nobody speaks.", "then", "<audio>",
    ]  # fmt: skip


def test_a_message_in_chinese_is_told_the_words_in_chinese():
    (message,) = with_transcripts([user("她怎么样？", clip())], iter([Said("I am fine.", "en")]))
    assert message["content"][-1]["text"] == "转写（en）：“I am fine.”"
    assert transcript_line(NoWords("language: pl"), "zh") == "没有转写：无法读懂这种语言（pl）。"


def test_what_nobody_asked_for_is_not_told_and_an_empty_text_is_unclear():
    assert transcript_line(None) is None and transcript_line(NoWords("off")) is None
    assert transcript_line(" \n ") == transcript_line(NoWords("unclear"))
    assert quotable("a" * 5000).endswith("…") and len(quotable("a" * 5000)) == LONGEST


def test_as_many_transcripts_as_audios():
    assert given_words("hello", 1) == ["hello"] and given_words(None, 2) == [None, None]
    with pytest.raises(FASError, match="1 for 2 audios"):
        given_words("hello", 2)
    with pytest.raises(FASError, match="a int"):
        given_words([3], 1)


# ---- the processor ---------------------------------------------------------------------------------------------------


def test_the_processor_tells_what_its_listener_hears_once_the_model_has_learned_it():
    _, processor = tiny_model()
    processor.listener = lambda clips: [Said(f"clip of {len(samples)}", "en") for samples in clips]
    conversation = [user("How does she feel?", clip(0.5))]

    def ids(**options):
        return processor.apply_chat_template(conversation, tokenize=True, sampling_rate=16_000, **options)[
            "input_ids"
        ].tolist()

    untold = ids(transcript=None)
    assert ids() == untold, "a model that has not learned transcripts is not told any"
    processor.transcripts = True
    assert ids() == ids(transcript=Said("clip of 8000", "en")) != untold
    assert ids(transcript=[NoWords("unclear")]) != untold
    assert processor.apply_chat_template(conversation).count("Transcript") == 0  # nothing is read, nothing is heard


def test_a_processor_is_saved_without_its_listener(tmp_path):
    _, processor = tiny_model()
    processor.transcripts, processor.listener = True, lambda clips: []
    processor.save_pretrained(tmp_path)
    assert type(processor).from_pretrained(tmp_path).transcripts is True
    assert "listener" not in (tmp_path / "processor_config.json").read_text()


def test_a_listener_that_cannot_be_loaded_says_nothing():
    def load():
        raise CheckpointError("no decoder")

    assert LazyListener(load)([clip(), clip()]) == [NoWords("off")] * 2


def test_noise_is_no_speech_and_what_is_said_depends_on_no_other_clip(tmp_path):
    whisper = save_tiny_transcriber(tmp_path / "whisper")
    assert WhisperListener(whisper)([clip()]) == [NoWords("no speech")]
    listen = WhisperListener(whisper, speech_threshold=0)
    both = listen([clip(0.7, 1), clip(1.5, 2)])
    assert both == [*listen([clip(0.7, 1)]), *listen([clip(1.5, 2)])]


def test_what_was_heard_is_kept(tmp_path):
    soundfile.write(tmp_path / "a.wav", clip(0.3), 16_000)
    soundfile.write(tmp_path / "b.wav", clip(0.3, 1), 16_000)
    files, asked = {str(tmp_path / f"{name}.wav"): name for name in "ab"}, []

    def listen(clips):
        asked.append(len(clips))
        return [Said("héllo", "en"), NoWords("unclear")]

    heard = KeptWords(tmp_path / "cache", "x")(files, listen)
    assert list(heard.values()) == [Said("héllo", "en"), NoWords("unclear")]
    assert KeptWords(tmp_path / "cache", "x")(files, listen) == heard and asked == [2]


# ---- questions and answers -------------------------------------------------------------------------------------------


def test_a_sentence_without_emotion_contradicts_no_tone():
    assert conflicts("neutral", "happy") and conflicts("sad", "happy")
    assert not conflicts("angry", "neutral") and not conflicts("sad", "sad")
    assert Question("agree").answer("angry", "neutral") == "Yes: the tone is angry, and the words carry no emotion."


@given(st.sampled_from(LANGUAGES), st.integers(0, 2), st.permutations(EMOTIONS), emotions, emotions)
@settings(max_examples=100, deadline=None)
def test_right_answers_about_words_and_conflict_are_read_back_without_repair(language, variant, order, tone, words):
    question = Question("words", language, variant, tuple(order))
    assert read_words(question, question.answer(tone, words)) == (words, False)
    for task in ("conflict", "agree", "json_words", "tone_words"):
        question = Question(task, language, variant)
        assert read_conflict(question, question.answer(tone, words)) == (conflicts(tone, words), False)


@pytest.mark.parametrize(
    ("task", "text", "conflict"),
    [
        ("conflict", "A yes", True),
        ("conflict", "The answer is B.", False),
        ("conflict", "Yes, they do.", True),
        ("conflict", "不一致", True),
        ("agree", "Yes, they agree.", False),
        ("agree", "Her words do not match her tone.", True),
        ("agree", "There is no conflict between them.", False),
        ("agree", "No conflict here", False),
        ("agree", "It sounds sad although the words are happy", True),
        ("agree", "语气与话语相符", False),
        ("agree", "语气与话语不符", True),
        ("agree", "bananas", None),
        ("json_words", 'Sure: {"agree": false', True),
    ],
)
def test_free_answers_about_conflict_are_read(task, text, conflict):
    assert read_conflict(Question(task), text) == (conflict, True)


def test_a_task_that_says_nothing_of_conflict_is_refused():
    with pytest.raises(FASError, match="'choose'"):
        read_conflict(Question("choose"), "A")


def test_the_probability_of_a_conflict_is_of_two_letters():
    probability, mass = conflict_probability(np.log([0.3, 0.1, 0.5, 0.02, 0.02, 0.02, 0.02]))
    assert probability == pytest.approx(0.75) and mass == pytest.approx(0.4)
    for bad in ([0.0], [np.nan, -1], [-np.inf, -np.inf], [1.0, -1.0]):
        with pytest.raises(FASError, match="log-probabilities"):
            conflict_probability(bad)


def test_what_cannot_be_read_is_wrong_whatever_is_right():
    truth = np.array([True, False, True, False])
    counts = written_conflict(Question("agree"), [Question("agree").answer("sad", "happy"), "Yes.", "?", "?"], truth)
    assert counts["accuracy"] == counts["balanced_accuracy"] == 0.5
    assert (counts["exact"], counts["repaired"], counts["unread"]) == (1, 1, 2)
    assert conflict_metrics(truth, np.ones(4, bool), np.ones(4))["auroc"] is None


def test_conversations_tell_the_words_and_leave_them_out_where_the_question_does():
    row = dict(
        id="x",
        audio="/x.wav",
        emotion="sad",
        semantic_emotion="happy",
        corpus="c",
        split="train",
        spoken=Said("Hi", "en"),
    )
    told, untold = (Conversation.about(row, Question("words", with_transcript=value)) for value in (True, False))
    assert (
        told.messages[0]["content"][2]["text"] == 'Transcript (en): "Hi"'
        and told.messages[1]["content"][0]["text"] == "D"
    )
    assert len(untold.messages[0]["content"]) == 2
    assert not any(Question(task, audio_first=False).audio_first for task in LETTERED)


# ---- training and evaluation -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus of three tones and three sentences, independent of each other, and an adapter that was told the sentences."""
    root = tmp_path_factory.mktemp("words")
    corpus = write_corpus(root / "corpus", {"train": 9, "validation": 3, "test": 9}, tuple(TEXTS), words=True)
    manifest = corpus / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row | {"text": TEXTS[row["semantic_emotion"]]}) + "\n" for row in rows))
    save_tiny_language_model(root / "llm")
    train_fas(save_tiny_fas(root), corpus)
    flags = [
        "--corpora", f"manifest={corpus}", "--fas", str(root / "fas"), "--language_model", str(root / "llm"), "--cache_dir",
        str(root / "cache"), "--output_dir", str(root / "run"), "--use_cpu", "true", "--tasks", "choose", "words", "--languages", "en",
        "--shuffled_options", "0", "--per_device_train_batch_size", "9", "--learning_rate", "1e-2",
        "--lora_dropout", "0", "--projector_learning_rate", "1e-2", "--stage1_epochs", "0", "--stage2_epochs", "50",
        "--eval_strategy", "no", "--disable_tqdm", "true", "--transcripts", "corpus",
    ]  # fmt: skip
    assert run.main(flags) == 0
    return root


@pytest.fixture(scope="module")
def scorer(place):
    return Scorer.from_directory(place / "run" / "adapter", place / "cache", language_model=str(place / "llm"))


def test_the_adapter_says_that_it_reads_transcripts_and_its_processor_listens(place):
    model, processor = load_adapter(place / "run" / "adapter", place / "llm")
    assert model.config.transcripts and processor.transcripts
    assert processor.listener([clip()]) == [NoWords("no speech")]
    record = json.loads((place / "run" / "adapter" / "training.json").read_text())
    assert record["data"]["transcripts"] == {"told": 36}


def test_the_adapter_reads_the_words_that_it_is_told_and_not_what_it_hears(place, scorer):
    rows = load_rows([("manifest", place / "corpus")], "test", None)["manifest"]
    told, untold = (evaluate(scorer, rows, Wanted("choose", transcripts=source)) for source in ("corpus", "none"))
    assert told["words"]["accuracy"] > 0.8
    assert told["words"]["accuracy"] > untold["words"]["accuracy"] + 0.3
    assert {"accuracy", "balanced_accuracy", "auroc", "mass"} <= set(told["conflict"])
    assert told["conflict_text"]["exact"] + told["conflict_text"]["repaired"] + told["conflict_text"]["unread"] == 27
    assert 0 <= told["predictions"][0]["conflict"] <= 1 and told["predictions"][0]["words"] in EMOTIONS
    assert told["heads"]["words_accuracy"] > 0.6 and "heads" not in untold
    line = alm_study.table([dict(system="alm", seed=1, scores={"manifest": told}, train_seconds=1.0)]).splitlines()[-1]
    accuracy, written = told["conflict"]["accuracy"], told["conflict_text"]["accuracy"]
    assert f"| {100 * accuracy:.1f} / " in line and f"| {100 * written:.1f} / " in line
