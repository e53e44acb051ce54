"""What the gateway needs of a language model, whoever runs it."""

from collections.abc import AsyncGenerator
from typing import Protocol


class Backend(Protocol):
    """A language model that reads chat requests whose audio is an array at 16 kHz (`backend_audio.array_part`).

    Requests have gone through `read_chat`. Every method raises `APIError` for what it cannot answer.
    """

    name: str

    async def chat(self, request: dict) -> dict:
        """A chat completion in OpenAI's shape."""

    def stream(self, request: dict) -> AsyncGenerator[bytes, None]:
        """The same as server-sent events; what is wrong with the request raises before the first of them."""

    async def option_logprobs(self, messages: list[dict], token_ids: list[int]) -> list[float]:
        """log p of each token as the first of the answer, over the whole vocabulary."""

    async def healthy(self) -> bool: ...

    async def close(self) -> None: ...
