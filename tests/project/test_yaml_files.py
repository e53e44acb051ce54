"""YAML takes some words for truth values and numbers; an option gets what its user wrote."""

import json

import pytest

from fas_alm.training import adapter as alm
from fas_core.errors import CorpusError, FASError
from fas_core.training import fas as run
from fas_core.training.arguments import TrainingArguments
from fas_core.yaml_files import read_options, read_yaml
from fas_eval.benchmarks.entries import Benchmark
from fas_eval.presets import load_preset


@pytest.fixture
def written(tmp_path):
    """written(text) -> a file with it."""

    def write(text: str) -> str:
        (tmp_path / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / "a.yaml")

    return write


@pytest.mark.parametrize(
    "word", ["no", "No", "off", "on", "yes", "true", "012", "1:30", "1_000", "2024-01-01", "1e3", ".5", "0x1F", ".nan"]
)
def test_words_stay_what_was_written(written, word):
    assert read_options(written(f"key: {word}\nkeys: [{word}, {word}]\n"), "") == {"key": [word], "keys": [word, word]}


@pytest.mark.parametrize("nothing", ["", "~", "null", "[]"])
def test_nothing_leaves_the_default(written, nothing):
    assert read_options(written(f"key: {nothing}\n"), "") == {"key": []}


def test_a_mapping_is_one_value_with_its_types(written):
    (value,) = read_options(written("key: {a: 0.5, b: true, c: no}\n"), "")["key"]
    assert json.loads(value) == {"a": 0.5, "b": True, "c": False}


@pytest.mark.parametrize(
    ("word", "means"), [("no", False), ("off", False), ("false", False), ("yes", True), ("on", True), ("True", True)]
)
def test_switches_take_every_word_of_yaml(written, word, means):
    assert run.parse([written(f"trim: {word}\n")])[0].trim is means


def test_no_where_an_option_has_the_value_no(written):
    assert run.parse([written("mixed_precision: no\n")])[2].mixed_precision == "no"
    assert TrainingArguments(mixed_precision=False).mixed_precision == "no"
    strategies = "save_strategy: no\neval_strategy: no\nlogging_strategy: no\nlr_scheduler_kwargs: {num_cycles: 0.25}\n"
    text = f"corpora: [ravdess=x]\nuse_cpu: yes\nlanguages: [en]\n{strategies}"
    arguments = alm.parse([written(text)])[2]
    assert (arguments.save_strategy, arguments.eval_strategy, arguments.logging_strategy) == ("no", "no", "no")
    assert arguments.lr_scheduler_kwargs == {"num_cycles": 0.25} and arguments.use_cpu is True


def test_norwegian_is_a_language(written):
    entry = read_yaml(written("{name: x, corpus: tess, languages: [no, en]}\n"), "")
    assert Benchmark.from_dict(entry).languages == ("no", "en")
    with pytest.raises(CorpusError, match="languages is .*expected ISO 639-1"):
        Benchmark.from_dict(entry | {"languages": [1]})


READS = {
    "options": lambda path: read_options(path, "x"),
    "yaml": lambda path: read_yaml(path, "x"),
    "preset": load_preset,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is there twice"),
        ("a: {b: 1, b: 2}\n", "the key 'b' is there twice"),
        ("a: [1", "not YAML"),
        ("a: !!python/object/apply:os.system [true]", "not YAML"),
        (b"a: \xff\n", "not UTF-8"),
        ("[" * 1500, "not YAML"),
    ],
)
def test_what_cannot_be_read_is_one_error(written, read, text, message):
    with pytest.raises(FASError, match=message) as error:
        read(written(text))
    assert "a.yaml" in str(error.value) and "\n" not in str(error.value)
