"""What a worker gets from a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from supervisor.providers.provider import AnswerStream, Usage


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer, and what the ledger has recorded for it.

    `usage` is None where the provider did not say: then the whole hold was forfeited.
    """

    text: str
    usage: Usage | None
    cost_usd: float
    model: str
    finish_reason: str


class ReplyStream:
    """An answer that is still arriving: iterate over its pieces, then read `reply`."""

    def __init__(self, arriving: AnswerStream, conclude: Callable[[], Reply]) -> None:
        self._arriving = aiter(arriving)
        self._conclude = conclude
        self._first: str | None = None
        self._reply: Reply | None = None

    async def begin(self) -> None:
        """Wait for the first piece, before anybody is given the stream.

        Raises:
            ProviderFailed: the stream broke, and nobody has seen any of it.
        """
        self._first = await anext(self._arriving, None)

    async def __aiter__(self) -> AsyncIterator[str]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        async for piece in self._arriving:
            yield piece
        self._reply = self._conclude()

    @property
    def reply(self) -> Reply:
        """The whole reply, once the iteration has ended.

        Raises:
            RuntimeError: it has not.
        """
        if self._reply is None:
            raise RuntimeError("read the stream to its end before its reply")
        return self._reply
