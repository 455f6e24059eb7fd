"""The OpenAI dialect: how it fails, and what that means for the hold."""

from __future__ import annotations

import contextlib
import json

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ProviderFailed
from tests.unit.providers.loopback_server import answering, closing, hanging, serving, streaming
from tests.unit.providers.openai_calls import (
    BOTH_WAYS,
    KEY,
    REQUEST,
    USAGE,
    Call,
    completing,
    completion,
    failure_of,
    make,
    read,
    reading,
    sse,
    told,
)


async def test_server_that_is_not_there_refused_the_call() -> None:
    async with serving(answering(b"")) as server:
        gone = server.base_url
    no_one = r"provider acme: no connection \(connection refused\)"
    with pytest.raises(ProviderFailed, match=no_one) as raised:
        await make(gone).complete(REQUEST)
    assert raised.value.was_refused
    assert raised.value.is_retryable


@pytest.mark.parametrize("base_url", ["", "nonsense", "http://[::1", "ftp://models.test"])
async def test_base_url_that_is_no_address_refused_the_call(base_url: str) -> None:
    with pytest.raises(ProviderFailed, match="correct base_url") as raised:
        await make(base_url).complete(REQUEST)
    assert raised.value.was_refused
    assert not raised.value.is_retryable


@BOTH_WAYS
async def test_server_that_hangs_has_an_unknown_outcome(call: Call) -> None:
    failure = await failure_of(hanging(), call, read_timeout_s=0.1)
    assert not failure.was_refused
    assert failure.is_retryable
    assert "no byte for 0.1 s" in str(failure)


@BOTH_WAYS
async def test_body_that_stops_coming_has_an_unknown_outcome(call: Call) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    failure = await failure_of(hanging(after=head), call, read_timeout_s=0.1)
    assert not failure.was_refused
    assert failure.is_retryable


@BOTH_WAYS
async def test_connection_closed_before_an_answer_has_an_unknown_outcome(call: Call) -> None:
    failure = await failure_of(closing(), call)
    assert not failure.was_refused
    assert failure.is_retryable


@BOTH_WAYS
async def test_connection_closed_in_mid_body_has_an_unknown_outcome(call: Call) -> None:
    failure = await failure_of(answering(b'{"choices": [', length=500), call)
    assert not failure.was_refused
    assert failure.is_retryable


@BOTH_WAYS
async def test_garbage_is_not_tried_again(call: Call) -> None:
    failure = await failure_of(answering(b"data: <html>not JSON</html>\n\n"), call)
    assert not failure.was_refused
    assert not failure.is_retryable
    assert "its API's" in str(failure) or "no chat completion" in str(failure)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"choices": 3}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"x": ' + b"[" * 50_000,
    ],
)
async def test_body_of_another_shape_is_garbage(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with pytest.raises(ProviderFailed, match="no chat completion") as raised:
        await make(transport=transport).complete(REQUEST)
    assert not raised.value.was_refused
    assert not raised.value.is_retryable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "delta", "content", "usage", "error", "model"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
async def test_no_body_brings_another_error_than_the_documented_one(body: bytes) -> None:
    def whole(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    def streamed(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"data: " + body + b"\n\ndata: [DONE]\n\n")

    with contextlib.suppress(ProviderFailed):
        await make(transport=httpx.MockTransport(whole)).complete(REQUEST)
    with contextlib.suppress(ProviderFailed):
        await read(make(transport=httpx.MockTransport(streamed)))


async def test_error_inside_a_200_is_told() -> None:
    transport = told({"error": {"message": "upstream died", "type": "server_error"}})
    with pytest.raises(ProviderFailed, match="upstream died") as raised:
        await make(transport=transport).complete(REQUEST)
    assert not raised.value.was_refused
    assert raised.value.is_retryable


async def test_error_inside_a_stream_is_told() -> None:
    transport = sse(
        {"choices": [{"delta": {"content": "a"}}]},
        {"error": {"message": "out of memory", "type": "server_error"}},
    )
    with pytest.raises(ProviderFailed, match="out of memory") as raised:
        await read(make(transport=transport))
    assert not raised.value.was_refused


async def test_200_without_usage_is_an_answer_with_unknown_usage() -> None:
    body = b'{"choices": [{"message": {"content": "hi"}}]}'
    async with serving(answering(body)) as server:
        provider = make(server.base_url)
        answer = await provider.complete(REQUEST)
        await provider.close()
    assert answer.text == "hi"
    assert answer.model == "gpt-4o"
    assert answer.finish_reason == "unknown"
    assert answer.usage is None


@BOTH_WAYS
async def test_429_was_refused_and_says_when_to_come_back(call: Call) -> None:
    conduct = answering(
        b'{"error": {"message": "slow down"}}',
        status="429 Too Many Requests",
        headers="Retry-After: 7\r\n",
    )
    failure = await failure_of(conduct, call)
    assert failure.was_refused
    assert failure.is_retryable
    assert failure.retry_after_s == 7.0
    assert "HTTP 429: slow down (it asks to wait 7 s)" in str(failure)


@BOTH_WAYS
async def test_500_has_an_unknown_outcome(call: Call) -> None:
    failure = await failure_of(answering(b"boom", status="500 Internal Server Error"), call)
    assert not failure.was_refused
    assert failure.is_retryable
    assert "HTTP 500: boom" in str(failure)


async def test_4xx_was_refused_even_if_its_body_breaks_off() -> None:
    conduct = answering(b"no such", status="404 Not Found", length=500)
    failure = await failure_of(conduct, completing)
    assert failure.was_refused
    assert "no such [cut off]" in str(failure)


async def test_body_of_an_error_is_read_up_to_a_bound() -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 10000000\r\n\r\n"
    with anyio.fail_after(5):
        failure = await failure_of(
            hanging(after=head + b"x" * 100_000), completing, read_timeout_s=60
        )
    assert failure.was_refused
    assert len(str(failure)) < 500


@BOTH_WAYS
async def test_oversized_body_is_cut_off_and_not_tried_again(call: Call) -> None:
    failure = await failure_of(answering(b"x" * 5_000), call, answer_max_bytes=4_999)
    assert not failure.was_refused
    assert not failure.is_retryable
    assert "above 4999 bytes" in str(failure)


async def test_body_at_its_bound_is_read() -> None:
    body = json.dumps(completion()).encode()
    async with serving(answering(body)) as server:
        provider = make(server.base_url, answer_max_bytes=len(body))
        answer = await provider.complete(REQUEST)
        await provider.close()
    assert answer.text == "Hello."


async def test_packed_body_is_refused_because_its_size_is_not_bounded() -> None:
    conduct = answering(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n")
    failure = await failure_of(conduct, completing)
    assert not failure.is_retryable
    assert "packed body" in str(failure)


@pytest.mark.parametrize(
    "events",
    [
        (),
        (b'{"choices": [{"delta": {"content": "a"}}]}',),
        (
            b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}',
            json.dumps({"usage": USAGE}).encode(),
        ),
    ],
)
async def test_stream_without_its_end_mark_is_broken(events: tuple[bytes, ...]) -> None:
    failure = await failure_of(streaming(*events), reading)
    assert not failure.was_refused
    assert failure.is_retryable
    assert "stream ended before the answer did" in str(failure)


async def test_stream_event_that_is_cut_is_garbage() -> None:
    failure = await failure_of(streaming(b'{"choices": [{"del'), reading)
    assert not failure.was_refused


async def test_cancelled_call_ends_at_once_and_stays_cancelled() -> None:
    async with serving(hanging()) as server:
        provider = make(server.base_url, read_timeout_s=60)
        with anyio.move_on_after(0.1) as scope:
            await provider.complete(REQUEST)
        await provider.close()
    assert scope.cancelled_caught


async def test_cancelled_stream_ends_at_once_and_stays_cancelled() -> None:
    head = b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    pieces: list[str] = []
    async with serving(hanging(after=head)) as server:
        provider = make(server.base_url, read_timeout_s=60)
        with anyio.move_on_after(0.2) as scope:
            async with provider.stream(REQUEST) as stream:
                async for piece in stream:
                    pieces.append(piece)  # noqa: PERF401 - what came before the cancel counts
        await provider.close()
    assert scope.cancelled_caught
    assert pieces == ["a"]


@pytest.mark.parametrize("pieces_read", [0, 1])
async def test_stream_that_is_left_early_closes_its_connection(pieces_read: int) -> None:
    head = b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    with anyio.fail_after(5):
        # The server ends only when its connections have; the provider stays open meanwhile.
        async with serving(hanging(after=head)) as server:
            provider = make(server.base_url, read_timeout_s=60)
            async with provider.stream(REQUEST) as stream:
                if pieces_read:
                    assert await anext(aiter(stream)) == "a"
    await provider.close()


async def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    async with serving(answering(json.dumps(completion()).encode())) as server:
        provider = make(server.base_url)
        assert (await provider.complete(REQUEST)).text == "Hello."
        await provider.close()
    assert b"authorization: bearer " + KEY.encode() in server.requests[0].lower()
