"""What the daemon asks of a model provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation, text only: images and files are refused at the border."""

    role: Literal["system", "user", "assistant"]
    content: str


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it will be sent; `max_tokens` bounds the output, reasoning included."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that the provider says it used.

    `input_tokens` counts every input token, cached ones included; `cache_read_tokens` and
    `cache_write_tokens` are the parts of it that were read from and written to a cache.
    `output_tokens` counts every output token; `reasoning_tokens` is the part of it that was
    reasoning.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; `usage` is None where the provider did not say, and is never guessed."""

    text: str
    usage: Usage | None
    model: str
    finish_reason: str


class AnswerStream(Protocol):
    """An answer that is still arriving: iterate to the end, then `answer` holds the whole."""

    def __aiter__(self) -> AsyncIterator[str]:
        """Yield pieces of text in order.

        Raises:
            ProviderFailed: the stream broke; what was billed is unknown.
        """
        ...

    @property
    def answer(self) -> ModelAnswer:
        """The whole answer, complete once the iteration has ended."""
        ...


class Provider(Protocol):
    """A model provider, one try per call: retries belong to the caller, each with its own hold."""

    def input_tokens_max(self, request: ModelRequest) -> int:
        """Return a bound on the input tokens of `request` that can't be low.

        Raises:
            InputRefused: no such bound exists for this input.
        """
        ...

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Send `request` and return the whole answer.

        Raises:
            ProviderFailed: no usable answer came; its fields say whether work may have been done.
        """
        ...

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AnswerStream]:
        """Send `request` and give the answer as it arrives.

        Raises:
            ProviderFailed: as for `complete`, on entering or while iterating.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


def bytes_bound(request: ModelRequest, *, per_message_tokens: int) -> int:
    """Return the UTF-8 bytes of the text plus a constant per message.

    A byte-level BPE makes at most one token of each byte, so the bound can't be low
    (architecture.md, "The ledger"); the constant covers the chat template's own tokens.
    """
    text_bytes = sum(len(message.content.encode()) for message in request.messages)
    return text_bytes + per_message_tokens * (len(request.messages) + 1)
