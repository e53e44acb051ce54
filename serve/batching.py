"""Work side by side: calls for one made into calls for many, in turns, and tasks that end together."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

BATCH = 16
SMALLEST = 30.0  # weight that a batch may always have: seconds of audio
TURN = 0.5  # seconds that a batch of more should take


async def gather(work: Iterable[Coroutine]) -> list:
    """Results in order; the first error stops the others, as does being cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


@dataclass(eq=False)
class Turn:
    """The place of one request among those who wait.

    Attributes:
        address: whose request it is; requests of one address share its turns.
        moved: time of its last result, of `time.monotonic`.
    """

    address: str = ""
    moved: float = field(default_factory=time.monotonic)


class Batcher:
    """Makes one call for many out of many calls for one: what arrives while its thread works is answered next.

    Who was not served for longest comes first, addresses before requests: one that asks for hours does not hold up
    another that asks for seconds, by more than the batch that is at work.

    Args:
        answer: items to results, in the same order; called in one thread, never twice at once.
        batch: items at most.
        weigh: how much work an item is; a batch holds `SMALLEST`, or what was done in `TURN` seconds lately.
    """

    def __init__(
        self, answer: Callable[[list], list], batch: int = BATCH, weigh: Callable[[Any], float] = lambda item: 1.0
    ):
        self._answer, self._batch, self._weigh = answer, batch, weigh
        self._waiting: dict[Turn, deque[tuple[Any, asyncio.Future]]] = {}
        self._served: dict[str, int] = {}  # address -> when it last had its turn, counted
        self._turns: WeakKeyDictionary[Turn, int] = WeakKeyDictionary()
        self._count, self._pace = itertools.count(1), 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker: asyncio.Task | None = None

    async def __call__(self, item: Any, turn: Turn | None = None) -> Any:
        """The result for one item; what raises for it alone is raised here."""
        future = asyncio.get_running_loop().create_future()
        turn = turn or Turn()
        self._waiting.setdefault(turn, deque()).append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await future
        finally:
            turn.moved = time.monotonic()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while taken := self._take():
            start, items = time.monotonic(), [item for item, _ in taken]
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, items)
            self._pace = sum(map(self._weigh, items)) / max(1e-3, time.monotonic() - start)
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if future.done():  # who asked has gone
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        self._served.clear()

    def _take(self) -> list[tuple[Any, asyncio.Future]]:
        taken, left = [], max(SMALLEST, self._pace * TURN)
        while len(taken) < self._batch and (turn := self._next()):
            item, _ = self._waiting[turn][0]
            if taken and self._weigh(item) > left:
                break
            left -= self._weigh(item)
            taken.append(self._waiting[turn].popleft())
            self._turns[turn] = self._served[turn.address] = next(self._count)
        return taken

    def _next(self) -> Turn | None:
        """Whose turn it is; those who have gone are forgotten."""
        for turn, items in list(self._waiting.items()):
            while items and items[0][1].done():
                items.popleft()
            if not items:
                del self._waiting[turn]
        last = lambda turn: (self._served.get(turn.address, 0), self._turns.get(turn, 0))  # noqa: E731
        return min(self._waiting, key=last, default=None)

    def _outcomes(self, items: list) -> list:
        try:
            return self._answer(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in self._outcomes([item])]  # one must not fail the others

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
