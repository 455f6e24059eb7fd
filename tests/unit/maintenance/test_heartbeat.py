"""Showing that the daemon lives: the file, the row, the watchdog, the ping."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import anyio
import msgspec
import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.errors import StoreUnavailable
from supervisor.events import kinds
from supervisor.maintenance.heartbeat import HEARTBEAT_NAME, Heartbeat
from supervisor.maintenance.ping import Ping
from supervisor.maintenance.service_manager import ServiceManager
from supervisor.maintenance.vitals import Vitals
from supervisor.storage.database import P, T, Transaction, TransactionFunction
from tests.unit.inline_database import InlineDatabase
from tests.unit.maintenance.conftest import Fact
from tests.unit.recorded_log import RecordedLog
from tests.unit.time_warp import run_warped

FAILED = kinds.WorkerFailed(worker="a", crashes=4, window_s=60.0, error="x")


class Reported:
    """Stands in for the ping: what it was told."""

    def __init__(self) -> None:
        self.troubles: list[Sequence[str]] = []

    def report(self, troubles: Sequence[str]) -> None:
        self.troubles.append(troubles)


@dataclass
class Beating:
    """A heartbeat and everything that it reaches."""

    heartbeat: Heartbeat
    ping: Reported
    vitals: Vitals
    path: Path
    notified: Callable[[], list[bytes]]

    def file(self) -> dict[str, object]:
        return dict(json.loads(self.path.read_bytes()))


class Row(msgspec.Struct, frozen=True):
    heartbeat_at: int
    state: str


def start_daemon(tx: Transaction) -> None:
    tx.run("daemons.started", boot_id="boot-1", pid=7, host="h", now=0)


def row(tx: Transaction) -> Row | None:
    return tx.row("daemons.latest", Row)


@pytest.fixture
async def beating(
    inline_store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> AsyncIterator[Beating]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)

        def notified() -> list[bytes]:
            received: list[bytes] = []
            while True:
                try:
                    received.append(systemd.recv(10_000))
                except BlockingIOError:
                    return received

        await inline_store.write(start_daemon)
        ping, vitals = Reported(), Vitals({"a": 120.0}, clock)
        manager = ServiceManager(str(tmp_path / "notify"))
        heartbeat = Heartbeat(
            database=inline_store,
            clock=clock,
            log=recorded.log,
            vitals=vitals,
            manager=manager,
            ping=cast("Ping", ping),
            path=tmp_path / HEARTBEAT_NAME,
            boot_id="boot-1",
            pid=7,
            every_s=5.0,
            state=lambda: "running",
        )
        yield Beating(
            heartbeat=heartbeat,
            ping=ping,
            vitals=vitals,
            path=tmp_path / HEARTBEAT_NAME,
            notified=notified,
        )
        manager.close()


async def test_the_file_says_who_lives_and_what_the_workers_do(
    beating: Beating, fact: Fact
) -> None:
    beating.vitals.follow([fact(kinds.CycleStarted(worker="a", tick=7))])
    await beating.heartbeat.beat()
    assert beating.file() == {
        "at": "2026-06-01T10:30:00Z",
        "pid": 7,
        "boot_id": "boot-1",
        "state": "running",
        "workers": {
            "a": {
                "last_progress_at": None,
                "last_tick": 7,
                "outcome": "",
                "session_id": "a@2026-06-01T10:00Z",
            }
        },
    }


async def test_the_file_is_replaced_and_for_its_owner_alone(beating: Beating) -> None:
    await beating.heartbeat.beat()
    with beating.path.open("rb") as reading:
        before = beating.path.stat()
        await beating.heartbeat.beat()
        assert beating.path.stat().st_ino != before.st_ino
        assert json.loads(reading.read())["pid"] == 7
    assert stat.S_IMODE(beating.path.stat().st_mode) == 0o600
    assert not list(beating.path.parent.glob(f".{HEARTBEAT_NAME}*"))


async def test_the_row_has_the_moment_and_the_state(
    beating: Beating, inline_store: InlineDatabase, clock: VirtualClock
) -> None:
    clock.advance(60)
    await beating.heartbeat.beat()
    assert await inline_store.read(row) == Row(to_us(clock.now()), "running")


async def test_systemd_is_told_once_a_beat(beating: Beating) -> None:
    await beating.heartbeat.beat()
    assert beating.notified() == [b"WATCHDOG=1\nSTATUS=running"]


async def test_a_worker_in_trouble_changes_the_ping_and_the_status_but_not_the_beat(
    beating: Beating, fact: Fact
) -> None:
    beating.vitals.follow([fact(FAILED)])
    await beating.heartbeat.beat()
    assert beating.ping.troubles == [["worker a has failed"]]
    assert beating.notified() == [b"WATCHDOG=1\nSTATUS=worker a has failed"]
    assert beating.file()["state"] == "running"


async def test_a_store_that_does_not_take_the_beat_is_said_once_and_stops_nothing(
    beating: Beating, inline_store: InlineDatabase, recorded: RecordedLog
) -> None:
    inline_store.failures = 2
    await beating.heartbeat.beat()
    await beating.heartbeat.beat()
    assert not beating.heartbeat.is_store_well
    assert recorded.events == ["heartbeat_not_stored"]
    assert len(beating.notified()) == 2
    await beating.heartbeat.beat()
    assert beating.heartbeat.is_store_well


async def test_a_store_that_does_not_take_the_beat_degrades_the_daemon(
    beating: Beating, inline_store: InlineDatabase
) -> None:
    inline_store.failures = 1
    await beating.heartbeat.beat()
    await beating.heartbeat.beat()
    assert beating.file()["state"] == "degraded"


async def test_a_file_that_can_not_be_written_stops_nothing(
    beating: Beating, inline_store: InlineDatabase, recorded: RecordedLog, clock: VirtualClock
) -> None:
    beating.heartbeat.path = beating.path.parent / "none" / HEARTBEAT_NAME
    await beating.heartbeat.beat()
    await beating.heartbeat.beat()
    assert recorded.events == ["heartbeat_not_written"], "said once"
    assert await inline_store.read(row) == Row(to_us(clock.now()), "degraded")
    assert len(beating.notified()) == 2
    assert "can't be written" in beating.ping.troubles[-1][0]
    beating.heartbeat.path = beating.path
    await beating.heartbeat.beat()
    assert beating.ping.troubles[-1] == []
    assert await inline_store.read(row) == Row(to_us(clock.now()), "running")


async def test_a_write_that_failed_for_anybody_is_a_failure_until_the_next_beat(
    beating: Beating, inline_store: InlineDatabase, clock: VirtualClock
) -> None:
    await beating.heartbeat.beat()
    inline_store.failures = 1
    with pytest.raises(StoreUnavailable):
        await inline_store.write(start_daemon)
    # By the next beat the store is well again; that somebody's write was lost is told all the same.
    await beating.heartbeat.beat()
    assert beating.ping.troubles[-1] == ["the store did not take 1 writes since the last beat"]
    assert beating.file()["state"] == "degraded"
    assert await inline_store.read(row) == Row(to_us(clock.now()), "degraded")
    await beating.heartbeat.beat()
    assert beating.ping.troubles[-1] == []
    assert beating.file()["state"] == "running"


async def test_what_else_is_watched_degrades_the_daemon(beating: Beating) -> None:
    beating.heartbeat.watched = lambda: ["the kill switch can't be read"]
    await beating.heartbeat.beat()
    assert beating.ping.troubles == [["the kill switch can't be read"]]
    assert beating.file()["state"] == "degraded"


async def test_asking_whether_the_store_is_well_is_no_beat(
    beating: Beating, clock: VirtualClock
) -> None:
    # /readyz asks, and anybody may ask for that: it must not vouch for a loop that hangs.
    began_at = clock.now()
    clock.advance(60)
    await beating.heartbeat.reach_store()
    assert beating.notified() == []
    assert not beating.path.exists()
    assert beating.heartbeat.beat_at == began_at


class Slow(InlineDatabase):
    """A store whose every answer takes two seconds, as where another process holds its lock."""

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer, late = super().write(function, *args, **kwargs), loop.create_future()

        def deliver() -> None:
            if late.cancelled():
                return
            error = answer.exception()
            late.set_exception(error) if error else late.set_result(answer.result())

        loop.call_later(2.0, deliver)
        return late


class Dead(InlineDatabase):
    """A store that does not answer: a server that is gone without a word."""

    def write(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        return asyncio.get_running_loop().create_future()


def heartbeat_on(
    store: InlineDatabase, clock: VirtualClock, recorded: RecordedLog, ping: Reported, path: Path
) -> Heartbeat:
    return Heartbeat(
        database=store,
        clock=clock,
        log=recorded.log,
        vitals=Vitals({}, clock),
        manager=ServiceManager(None),
        ping=cast("Ping", ping),
        path=path / HEARTBEAT_NAME,
        boot_id="boot-1",
        pid=7,
        every_s=5.0,
        state=lambda: "running",
    )


def test_a_store_that_never_answers_holds_up_no_beat_and_is_told(
    clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> None:
    store, ping = Dead(), Reported()
    heartbeat = heartbeat_on(store, clock, recorded, ping, tmp_path)

    async def main() -> None:
        with anyio.move_on_after(60):
            await heartbeat.run()

    run_warped(clock, main())
    store.disconnect()
    assert len(ping.troubles) >= 12
    assert ping.troubles[0] == []
    assert ping.troubles[-1] == ["the store does not take writes: it has not answered for 15 s"]


def test_a_store_that_fails_between_two_beats_is_told_at_once(
    clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> None:
    store, ping = Slow(), Reported()
    heartbeat = heartbeat_on(store, clock, recorded, ping, tmp_path)
    told: list[tuple[float, bool]] = []

    async def main() -> None:
        await store.write(start_daemon)
        began_s = clock.monotonic()
        ping.report = lambda troubles: told.append(  # type: ignore[method-assign] # with its moment
            (clock.monotonic() - began_s, bool(troubles))
        )
        store.failures = 1
        with anyio.move_on_after(14):
            await heartbeat.run()

    run_warped(clock, main())
    store.disconnect()
    # Two seconds are what the store took to say no; the next beat but one finds nothing new.
    assert [(round(at_s), is_trouble) for at_s, is_trouble in told] == [
        (0, False),
        (2, True),
        (5, True),
        (7, True),
        (10, False),
    ]


def test_it_beats_until_cancelled_and_never_more_than_five_seconds_apart(
    clock: VirtualClock, recorded: RecordedLog, tmp_path: Path
) -> None:
    beats: list[float] = []

    def state() -> str:
        beats.append(clock.monotonic())
        return "running"

    async def main() -> None:
        store = Slow()
        await store.write(start_daemon)
        async with anyio.create_task_group() as tasks:
            heartbeat = Heartbeat(
                database=store,
                clock=clock,
                log=recorded.log,
                vitals=Vitals({}, clock),
                manager=ServiceManager(None),
                ping=Ping("", tasks=tasks, clock=clock, log=recorded.log),
                path=tmp_path / HEARTBEAT_NAME,
                boot_id="boot-1",
                pid=7,
                every_s=5.0,
                state=state,
            )
            tasks.start_soon(heartbeat.run)
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
        store.disconnect()

    run_warped(clock, main())
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    assert len(gaps) >= 8
    assert max(gaps) <= 5.0
