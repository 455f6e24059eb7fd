"""The outgoing ping, against a real server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from supervisor.clock import VirtualClock
from supervisor.maintenance.ping import Ping, fail_now
from tests.unit.providers.loopback_server import LoopbackServer, answering, hanging, serving
from tests.unit.recorded_log import RecordedLog

WELL = answering(b"OK", headers="Connection: close\r\n")
STUCK = ["worker a is stuck in tick 7", "worker b has failed"]


@asynccontextmanager
async def pinging(url: str, clock: VirtualClock, recorded: RecordedLog) -> AsyncIterator[Ping]:
    """A ping whose client is closed at the end."""
    client = httpx.AsyncClient(trust_env=False, timeout=5)
    async with anyio.create_task_group() as tasks, client:
        yield Ping(url, tasks=tasks, clock=clock, log=recorded.log, open_client=lambda: client)
        tasks.cancel_scope.cancel()


async def arrived(server: LoopbackServer, number: int) -> list[str]:
    """Wait for that many requests and return what each was: `POST /path body`."""
    with anyio.fail_after(5):
        while len(server.requests) < number:  # noqa: ASYNC110 - nothing to wait on
            await anyio.sleep(0.005)
    await anyio.sleep(0.02)
    found = []
    for request in server.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].split(b" ")
        found.append(f"{method.decode()} {path.decode()} {body.decode()}".strip())
    return found


async def test_the_first_ping_is_a_start_and_then_a_success(
    clock: VirtualClock, recorded: RecordedLog
) -> None:
    async with (
        serving(WELL) as server,
        pinging(f"{server.base_url}/uuid/", clock, recorded) as ping,
    ):
        ping.report([])
        assert sorted(await arrived(server, 2)) == ["POST /uuid", "POST /uuid/start"]


async def test_a_start_has_arrived_before_the_success_after_it_is_sent(
    clock: VirtualClock, recorded: RecordedLog
) -> None:
    # Told the other way round, the other side counts the start as a run that never ends.
    async with serving(hanging()) as server, pinging(server.base_url, clock, recorded) as ping:
        ping.report([])
        assert await arrived(server, 1) == ["POST /start"]


async def test_success_is_said_once_a_minute(clock: VirtualClock, recorded: RecordedLog) -> None:
    async with serving(WELL) as server, pinging(server.base_url, clock, recorded) as ping:
        for _ in range(25):
            ping.report([])
            clock.advance(5)
        assert len(await arrived(server, 4)) == 4


async def test_trouble_is_a_failure_with_its_reasons_said_at_once(
    clock: VirtualClock, recorded: RecordedLog
) -> None:
    async with serving(WELL) as server, pinging(server.base_url, clock, recorded) as ping:
        ping.report([])
        await arrived(server, 2)
        clock.advance(5)
        ping.report(STUCK)
        found = await arrived(server, 3)
        assert found[2] == "POST /fail worker a is stuck in tick 7\nworker b has failed"
        clock.advance(5)
        ping.report([])
        assert (await arrived(server, 4))[3] in ("POST /", "POST")


async def test_trouble_goes_on_being_a_failure(clock: VirtualClock, recorded: RecordedLog) -> None:
    async with serving(WELL) as server, pinging(server.base_url, clock, recorded) as ping:
        for _ in range(3):
            ping.report(STUCK)
            clock.advance(60)
        found = await arrived(server, 4)
        assert sum("/fail" in request for request in found) == 3
        assert "POST /" not in found


async def test_reasons_are_cut(clock: VirtualClock, recorded: RecordedLog) -> None:
    async with serving(WELL) as server, pinging(server.base_url, clock, recorded) as ping:
        ping.report(["x" * 50_000])
        assert max(len(request) for request in await arrived(server, 2)) < 1_100


async def test_without_a_url_nothing_is_sent(clock: VirtualClock, recorded: RecordedLog) -> None:
    async with pinging("", clock, recorded) as ping:
        ping.report([])
        ping.report(STUCK)
        await anyio.sleep(0.02)
    assert recorded.events == []


async def test_nobody_waits_for_a_ping(clock: VirtualClock, recorded: RecordedLog) -> None:
    async with serving(hanging()) as server, pinging(server.base_url, clock, recorded) as ping:
        with anyio.fail_after(1):
            ping.report([])
            await arrived(server, 1)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "404 Not Found"])
async def test_a_refused_ping_is_logged_without_its_url(
    clock: VirtualClock, recorded: RecordedLog, status: str
) -> None:
    async with (
        serving(answering(b"no", status=status)) as server,
        pinging(f"{server.base_url}/secret-uuid", clock, recorded) as ping,
    ):
        ping.report([])
        await arrived(server, 2)
    assert set(recorded.events) == {"ping_failed"}
    assert "secret-uuid" not in str(recorded.lines("ping_failed"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/uuid",
        "http://127.0.0.1:port/uuid",
        "no url",
        "http://",
        "http://127.0.0.1:99999999",
        "http://\x00/",
    ],
)
async def test_a_ping_that_can_not_be_sent_never_ends_the_daemon(
    clock: VirtualClock, recorded: RecordedLog, url: str
) -> None:
    async with pinging(url, clock, recorded) as ping:
        ping.report([])
        with contextlib.suppress(TimeoutError), anyio.fail_after(2):
            while not recorded.events:  # noqa: ASYNC110 - nothing to wait on
                await anyio.sleep(0.005)
    assert set(recorded.events) == {"ping_failed"}


async def test_last_words_are_a_failure_that_is_waited_for() -> None:
    async with serving(WELL) as server:
        url = f"{server.base_url}/uuid/"
        await anyio.to_thread.run_sync(fail_now, url, "blocked at agent.py:7")
        assert await arrived(server, 1) == ["POST /uuid/fail blocked at agent.py:7"]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/uuid", "no url", "http://\x00/"])
def test_last_words_that_reach_nobody_raise_nothing(url: str) -> None:
    fail_now(url, "blocked")


async def test_last_words_are_short_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("supervisor.maintenance.ping._LAST_WORDS_TIMEOUT_S", 0.1)
    async with serving(hanging()) as server:
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(fail_now, server.base_url, "x" * 50_000)
        assert max(len(request) for request in server.requests) < 1_300
