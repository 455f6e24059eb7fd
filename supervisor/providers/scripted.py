"""The shipped fake: a provider that does what its script says, and counts what it bills."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import anyio
import msgspec

from supervisor.errors import ProviderFailed
from supervisor.providers.http_errors import broken_stream, garbage_failure, status_failure
from supervisor.providers.provider import (
    AnswerStream,
    ModelAnswer,
    ModelRequest,
    Usage,
    bytes_bound,
)
from supervisor.providers.ready_stream import ReadyStream

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]

_PER_MESSAGE_TOKENS = 8


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call meets; from `[[providers.NAME.script.steps]]` in TOML.

    `does`:
    - `answer`: `text`, with its usage, as a provider that keeps to `max_tokens`;
    - `no_usage`: the same, with no word about usage;
    - `above_max_tokens`: the same, and one token more than `max_tokens` is billed;
    - `rate_limited`: a 429 with `retry_after_s`; the only one that bills nothing;
    - `server_error`: a 500 after the work was done;
    - `closed`: the connection ends in mid-body;
    - `garbage`: an answer that can't be read;
    - `hang`: no answer, ever, until the caller is cancelled.

    `input_tokens` and `output_tokens` default to the words of the request and of the text; a call
    that ends without an answer is billed `max_tokens` of output, the worst for its caller.
    `latency_s` passes before anything comes back.
    """

    does: Literal[
        "answer",
        "no_usage",
        "above_max_tokens",
        "rate_limited",
        "server_error",
        "closed",
        "garbage",
        "hang",
    ] = "answer"
    text: str = "A scripted answer."
    input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None
    latency_s: _Seconds = 0.0
    retry_after_s: _Seconds | None = None


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The steps of successive calls; after the last comes the first, or the last again.

    `[providers.NAME.script]` in TOML; `msgspec.convert` reads it.
    """

    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)] = (Step(),)
    then: Literal["cycle", "repeat_last"] = "repeat_last"

    def step(self, call: int) -> Step:
        """Return the step of the call with this number, counted from 0."""
        if self.then == "cycle":
            return self.steps[call % len(self.steps)]
        return self.steps[min(call, len(self.steps) - 1)]


class Scripted:
    """A provider of known conduct, for tests, drills and simulations.

    `billed_calls` and `billed_usage` are what its vendor would put on the bill: a call is billed
    when its work starts, so that one that is cancelled while it waits or hangs is on it, in full.
    The loop's thread alone writes them.
    """

    def __init__(self, *, name: str, script: Script) -> None:
        self._name = name
        self._script = script
        self.calls = 0
        self.billed_calls = 0
        self.billed_usage = Usage(input_tokens=0, output_tokens=0)

    def input_tokens_max(self, request: ModelRequest) -> int:
        """Return a bound that covers what any step bills."""
        scripted = max((step.input_tokens or 0) for step in self._script.steps)
        return max(bytes_bound(request, per_message_tokens=_PER_MESSAGE_TOKENS), scripted)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        step, answer = await self._work(request)
        failure = self._failure(step)
        if failure:
            raise failure
        return answer

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AnswerStream]:
        step, answer = await self._work(request)
        failure = self._failure(step)
        # A status comes in place of a stream, all other trouble after its first pieces.
        if failure and step.does in {"rate_limited", "server_error"}:
            raise failure
        yield ReadyStream(answer, breaks_with=failure)

    async def _work(self, request: ModelRequest) -> tuple[Step, ModelAnswer]:
        """Bill the next step, let its time pass, and return it with what it would answer."""
        step = self._script.step(self.calls)
        self.calls += 1
        usage = _billed(step, request)
        if step.does != "rate_limited":
            self.billed_calls += 1
            self.billed_usage = _sum(self.billed_usage, usage)
        await anyio.sleep(step.latency_s)
        if step.does == "hang":
            await anyio.sleep_forever()
        answer = ModelAnswer(
            text=_text(step, request),
            usage=None if step.does == "no_usage" else usage,
            model=request.model,
            finish_reason="length" if usage.output_tokens >= request.max_tokens else "stop",
        )
        return step, answer

    async def close(self) -> None:
        """Nothing is open."""

    def _failure(self, step: Step) -> ProviderFailed | None:
        match step.does:
            case "rate_limited":
                return status_failure(self._name, status=429, retry_after_s=step.retry_after_s)
            case "server_error":
                return status_failure(self._name, status=500)
            case "closed":
                return broken_stream(self._name)
            case "garbage":
                return garbage_failure(self._name, "a body that is no chat completion")
            case _:
                return None


def _billed(step: Step, request: ModelRequest) -> Usage:
    words = sum(len(message.content.split()) for message in request.messages)
    input_tokens = words if step.input_tokens is None else step.input_tokens
    return Usage(input_tokens=input_tokens, output_tokens=_output_tokens(step, request))


def _output_tokens(step: Step, request: ModelRequest) -> int:
    if step.does == "above_max_tokens":
        return max(request.max_tokens + 1, step.output_tokens or 0)
    if step.output_tokens is not None:
        return min(step.output_tokens, request.max_tokens)
    if step.does in {"answer", "no_usage"}:
        return min(len(step.text.split()), request.max_tokens)
    return request.max_tokens


def _text(step: Step, request: ModelRequest) -> str:
    """Return the step's text, cut where `max_tokens` words end it."""
    words = step.text.split()
    if step.does == "above_max_tokens" or len(words) <= request.max_tokens:
        return step.text
    return " ".join(words[: request.max_tokens])


def _sum(first: Usage, second: Usage) -> Usage:
    return Usage(
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
    )
