"""A real HTTP server on loopback, each of whose paths may answer as badly as it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

Conduct = Callable[[asyncio.StreamWriter], Awaitable[None]]

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HostileServer:
    """Where it listens, and the head of each request that it got."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.url = f"http://{address}:{port}"
        self.heads: list[str] = []
        self.arrived = asyncio.Event()

    @property
    def paths(self) -> list[str]:
        return [head.split()[1] for head in self.heads]


@asynccontextmanager
async def hostile(_address: str = "127.0.0.1", /, **paths: Conduct) -> AsyncIterator[HostileServer]:
    """Serve each of `paths` (`robots_txt` is /robots.txt), and 404 for all others."""
    by_path: Mapping[str, Conduct] = {
        f"/{name}" if name != "robots_txt" else "/robots.txt": conduct
        for name, conduct in paths.items()
    }
    tasks: set[asyncio.Task[None]] = set()
    site: HostileServer

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            site.heads.append(head)
            site.arrived.set()
            conduct = by_path.get(head.split()[1].partition("?")[0], raw(NOT_FOUND))
            await conduct(writer)
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    server = await asyncio.start_server(serve, _address, 0)
    site = HostileServer(_address, server.sockets[0].getsockname()[1])
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def raw(answer: bytes) -> Conduct:
    """Answer with these very bytes, and close."""

    async def conduct(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return conduct


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> Conduct:
    """Answer well."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return raw(head.encode() + body)


def redirect(where: str, *, status: str = "302 Found") -> Conduct:
    """Send the client elsewhere."""
    return answer(b"", status=status, headers=f"Location: {where}\r\n")


def endless(*, head: str = "", chunk: bytes = b"x" * 65_536) -> Conduct:
    """Send a body without an end, as fast as it is taken."""

    async def conduct(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n".encode())
        while True:
            writer.write(chunk)
            await writer.drain()

    return conduct


def dripping(beginning: bytes, *, every_s: float = 0.02) -> Conduct:
    """Send a beginning, then a byte now and then, for ever."""

    async def conduct(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            await asyncio.sleep(every_s)
            writer.write(b"x")
            await writer.drain()

    return conduct


def repeating(beginning: bytes, piece: bytes) -> Conduct:
    """Send a beginning, then the same piece for ever, as fast as it is taken."""

    async def conduct(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            writer.write(piece)
            await writer.drain()

    return conduct


def in_turn(*conducts: Conduct) -> Conduct:
    """Answer each request as the next one says; the last stays."""
    left = list(conducts)

    async def conduct(writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(writer)

    return conduct
