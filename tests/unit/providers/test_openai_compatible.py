"""The OpenAI dialect: what is sent, and what is believed."""

from __future__ import annotations

import json
import traceback
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ConfigError, InputRefused, ProviderFailed
from supervisor.providers.openai_compatible import OpenAICompatible
from supervisor.providers.provider import Message, ModelRequest, Provider, Usage
from tests.unit.providers.loopback_server import answering
from tests.unit.providers.openai_calls import (
    BOTH_WAYS,
    KEY,
    REQUEST,
    USAGE,
    Call,
    completion,
    failure_of,
    make,
    read,
    sse,
    told,
)


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
