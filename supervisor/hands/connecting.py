"""Connecting to an address that was looked at, and to no other."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

import anyio
import httpcore

from supervisor.hands.rules import HttpRules, address_refused
from supervisor.host_rules import Address, as_address, may_connect

Found: TypeAlias = Sequence[tuple[object, object, object, object, Sequence[object]]]
#: Looks up what a host's name and a port stand for, as `socket.getaddrinfo` gives it.
Resolve: TypeAlias = Callable[[str, int], Awaitable[Found]]


async def resolve(host: str, port: int) -> Found:
    """Look a name up in the system's way, on a thread."""
    return await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name once, and connects only to those of its addresses that may be reached.

    The connection goes to the address that was checked: a name that is answered otherwise the
    next time (DNS rebinding) changes nothing.
    """

    def __init__(self, rules: HttpRules, look_up: Resolve = resolve) -> None:
        self._rules = rules
        self._look_up = look_up
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers.

        Raises:
            RequestRefused: none of them may be reached.
            httpcore.ConnectError, httpcore.ConnectTimeout: none of them answers.
        """
        try:
            with anyio.fail_after(timeout):
                addresses = await self._checked(host, port)
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host}:{port}") from error

    async def _first(
        self,
        addresses: Sequence[Address],
        port: int,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        failed = httpcore.ConnectError("it has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, None, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failed = error
        raise failed

    async def _checked(self, host: str, port: int) -> Sequence[Address]:
        try:
            found = await self._look_up(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} can't be resolved: {error.strerror}") from error
        addresses = [address for *_, where in found if (address := as_address(str(where[0])))]
        open_ones = [a for a in addresses if may_connect(a, self._rules.listed)]
        if addresses and not open_ones:
            raise address_refused(self._rules, host, str(addresses[0]))
        return open_ones

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse it: a worker's requests go to hosts."""
        raise httpcore.ConnectError(f"{path} is no host")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
