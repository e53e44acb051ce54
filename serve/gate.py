"""How many requests there may be: some at work, some waiting, and a 429 for the next."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fas_serve.errors import APIError

SHARE = 0.75  # of the places, that one address may have
SMOOTHING = 0.1  # of the running mean of how long a request takes
LONGEST_RETRY = 60.0  # seconds


class Gate:
    """Admits `concurrency` + `queue` requests, of which `concurrency` are worked on at once.

    One address has `SHARE` of the places at most, and of those who wait the one whose address has the fewest at work is next:
    a client that fills the server leaves room for others.
    """

    def __init__(self, concurrency: int, queue: int):
        self.concurrency, self.capacity = concurrency, concurrency + queue
        self.admitted = self.working = 0
        self._admitted_of: Counter[str] = Counter()
        self._working_of: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future]] = []
        self._mean_seconds = 1.0

    @asynccontextmanager
    async def admission(self, address: str = "") -> AsyncIterator[None]:
        """A place among those who send, wait or are worked on.

        Raises:
            APIError: 429 when there is none, with the seconds after which there may be one.
        """
        if self.admitted >= self.capacity or self._admitted_of[address] >= math.ceil(SHARE * self.capacity):
            message = f"the server is full: {self.admitted} requests are at work or wait; try again later"
            raise APIError(429, message, code="server_full", retry_after=self._expected_wait())
        self.admitted += 1
        self._admitted_of[address] += 1
        try:
            yield
        finally:
            self.admitted -= 1
            _count_down(self._admitted_of, address)

    @asynccontextmanager
    async def slot(self, address: str = "") -> AsyncIterator[None]:
        """A place among those who are worked on; waits for it."""
        await self._enter(address)
        start = time.monotonic()
        try:
            yield
        finally:
            self._leave(address)
            self._mean_seconds += SMOOTHING * (time.monotonic() - start - self._mean_seconds)

    async def _enter(self, address: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((address, place))
        self._let_in()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in just as it went
                self._leave(address)
            raise

    def _leave(self, address: str) -> None:
        self.working -= 1
        _count_down(self._working_of, address)
        self._let_in()

    def _let_in(self) -> None:
        self._waiting = [(address, place) for address, place in self._waiting if not place.done()]
        most = math.ceil(SHARE * self.concurrency)
        while self.working < self.concurrency:
            allowed = [each for each in self._waiting if self._working_of[each[0]] < most]
            if not allowed:
                return
            chosen = min(allowed, key=lambda each: self._working_of[each[0]])
            self._waiting.remove(chosen)
            self.working += 1
            self._working_of[chosen[0]] += 1
            chosen[1].set_result(None)

    def _expected_wait(self) -> float:
        return min(LONGEST_RETRY, self._mean_seconds * self.admitted / self.concurrency)


def _count_down(counter: Counter, key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # addresses are many
