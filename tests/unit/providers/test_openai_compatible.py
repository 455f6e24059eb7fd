"""The OpenAI dialect: what is sent, what is believed, and how it fails."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ConfigError, InputRefused, ProviderFailed
from supervisor.providers.openai_compatible import OpenAICompatible
from supervisor.providers.provider import Message, ModelRequest, Provider, Usage
from tests.unit.providers.loopback_server import (
    Conduct,
    answering,
    closing,
    hanging,
    serving,
    streaming,
)

KEY = "sk-secret-0123456789"
REQUEST = ModelRequest(
    model="gpt-4o",
    messages=(
        Message(role="system", content="Be brief."),
        Message(role="user", content="Grüße"),
    ),
    max_tokens=50,
)
USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 7},
}


def make(
    base_url: str = "https://models.test/v1",
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    read_timeout_s: float = 5,
    answer_max_bytes: int = 100_000,
    api_key: str | None = KEY,
) -> OpenAICompatible:
    return OpenAICompatible(
        name="acme",
        base_url=base_url,
        api_key=api_key,
        connect_timeout_s=5,
        read_timeout_s=read_timeout_s,
        answer_max_bytes=answer_max_bytes,
        transport=transport,
    )


def told(body: object, status: int = 200) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body))


def sse(*events: object) -> httpx.MockTransport:
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return httpx.MockTransport(lambda _: httpx.Response(200, text=lines))


def completion(content: str | None = "Hello.", usage: object = USAGE) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return {
        "model": "gpt-4o-2024-11-20",
        "choices": [{**choice, "finish_reason": "stop"}],
        "usage": usage,
    }


async def sent_to(base_url: str, *, is_stream: bool = False) -> tuple[httpx.Request, object]:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=completion(), text=None)

    provider = make(base_url, transport=httpx.MockTransport(answer))
    if is_stream:
        with pytest.raises(ProviderFailed):
            await read(provider)
    else:
        await provider.complete(REQUEST)
    await provider.close()
    return seen[0], json.loads(seen[0].content)


async def read(provider: OpenAICompatible) -> list[str]:
    async with provider.stream(REQUEST) as stream:
        return [piece async for piece in stream]


async def completing(provider: OpenAICompatible) -> None:
    await provider.complete(REQUEST)


async def reading(provider: OpenAICompatible) -> None:
    await read(provider)


Call = Callable[[OpenAICompatible], Awaitable[None]]
BOTH_WAYS = pytest.mark.parametrize("call", [completing, reading])


async def failure_of(conduct: Conduct, call: Call, **limits: float) -> ProviderFailed:
    async with serving(conduct) as server:
        provider = make(
            server.base_url,
            read_timeout_s=limits.get("read_timeout_s", 5),
            answer_max_bytes=int(limits.get("answer_max_bytes", 100_000)),
        )
        with pytest.raises(ProviderFailed) as raised:
            await call(provider)
        await provider.close()
    return raised.value


# What is sent.


async def test_request_goes_to_chat_completions_with_the_key() -> None:
    request, body = await sent_to("https://models.test/v1/")
    assert str(request.url) == "https://models.test/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Grüße"},
        ],
        "max_tokens": 50,
    }


async def test_stream_asks_for_its_usage() -> None:
    _, body = await sent_to("https://models.test/v1", is_stream=True)
    assert isinstance(body, dict)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com"])
async def test_openai_itself_gets_the_limit_its_reasoning_models_know(host: str) -> None:
    _, body = await sent_to(f"https://{host}/v1")
    assert isinstance(body, dict)
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body
    assert body["service_tier"] == "default"


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:11434/v1",
        "https://litellm.test/api.openai.com",
        "https://api.openai.com.evil.test/v1",
        "https://notapi.openai.com.test",
    ],
)
async def test_every_other_server_gets_the_limit_that_all_of_them_obey(base_url: str) -> None:
    _, body = await sent_to(base_url)
    assert isinstance(body, dict)
    assert body["max_tokens"] == 50
    assert not {"max_completion_tokens", "service_tier"} & body.keys()


async def test_server_without_a_key_gets_no_authorization() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=completion())

    provider = make(transport=httpx.MockTransport(answer), api_key=None)
    await provider.complete(REQUEST)
    assert "authorization" not in seen[0].headers


async def test_redirect_is_not_followed_so_that_the_key_goes_nowhere_else() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "models.test"
        return httpx.Response(307, headers={"location": "https://elsewhere.test/"})

    with pytest.raises(ProviderFailed, match="HTTP 307"):
        await make(transport=httpx.MockTransport(answer)).complete(REQUEST)


# What is believed.


async def test_answer_has_text_model_reason_and_usage() -> None:
    answer = await make(transport=told(completion())).complete(REQUEST)
    assert answer.text == "Hello."
    assert answer.model == "gpt-4o-2024-11-20"
    assert answer.finish_reason == "stop"
    assert answer.usage == Usage(
        input_tokens=30,
        output_tokens=12,
        cache_read_tokens=20,
        cache_write_tokens=5,
        reasoning_tokens=7,
    )


async def test_content_that_is_null_is_an_empty_text() -> None:
    answer = await make(transport=told(completion(content=None))).complete(REQUEST)
    assert answer.text == ""


async def test_reasoning_outside_of_completion_tokens_is_output_too() -> None:
    usage = {
        "prompt_tokens": 279,
        "completion_tokens": 6,
        "total_tokens": 374,
        "completion_tokens_details": {"reasoning_tokens": 89},
    }
    answer = await make(transport=told(completion(usage=usage))).complete(REQUEST)
    assert answer.usage == Usage(input_tokens=279, output_tokens=95, reasoning_tokens=89)


async def test_details_that_are_null_count_nothing() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": None,
        "prompt_tokens_details": None,
        "completion_tokens_details": {"reasoning_tokens": None},
    }
    answer = await make(transport=told(completion(usage=usage))).complete(REQUEST)
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "many",
        {"prompt_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 1, "completion_tokens": -2},
        {"prompt_tokens": 1, "completion_tokens": -2, "total_tokens": 50},
        {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": -3},
        {"prompt_tokens": 1.5, "completion_tokens": 2},
        {"prompt_tokens": "1", "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": 2_000_000_000, "completion_tokens": 2},
        {"prompt_tokens": 10**40, "completion_tokens": 2},
        {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 10**12},
        {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}},
        {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": -5},
        },
        {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    ],
)
async def test_usage_that_is_missing_or_can_not_be_counts_as_unknown(usage: object) -> None:
    answer = await make(transport=told(completion(usage=usage))).complete(REQUEST)
    assert answer.usage is None
    assert answer.text == "Hello."


async def test_stream_gives_pieces_and_then_the_whole() -> None:
    transport = sse(
        {"model": "m-1", "choices": [{"delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"delta": {"content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo."}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    )
    async with make(transport=transport).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == ["Hel", "lo."]
        answer = stream.answer
    assert answer.text == "Hello."
    assert answer.model == "m-1"
    assert answer.finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == 42


async def test_running_usage_of_a_stream_is_that_of_its_last_report() -> None:
    transport = sse(
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"choices": None, "usage": {"prompt_tokens": 3, "completion_tokens": 9}},
        {"choices": [], "usage": None},
    )
    async with make(transport=transport).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == []
    assert stream.answer.usage == Usage(input_tokens=3, output_tokens=9)


async def test_stream_without_usage_ends_with_unknown_usage() -> None:
    transport = sse({"choices": [{"delta": {"content": "hi"}}]})
    async with make(transport=transport).stream(REQUEST) as stream:
        assert [piece async for piece in stream] == ["hi"]
    assert stream.answer.usage is None


async def test_stream_that_is_left_early_never_claims_a_usage() -> None:
    transport = sse(
        {"choices": [{"delta": {"content": "a"}}], "usage": USAGE},
        {"choices": [{"delta": {"content": "b"}}], "usage": USAGE},
    )
    async with make(transport=transport).stream(REQUEST) as stream:
        async for piece in stream:
            assert piece == "a"
            break
    assert stream.answer.usage is None
    assert stream.answer.finish_reason == "incomplete"


@given(cuts=st.lists(st.integers(0, 400), max_size=30), crlf=st.booleans())
async def test_stream_reads_the_same_however_the_bytes_are_cut(cuts: list[int], crlf: bool) -> None:
    lines = [
        ": a comment",
        "event: message",
        'data:{"choices":[{"delta":{"content":"Grü"}}]}',
        "",
        'data: {"choices":[{"delta":{"content":"ße"},"finish_reason":"stop"}]}',
        "data: [DONE]",
    ]
    body = ("\r\n" if crlf else "\n").join(lines).encode()
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})

    class Cut(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start, end in pairwise(edges):
                yield body[start:end]

    provider = make(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Cut())))
    assert await read(provider) == ["Grü", "ße"]


def test_input_bound_covers_bytes_and_the_templates_own_tokens() -> None:
    text_bytes = len(b"Be brief.") + len("Grüße".encode())
    assert make().input_tokens_max(REQUEST) == text_bytes + 3 * 64


def test_input_without_a_utf8_form_is_refused() -> None:
    message = Message(role="user", content="\ud800")
    request = ModelRequest(model="m", messages=(message,), max_tokens=1)
    with pytest.raises(InputRefused, match="lone surrogate"):
        make().input_tokens_max(request)


def test_it_is_a_provider() -> None:
    provider: Provider = make()
    assert isinstance(provider, OpenAICompatible)


# How it fails.


async def test_server_that_is_not_there_refused_the_call() -> None:
    async with serving(answering(b"")) as server:
        gone = server.base_url
    with pytest.raises(ProviderFailed, match="provider acme: no connection") as raised:
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
    assert "HTTP 429: slow down" in str(failure)


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


# The key.


@BOTH_WAYS
async def test_key_is_in_no_error_and_no_traceback(call: Call) -> None:
    conduct = answering(
        b'{"error": {"message": "Incorrect API key provided: %s."}}' % KEY.encode(),
        status="401 Unauthorized",
    )
    failure = await failure_of(conduct, call)
    assert "Incorrect API key provided: [api key]." in str(failure)
    assert KEY not in "".join(traceback.format_exception(failure))
    assert KEY not in repr(failure)


def test_key_is_not_in_the_repr() -> None:
    provider = make("https://user:password@models.test/v1")
    assert KEY not in repr(provider)
    assert "password" not in repr(provider)


@pytest.mark.parametrize("key", ["", "sk\n", "sk key", "schlüssel", "sk\x00"])
def test_key_that_fits_no_header_is_a_config_error_without_the_key(key: str) -> None:
    with pytest.raises(ConfigError, match="api_key_env") as raised:
        make(api_key=key)
    assert not key or key not in str(raised.value)
