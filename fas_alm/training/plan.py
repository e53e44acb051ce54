"""Which clips are asked what in which batch: a pure function of seed and epoch.

All clips of a batch are asked the same question. Their prompts then have the same length, and the question before the audio
is computed once for all of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Dataset, Sampler

from fas_alm.conversations.conversation import Conversation
from fas_alm.conversations.questions import Question, draw_question, possible_tasks
from fas_alm.training.examples import Example, ExampleEncoder

LENGTH_GROUP = 16  # batches of conversations that are sorted by length together


@dataclass(frozen=True)
class Draw:
    """What is drawn from: tasks, languages, the share of lettered questions whose options are shuffled, the share of questions about
    the tone that leave the transcript out, and the share of questions that leave the acoustic cues out.
    """

    tasks: Sequence[str]
    languages: Sequence[str]
    shuffled_options: float = 1.0
    transcript_dropout: float = 0.0
    cue_dropout: float = 0.0


@dataclass(frozen=True)
class Unlearned:
    """An item that is computed and not learned, so that every process has as many batches."""

    item: int | tuple[int, Question]


class ExampleSet(Dataset):
    """Examples by what the plan names: (clip, question), or the number of a conversation's example."""

    def __init__(self, clips: Sequence[Mapping], ready: Sequence[Example], encoder: ExampleEncoder):
        self.clips, self.ready, self.encoder = clips, ready, encoder

    def __len__(self) -> int:
        return len(self.clips) + len(self.ready)

    def __getitem__(self, item: int | tuple[int, Question] | Unlearned) -> Example:
        if isinstance(item, Unlearned):
            return replace(self[item.item], learned=False)
        if isinstance(item, int):
            return self.ready[item]
        clip, question = item
        return self.encoder.examples(Conversation.about(self.clips[clip], question))[0]


class BatchPlan(Sampler):
    """Batches of one epoch; for `DataLoader(batch_sampler=...)`.

    Args:
        data: the training set.
        draw: what clips are asked.
        batch_size: examples of a batch; the last one of a group has fewer.
        seed: of the order and the questions; every epoch has its own.
        processes: that share the batches; their number is a multiple of it.

    Attributes:
        unasked: number of clips whose labels answer none of the tasks.
    """

    def __init__(self, data: ExampleSet, draw: Draw, batch_size: int, seed: int, processes: int = 1):
        self.draw, self.seed, self.epoch, self.processes = draw, seed, 0, processes
        self._size, self._ready = batch_size, data.ready
        self._groups = self._clips_alike(data)
        self.unasked = len(data.clips) - sum(len(clips) for _, clips in self._groups)
        self._lengths = np.array([len(example.prompt) + len(example.answer) for example in data.ready])
        self._number = sum(1 for _ in self)  # list() would ask for the length

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration is of."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[list]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = [batch for tasks, clips in self._groups for batch in self._asked(rng, tasks, clips)]
        batches += self._conversations(rng)
        batches = [batches[i] for i in rng.permutation(len(batches))]
        filling = [[Unlearned(batches[0][0])]] * (-len(batches) % self.processes) if batches else []
        return iter(batches + filling)

    def _clips_alike(self, data: ExampleSet) -> list[tuple[list[str], np.ndarray]]:
        """Clips whose labels answer the same tasks and that have as many windows."""
        groups = defaultdict(list)
        for index, clip in enumerate(data.clips):
            tasks = tuple(possible_tasks(clip, self.draw.tasks))
            groups[tasks, data.encoder.audio.windows(clip["audio"])].append(index)
        return [(list(tasks), np.array(clips)) for (tasks, _), clips in sorted(groups.items()) if tasks]

    def _asked(self, rng: np.random.Generator, tasks: list[str], clips: np.ndarray) -> Iterator[list]:
        order = rng.permutation(clips)
        for start in range(0, len(order), self._size):
            question = draw_question(
                rng,
                tasks,
                self.draw.languages,
                self.draw.shuffled_options,
                self.draw.transcript_dropout,
                self.draw.cue_dropout,
            )
            yield [(int(clip), question) for clip in order[start : start + self._size]]

    def _conversations(self, rng: np.random.Generator) -> list[list[int]]:
        """By length within groups of batches, so that little padding is computed."""
        order, batches = rng.permutation(len(self._ready)), []
        for start in range(0, len(order), self._size * LENGTH_GROUP):
            group = order[start : start + self._size * LENGTH_GROUP]
            group = group[np.argsort(-self._lengths[group], kind="stable")]
            batches += [[int(i) for i in group[j : j + self._size]] for j in range(0, len(group), self._size)]
        return batches
