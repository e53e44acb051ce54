"""Text from outside that might be a path: an answer or one clear error, never what the operating system raises."""

import doctest

import pytest

from fas_alm.conversations import read_conversations
from fas_alm.language_models import public_name
from fas_core import paths
from fas_core.data import load_corpus, read_corpus
from fas_core.data.exclusions import ExclusionList
from fas_core.encoders.weights import public_name as encoder_name
from fas_core.errors import FASError
from fas_core.hub import find_directory
from fas_core.sources import find_audio_files
from fas_core.training.arguments import parse_pairs
from fas_core.training.fas import parse
from fas_eval.presets import load_preset
from fas_eval.prompts import load_prompt
from fas_serve.chat import split_arguments

ODD = {
    "long": "How does she feel, really? " * 12,
    "long in a folder": "a/" + "b" * 300 + "/c.wav",
    "very long": "x" * 10_000,
    "NUL": "a\0b.wav",
    "nobody's home": "~nobody-of-this-name/a.wav",
    "halves of characters": "\ud800.wav",
    "empty": "",
}


@pytest.fixture(params=ODD)
def text(request):
    return ODD[request.param]


def test_nothing_is_there(text):
    assert not any(look(text) for look in (paths.exists, paths.is_file, paths.is_dir))
    assert paths.is_dir("~") and paths.exists("~") and not paths.is_file("~")


READS = {
    "corpus": lambda text: read_corpus("ravdess", text),
    "own corpus": lambda text: read_corpus("mine", text),
    "manifest": lambda text: read_corpus("manifest", text),
    "exclusions": ExclusionList.load,
    "files": lambda text: find_audio_files([text]),
    "conversations": read_conversations,
    "prompt": lambda text: load_prompt(text + ".json"),
    "preset": load_preset,
    "yaml": lambda text: parse([text + ".yaml"]),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_reads_it_says_so(text, read):
    if text == "" and read in (READS["corpus"], READS["manifest"], READS["own corpus"], READS["files"]):
        pytest.skip("an empty path is the working folder")
    with pytest.raises(FASError):
        read(text)


def test_names_of_models(text):
    assert public_name(text) == encoder_name(text) == text
    assert str(find_directory(text or "x")) == (text or "x")


def test_questions_and_pairs():
    question = ODD["long"]
    assert split_arguments(["a.wav", question]) == (["a.wav"], question)
    assert split_arguments(["a.wav", "a\0 b"]) == (["a.wav"], "a\0 b")
    odd = ODD["nobody's home"]
    assert str(parse_pairs([f"x={odd}"], "--corpora")[0][1]) == odd


def test_a_manifest_with_such_cells(tmp_path):
    (tmp_path / "a.wav").touch()
    rows = ["{" + f'"audio": "{name}", "emotion": "sad"' + "}" for name in ("x" * 10_000, "a/" + "b" * 300, "a.wav")]
    (tmp_path / "m.jsonl").write_text("\n".join(rows))
    assert load_corpus("manifest", tmp_path)["id"] == ["manifest/a.wav"]


def test_examples_run():
    assert doctest.testmod(paths).failed == 0
