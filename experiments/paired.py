"""The answer against its tone alone and its words alone, by speaker: of all clips of a set, and of each half.

A half is of clips whose words and tone are labelled: conflicting ones, whose words carry an emotion and whose tone another, and the
others. Records are those of `experiments.conflict`.
"""

import numpy as np

from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_eval.statistics.comparison import compare

NEUTRAL = "neutral"
OTHERS = ("tone", "words")


def is_conflicting(row: dict, counts_neutral: bool = False) -> bool:
    """Whether words and tone are said to differ; words without emotion contradict no tone, unless they count."""
    return row["words_emotion"] != row["emotion"] and (counts_neutral or row["words_emotion"] != NEUTRAL)


def paired(rows: list[dict]) -> dict:
    """Figures of all clips, and under "halves" of those of each half that there is."""
    told = [r for r in rows if r["words_emotion"] and r["emotion"]]
    parts = {
        "congruent": [r for r in told if not is_conflicting(r)],
        "conflicting": [r for r in told if is_conflicting(r)],
    }
    found = {name: figures for name, part in parts.items() if (figures := tone_and_words(part))}
    return tone_and_words(rows) | ({"halves": found} if found else {})


def tone_and_words(rows: list[dict]) -> dict:
    """The answer, the tone alone and the words alone, against the emotion of the voice; words that are missing say neutral."""
    rows = [r for r in rows if r["emotion"] and r["label"] and r["tone"]]
    if not rows:
        return {}
    labels = np.array([EMOTIONS.index(r["emotion"]) for r in rows])
    answers = {
        "answer": np.array([EMOTIONS.index(r["label"]) for r in rows]),
        "tone": np.array([int(np.argmax(r["tone"])) for r in rows]),
        "words": np.array([int(np.argmax(r["words"])) if r["words"] else EMOTIONS.index(NEUTRAL) for r in rows]),
    }
    found = {"compared": len(rows)} | {
        f"accuracy_{name}": float((said == labels).mean()) for name, said in answers.items()
    }
    speakers = [r["speaker"] for r in rows] if all(r["speaker"] for r in rows) else None
    if speakers and len(set(speakers)) < 2:
        speakers = None
    for other in OTHERS:
        test = compare(labels, answers["answer"], answers[other], speakers)
        figures = {key: getattr(test, key)["accuracy"] for key in ("difference", "intervals", "p")}
        found[f"against_{other}"] = figures | {"resampled": test.resampled}
    return found


HEADER = ("set", "half", "clips", "answer", "tone alone", "words alone", "answer - tone", "p", "answer - words", "p")


def markdown(sets: dict) -> str:
    """The figures as a table, in per cent; in square brackets intervals of 95 %, p not corrected for how many there are."""
    rows = []
    for name, found in sets.items():
        parts = {"all": found} | found.get("halves", {})
        rows += [[name, half, *_cells(figures)] for half, figures in parts.items() if "compared" in figures]
    return table_of(list(HEADER), rows)


def _cells(figures: dict) -> list[str]:
    right = [f"{100 * figures[f'accuracy_{name}']:.1f}" for name in ("answer", *OTHERS)]
    tests = [figures[f"against_{other}"] for other in OTHERS]
    return [
        str(figures["compared"]),
        *right,
        *(cell for test in tests for cell in (difference(test), f"{test['p']:.3f}")),
    ]


def difference(test: dict | None) -> str:
    """ "+1.2 [-0.3, 2.7]" in points; a dash where nothing was compared."""
    if not test:
        return "-"
    low, high = (100 * edge for edge in test["intervals"])
    return f"{100 * test['difference']:+.1f} [{low:.1f}, {high:.1f}]"
