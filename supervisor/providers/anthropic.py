"""Anthropic's Messages API."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import msgspec

from supervisor.providers.http_errors import UNREADABLE, garbage_failure, told_failure
from supervisor.providers.http_provider import HttpProvider
from supervisor.providers.provider import (
    AnswerStream,
    Message,
    ModelAnswer,
    ModelRequest,
    Usage,
)
from supervisor.providers.reported_usage import usage_or_unknown

DEFAULT_BASE_URL = "https://api.anthropic.com"

_PATH = "/v1/messages"
_VERSION = "2023-06-01"
_NAME_CHARS_MAX = 200
_NULL = msgspec.Raw(b"null")


class _Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    max_tokens: int
    messages: tuple[Message, ...]
    system: str = ""
    stream: bool = False


class _CacheWrites(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Counts(msgspec.Struct):
    """`input_tokens` excludes what was read from and written to a cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheWrites | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    """A piece of content; only a text block has a text."""

    text: str | None = None


class _Reply(msgspec.Struct):
    content: list[_Block] | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = _NULL


class _Delta(msgspec.Struct):
    text: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Reply | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = _NULL


@dataclass(kw_only=True, eq=False)
class Anthropic(HttpProvider):
    """Claude models at Anthropic, or at a server that speaks its Messages API."""

    catalogue_path = "/v1/models"
    call_path = _PATH

    base_url: str = field(default=DEFAULT_BASE_URL, repr=False)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        body = await self._fetch(
            _PATH, headers=self._headers(), content=_content(request, is_stream=False)
        )
        try:
            reply = msgspec.json.decode(body, type=_Reply)
        except UNREADABLE as error:
            raise garbage_failure(self.name, "a body that is no message") from error
        if reply.content is None:
            raise told_failure(self.name, body, secret=self.api_key or "")
        return ModelAnswer(
            text="".join(block.text or "" for block in reply.content),
            usage=_usage([reply.usage]),
            model=(reply.model or request.model)[:_NAME_CHARS_MAX],
            finish_reason=(reply.stop_reason or "unknown")[:_NAME_CHARS_MAX],
        )

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AnswerStream]:
        return self._listen(
            _PATH,
            headers=self._headers(),
            content=_content(request, is_stream=True),
            transcript=_MessageTranscript(
                name=self.name, model=request.model, secret=self.api_key or ""
            ),
        )

    def _headers(self) -> dict[str, str]:
        key = {"x-api-key": self.api_key} if self.api_key else {}
        return {"anthropic-version": _VERSION, **key}


class _MessageTranscript:
    """What has arrived of a streamed message; its end mark is `message_stop`."""

    def __init__(self, *, name: str, model: str, secret: str) -> None:
        self._name = name
        self._model = model
        self._secret = secret
        self._texts: list[str] = []
        self._first_usage = _NULL
        self._last_usage = _NULL
        self._finish_reason = "unknown"
        self.is_complete = False

    def take(self, data: bytes) -> str:
        event = msgspec.json.decode(data, type=_Event)
        if event.type == "error":
            raise told_failure(self._name, data, secret=self._secret)
        # Unknown kinds are skipped: the API's versioning lets new ones appear.
        match event:
            case _Event(type="message_start", message=_Reply() as reply):
                self._model = (reply.model or self._model)[:_NAME_CHARS_MAX]
                self._first_usage = reply.usage.copy()
            case _Event(type="content_block_delta", delta=_Delta(text=str(text))):
                self._texts.append(text)
                return text
            case _Event(type="message_delta", delta=delta):
                self._last_usage = event.usage.copy()
                reason = delta.stop_reason if delta else None
                self._finish_reason = (reason or self._finish_reason)[:_NAME_CHARS_MAX]
            case _Event(type="message_stop"):
                self.is_complete = True
        return ""

    def answer(self) -> ModelAnswer:
        usage = _usage([self._first_usage, self._last_usage]) if self.is_complete else None
        return ModelAnswer(
            text="".join(self._texts),
            usage=usage,
            model=self._model,
            finish_reason=self._finish_reason if self.is_complete else "incomplete",
        )


def _content(request: ModelRequest, *, is_stream: bool) -> bytes:
    system = [message.content for message in request.messages if message.role == "system"]
    return msgspec.json.encode(
        _Body(
            model=request.model,
            max_tokens=request.max_tokens,
            messages=tuple(m for m in request.messages if m.role != "system"),
            system="\n\n".join(system),
            stream=is_stream,
        )
    )


def _usage(reports: list[msgspec.Raw]) -> Usage | None:
    """Return the usage that `reports` add up to, later counts replacing earlier ones.

    A stream's counts are cumulative: `message_delta` repeats those of `message_start` that changed.
    A report that is missing or not readable, and counts that can't be true, make it unknown: the
    output of `message_start` is the first token or so, and no substitute for the last count.
    """
    total = _Counts()
    for report in reports:
        try:
            total = _later(total, msgspec.json.decode(report, type=_Counts))
        except UNREADABLE:
            return None
    if total.input_tokens is None or total.output_tokens is None:
        return None
    if _hour_long_writes(total):
        # `Usage` has one price for cache writes, and these cost more: unknown, not too cheap.
        return None
    read = total.cache_read_input_tokens or 0
    written = total.cache_creation_input_tokens or 0
    details = total.output_tokens_details or _OutputDetails()
    return usage_or_unknown(
        input_tokens=total.input_tokens + read + written,
        output_tokens=total.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.thinking_tokens or 0,
    )


def _later(first: _Counts, then: _Counts) -> _Counts:
    kept = msgspec.structs.asdict(first)
    news = {key: count for key, count in msgspec.structs.asdict(then).items() if count is not None}
    return _Counts(**{**kept, **news})


def _hour_long_writes(counts: _Counts) -> int:
    writes = counts.cache_creation or _CacheWrites()
    return writes.ephemeral_1h_input_tokens or 0
