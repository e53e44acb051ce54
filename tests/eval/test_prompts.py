"""Prompts: published wordings never change, and ours are asked as trained."""

import hashlib
import json

import pytest

from fas_alm.conversations import Question
from fas_alm.prompts import choice_prompt, transcript_prompt
from fas_core.errors import FASError
from fas_eval.prompts import FOLDER, Prompt, list_prompts, load_prompt

# A published prompt is never edited: figures and cached answers name it. To change a wording, add a version.
SNAPSHOT = {
    "cascade-en@1": "550a7621832bd015e3f6d8f0248eeba99c4a3159696bb10a5cd75d48734c5612",
    "cascade-zh@1": "70e88fc163285a1855f5e2af3bd6ae1101fe6baf305faa0ccc13b2d3bf7df3b8",
    "free-en@1": "f0912e866b6d1cd8ad29df65b501b243e0c327cf6ccd1fbf8eae04a22e2a0f9f",
    "free-zh@1": "67e36b4c88fd2f15554e2a8c6d15402d714250b2e62d616d3457fd758efbaff2",
    "ignore-words-free-en@1": "f6ffa388d986e18185290ede15b799e76a5f99d463e5a684cea342f143579512",
    "ignore-words-free-zh@1": "8d0fe4007252f37f5fde125428d320b5dcf01815509e6a050637c1e97579c1ab",
    "ignore-words-options-en@1": "9478bd5abc3abf31be91a8446ab895104b564e77d9f8c46dc779f9019764faa7",
    "ignore-words-options-zh@1": "60701ad69d1e63d9d6dc59e702dd14ca061f63d3aa039839598c1e8472a4255d",
    "judge@1": "8334e4769779ce2e47664c7130b80490c975eec1cd839431bae12fb499adac49",
    "options-en@1": "edfd8de99ddc4175206861f70b42270d2ba5ae2d10f38b82989e94555902ce65",
    "options-zh@1": "07119289277f0bbb7cb9900460099fcb321cf9856e6ba82d707d72cdec38f1d6",
    "paper@1": "1cf8cf0608c693b51c045628b1122b70756b7fcee9b94f7fed90abfe0fd7c32c",
}


def test_every_published_prompt_is_what_it_was():
    assert {
        name: hashlib.sha256((FOLDER / f"{name}.json").read_bytes()).hexdigest() for name in list_prompts()
    } == SNAPSHOT


@pytest.mark.parametrize("name", SNAPSHOT)
def test_a_file_is_called_what_it_holds(name):
    prompt = load_prompt(name)
    assert prompt.id == name and prompt.user and prompt.source and prompt.language in ("en", "zh")
    lettered = [letter for letter in "ABCDEFG" if f"{letter} " in prompt.user.replace("Answer", "")]
    assert (len(lettered) == 7) == (prompt.kind == "options")


def test_our_own_model_is_asked_as_it_was_trained():
    """Fails when the wording of training changes: then publish a version 2."""
    for language in ("en", "zh"):
        assert load_prompt(f"options-{language}@1").user == choice_prompt(language=language)
        assert load_prompt(f"free-{language}@1").user == Question("name", language).text
        cascade = load_prompt(f"cascade-{language}@1")
        assert cascade.fill(transcript=" so {what}") == transcript_prompt("so {what}", language=language)


def test_the_latest_version_goes_without_saying(tmp_path, monkeypatch):
    assert load_prompt("judge") == load_prompt("judge@1")


def test_the_digest_follows_what_is_asked_and_nothing_else():
    values = json.loads((FOLDER / "paper@1.json").read_text())
    prompt = Prompt(**values)
    assert Prompt(**values | {"source": "elsewhere"}).digest == prompt.digest == prompt.identity()["sha256"]
    assert Prompt(**values | {"user": "What?"}).digest != prompt.digest


def test_a_prompt_of_the_users_own(tmp_path):
    path = tmp_path / "mine.json"
    values = dict(name="mine", version=3, source="here", language="en", kind="free", system="Be brief.", user="How?")
    path.write_text(json.dumps(values))
    prompt = load_prompt(str(path))
    assert prompt.id == "mine@3"
    assert prompt.messages("How?") == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}]
    assert load_prompt("free-en@1").messages("x") == [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(("content", "problem"), [
    ("{", "expected a JSON object"),
    ('{"name": "x"}', "expected a JSON object with name, version"),
    ('{"name": "x", "version": 1, "source": "", "language": "en", "kind": "letters", "system": "", "user": ""}', "options, free"),
])  # fmt: skip
def test_a_damaged_prompt_is_one_clear_error(tmp_path, content, problem):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(FASError, match=problem):
        load_prompt(str(tmp_path / "p.json"))


def test_an_unknown_prompt_and_a_wrong_slot_are_errors():
    with pytest.raises(FASError, match="'options-fr': expected one of cascade-en@1"):
        load_prompt("options-fr")
    with pytest.raises(FASError, match=r"expected \['transcript'\]"):
        load_prompt("cascade-en@1").fill()
    with pytest.raises(FASError, match=r"filled with \['answer'\]; expected \[\]"):
        load_prompt("paper@1").fill(answer="x")
