"""One bounded POST to a model provider per try, whole or as a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import httpx

from supervisor.errors import ConfigError, InputRefused, ProviderFailed
from supervisor.providers.http_errors import (
    UNREADABLE,
    broken_stream,
    garbage_failure,
    oversized_failure,
    retry_after_s,
    status_failure,
    transport_failure,
    vendor_words,
)
from supervisor.providers.provider import AnswerStream, ModelAnswer, ModelRequest, bytes_bound
from supervisor.providers.server_sent_events import DataLines

TEMPLATE_TOKENS_MAX = 64
"""Tokens that a chat template may add per message and once per request.

OpenAI's and Anthropic's add 3 to 7 to a message; open models' templates also put a system prompt
of their own before a conversation that has none (SmolLM2's: 30 tokens for the message "hi";
gpt-oss': about 70), and the request's share together with its first message's covers that.
"""

_ERROR_BODY_BYTES_MAX = 65_536


class Transcript(Protocol):
    """The part of a streamed answer that has arrived, in one vendor's dialect; pure."""

    @property
    def is_complete(self) -> bool:
        """Whether the vendor's end mark has come."""
        ...

    def take(self, data: bytes) -> str:
        """Take one event's JSON in and return its text, which may be empty.

        Raises:
            ProviderFailed: the event reports an error.
            msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not the dialect's.
        """
        ...

    def answer(self) -> ModelAnswer:
        """Return what has come so far; its usage is None until the end mark."""
        ...


class HttpStream:
    """An `AnswerStream` over HTTP; read by one task, inside the `async with` that gave it."""

    def __init__(self, pieces: AsyncIterator[str], transcript: Transcript) -> None:
        self._pieces = pieces
        self._transcript = transcript

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    @property
    def answer(self) -> ModelAnswer:
        return self._transcript.answer()


@dataclass(kw_only=True, eq=False)
class HttpProvider(ABC):
    """The connection to one configured provider; the dialects derive from it.

    `answer_max_bytes` counts the bytes of a body as sent, a stream's framing included: OpenAI
    frames each token of a stream in about 350 bytes. The environment is not read (proxies, netrc,
    certificate paths): config.py alone does that. No retries: each try needs a hold of its own.
    """

    #: Where its models are listed, and where calls go, below `base_url`.
    catalogue_path: ClassVar[str] = "/models"
    call_path: ClassVar[str] = ""

    name: str
    base_url: str = field(repr=False)
    api_key: str | None = field(repr=False)
    connect_timeout_s: float
    read_timeout_s: float
    answer_max_bytes: int
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    _client: httpx.AsyncClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Open the client.

        Raises:
            ConfigError: the key can't stand in a header; h11's own error would print it.
        """
        if self.api_key is not None and not _fits_header(self.api_key):
            raise ConfigError(
                subject=f"[providers.{self.name}] api_key_env",
                what="the key is empty, or has spaces, line breaks or non-ASCII characters",
                fix="set the variable to the key alone, or leave api_key_env out",
            )
        self._timeout = httpx.Timeout(
            self.read_timeout_s, connect=self.connect_timeout_s, pool=self.connect_timeout_s
        )
        self._client = httpx.AsyncClient(
            transport=self.transport, timeout=self._timeout, trust_env=False, follow_redirects=False
        )

    def input_tokens_max(self, request: ModelRequest) -> int:
        """Return the bytes of the text plus the chat template's own tokens.

        Raises:
            InputRefused: the text holds half of a surrogate pair, so that it has no UTF-8 form.
        """
        try:
            return bytes_bound(request, per_message_tokens=TEMPLATE_TOKENS_MAX)
        except UnicodeEncodeError as error:
            raise InputRefused(
                subject=f"input for provider {self.name}",
                what="it holds a lone surrogate, which has no UTF-8 form",
                fix="decode the text with errors='replace' before it is sent",
            ) from error

    async def close(self) -> None:
        await self._client.aclose()

    async def peek(self, path: str, *, content: bytes | None = None) -> tuple[int, bytes]:
        """Ask for something that is no work, and return the answer's status and its beginning.

        Raises:
            ProviderFailed: there was no answer.
        """
        method = "GET" if content is None else "POST"
        response = await self._ask(method, path, headers=self._headers(), content=content)
        async with aclosing(response):
            body = b"".join([chunk async for chunk in self._chunks(response)])
            return response.status_code, body

    @abstractmethod
    def _headers(self) -> dict[str, str]:
        """Return what says who asks, in the vendor's dialect."""

    async def _fetch(self, path: str, *, headers: dict[str, str], content: bytes) -> bytes:
        """Send one request and return the body of its 2xx answer."""
        response = await self._send(path, headers=headers, content=content)
        async with aclosing(response):
            return b"".join([chunk async for chunk in self._chunks(response)])

    @asynccontextmanager
    async def _listen(
        self, path: str, *, headers: dict[str, str], content: bytes, transcript: Transcript
    ) -> AsyncIterator[AnswerStream]:
        """Send one request and give its answer as it arrives."""
        response = await self._send(path, headers=headers, content=content)
        async with aclosing(response), aclosing(self._pieces(response, transcript)) as pieces:
            yield HttpStream(pieces, transcript)

    async def _send(self, path: str, *, headers: dict[str, str], content: bytes) -> httpx.Response:
        response = await self._ask("POST", path, headers=headers, content=content)
        if response.is_success:
            return response
        async with aclosing(response):
            raise await self._status_failure(response)

    async def _ask(
        self, method: str, path: str, *, headers: dict[str, str], content: bytes | None
    ) -> httpx.Response:
        # Identity keeps the size bound honest: unpacking could make a gigabyte of one chunk.
        common = {"accept-encoding": "identity", "content-type": "application/json"}
        try:
            request = self._client.build_request(
                method,
                self.base_url.rstrip("/") + path,
                headers={**common, **headers},
                content=content,
            )
            return await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._transport_failure(error) from error

    async def _status_failure(self, response: httpx.Response) -> ProviderFailed:
        body = await self._error_body(response)
        return status_failure(
            self.name,
            status=response.status_code,
            said=vendor_words(body, secret=self.api_key or ""),
            retry_after_s=retry_after_s(response.headers),
        )

    async def _error_body(self, response: httpx.Response) -> bytes:
        """Return as much of the body as comes: the status alone says what happened."""
        body = bytearray()
        if _is_packed(response):
            return bytes(body)
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= _ERROR_BODY_BYTES_MAX:
                    break
        except httpx.HTTPError:
            body += b" [cut off]"
        return bytes(body[:_ERROR_BODY_BYTES_MAX])

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Yield the body as it was sent, up to its bound."""
        if _is_packed(response):
            raise garbage_failure(self.name, "a packed body though none was asked for")
        seen_bytes = 0
        try:
            async for chunk in response.aiter_bytes():
                seen_bytes += len(chunk)
                if seen_bytes > self.answer_max_bytes:
                    raise oversized_failure(self.name, bytes_max=self.answer_max_bytes)
                yield chunk
        except httpx.HTTPError as error:
            raise self._transport_failure(error) from error

    async def _events(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        lines = DataLines()
        async with aclosing(self._chunks(response)) as chunks:
            async for chunk in chunks:
                for data in lines.feed(chunk):
                    yield data
        for data in lines.rest():
            yield data

    async def _pieces(
        self, response: httpx.Response, transcript: Transcript
    ) -> AsyncGenerator[str, None]:
        async with aclosing(self._events(response)) as events:
            async for data in events:
                piece = self._taken(transcript, data)
                if piece:
                    yield piece
                if transcript.is_complete:
                    return
        raise broken_stream(self.name)

    def _taken(self, transcript: Transcript, data: bytes) -> str:
        try:
            return transcript.take(data)
        except UNREADABLE as error:
            raise garbage_failure(self.name, "a stream event that is not its API's") from error

    def _transport_failure(self, error: httpx.HTTPError | httpx.InvalidURL) -> ProviderFailed:
        return transport_failure(self.name, error, timeout=self._timeout, secret=self.api_key or "")


def _is_packed(response: httpx.Response) -> bool:
    packing: str = response.headers.get("content-encoding", "identity")
    return packing.lower() != "identity"


def _fits_header(key: str) -> bool:
    return key.isascii() and key.isprintable() and key != "" and " " not in key
