"""uvicorn inside our loop, with its hands off the signals."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import anyio
import uvicorn
from starlette.applications import Starlette

from supervisor.errors import ConfigError

_DRAIN_S = 1.0
_POLL_S = 0.005


def bind(listen: str) -> socket.socket:
    """Return a socket that listens on ADDRESS:PORT; port 0 picks a free one.

    Raises:
        ConfigError: the port is in use, or the address is not this machine's.
    """
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, int(port)))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ConfigError(
            subject=f"http.listen = {listen!r}",
            what=f"can't be listened on: {error.strerror or error}",
            fix="end what uses that port, or choose another one",
        ) from error
    listening.setblocking(False)
    return listening


def address_of(listening: socket.socket) -> str:
    """Return ADDRESS:PORT of a listening socket."""
    address, port = listening.getsockname()[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class HttpServer(uvicorn.Server):
    """Serves one application until `stop`.

    uvicorn would take SIGTERM and SIGINT from the daemon, wake ten times a second, and wait
    0.1 s at its end; the three methods that do so are replaced (architecture.md, "Facts that
    bite").
    """

    def __init__(self, app: Starlette, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                ws="none",
                http="h11",
                limit_concurrency=200,
                timeout_keep_alive=30,
            )
        )
        self._listening = listening
        self._is_stopping = anyio.Event()

    async def run_until_stopped(self) -> None:
        """Answer until `stop` is called."""
        await self.serve(sockets=[self._listening])

    def stop(self) -> None:
        """Ask the server to end."""
        self._is_stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the daemon."""
        yield

    async def main_loop(self) -> None:
        """Wait for `stop`, without a timer."""
        await self._is_stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close at once what is idle, and give answers under way a second."""
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(_DRAIN_S):
            while self.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(_POLL_S)
