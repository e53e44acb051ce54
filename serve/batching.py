"""Work side by side: calls for one made into calls for many, and tasks that end together."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BATCH = 16


async def gather(work: Iterable[Coroutine]) -> list:
    """Results in order; the first error stops the others, as does being cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


class Batcher:
    """Makes one call for many out of many calls for one: what arrives while its thread works is answered next.

    Args:
        answer: items to results, in the same order; called in one thread, never twice at once.
        batch: items at most.
    """

    def __init__(self, answer: Callable[[list], list], batch: int = BATCH):
        self._answer, self._batch = answer, batch
        self._waiting: deque[tuple[Any, asyncio.Future]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker: asyncio.Task | None = None

    async def __call__(self, item: Any) -> Any:
        """The result for one item; what raises for it alone is raised here."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while taken := self._take():
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, [item for item, _ in taken])
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if future.done():  # who asked has gone
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _take(self) -> list[tuple[Any, asyncio.Future]]:
        taken = []
        while self._waiting and len(taken) < self._batch:
            item, future = self._waiting.popleft()
            if not future.done():
                taken.append((item, future))
        return taken

    def _outcomes(self, items: list) -> list:
        try:
            return self._answer(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in self._outcomes([item])]  # one must not fail the others

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
