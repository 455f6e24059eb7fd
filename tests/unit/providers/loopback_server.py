"""A real HTTP server on loopback that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Conduct = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class LoopbackServer:
    """Where it listens, and what was sent to it: the raw head and body of each request."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.requests: list[bytes] = []


@asynccontextmanager
async def serving(conduct: Conduct) -> AsyncIterator[LoopbackServer]:
    """Serve on a free port; `conduct` writes the answer to each request, then it is closed.

    At the end every connection must have ended: a client that leaves one open hangs the test.
    """
    tasks: set[asyncio.Task[None]] = set()
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            seen.append(await _read_request(reader))
            await conduct(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    loopback = LoopbackServer(server.sockets[0].getsockname()[1])
    loopback.requests = seen
    try:
        yield loopback
    finally:
        server.close()
        await asyncio.gather(*tasks)
        await server.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return head + await reader.readexactly(length)


def answering(
    body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None
) -> Conduct:
    """Answer with `body`; `length` promises another Content-Length than that."""

    async def conduct(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        promised = len(body) if length is None else length
        head = f"HTTP/1.1 {status}\r\nContent-Length: {promised}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    return conduct


def streaming(*events: bytes) -> Conduct:
    """Answer with server-sent events, and end the connection after the last."""

    async def conduct(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for event in events:
            writer.write(b"data: " + event + b"\n\n")
            await writer.drain()

    return conduct


def hanging(*, after: bytes = b"") -> Conduct:
    """Send `after`, then nothing more, until the client goes."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()

    return conduct


def closing() -> Conduct:
    """Close the connection without an answer."""

    async def conduct(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        return

    return conduct
