"""A stream over an answer that is already here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio.lowlevel

from supervisor.errors import ProviderFailed
from supervisor.providers.provider import ModelAnswer


class ReadyStream:
    """An `AnswerStream` for the providers in this process; read once, by one task."""

    def __init__(self, answer: ModelAnswer, *, breaks_with: ProviderFailed | None = None) -> None:
        self._whole = answer
        self._breaks_with = breaks_with
        self._sent: list[str] = []
        self._is_complete = False

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text line by line, each after a turn of the loop.

        Raises:
            ProviderFailed: after the last line, where the stream is one that breaks.
        """
        for piece in self._whole.text.splitlines(keepends=True):
            await anyio.lowlevel.checkpoint()
            self._sent.append(piece)
            yield piece
        if self._breaks_with:
            raise self._breaks_with
        self._is_complete = True

    @property
    def answer(self) -> ModelAnswer:
        if self._is_complete:
            return self._whole
        return ModelAnswer(
            text="".join(self._sent),
            usage=None,
            model=self._whole.model,
            finish_reason="incomplete",
        )
