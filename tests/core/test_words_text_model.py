"""Texts and what they say: the model that ships, classifiers of transformers in its place, and the training command."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_text_model import save_tiny_text_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
)
from typer.testing import CliRunner

from fas_core.errors import CheckpointError, CorpusError, FASError
from fas_core.labels import EMOTIONS, map_text_label
from fas_core.words import train as training
from fas_core.words.bert import Bert
from fas_core.words.ngrams import FILES, MOST_CHARACTERS, NgramModel, tokens_of
from fas_core.words.sentences import SPLITS, as_transcribed, check_templates, plain_sentences, templates
from fas_core.words.shrinking import shrink
from fas_core.words.small_bert import SmallBert
from fas_core.words.text_model import SHIPPED, TextModel
from fas_core.words.texts import Texts, read_goemotions, read_meld, read_xed, read_xed_neutral
from fas_core.words.training_texts import fragments
from fas_eval.case.scenarios import load_scenarios

# of none of the templates, and of no corpus
PLAIN = (
    "The ferry to the island runs twice a week.",
    "she wrapped the sandwich in paper",
    "Please turn the monitor a little to the left.",
    "the following word is saddle",
    "Our accountant moved to the third floor in spring.",
    "He takes the elevator because of the boxes.",
)
CARRIED = {
    "I hate you, you liar, get out of here!": "angry",
    "I am so happy, thank you so much, this is wonderful!": "happy",
    "I'm so sad, I miss my mother and I can't stop crying.": "sad",
    "I'm terrified, I'm so scared that someone is following me.": "fear",
    "That is disgusting, it makes me want to vomit.": "disgust",
    "Oh my god, really? I did not expect that at all, what a surprise!": "surprise",
}


def save_wordpieces(path):
    """A BERT of three layers over a few words and all letters, random weights."""
    said = "this makes me mad yuck it stinks so scary great joy on the table i cry oh wow today again".split()
    letters = [c for letter in "abcdefghijklmnopqrstuvwxyz0123456789" for c in (letter, f"##{letter}")]
    pieces = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *said, "!", "."]))
    (path / "vocab.txt").parent.mkdir(parents=True, exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=80, id2label=dict(enumerate(EMOTIONS)), initializer_range=0.2,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(path)


@pytest.fixture(scope="module")
def shipped():
    return TextModel.from_pretrained()


@pytest.fixture
def copy(tmp_path):
    """A linear model of three terms, as `fas_core.words.train` writes one."""
    random = np.random.default_rng(0)
    vocabulary = {"words": ["joy", "mad"], "letters": [" j"]}
    NgramModel(vocabulary, np.ones(3, np.float32), random.normal(size=(3, 7)), np.zeros(7)).save(tmp_path / "copy")
    return tmp_path / "copy"


def labels(probabilities):
    return [EMOTIONS[place] for place in probabilities.argmax(1)]


def test_plain_sentences_are_neutral(shipped):
    assert labels(shipped(PLAIN)) == ["neutral"] * len(PLAIN)
    assert labels(shipped([each.lower().strip(".") for each in PLAIN])) == ["neutral"] * len(PLAIN)


def test_carriers_are_neutral_whatever_word_they_carry(shipped):
    found = labels(shipped([f"the next word is {word}" for word in ("hate", "love", "death", "spoon", "joy")]))
    assert found == ["neutral"] * 5


def test_words_that_carry_an_emotion(shipped):
    assert labels(shipped(list(CARRIED))) == list(CARRIED.values())


def test_probabilities_sum_to_one_and_a_batch_is_each_alone(shipped):
    texts = [*PLAIN, *CARRIED, ""]
    together = shipped(texts)
    assert together.shape == (len(texts), 7) and np.allclose(together.sum(1), 1) and (together > 0).all()
    assert np.array_equal(together, np.concatenate([shipped([text]) for text in texts]))
    assert shipped([]).shape == (0, 7)


@pytest.mark.parametrize("text", ["", "   ", "...", "中文没有词", "Это по-русски", "\x00\ud800", "42"])
def test_a_text_in_which_nothing_is_known_is_neutral(shipped, text):
    assert labels(shipped([text])) == ["neutral"]


def test_a_very_long_text_is_read_up_to_a_limit(shipped):
    text = "I am so happy! " * 20_000
    assert np.isfinite(shipped([text])).all()
    assert np.array_equal(shipped([text]), shipped([text[:MOST_CHARACTERS]]))


def test_a_text_alone_is_an_error(shipped):
    with pytest.raises(FASError, match="one text; expected a list"):
        shipped("I am a string")


def test_it_says_what_it_reads(shipped):
    assert "en" in shipped.languages
    assert "neutral" in repr(shipped) and "shipped" in repr(shipped)


def test_what_ships_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 6e6


def test_capitals_quotes_and_lengthening_do_not_matter():
    assert tokens_of("It’s SOOOO good!!") == tokens_of("it's soo good!")


# --- files of it that are damaged ---


def change_config(directory, **values):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        TextModel.from_pretrained(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=name):
        TextModel.from_pretrained(copy)


@pytest.mark.parametrize(
    "values",
    [
        {"emotions": sorted(EMOTIONS, reverse=True)},
        {"temperature": 0},
        {"temperature": "1"},
        {"languages": []},
        {"kind": 3},
    ],
)
def test_a_configuration_of_another_kind_is_an_error(copy, values):
    change_config(copy, **values)
    with pytest.raises(CheckpointError, match="config.json"):
        TextModel.from_pretrained(copy)


@pytest.mark.parametrize(
    ("name", "value"), [("bias", np.float32([1, 2])), ("idf", np.float16([np.nan])), ("scale", None)]
)
def test_weights_that_do_not_fit_are_named(copy, name, value):
    tensors = load_file(copy / FILES[2])
    if value is None:
        del tensors[name]
    else:
        tensors[name] = np.broadcast_to(value, tensors[name].shape).copy() if len(value) == 1 else value
    save_file(tensors, copy / FILES[2])
    with pytest.raises(CheckpointError, match=name):
        TextModel.from_pretrained(copy)


def test_no_model_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="config.json is missing"):
        TextModel.from_pretrained(tmp_path)


# --- classifiers of transformers ---


def save_classifier(directory, names, **values):
    """A tiny BERT that says the first label of what it is told."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    directory.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "rain", "##s"]
    (directory / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(directory / "vocab.txt")).save_pretrained(directory)
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 8,
        "max_position_embeddings": 16,
    }
    config = BertConfig(vocab_size=len(words), id2label=dict(enumerate(names)), **sizes, **values)
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([2.0] + [0.0] * (len(names) - 1)))
    model.save_pretrained(directory)
    return directory


def test_labels_of_a_classifier_are_grouped(tmp_path):
    names = ("admiration", "joy", "neutral", "annoyance", "anger", "grief", "curiosity", "fear", "disgust")
    model = TextModel.from_pretrained(save_classifier(tmp_path / "model", names))
    found = model(["hello", "rain " * 500])
    e = np.exp(2)
    assert found.shape == (2, 7) and np.allclose(found.sum(1), 1)
    assert np.allclose(found[0], np.array([2, 1, 1, e + 1, 1, 1, 1]) / (e + 8))
    assert labels(model(["", "hello"])) == ["neutral", "happy"]
    assert model.languages == ("en",)
    assert TextModel.from_pretrained(tmp_path / "model", languages=["de", "en"]).languages == ("de", "en")


def test_a_classifier_of_several_labels_a_text_adds_sigmoids(tmp_path):
    directory = save_classifier(
        tmp_path / "model", ("joy", "love", "sadness"), problem_type="multi_label_classification"
    )
    found = TextModel.from_pretrained(directory)(["hello"])[0]
    sums = np.array([1 / (1 + np.exp(-2)) + 0.5, 0.5])
    assert np.allclose(found[[EMOTIONS.index("happy"), EMOTIONS.index("sad")]], sums / sums.sum())


def test_a_label_without_a_place_is_named(tmp_path):
    directory = save_classifier(tmp_path / "model", ("joy", "sadness", "hungry"))
    with pytest.raises(CheckpointError, match="label 'hungry' has no place among the seven"):
        TextModel.from_pretrained(directory)


def test_a_classifier_without_its_last_layer_is_an_error(tmp_path):
    directory = save_classifier(tmp_path / "model", ("joy", "sadness"))
    tensors = load_file(directory / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if "classifier" not in k}, directory / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match="classifier"):
        TextModel.from_pretrained(directory)


def test_files_that_ask_for_code_and_pickles_are_refused(tmp_path):
    directory = save_classifier(tmp_path / "model", ("joy", "sadness"))
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        TextModel.from_pretrained(directory)
    change_config(directory, attn_implementation="someone/kernel")
    with pytest.raises(CheckpointError, match="attn_implementation"):
        TextModel.from_pretrained(directory)


def test_every_label_of_goemotions_has_a_place():
    assert map_text_label(" Gratitude ") == "happy" and map_text_label("realization") == "surprise"
    with pytest.raises(FASError, match="'LABEL_0'"):
        map_text_label("LABEL_0")


# --- texts ---


def test_shares_of_several_labels(tmp_path):
    (tmp_path / "g.tsv").write_text("so it goes\t4,5\nyay\t3\n")
    found = read_goemotions(tmp_path / "g.tsv")
    assert found.texts == ["so it goes", "yay"] and found.shares[0, EMOTIONS.index("sad")] == 0.5
    assert found.single().texts == ["yay"]
    (tmp_path / "x.tsv").write_text("wait for it\t2\nno\t1, 8\n")
    assert read_xed(tmp_path / "x.tsv").texts == ["no"]


def test_quotation_marks_of_projections_are_read_and_what_they_swallowed_is_left_out(tmp_path):
    path = tmp_path / "xed_de-projections.tsv"
    path.write_text('"Er sagte: ""Nein!"""\t1\n"Heul dich aus.\nen/1\tde/1\tI swear."\t6\n"Gut" so\t5\n')
    read = read_xed(path)
    assert read.texts == ['Er sagte: "Nein!"', "Gut so"] and [EMOTIONS[i] for i in read.labels] == ["angry", "happy"]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_goemotions, "fine\t4\nodd\t9\n", "line 2: label '9'; expected numbers from 0 to 6"),
        (read_xed, "fine\t1\nodd\tx\n", "line 2: label 'x'; expected numbers from 1 to 8"),
        (read_xed_neutral, "9\tfine\nodd\n", "line 2: 1 column"),
        (read_meld, "Text,Emotion\nhi,joy\n", "Utterance and Emotion"),
        (read_meld, "Utterance,Emotion\nhi,glee\n", "glee"),
    ],
)
def test_other_layouts_are_named(tmp_path, read, text, message):
    (tmp_path / "file.tsv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / "file.tsv")
    with pytest.raises(CorpusError, match="--texts"):
        read(tmp_path / "absent.tsv")


def test_templates_are_divided_and_plain_ones_are_many():
    check_templates()
    assert sum(len(of) for family in templates()["plain"].values() for of in family.values()) >= 250
    sides = {split: set(plain_sentences(split, 5, 0).texts) for split in SPLITS}
    assert not sides["train"] & (sides["validation"] | sides["test"])
    assert (
        plain_sentences("train", 5, 1).texts
        == plain_sentences("train", 5, 1).texts
        != plain_sentences("train", 5, 2).texts
    )


def test_no_template_is_a_sentence_of_a_corpus():
    given = {
        template.lower().strip(".")
        for family in templates()["plain"].values()
        for of in family.values()
        for template in of
    }
    assert not given & {"kids are talking by the door", "dogs are sitting by the door", "say the word {word}"}


def test_no_template_is_near_a_text_of_the_test_set():
    def trigrams(text):
        return {text.lower()[at : at + 3] for at in range(len(text) - 2)}

    given = [
        trigrams(template)
        for kind in ("plain", "emotional")
        for of in templates()[kind].values()
        for each in of.values()
        for template in each
    ]
    for item in load_scenarios(per_pair=0):
        if item.language == "en":
            mine = trigrams(item.text)
            assert max(len(mine & other) / len(mine | other) for other in given) < 0.4, item.text


def test_transcripts_keep_the_words():
    random = np.random.default_rng(0)
    found = {as_transcribed("The bus leaves at noon.", random) for _ in range(200)}
    assert {"The bus leaves at noon.", "the bus leaves at noon"} < found and len(found) < 60


# --- the training command ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made-up texts in the layouts of the corpora."""
    root = tmp_path_factory.mktemp("texts")
    said = {
        0: "this makes me mad",
        1: "yuck it stinks",
        2: "so scary",
        3: "great joy",
        4: "on the table",
        5: "i cry",
        6: "oh wow",
    }
    lines = [f"{text} {extra}\t{number}" for number, text in said.items() for extra in ("", "today", "[NAME]", "again")]
    for split in ("train", "dev", "test"):
        (root / f"goemotions_ekman_{split}.tsv").write_text("\n".join(lines * 3))
    (root / "xed_en-annotated.tsv").write_text("how scary , [PERSON]\t4\nso mad\t1, 3\nsoon\t2\n" * 5)
    (root / "xed_neutral_en.txt").write_text("9\tTwo minutes.\n9\tOn the shelf.\n" * 5)
    rows = "\n".join(
        f'"{said[n]}",{name}'
        for n, name in enumerate(("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"))
    )
    for name in ("train", "dev", "test"):
        (root / f"meld_{name}.csv").write_text(f"Utterance,Emotion\n{rows}\n")
    return root


@pytest.fixture(autouse=True, scope="module")
def few_fillings():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("fas_core.words.training_texts.FILLINGS", {"plain": 1, "emotional": 1})
        monkeypatch.setattr("fas_core.words.training_texts.HELD_OUT_FILLINGS", 1)
        yield


def run(*arguments):
    return CliRunner().invoke(training.app, [str(each) for each in arguments])


def test_training_end_to_end(folder, tmp_path):
    options = ("--texts", folder, "--terms", 2000)
    result = run(*options, "--output", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert "| a | goemotions | 84 |" in result.output
    model = TextModel.from_pretrained(tmp_path / "a")
    assert labels(model(["yuck it stinks", "great joy", "the keys are on the table"])) == [
        "disgust",
        "happy",
        "neutral",
    ]
    record = json.loads((tmp_path / "a/training.json").read_text())
    assert record["validation"]["goemotions"]["accuracy"] > 0.9 and record["temperature"] > 0
    assert "meld" not in record["data"]["sources"] and str(tmp_path) not in json.dumps(record)
    assert "CC BY 4.0" in (tmp_path / "a/README.md").read_text()
    assert run(*options, "--output", tmp_path / "b").exit_code == 0
    for name in FILES:  # the same seed, the same bytes
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_teacher_and_meld_change_what_is_learnt(folder, tmp_path):
    teacher = save_classifier(tmp_path / "teacher", ("sadness", "joy"))
    options = (
        "--texts",
        folder,
        "--terms",
        500,
        "--meld",
        "--teacher",
        teacher,
        "--teacher-share",
        1,
        "--fragments",
        20,
    )
    result = run(*options, "--output", tmp_path / "a")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "a/training.json").read_text())
    assert record["options"]["teacher"] == ["teacher"] and "meld" in record["data"]["sources"]
    assert "gpl-3.0" in (tmp_path / "a/README.md").read_text()
    assert set(labels(TextModel.from_pretrained(tmp_path / "a")(["great joy", "yuck it stinks"]))) == {"sad"}


def test_an_encoder_is_fine_tuned(folder, tmp_path):
    base = save_classifier(tmp_path / "base", ("joy", "sadness"), initializer_range=0.2)
    tensors = load_file(base / "model.safetensors")  # as encoders come: without a classifier's last layer
    save_file({k: v for k, v in tensors.items() if "classifier" not in k}, base / "model.safetensors", {"format": "pt"})
    result = run("--texts", folder, "--output", tmp_path / "a", "--base", base, "--epochs", 0.3)
    assert result.exit_code == 0, result.output
    assert TextModel.from_pretrained(tmp_path / "a")(["hello"]).shape == (1, 7)


@pytest.fixture(scope="module")
def small(folder, tmp_path_factory):
    """An encoder of word pieces made small."""
    root = tmp_path_factory.mktemp("small")
    save_wordpieces(root / "base")
    options = (
        "--base",
        root / "base",
        "--layers",
        2,
        "--pieces",
        120,
        "--epochs",
        20,
        "--learning-rate",
        5e-3,
        "--seed",
        1,
    )
    result = run(
        "--texts",
        folder,
        "--output",
        root / "a",
        *options,
        "--teacher",
        root / "base",
        "--teacher-share",
        0,
        "--fragments",
        0,
    )
    assert result.exit_code == 0, result.output
    return root / "a"


def test_an_encoder_is_made_small(small):
    model = SmallBert.load(small)
    assert len(model.bert.encoder["layer"]) == 2 and model.tokenizer.get_vocab_size() <= 120
    assert (small / "model.safetensors").stat().st_size < 1.5 * sum(
        each.numel() for each in model.bert.parameters()
    ) + 9_000
    read = TextModel.from_pretrained(small)
    assert labels(read(["yuck it stinks", "great joy", "i cry"])) == ["disgust", "happy", "sad"]
    assert "2 layers and 120 word pieces" in (small / "README.md").read_text()


def test_a_small_model_reads_as_transformers_does(tmp_path):
    save_wordpieces(tmp_path)
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path).eval(),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    texts = ["great joy today", "i cry", "joy", "so mad!"]
    with torch.inference_mode():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    small = shrink(model, tokenizer, texts, 90, 3)
    assert np.allclose(small.logits(texts), expected, atol=1e-5)
    assert np.abs(small.rounded().logits(texts) - expected).max() < 0.05 * np.abs(expected).max()
    assert np.allclose(np.concatenate([small.logits([text]) for text in texts]), small.logits(texts), atol=1e-5)
    small.save(tmp_path / "a")
    assert np.allclose(SmallBert.load(tmp_path / "a").logits(texts), small.logits(texts), atol=1e-5)


def test_padding_is_not_heard():
    torch.manual_seed(0)
    bert = Bert(pieces=20, positions=8, width=12, inner=16, layers=2, heads=3, classes=7).eval()
    ids, mask = torch.tensor([[2, 5, 3, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    assert torch.allclose(bert(ids, mask), bert(ids[:, :3]), atol=1e-6)


@pytest.mark.parametrize("text", ["", "...", "中文没有词", "\x00\ud800", "42"])
def test_a_small_model_finds_nothing_in_what_it_does_not_know(small, text):
    assert labels(TextModel.from_pretrained(small)([text])) == ["neutral"]


def test_a_small_model_reads_long_texts_window_by_window(small):
    model = SmallBert.load(small)
    short = "great joy " * 31  # 62 tokens
    assert np.allclose(model.logits([short * 4]), model.logits([short]), atol=1e-5)
    assert model.logits([]).shape == (0, 7)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"heads": 5}, "a multiple of the 5 heads"),
        ("config.json", {"temperature": 0}, "a positive number"),
        ("tokenizer.json", {"model": {"type": "WordPiece"}}, "tokenizer.json"),
        (
            "model.safetensors",
            {"classifier.bias": np.zeros(6, np.float32)},
            r"classifier.bias of shape \(6,\); expected \(7,\)",
        ),
        ("model.safetensors", {"classifier.weight.scale": np.full(7, np.inf, np.float32)}, "not finite"),
        ("model.safetensors", {"more": np.zeros(3, np.float32)}, "more of shape"),
    ],
)
def test_damaged_files_of_a_small_model_are_named(small, tmp_path, file, change, message):
    path = shutil.copytree(small, tmp_path / "a") / file
    if path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    else:
        save_file(load_file(path) | change, path)
    with pytest.raises(CheckpointError, match=message):
        TextModel.from_pretrained(tmp_path / "a")


def test_only_a_bert_with_enough_layers_is_made_small(folder, tmp_path):
    base = save_tiny_text_model(tmp_path / "base", tuple(EMOTIONS))  # of bytes
    result = run("--texts", folder, "--output", tmp_path / "a", "--base", base, "--layers", 1)
    assert result.exit_code == 2 and "expected a BERT with word pieces" in result.output
    save_wordpieces(tmp_path / "words")
    result = run("--texts", folder, "--output", tmp_path / "a", "--base", tmp_path / "words", "--layers", 9)
    assert result.exit_code == 2 and "--layers: 9; expected 1 to 3" in result.output


def test_fragments_are_pieces_of_lines():
    found = fragments(["one two three four", "a b"], 50, 0)
    assert len(found) == 50 and "one two" in found and all(2 <= len(each.split()) <= 6 for each in found)
    assert fragments(["a b"], 3, 0) == []


def test_a_missing_corpus_is_one_line(tmp_path):
    result = run("--texts", tmp_path, "--output", tmp_path / "a")
    assert result.exit_code == 2 and "goemotions_ekman_train.tsv: not there" in result.output
    assert not (tmp_path / "a").exists()
    result = run("--texts", tmp_path, "--output", tmp_path / "a", "--languages", "sv")
    assert result.exit_code == 2 and "'sv'; expected some of de, es, fr, it, pl" in result.output


def test_texts_are_joined_in_order():
    joined = Texts.joined([Texts.of([("a", ["sad"])]), Texts(), Texts.of([("b", ["happy"]), ("c", [])])])
    assert joined.texts == ["a", "b"] and [EMOTIONS[place] for place in joined.labels] == ["sad", "happy"]


def test_saved_coefficients_are_nearly_those_that_were_fitted(tmp_path):
    random = np.random.default_rng(0)
    vocabulary = {"words": ["a", "b"], "letters": [" a"]}
    model = NgramModel(
        vocabulary, np.ones(3, np.float32), random.normal(size=(3, 7)).astype(np.float32), np.zeros(7, np.float32)
    )
    model.save(tmp_path)
    loaded = NgramModel.load(tmp_path)
    assert np.allclose(loaded.logits(["a b", "b"]), model.logits(["a b", "b"]), atol=0.05)
