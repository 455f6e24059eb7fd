"""A provider is asked which models it has, and never for work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from supervisor.providers import catalogue
from supervisor.providers.anthropic import Anthropic
from supervisor.providers.builtin import Builtin
from supervisor.providers.catalogue import look_at
from supervisor.providers.openai_compatible import OpenAICompatible

LIST = json.dumps({"data": [{"id": "small"}, {"id": "llama3.2:latest"}]})
Answers = Mapping[str, tuple[int, str]]


class Vendor:
    """A server that answers by method and path, and notes what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line = head.splitlines()[0].removesuffix(" HTTP/1.1")
        self.asked.append(line)
        self.heads.append(head)
        status, body = self.answers.get(line, (404, "{}"))
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            f"{body}".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def vendor(answers: Answers) -> AsyncIterator[Vendor]:
    found = Vendor(answers)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


async def whats(
    url: str, *models: str, api_key: str | None = "k", has_key: bool = True, kind: str = "openai"
) -> list[str]:
    dialect: type[Anthropic | OpenAICompatible] = (
        Anthropic if kind == "anthropic" else OpenAICompatible
    )
    provider = dialect(
        name="x",
        base_url=url,
        api_key=api_key,
        connect_timeout_s=1.0,
        read_timeout_s=1.0,
        answer_max_bytes=10_000,
    )
    try:
        return [str(one) async for one in look_at("x", provider, models, has_key=has_key)]
    finally:
        await provider.close()


async def test_models_that_are_listed_are_no_news() -> None:
    async with vendor({"GET /models": (200, LIST)}) as server:
        assert await whats(server.url, "small", "llama3.2") == []
        assert server.asked == ["GET /models"]


async def test_a_model_that_there_is_not_is_told_with_those_that_there_are() -> None:
    async with vendor({"GET /models": (200, LIST)}) as server:
        (told,) = await whats(server.url, "smal")
    assert "has no model 'smal'; it has: llama3.2:latest, small" in told
    assert "did you mean 'small'?" in told


async def test_a_name_that_stands_for_another_is_asked_for_by_itself() -> None:
    answers = {"GET /models": (200, LIST), "GET /models/newest": (200, "{}")}
    async with vendor(answers) as server:
        assert await whats(server.url, "newest") == []


async def test_a_key_that_is_refused_is_told_and_not_shown() -> None:
    refused = json.dumps({"error": {"message": "no such key: very-secret"}})
    async with vendor({"GET /models": (401, refused)}) as server:
        (told,) = await whats(server.url, "small", api_key="very-secret")
        assert "HTTP 401: no such key: [api key]; check the key that api_key_env of" in told
        assert "very-secret" not in told
        assert "Bearer very-secret" in server.heads[0]
        assert await whats(server.url, "small", api_key=None, has_key=False) == []


async def test_no_server_and_an_address_without_an_api_are_told_apart() -> None:
    async with vendor({"GET /v1/models": (200, LIST)}) as server:
        (told,) = await whats(server.url, "small")
        assert "answers 404 where its API should be; correct base_url" in told
        assert await whats(f"{server.url}/v1", "small") == []
        url = server.url
    (told,) = await whats(url, "small")
    assert "no connection" in told


async def test_a_server_without_a_list_is_asked_for_no_work() -> None:
    async with vendor({"POST /chat/completions": (400, "{}")}) as server:
        assert await whats(server.url, "small") == []
        assert server.asked == ["GET /models", "POST /chat/completions"]
        assert server.heads[1].lower().count("content-length: 2") == 1, "an empty object"


async def test_a_server_that_chokes_on_no_call_is_there() -> None:
    async def choke(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET "):
            writer.write(b"HTTP/1.1 501 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(choke, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await whats(url, "small") == []


@pytest.mark.parametrize(("status", "body"), [(500, "{}"), (200, "<html>")])
async def test_a_server_that_is_not_well_is_told(status: int, body: str) -> None:
    async with vendor({"GET /models": (status, body)}) as server:
        assert len(await whats(server.url, "small")) == 1


async def test_a_server_that_says_nothing_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_ANSWER_S", 0.05)

    is_over = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        is_over.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        (told,) = await whats(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "small")
        await is_over.wait()
    assert "did not say within 0.05 s" in told


async def test_anthropic_is_asked_in_its_own_dialect() -> None:
    async with vendor({"GET /v1/models": (200, LIST)}) as server:
        assert await whats(server.url, "small", kind="anthropic") == []
        assert "x-api-key: k" in server.heads[0].lower()
        assert "anthropic-version:" in server.heads[0].lower()


async def test_the_builtin_model_has_one_name() -> None:
    builtin = Builtin(name="b")
    assert [one async for one in look_at("b", builtin, ["extractive"])] == []
    (told,) = [one async for one in look_at("b", builtin, ["extractiv"])]
    assert "did you mean 'extractive'?" in str(told)
