"""The OpenAI-compatible provider against a real server with a real model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from supervisor.errors import ProviderFailed
from supervisor.providers.openai_compatible import OpenAICompatible
from supervisor.providers.provider import Message, ModelRequest
from tests.e2e.model_server import MODEL_NAME, ModelServer, running_model_server

STORY = "Tell me a long story about a lighthouse, with many chapters."


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        yield server


@pytest.fixture
async def provider(shared_server: ModelServer) -> AsyncIterator[OpenAICompatible]:
    provider = make(shared_server.base_url)
    yield provider
    await provider.close()


def make(base_url: str) -> OpenAICompatible:
    return OpenAICompatible(
        name="local",
        base_url=base_url,
        api_key=None,
        connect_timeout_s=5,
        read_timeout_s=30,
        answer_max_bytes=4_000_000,
    )


def ask(text: str, *, max_tokens: int) -> ModelRequest:
    message = Message(role="user", content=text)
    return ModelRequest(model=MODEL_NAME, messages=(message,), max_tokens=max_tokens)


async def test_whole_answer_has_text_and_real_usage(provider: OpenAICompatible) -> None:
    request = ask("What is the capital of France?", max_tokens=40)
    answer = await provider.complete(request)
    assert answer.text.strip()
    assert answer.usage
    assert 0 < answer.usage.output_tokens <= 40
    assert 0 < answer.usage.input_tokens <= provider.input_tokens_max(request)


async def test_stream_has_the_same_pieces_as_its_answer_and_real_usage(
    provider: OpenAICompatible,
) -> None:
    request = ask("What is the capital of France?", max_tokens=40)
    async with provider.stream(request) as stream:
        pieces = [piece async for piece in stream]
    assert "".join(pieces) == stream.answer.text
    assert stream.answer.text.strip()
    assert stream.answer.usage
    assert 0 < stream.answer.usage.output_tokens <= 40
    assert 0 < stream.answer.usage.input_tokens <= provider.input_tokens_max(request)


@pytest.mark.parametrize("max_tokens", [1, 7])
async def test_limit_that_is_sent_is_the_limit_that_holds(
    provider: OpenAICompatible, max_tokens: int
) -> None:
    answer = await provider.complete(ask(STORY, max_tokens=max_tokens))
    assert answer.usage
    assert answer.usage.output_tokens == max_tokens
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("text", ["", "a", "Grüße 🦊 \u200b", "\n" * 50, "0" * 500, "é" * 200])
async def test_input_bound_is_never_below_what_the_server_counts(
    provider: OpenAICompatible, text: str
) -> None:
    request = ask(text, max_tokens=1)
    answer = await provider.complete(request)
    assert answer.usage
    assert answer.usage.input_tokens <= provider.input_tokens_max(request)


async def test_server_killed_in_mid_stream_has_an_unknown_outcome() -> None:
    with running_model_server() as server:
        provider = make(server.base_url)
        pieces: list[str] = []
        with pytest.raises(ProviderFailed) as raised:  # noqa: PT012 - the kill is in mid-stream
            async with provider.stream(ask(STORY, max_tokens=1_500)) as stream:
                async for piece in stream:
                    pieces.append(piece)
                    server.process.kill()
        await provider.close()
    assert pieces
    assert not raised.value.was_refused
    assert raised.value.is_retryable
    assert stream.answer.usage is None


async def test_server_that_is_gone_refused_the_call() -> None:
    with running_model_server() as server:
        server.process.kill()
        server.process.wait(10)
        provider = make(server.base_url)
        with pytest.raises(ProviderFailed) as raised:
            await provider.complete(ask("Hello?", max_tokens=1))
        await provider.close()
    assert raised.value.was_refused
