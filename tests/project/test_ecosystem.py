"""The examples of docs/ecosystem.md run, in order."""

import re

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from repository import ROOT
from synthetic import noise

from fas_core import Answer, answers_to_frame
from fas_core.labels import EMOTIONS

PAGE = ROOT / "docs" / "ecosystem.md"


def test_the_examples_run_and_agree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    soundfile.write("call.wav", noise(1.5, 0), 16_000, subtype="FLOAT")
    names: dict = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert isinstance(names["answer"], Answer) and names["frame"].equals(answers_to_frame([names["answer"]]))
    names["pipeline"].speech_check = None  # noise is no speech, and here it is to be given an emotion
    expected = names["pipeline"]("call.wav").probabilities
    found = names["probabilities"][0].tolist()
    np.testing.assert_allclose(found, [expected[emotion] for emotion in EMOTIONS], atol=1e-5)
    plt.close("all")
