"""The public face: names that tools see, and what an answer looks like."""

import ast
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from repository import ROOT

import fas_alm
import fas_core
from fas_core import Answer, answers_to_frame
from fas_core.answers import AudioFacts, Tone
from fas_core.labels import EMOTIONS
from fas_core.words.types import Words

FLAT = dict.fromkeys(EMOTIONS, 0.05) | {"angry": 0.7}
GLAD = dict.fromkeys(EMOTIONS, 0.02) | {"happy": 0.88}


def heard(**changes) -> Answer:
    words = Words("I am fine", "en", 0.9, "happy", GLAD)
    given = dict(
        label="angry", probabilities=FLAT, tone=Tone.of(FLAT), words=words, conflict=0.83, unsure=True, speech=1.0
    )
    return Answer("call.wav", **(given | changes))


@pytest.mark.parametrize("package", [fas_core, fas_alm])
def test_type_checkers_see_the_names_that_are_loaded_on_first_use(package):
    tree = ast.parse((ROOT / package.__name__ / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {(alias.asname, node.module) for node in block.body for alias in node.names}
    assert seen == set(package._PUBLIC.items())
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("folder", ["fas_core", "fas_alm", "eval", "serve"])
def test_the_packages_say_that_they_are_typed(folder):
    assert (ROOT / folder / "py.typed").is_file()


def test_the_name_of_the_package_alone_loads_neither_torch_nor_transformers():
    code = "import sys, fas_core; dir(fas_core); print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_answer_is_one_line():
    expected = '<Answer call.wav: angry 0.70 (unsure); tone angry 0.70; words happy 0.88 "I am fine"; conflict 0.83>'
    assert repr(heard()) == expected
    assert repr(Answer("a.wav", speech=0.0)) == "<Answer a.wav: no speech>"
    assert repr(Answer("a\n.wav", error="a\n.wav: empty")) == r"<Answer a\n.wav: error: empty>"
    window = heard(start=0.0, end=4.0, words=None, words_missing="off", conflict=None, audio=AudioFacts(channel=2))
    assert repr(window).startswith(
        "<Answer call.wav, channel 2, 0.0 to 4.0 s: angry 0.70"
    ) and "words none (off)" in repr(window)
    long = heard(words=Words("no " * 100, "en", 0.9, "happy", GLAD))
    assert len(repr(long)) < 160 and 'no ..."' in repr(long)


def test_a_notebook_shows_what_a_stranger_said_and_runs_none_of_it():
    said = Words("<script>alert(1)</script>", "en", 0.9, "happy", GLAD)
    html = heard(words=said)._repr_html_()
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(html)
    assert set(tags) == {"table", "tr", "th", "td"} and "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;.wav" in Answer("<b>.wav")._repr_html_()


def test_a_picture_has_a_bar_for_each_emotion_of_tone_and_words():
    axes = heard().plot(Figure().subplots())
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[:7] == [-FLAT[e] for e in EMOTIONS] and widths[7:] == [GLAD[e] for e in EMOTIONS]
    assert axes.get_xlabel() == "call.wav: angry 0.70 (unsure)"
    assert len(heard(words=None).plot(Figure().subplots()).patches) == 7
    silent = Answer("$x^$.wav", speech=0.0).plot(Figure().subplots())
    silent.figure.canvas.draw()
    assert not silent.patches


def test_answers_become_a_frame_with_the_columns_of_csv():
    answers = [heard(), Answer("b.wav", error="b.wav: empty")]
    frame = answers_to_frame(answers)
    assert list(frame.columns) == list(answers[0].to_row()) and len(frame) == 2
    assert frame.loc[0, "words.transcript"] == "I am fine" and frame.loc[0, "tone.angry"] == 0.7
    assert frame["tone.angry"].isna().tolist() == [False, True]
    assert list(answers_to_frame([]).columns) == list(frame.columns) and answers_to_frame([]).empty
    assert answers_to_frame(iter(answers)).equals(frame)
