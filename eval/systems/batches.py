"""Clips answered in batches, so that one bad clip costs its own answer only."""

import time
from collections.abc import Callable, Iterator, Sequence

from fas_core.errors import FASError
from fas_eval.systems.base import BenchmarkClip, SystemAnswer

# What a clip can do to a model: bad audio (`FASError`), too little memory or a shape that does not fit (RuntimeError), a processor
# that refuses it (ValueError). Anything else is a fault of the program and ends the run.
FAULTS = (FASError, RuntimeError, ValueError)


def in_batches(
    clips: Sequence[BenchmarkClip], size: int, ask: Callable[[Sequence[BenchmarkClip]], list[SystemAnswer]]
) -> Iterator[SystemAnswer]:
    """One answer for each clip, with its share of the batch's time.

    Args:
        size: clips of a batch. ask: answers a batch; where it raises, each clip of the batch is asked about alone.
    """
    for start in range(0, len(clips), size):
        batch, began = clips[start : start + size], time.perf_counter()
        try:
            answers = ask(batch)
        except FAULTS as error:
            if len(batch) > 1:
                yield from in_batches(batch, 1, ask)
                continue
            answers = [SystemAnswer.failure(batch[0].id, _first_line(error))]
        seconds = round((time.perf_counter() - began) / len(batch), 6)
        for answer in answers:
            answer.seconds = seconds
            yield answer


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
