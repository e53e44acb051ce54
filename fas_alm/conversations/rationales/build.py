"""Conversations with an explicit chain of thought, from clips, their measured attributes and a writer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fas_alm.conversations.conversation import Conversation
from fas_alm.conversations.rationales.checking import problems_of
from fas_alm.conversations.rationales.wordings import QUESTIONS
from fas_alm.conversations.rationales.writing import Facts, Writer
from fas_alm.prompts import question_content
from fas_core.cues.attributes import ATTRIBUTES
from fas_core.cues.levels import Statistics, speaker_of

TASK = "explain"
AT_ONCE = 8  # requests of an endpoint


def build_rationales(
    rows: Sequence[Mapping],
    values: Sequence[Mapping[str, float | None]],
    statistics: Statistics,
    writer: Writer,
    *,
    languages: Sequence[str] = ("en",),
    seed: int = 42,
    kept: KeptTexts | None = None,
    at_once: int = AT_ONCE,
) -> tuple[list[Conversation], Counter]:
    """A question about each clip, answered by a rationale.

    Args:
        rows: clips of any corpus, with "text" where the words are known. values: the attributes of each.
        statistics: that levels go by. writer: of the rationales. languages: drawn from evenly.
        seed: of everything that is drawn; a clip's draw depends on it and on the clip's place.
        kept: what was written before it was stopped.

    Returns:
        The conversations, and how many clips were left out, by the reason.

    Raises:
        EndpointError: an endpoint that does not answer; what was written before is kept.
    """
    left_out: Counter = Counter()
    chosen: list[tuple[int, Mapping, Facts]] = []
    for index, (row, measured) in enumerate(zip(rows, values, strict=True)):
        found = statistics.levels(measured, speaker_of(row))
        levels = {name: found[name] for name in ATTRIBUTES if name in found}
        if row["emotion"] is None or not levels:
            left_out["no emotion" if row["emotion"] is None else "nothing could be measured"] += 1
            continue
        language = languages[np.random.default_rng([seed, index]).integers(len(languages))]
        chosen.append((index, row, Facts(levels, row["emotion"], row.get("text") or None, language)))

    def written(each: tuple[int, Mapping, Facts]) -> str:
        index, _, facts = each
        return kept.get(facts, (seed, index), writer) if kept else writer(facts, (seed, index))

    with ThreadPoolExecutor(at_once) as pool:
        texts = list(pool.map(written, chosen))
    return [_conversation(*each, text, seed) for each, text in zip(chosen, texts, strict=True)], left_out


def _conversation(index: int, row: Mapping, facts: Facts, text: str, seed: int) -> Conversation:
    rng = np.random.default_rng([seed, index, 1])
    questions = QUESTIONS[facts.language]
    question = questions[rng.integers(len(questions))]
    content = question_content(question, {"type": "audio", "path": row["audio"]}, bool(rng.integers(2)))
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": text}]},
    ]
    return Conversation(
        row["id"], messages, row["corpus"], row["split"], TASK, row["emotion"], levels=dict(facts.levels)
    )


def rationale_problems(conversation: Conversation) -> list[str]:
    """What is wrong with the last answer of a conversation that says its levels; empty for others."""
    if conversation.levels is None:
        return []
    text = "\n".join(part["text"] for part in conversation.messages[-1]["content"] if part["type"] == "text")
    if conversation.emotion is None:
        return ["emotion: missing; expected that of the tone beside the levels"]
    return problems_of(text, conversation.levels, conversation.emotion)


class KeptTexts:
    """What a writer has written, a line of JSON each, so that a run that was stopped asks for nothing twice.

    Args:
        file: beside the file that is written. writer: JSON-ready, what decides a text beside its facts.
    """

    def __init__(self, file: Path, writer: Mapping):
        self.file, self.writer = file, writer
        self.texts = dict(self._read())

    def _read(self) -> Iterator[tuple[str, str]]:
        if not self.file.is_file():
            return
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                yield record["key"], record["text"]
            except (ValueError, KeyError, TypeError):  # cut off when it was stopped
                continue

    def get(self, facts: Facts, seed: tuple[int, ...], writer: Writer) -> str:
        """The text, written where it is not there."""
        asked = json.dumps([asdict(facts) | {"levels": dict(facts.levels)}, list(seed), self.writer], sort_keys=True)
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        if key not in self.texts:
            self.texts[key] = text = writer(facts, seed)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "text": text}, ensure_ascii=False) + "\n")
        return self.texts[key]


@contextmanager
def kept_texts(file: Path, writer: Mapping) -> Iterator[KeptTexts]:
    """`KeptTexts` whose file is removed once everything is written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    yield KeptTexts(file, writer)
    file.unlink(missing_ok=True)
