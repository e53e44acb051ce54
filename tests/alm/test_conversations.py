"""Conversations: what is asked, what is right, and that files go out and come back."""

import json
import re

import numpy as np
import pytest
from alm_corpus import write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fas_alm.conversations import (
    TASKS,
    Conversation,
    Question,
    build_conversations,
    read_conversations,
    write_conversations,
)
from fas_alm.conversations.__main__ import app
from fas_alm.conversations.questions import OF_TONE, OF_WORDS, SCHEMAS, draw_question, possible_tasks
from fas_alm.conversations.reading import read_answer
from fas_alm.conversations.wordings import QUESTIONS
from fas_alm.prompts import CHOICE, EMOTION_NAMES, LANGUAGES, OPTION_LETTERS
from fas_core.data import load_corpus
from fas_core.errors import CorpusError, FASError
from fas_core.labels import EMOTIONS

ROW = {
    "id": "x", "audio": "/x.wav", "emotion": "sad", "semantic_emotion": "happy", "corpus": "case", "split": "train",
}  # fmt: skip
emotions = st.sampled_from(EMOTIONS)
questions = st.builds(
    Question,
    st.sampled_from(TASKS),
    st.sampled_from(LANGUAGES),
    st.integers(0, 5),
    st.permutations(EMOTIONS).map(tuple),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), {"train": 2, "validation": 1}, words=True, seconds=0.1)


@given(questions.filter(lambda question: question.task in OF_TONE), emotions, emotions)
@settings(max_examples=150, deadline=None)
def test_every_right_answer_is_read_back_without_repair(question, tone, words):
    assert read_answer(question, question.answer(tone, words)) == (tone, False)


def test_the_letter_follows_the_order_of_the_options():
    order = ("sad", "angry", "happy", "fear", "neutral", "disgust", "surprise")
    question = Question("choose", order=order)
    assert [question.answer(emotion) for emotion in order] == list(OPTION_LETTERS)
    assert "A sad, B angry" in question.text


def test_there_are_several_wordings_for_each_task_in_both_languages():
    for language in LANGUAGES:
        for task in TASKS:
            wordings = CHOICE[language] if task == "choose" else QUESTIONS[task][language]
            texts = {Question(task, language, variant).text for variant in range(len(wordings))}
            assert len(texts) == len(wordings) >= 2
            assert all(bool(re.search("[一-鿿]", text)) == (language == "zh") for text in texts)


@pytest.mark.parametrize("task", ["json", "json_words"])
@pytest.mark.parametrize("tone", EMOTIONS)
def test_json_answers_keep_the_schema_that_requests_may_use(task, tone):
    answer, schema = json.loads(Question(task).answer(tone, "sad")), SCHEMAS[task]
    assert set(answer) == set(schema["required"]) == set(schema["properties"])
    assert answer["emotion"] == tone
    if task == "json_words":
        assert answer["agree"] is (tone == "sad")


def test_answers_say_whether_tone_and_words_agree():
    assert Question("agree").answer("sad", "sad").startswith("Yes")
    assert Question("agree").answer("sad", "happy") == "No: the tone is sad, but the words are happy."
    assert Question("agree", "zh").answer("sad", "sad").startswith("一致")
    assert EMOTION_NAMES["zh"]["happy"] in Question("tone_words", "zh").answer("sad", "happy")


@pytest.mark.parametrize("task", OF_WORDS)
def test_a_clip_without_emotion_of_its_words_is_not_asked_about_them(task):
    row = ROW | {"semantic_emotion": None}
    assert possible_tasks(row, TASKS) == ["choose", "name", "json"]
    with pytest.raises(FASError, match="semantic_emotion"):
        Question(task).answer("sad", None)


def test_questions_are_drawn_evenly_and_options_shuffled_as_often_as_asked():
    rng = np.random.default_rng(0)
    drawn = [draw_question(rng, ["choose", "name"], ["en", "zh"], shuffled_options=0.5) for _ in range(800)]
    chosen = [q for q in drawn if q.task == "choose"]
    assert 350 < len(chosen) < 450 and 350 < sum(q.language == "zh" for q in drawn) < 450
    assert 0.4 < np.mean([q.order != EMOTIONS for q in chosen]) < 0.6
    assert not any(q.audio_first for q in chosen) and any(q.audio_first for q in drawn)
    assert all(draw_question(rng, ["choose"], ["en"], 0.0).order == EMOTIONS for _ in range(20))
    first_options = {draw_question(rng, ["choose"], ["en"]).order[0] for _ in range(100)}
    assert first_options == set(EMOTIONS)


def test_the_lettered_question_stands_before_the_audio():
    content = Conversation.about(ROW, Question("choose")).messages[0]["content"]
    assert [part["type"] for part in content] == ["text", "audio"]
    assert [p["type"] for p in Question("name", audio_first=True).content({"type": "audio", "path": "/x.wav"})] == [
        "audio",
        "text",
    ]


def test_building_depends_on_the_seed_and_nothing_else(corpus):
    rows = list(load_corpus("manifest", corpus))
    first, skipped = build_conversations(rows, per_clip=2, seed=1)
    assert first == build_conversations(rows, per_clip=2, seed=1)[0]
    assert first != build_conversations(rows, per_clip=2, seed=2)[0]
    assert len(first) == 2 * len(rows) and not skipped
    assert {c.task for c in first} == set(TASKS)
    assert {c.split for c in first} == {"train", "validation"}


def test_clips_that_no_task_fits_are_counted():
    conversations, skipped = build_conversations([ROW | {"semantic_emotion": None}, ROW], tasks=["agree"])
    assert len(conversations) == 1 and skipped == {"case": 1}


@pytest.mark.parametrize(("option", "value"), [("tasks", ["sing"]), ("tasks", []), ("languages", ["de"])])
def test_unknown_tasks_and_languages_are_named(option, value):
    with pytest.raises(FASError, match=f"{option}: {value[0] if value else 'none'}; expected some of"):
        build_conversations([ROW], **{option: value})


def test_files_come_back_as_they_went_out_and_move_with_their_folder(corpus, tmp_path):
    conversations, _ = build_conversations(load_corpus("manifest", corpus))
    path = write_conversations(corpus / "conversations.jsonl", conversations)
    assert read_conversations(path) == conversations
    record = json.loads(path.read_text().splitlines()[0])
    assert set(record) == {"id", "corpus", "split", "task", "emotion", "order", "messages"}
    parts = record["messages"][0]["content"]
    assert next(p["path"] for p in parts if p["type"] == "audio") == "train-000.wav"
    moved = tmp_path / "moved"
    corpus.rename(moved)
    try:
        read = read_conversations(moved / "conversations.jsonl")
        assert read[0].audio_paths == [str(moved / "train-000.wav")]
    finally:
        moved.rename(corpus)
    elsewhere = write_conversations(tmp_path / "c.jsonl", conversations)
    assert read_conversations(elsewhere) == conversations


def test_what_people_write_by_hand_is_read(corpus):
    lines = [
        {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]},
        {"messages": [
            {"role": "system", "content": "You listen."},
            {"role": "user", "content": [{"type": "audio", "audio": "train-000.wav"}, {"type": "audio", "path": "train-001.wav"},
                                         {"type": "text", "text": "Who is sadder?"}]},
            {"role": "assistant", "content": "The first."},
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "By the tone."},
        ]},
    ]  # fmt: skip
    path = corpus / "own.jsonl"
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    plain, long = read_conversations(path)
    assert plain.id == "own:1" and plain.split == "train" and plain.audio_paths == []
    assert [p.rsplit("/", 1)[1] for p in long.audio_paths] == ["train-000.wav", "train-001.wav"]


ANSWER = {"role": "assistant", "content": "B"}
ASK = {"role": "user", "content": "?"}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        ([1], "expected an object with 'messages'"),
        ({"messages": "hi"}, "expected an object with 'messages'"),
        ({"messages": [ASK]}, "expected an answer of the assistant at the end"),
        ({"messages": []}, "there are none"),
        ({"messages": [ANSWER]}, "message 0: an answer that follows no question"),
        ({"messages": [ASK, ANSWER, ANSWER]}, "message 2: an answer that follows no question"),
        ({"messages": [{"role": "robot", "content": "x"}, ANSWER]}, "message 0: role 'robot'"),
        ({"messages": [{"role": "user"}, ANSWER]}, "message 0: expected a dict with role and content"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ANSWER]}, "type 'image'"),
        ({"messages": [{"role": "user", "content": [{"type": "audio", "path": "no.wav"}]}, ANSWER]}, "no file .*no.wav"),
        ({"messages": [{"role": "user", "content": [{"type": "audio", "url": "http://x/a.wav"}]}, ANSWER]}, "audio part with type, url"),
        ({"messages": [{"role": "user", "content": "say <|audio|>"}, ANSWER]}, "typed as text"),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "audio", "path": "a"}]}]}, "audio of the assistant"),
        ({"messages": [ASK, ANSWER], "emotion": "bored"}, "emotion: 'bored'"),
        ({"messages": [ASK, ANSWER], "split": "dev"}, "split: 'dev'"),
        ({"messages": [ASK, ANSWER], "order": ["sad"]}, "order: "),
        ({"messages": [ASK, ANSWER], "label": 3}, "field 'label' is unknown"),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_field(tmp_path, record, problem):
    path = tmp_path / "broken.jsonl"
    line = record if isinstance(record, bytes) else (record if isinstance(record, str) else json.dumps(record)).encode()
    path.write_bytes(json.dumps({"messages": [ASK, ANSWER]}).encode() + b"\n" + line + b"\n")
    with pytest.raises(CorpusError, match=f"broken.jsonl, line 2: .*{problem}"):
        read_conversations(path)


def test_missing_and_empty_files_are_errors(tmp_path):
    with pytest.raises(CorpusError, match="no such file"):
        read_conversations(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="no conversation"):
        read_conversations(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        (Question("choose"), " B\n", ("disgust", False)),
        (Question("choose", order=EMOTIONS[::-1]), "A", ("surprise", False)),
        (Question("choose"), "(C)", ("fear", True)),
        (Question("choose"), "A voice like this is D", ("happy", True)),
        (Question("choose"), "E neutral", ("neutral", True)),
        (Question("choose"), "B or C", (None, True)),
        (Question("choose"), "It sounds happy to me", ("happy", True)),
        (Question("choose"), "", (None, True)),
        (Question("name"), "Angry.", ("angry", True)),
        (Question("name", "zh"), "愤怒", ("angry", False)),
        (Question("name", "zh"), "他很生气", ("angry", True)),
        (Question("name"), "sad or happy", (None, True)),
        (Question("name"), "unhappy", ("sad", True)),
        (Question("tone_words"), "The tone is sad; the words are happy.", ("sad", False)),
        (Question("agree"), "No, it sounds sad although the words are happy", ("sad", True)),
        (Question("json"), '{"emotion": "fear"}', ("fear", False)),
        (Question("json"), '{"emotion": "fear"', ("fear", True)),
        (Question("json"), '{"emotion": "bored"}', (None, True)),
    ],
)
def test_free_text_is_read_and_repaired(question, text, expected):
    assert read_answer(question, text) == expected


def test_the_command_builds_and_checks(corpus, tmp_path):
    out = tmp_path / "c.jsonl"
    run = CliRunner().invoke(
        app, ["build", f"manifest={corpus}", "--out", str(out), "--tasks", "choose,name", "--languages", "en"]
    )
    assert run.exit_code == 0 and "21 conversations about 21 audio files" in run.output
    conversations = read_conversations(out)
    assert {c.task for c in conversations} == {"choose", "name"}
    checked = CliRunner().invoke(app, ["check", str(out)])
    assert checked.exit_code == 0 and "14 train, 7 validation" in checked.output


def test_the_command_says_what_is_wrong(corpus, tmp_path):
    out = tmp_path / "c.jsonl"
    for arguments, problem in (
        (["build", "nothing", "--out", str(out)], "expected NAME=FOLDER"),
        (["build", f"manifest={corpus}", "--out", str(out), "--tasks", "sing"], "tasks: sing"),
        (["check", str(out)], "no such file"),
    ):
        run = CliRunner().invoke(app, arguments)
        assert run.exit_code == 2 and problem in run.output
    assert not out.exists()
