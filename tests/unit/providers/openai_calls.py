"""A provider of the OpenAI dialect, and ways to make it answer or fail."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import httpx
import pytest

from supervisor.errors import ProviderFailed
from supervisor.providers.openai_compatible import OpenAICompatible
from supervisor.providers.provider import Message, ModelRequest
from tests.unit.providers.loopback_server import Conduct, serving

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
