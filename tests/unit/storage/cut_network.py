"""A way to a Postgres server that a test can cut, freeze, or cut at a certain message."""

from __future__ import annotations

import asyncio
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Cut(Enum):
    """Where the way breaks when the message comes that it waits for."""

    BEFORE = "the message does not arrive"
    AFTER = "the message arrives, its answer does not"
    HALF = "the message does not arrive, and the server does not learn that the way is cut"


class Network:
    """Forwards connections to a server on this machine; used in the test's loop.

    `cut` and `at` say where a connection breaks: at the first chunk of a client that holds `at`,
    once. `is_frozen` lets nothing through in either direction, and breaks nothing.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._may_flow = asyncio.Event()
        self._may_flow.set()
        self._kept: list[asyncio.StreamWriter] = []
        self.cut: Cut | None = None
        self.at = b"; COMMIT"
        self.is_down_after_cut = False
        self.has_cut = asyncio.Event()

    @property
    def url(self) -> str:
        """Return the server's URL by this way."""
        place = f"{self._url.username}@127.0.0.1:{self._port}"
        return urlunsplit(self._url._replace(netloc=place))

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.break_down()
        for writer in self._kept:
            writer.close()

    async def restore(self) -> None:
        """Let connections be made again, on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def break_down(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def freeze(self) -> None:
        """Let nothing through."""
        self._may_flow.clear()

    def thaw(self) -> None:
        """Let everything through again that has waited."""
        self._may_flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            return  # by break_down; asyncio would report it as a failure of its callback
        finally:
            self._connections.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._url.port is not None
        try:
            there, to_server = await asyncio.open_connection("127.0.0.1", self._url.port)
        except OSError:
            writer.transport.abort()
            return
        answers = asyncio.ensure_future(self._pass_on(there, writer))
        try:
            await self._pass_questions(reader, to_server, answers)
        finally:
            answers.cancel()
            writer.transport.abort()
            if to_server not in self._kept:
                to_server.close()

    async def _pass_questions(
        self,
        reader: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while chunk := await reader.read(65_536):
            await self._may_flow.wait()
            cut = self.cut
            if cut is not None and self.at in chunk:
                await self._break(cut, chunk, to_server, answers)
                return
            to_server.write(chunk)
            await to_server.drain()

    async def _break(
        self, cut: Cut, chunk: bytes, to_server: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> None:
        self.cut = None
        self.has_cut.set()
        if self.is_down_after_cut and self._server is not None:
            self._server.close()
            self._server = None
        answers.cancel()
        if cut is Cut.AFTER:
            to_server.write(chunk)
            await to_server.drain()
            await asyncio.sleep(0.2)  # the server works on it
        if cut is Cut.HALF:
            self._kept.append(to_server)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                await self._may_flow.wait()
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.transport.abort()
