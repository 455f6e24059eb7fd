"""Anthropic's dialect: what is sent, what is believed, and how it fails."""

from __future__ import annotations

import json

import httpx
import pytest

from supervisor.errors import ProviderFailed
from supervisor.providers.anthropic import Anthropic
from supervisor.providers.provider import Message, ModelRequest, Provider, Usage
from tests.unit.providers.loopback_server import Conduct, answering, hanging, serving, streaming

KEY = "sk-ant-0123456789"
REQUEST = ModelRequest(
    model="claude-sonnet-4-5",
    messages=(
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Yes?"),
        Message(role="system", content="Be kind."),
        Message(role="user", content="Go on"),
    ),
    max_tokens=50,
)
COUNTS = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3_000,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 25},
}
ALL = Usage(
    input_tokens=3_210,
    output_tokens=40,
    cache_read_tokens=3_000,
    cache_write_tokens=200,
    reasoning_tokens=25,
)


def make(
    base_url: str = "https://claude.test",
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    read_timeout_s: float = 5,
    answer_max_bytes: int = 100_000,
) -> Anthropic:
    return Anthropic(
        name="claude",
        base_url=base_url,
        api_key=KEY,
        connect_timeout_s=5,
        read_timeout_s=read_timeout_s,
        answer_max_bytes=answer_max_bytes,
        transport=transport,
    )


def told(body: object) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, json=body))


def sse(*events: dict[str, object]) -> httpx.MockTransport:
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    return httpx.MockTransport(lambda _: httpx.Response(200, text=text))


def reply(usage: object = COUNTS) -> dict[str, object]:
    return {
        "type": "message",
        "model": "claude-sonnet-4-5-20250929",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "Hel"},
            {"type": "text", "text": "lo."},
        ],
        "stop_reason": "end_turn",
        "usage": usage,
    }


START: dict[str, object] = {
    "type": "message_start",
    "message": {
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "usage": {**COUNTS, "output_tokens": 1, "output_tokens_details": None},
    },
}
HELLO: dict[str, object] = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Hello"},
}
END: dict[str, object] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 25}},
}
STOP: dict[str, object] = {"type": "message_stop"}


async def read(provider: Anthropic) -> list[str]:
    async with provider.stream(REQUEST) as stream:
        return [piece async for piece in stream]


async def broken_by(conduct: Conduct, *, read_timeout_s: float = 5) -> ProviderFailed:
    async with serving(conduct) as server:
        provider = make(server.base_url, read_timeout_s=read_timeout_s)
        with pytest.raises(ProviderFailed) as raised:
            await read(provider)
        await provider.close()
    return raised.value


async def test_request_has_key_version_and_the_system_text_apart() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=reply())

    await make(transport=httpx.MockTransport(answer)).complete(REQUEST)
    assert str(seen[0].url) == "https://claude.test/v1/messages"
    assert seen[0].headers["x-api-key"] == KEY
    assert seen[0].headers["anthropic-version"] == "2023-06-01"
    assert json.loads(seen[0].content) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "system": "Be brief.\n\nBe kind.",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Go on"},
        ],
    }


def test_address_is_anthropics_own_unless_another_is_given() -> None:
    provider = Anthropic(
        name="claude", api_key=KEY, connect_timeout_s=1, read_timeout_s=1, answer_max_bytes=1
    )
    assert provider.base_url == "https://api.anthropic.com"


async def test_usage_counts_cached_input_as_input() -> None:
    answer = await make(transport=told(reply())).complete(REQUEST)
    assert answer.usage == ALL
    assert answer.text == "Hello."
    assert answer.model == "claude-sonnet-4-5-20250929"
    assert answer.finish_reason == "end_turn"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"input_tokens": 10},
        {"output_tokens": 10},
        {**COUNTS, "input_tokens": -10},
        {**COUNTS, "output_tokens": -1},
        {**COUNTS, "cache_read_input_tokens": -3_000},
        {**COUNTS, "cache_creation_input_tokens": -1},
        {**COUNTS, "output_tokens": 2_000_000_000},
        {**COUNTS, "output_tokens": "40"},
        {**COUNTS, "output_tokens_details": {"thinking_tokens": 41}},
    ],
)
async def test_usage_that_is_missing_or_can_not_be_counts_as_unknown(usage: object) -> None:
    answer = await make(transport=told(reply(usage))).complete(REQUEST)
    assert answer.usage is None
    assert answer.text == "Hello."


async def test_hour_long_cache_writes_count_as_unknown_because_they_cost_more() -> None:
    usage = {**COUNTS, "cache_creation": {"ephemeral_1h_input_tokens": 200}}
    answer = await make(transport=told(reply(usage))).complete(REQUEST)
    assert answer.usage is None


async def test_five_minute_cache_writes_count() -> None:
    usage = {
        **COUNTS,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
    }
    answer = await make(transport=told(reply(usage))).complete(REQUEST)
    assert answer.usage == ALL


async def test_stream_adds_up_what_its_start_and_its_end_count() -> None:
    ping: dict[str, object] = {"type": "ping"}
    novelty: dict[str, object] = {"type": "invented_in_2030", "delta": {"text": None}}
    thought: dict[str, object] = {
        "type": "content_block_delta",
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    }
    transport = sse(START, ping, novelty, thought, HELLO, END, STOP)
    async with make(transport=transport).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == ["Hello"]
    assert stream.answer.text == "Hello"
    assert stream.answer.usage == ALL
    assert stream.answer.model == "claude-sonnet-4-5-20250929"
    assert stream.answer.finish_reason == "end_turn"


async def test_later_counts_replace_earlier_ones() -> None:
    last = {**END, "usage": {**COUNTS, "input_tokens": 15}}
    async with make(transport=sse(START, END, last, STOP)).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == []
    assert stream.answer.usage
    assert stream.answer.usage.input_tokens == 3_215


async def test_last_count_may_be_zero() -> None:
    last = {**END, "usage": {"output_tokens": 0}}
    async with make(transport=sse(START, last, STOP)).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == []
    assert stream.answer.usage
    assert stream.answer.usage.output_tokens == 0


async def test_stream_without_its_last_count_has_unknown_usage() -> None:
    async with make(transport=sse(START, HELLO, STOP)).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == ["Hello"]
    assert stream.answer.usage is None


async def test_stream_that_is_left_early_never_claims_a_usage() -> None:
    async with make(transport=sse(START, END, HELLO, HELLO, STOP)).stream(REQUEST) as stream:
        async for piece in stream:
            assert piece == "Hello"
            break
    assert stream.answer.usage is None
    assert stream.answer.finish_reason == "incomplete"


async def test_stream_without_message_stop_is_broken() -> None:
    events = [json.dumps(event).encode() for event in (START, HELLO, END)]
    failure = await broken_by(streaming(*events))
    assert not failure.was_refused
    assert failure.is_retryable


async def test_stream_that_hangs_has_an_unknown_outcome() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\ndata: " + json.dumps(START).encode() + b"\n\n"
    failure = await broken_by(hanging(after=head), read_timeout_s=0.1)
    assert not failure.was_refused
    assert failure.is_retryable


async def test_stream_closed_in_mid_event_has_an_unknown_outcome() -> None:
    failure = await broken_by(streaming(json.dumps(START).encode(), b'{"type": "content_bl'))
    assert not failure.was_refused


async def test_error_event_in_a_stream_is_told_and_may_pass() -> None:
    error: dict[str, object] = {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
    }
    with pytest.raises(ProviderFailed, match="Overloaded") as raised:
        await read(make(transport=sse(START, HELLO, error)))
    assert not raised.value.was_refused
    assert raised.value.is_retryable


async def test_529_has_an_unknown_outcome_and_may_pass() -> None:
    body = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    failure = await broken_by(answering(body, status="529 Overloaded"))
    assert not failure.was_refused
    assert failure.is_retryable
    assert "HTTP 529: Overloaded" in str(failure)


async def test_429_was_refused_and_says_when_to_come_back() -> None:
    conduct = answering(
        b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}',
        status="429 Too Many Requests",
        headers="Date: Wed, 21 Oct 2026 07:28:00 GMT\r\n"
        "Retry-After: Wed, 21 Oct 2026 07:28:12 GMT\r\n",
    )
    failure = await broken_by(conduct)
    assert failure.was_refused
    assert failure.retry_after_s == 12.0


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"content": "hi"}', b'{"content": [1]}'])
async def test_body_of_another_shape_is_garbage(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with pytest.raises(ProviderFailed, match="no message") as raised:
        await make(transport=transport).complete(REQUEST)
    assert not raised.value.was_refused
    assert not raised.value.is_retryable


async def test_error_inside_a_200_is_told() -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "upstream"}}
    with pytest.raises(ProviderFailed, match="upstream"):
        await make(transport=told(body)).complete(REQUEST)


def test_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(make())


def test_it_is_a_provider() -> None:
    provider: Provider = make()
    assert provider.input_tokens_max(REQUEST) == 31 + 6 * 64
