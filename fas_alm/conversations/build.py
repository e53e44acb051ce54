"""Conversations from corpora."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fas_alm.conversations.conversation import Conversation
from fas_alm.conversations.questions import TASKS, check_names, draw_question, possible_tasks
from fas_alm.prompts import LANGUAGES


def build_conversations(
    rows: Iterable[Mapping],
    *,
    tasks: Sequence[str] = TASKS,
    languages: Sequence[str] = LANGUAGES,
    per_clip: int = 1,
    seed: int = 42,
) -> tuple[list[Conversation], Counter]:
    """Draw questions about each clip and answer them by its labels.

    Args:
        rows: clips of any corpus (`fas_core.data.load_corpus`), with "spoken" where words are told (`corpus_transcripts`).
        tasks, languages: drawn from evenly, for each clip among the tasks that its labels answer.
        per_clip: questions about each clip.
        seed: of everything that is drawn; a clip's questions depend on it and on the clip's place.

    Returns:
        The conversations, and how many clips no task could be asked about, by corpus.

    Raises:
        FASError: unknown tasks or languages.
    """
    check_names("tasks", tasks, TASKS)
    check_names("languages", languages, LANGUAGES)
    conversations, skipped = [], Counter()
    for index, row in enumerate(rows):
        possible = possible_tasks(row, tasks)
        if not possible:
            skipped[row["corpus"]] += 1
            continue
        rng = np.random.default_rng([seed, index])
        for _ in range(per_clip):
            conversations.append(Conversation.about(row, draw_question(rng, possible, languages)))
    return conversations, skipped
