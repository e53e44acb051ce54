"""What all requests share: memory, disk, clips. A limit of one request alone leaves room for a hundred of its size."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

from fas_serve.errors import APIError

RETRY = 5.0  # seconds


@dataclass(eq=False)
class Budget:
    """An amount of something that the requests of a server have together.

    Attributes:
        what: as the refusal calls it.
        size, used: in bytes, or pieces.
        option: of the server, that changes it.
    """

    what: str
    size: int
    option: str
    used: int = 0


class Share(ExitStack):
    """What one request has taken: given back, and its files closed, when the context ends."""

    def __init__(self):
        super().__init__()
        self._taken: Counter[Budget] = Counter()
        self.callback(self._give_back)

    def take(self, budget: Budget, amount: int) -> None:
        """Raises `APIError`: 413 where the request alone wants more than there is, 429 where others have it now."""
        if self._taken[budget] + amount > budget.size:
            text = f"the request needs more {budget.what} than the {budget.size} of this server ({budget.option})"
            raise APIError(413, text, code="request_too_big")
        if budget.used + amount > budget.size:
            text = f"the server is full: requests at work use its {budget.what}; try again later"
            raise APIError(429, text, code="server_full", retry_after=RETRY)
        self._taken[budget] += amount
        budget.used += amount

    def _give_back(self) -> None:
        for budget, amount in self._taken.items():
            budget.used -= amount


class Budgets:
    """Those of one gateway."""

    def __init__(self, memory: int, disk: int, clips: int):
        self.memory = Budget("bytes of memory", memory, "--memory-budget")
        self.disk = Budget("bytes of disk for uploads", disk, "--disk-budget")
        self.clips = Budget("clips", clips, "--clips-budget")
