"""OpenAI's chat completions, as its own API and compatible servers speak them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import httpx
import msgspec

from supervisor.errors import ProviderFailed
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

_PATH = "/chat/completions"
_NAME_CHARS_MAX = 200
_NULL = msgspec.Raw(b"null")


class _StreamOptions(msgspec.Struct):
    include_usage: bool


class _Body(msgspec.Struct, kw_only=True, omit_defaults=True):
    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    service_tier: str | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Counts(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: msgspec.Raw = _NULL


class _Delta(msgspec.Struct):
    delta: _Text
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Delta] | None = None
    model: str | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class OpenAICompatible(HttpProvider):
    """OpenAI, Ollama, vLLM, llama.cpp, LiteLLM and others that speak their dialect."""

    call_path = _PATH

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        body = await self._fetch(
            _PATH, headers=self._headers(), content=self._content(request, is_stream=False)
        )
        try:
            completion = msgspec.json.decode(body, type=_Completion)
        except UNREADABLE as error:
            raise garbage_failure(self.name, "a body that is no chat completion") from error
        if not completion.choices:
            raise told_failure(self.name, body, secret=self.api_key or "")
        choice = completion.choices[0]
        return ModelAnswer(
            text=choice.message.content or "",
            usage=_usage(completion.usage),
            model=(completion.model or request.model)[:_NAME_CHARS_MAX],
            finish_reason=(choice.finish_reason or "unknown")[:_NAME_CHARS_MAX],
        )

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AnswerStream]:
        return self._listen(
            _PATH,
            headers=self._headers(),
            content=self._content(request, is_stream=True),
            transcript=_ChatTranscript(
                name=self.name, model=request.model, secret=self.api_key or ""
            ),
        )

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def _content(self, request: ModelRequest, *, is_stream: bool) -> bytes:
        """Return the request's JSON, with the limit under the key that this server obeys.

        api.openai.com takes `max_completion_tokens` for every chat model and refuses the older
        `max_tokens` for its reasoning models, with a 400 that costs nothing. Compatible servers
        all know `max_tokens`; some drop the newer key without a word and then generate without a
        limit (llama-cpp-python issue 1907; ik_llama.cpp before its pull request 2321; both read
        2026-11-21). A limit that is dropped is an overspend, one that is refused is not: the newer
        key goes to OpenAI's own host alone, and a gateway such as LiteLLM translates the older.

        OpenAI alone gets `service_tier`, too: without it a project's setting may choose the
        priority tier, at up to twice the price that was held.
        """
        is_openai = _is_openai(self.base_url)
        return msgspec.json.encode(
            _Body(
                model=request.model,
                messages=request.messages,
                max_tokens=None if is_openai else request.max_tokens,
                max_completion_tokens=request.max_tokens if is_openai else None,
                service_tier="default" if is_openai else None,
                stream=is_stream,
                stream_options=_StreamOptions(include_usage=True) if is_stream else None,
            )
        )


class _ChatTranscript:
    """What has arrived of a streamed completion; its end mark is `[DONE]`."""

    def __init__(self, *, name: str, model: str, secret: str) -> None:
        self._name = name
        self._model = model
        self._secret = secret
        self._texts: list[str] = []
        self._usage: Usage | None = None
        self._finish_reason = "unknown"
        self.is_complete = False

    def take(self, data: bytes) -> str:
        if data == b"[DONE]":
            self.is_complete = True
            return ""
        chunk = msgspec.json.decode(data, type=_Chunk)
        if bytes(chunk.error) != b"null":
            raise self._told(data)
        if bytes(chunk.usage) != b"null":
            # Some servers send a running count with each chunk: the last one is the whole.
            self._usage = _usage(chunk.usage)
        self._model = (chunk.model or self._model)[:_NAME_CHARS_MAX]
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish_reason = (choice.finish_reason or self._finish_reason)[:_NAME_CHARS_MAX]
        text = choice.delta.content or ""
        self._texts.append(text)
        return text

    def answer(self) -> ModelAnswer:
        return ModelAnswer(
            text="".join(self._texts),
            usage=self._usage if self.is_complete else None,
            model=self._model,
            finish_reason=self._finish_reason if self.is_complete else "incomplete",
        )

    def _told(self, data: bytes) -> ProviderFailed:
        return told_failure(self._name, data, secret=self._secret)


def _is_openai(base_url: str) -> bool:
    try:
        host = httpx.URL(base_url).host
    except httpx.InvalidURL:
        # The call itself will say so; no server sees this body.
        return False
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def _usage(raw: msgspec.Raw) -> Usage | None:
    """Return the usage in `raw`, or None where it is missing or can't be true.

    Some vendors count reasoning in `total_tokens` but not in `completion_tokens` (xAI: 279 + 6 + 89
    of reasoning = 374; Gemini's and several gateways' thoughts), so that whatever the total has
    beyond the prompt is output: an output is never counted short.
    """
    try:
        counts = msgspec.json.decode(raw, type=_Counts | None)
    except UNREADABLE:
        return None
    if counts is None or min(counts.completion_tokens, counts.total_tokens or 0) < 0:
        return None
    read = counts.prompt_tokens_details or _InputDetails()
    written = counts.completion_tokens_details or _OutputDetails()
    total_tokens = counts.prompt_tokens + counts.completion_tokens
    if counts.total_tokens is not None:
        total_tokens = max(total_tokens, counts.total_tokens)
    return usage_or_unknown(
        input_tokens=counts.prompt_tokens,
        output_tokens=total_tokens - counts.prompt_tokens,
        cache_read_tokens=read.cached_tokens or 0,
        cache_write_tokens=read.cache_write_tokens or 0,
        reasoning_tokens=written.reasoning_tokens or 0,
    )
