"""A way to a server that can be cut: connections refused, or bytes swallowed without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

_CHUNK = 65_536
Way = Literal["open", "cut", "silent"]


class TcpProxy:
    """Passes bytes on between clients and one server, as long as the way is `open`.

    `cut` breaks every connection and takes no new one. `silent` keeps them, takes new ones, and
    passes nothing on: what a firewall or a dead switch does.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._is_open.set()
        self._way: Way = "open"
        threading.Thread(target=self._accept, daemon=True).start()

    def turn(self, way: Way) -> None:
        """Open the way again, or close it in one of two manners; what was swallowed stays so."""
        self._way = way
        if way == "cut":
            self._break_all()
        if way == "open":
            # What hung in silence has lost bytes: no protocol survives that.
            self._break_all()
            self._is_open.set()
        else:
            self._is_open.clear()

    def _break_all(self) -> None:
        with self._lock:
            broken, self._sockets = self._sockets, []
        for one in broken:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._way == "cut":
                client.close()
                continue
            self._keep(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _keep(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.append(one)

    def _serve(self, client: socket.socket) -> None:
        if self._way == "silent":
            return  # it is connected, and hears nothing
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._keep(server)
        threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if self._is_open.is_set():
                    sink.sendall(chunk)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break everything and listen no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._break_all()


@contextmanager
def proxy_to(port: int) -> Iterator[TcpProxy]:
    """Give a proxy to a server on loopback; it ends with the block."""
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
