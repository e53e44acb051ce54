"""Which clips get a page of their own: those whose words disagree with the tone, then those that systems disagree on."""

from collections import Counter
from dataclasses import dataclass, field

from fas_eval.report.reading import Run

Index = dict[str, dict[str, "ClipAnswers"]]  # benchmark -> clip id -> answers


@dataclass
class ClipAnswers:
    """What all systems and seeds made of a clip; "" in `labels` is an answer that named no emotion."""

    id: str
    emotion: str
    words: str
    labels: list[str] = field(default_factory=list)

    @property
    def conflicting(self) -> bool:
        """Says whether words are known and their emotion is not that of the tone."""
        return bool(self.words) and self.words != self.emotion

    @property
    def right(self) -> int:
        """Counts the answers that name the tone."""
        return self.labels.count(self.emotion)

    @property
    def disagreement(self) -> float:
        """Share of the answers that are not the most frequent one."""
        return 1 - max(Counter(self.labels).values()) / len(self.labels) if self.labels else 0.0


def index_answers(run: Run) -> Index:
    """One pass over answers.csv; of each answer only the label is kept."""
    index: Index = {}
    for row in run.answers():
        clips = index.setdefault(row["benchmark"], {})
        clip = clips.get(row["id"])
        if clip is None:
            clip = clips[row["id"]] = ClipAnswers(row["id"], row["emotion"], row["semantic_emotion"])
        clip.labels.append(row["label"])
    return index


def choose_clips(index: Index, limit: int) -> dict[str, list[ClipAnswers]]:
    """At most `limit` clips of each benchmark, in the order of their pages."""
    return {
        benchmark: sorted(clips.values(), key=lambda clip: (not clip.conflicting, -clip.disagreement))[: max(limit, 0)]
        for benchmark, clips in index.items()
    }


def emotions_of(index: Index) -> dict[str, dict[str, str]]:
    """Gives benchmark -> clip id -> emotion of the tone."""
    return {benchmark: {clip.id: clip.emotion for clip in clips.values()} for benchmark, clips in index.items()}
