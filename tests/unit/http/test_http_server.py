"""The server itself: its socket, its stop, and its hands off the signals."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import anyio
import httpx
import pytest

from supervisor.errors import ConfigError
from supervisor.http.server import address_of, bind
from tests.unit.http.conftest import ScriptedAnswers, Serve

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def own_handlers() -> Iterator[list[object]]:
    """Handlers of this test's own, so that a change of them is seen."""
    before = [signal.getsignal(number) for number in SIGNALS]

    def handler(_number: int, _frame: object) -> None:
        return

    for number in SIGNALS:
        signal.signal(number, handler)
    yield [handler] * len(SIGNALS)
    for number, old in zip(SIGNALS, before, strict=True):
        signal.signal(number, old)


async def test_signals_are_left_alone_while_it_serves_and_after(
    serve: Serve, own_handlers: list[object]
) -> None:
    async with serve() as served:
        assert (await served.client.get("/healthz")).status_code == 200
        assert [signal.getsignal(number) for number in SIGNALS] == own_handlers
    assert [signal.getsignal(number) for number in SIGNALS] == own_handlers


async def test_an_idle_server_stops_at_once(serve: Serve) -> None:
    async with serve() as served:
        await served.client.get("/healthz")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 0.5


async def test_a_connection_that_is_kept_open_does_not_hold_the_stop_up(serve: Serve) -> None:
    async with serve() as served:
        with socket.create_connection(served.host_and_port) as silent:
            await served.client.get("/healthz")
            began_s = time.monotonic()
            served.server.stop()
            await anyio.wait_readable(silent)
            assert silent.recv(1) == b""
    assert time.monotonic() - began_s < 0.5


async def test_an_answer_under_way_has_a_second_to_finish(
    serve: Serve, answers: ScriptedAnswers
) -> None:
    answers.is_hanging = True
    async with serve() as served, anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(httpx.HTTPError):
                await served.client.get("/status", timeout=5)

        tasks.start_soon(ask)
        await anyio.sleep(0.05)
        began_s = time.monotonic()
        served.server.stop()
        await anyio.sleep(1.2)
        with pytest.raises(httpx.ConnectError):
            await served.client.get("/healthz")
        tasks.cancel_scope.cancel()
    assert time.monotonic() - began_s < 2


async def test_a_server_that_is_told_to_stop_before_it_serves_ends(serve: Serve) -> None:
    async with serve() as served:
        served.server.stop()


async def test_after_the_stop_nobody_is_answered(serve: Serve) -> None:
    async with serve() as served:
        address = served.address
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{address}/healthz")


async def test_it_does_not_say_what_it_is_made_of(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/healthz")
    assert "server" not in answer.headers


async def test_what_is_no_http_costs_nobody_else_an_answer(serve: Serve) -> None:
    async with serve() as served:
        with socket.create_connection(served.host_and_port) as raw:
            raw.sendall(b"\x16\x03\x01 no http\r\n\r\n")
            await anyio.wait_readable(raw)
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        assert (await served.client.get("/healthz")).status_code == 200


def test_a_free_port_is_picked_and_known() -> None:
    with bind("127.0.0.1:0") as listening:
        host, _, port = address_of(listening).rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0


def test_an_ipv6_address_is_written_so_that_it_can_be_called() -> None:
    with bind("[::1]:0") as listening:
        assert address_of(listening).startswith("[::1]:")


def test_a_port_in_use_is_a_clear_error() -> None:
    with bind("127.0.0.1:0") as listening:
        address = address_of(listening)
        with pytest.raises(ConfigError, match="Address already in use; end what uses") as caught:
            bind(address)
    assert address in caught.value.subject


@pytest.mark.parametrize("listen", ["203.0.113.7:9464", "a..b:9464", f"{'x' * 300}:9464"])
def test_an_address_that_is_not_this_machines_is_a_clear_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="can't be listened on"):
        bind(listen)


def test_the_socket_is_not_inherited() -> None:
    with bind("127.0.0.1:0") as listening:
        assert not listening.get_inheritable()
