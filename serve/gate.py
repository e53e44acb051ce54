"""How many requests there may be: some at work, some waiting, and a 429 for the next."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve.errors import APIError

SMOOTHING = 0.1  # of the running mean of how long a request takes
LONGEST_RETRY = 60.0  # seconds


class Gate:
    """Admits `concurrency` + `queue` requests, of which `concurrency` are worked on at once."""

    def __init__(self, concurrency: int, queue: int):
        self.concurrency, self.capacity = concurrency, concurrency + queue
        self.admitted = self.working = 0
        self._slots = asyncio.Semaphore(concurrency)
        self._mean_seconds = 1.0

    @asynccontextmanager
    async def admission(self) -> AsyncIterator[None]:
        """A place among those who send, wait or are worked on.

        Raises:
            APIError: 429 when there is none, with the seconds after which there may be one.
        """
        if self.admitted >= self.capacity:
            message = f"the server is full: {self.capacity} requests are at work or wait; try again later"
            raise APIError(429, message, code="server_full", retry_after=self._expected_wait())
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among those who are worked on; waits for it."""
        async with self._slots:
            self.working += 1
            start = time.monotonic()
            try:
                yield
            finally:
                self.working -= 1
                self._mean_seconds += SMOOTHING * (time.monotonic() - start - self._mean_seconds)

    def _expected_wait(self) -> float:
        return min(LONGEST_RETRY, self._mean_seconds * self.admitted / self.concurrency)
