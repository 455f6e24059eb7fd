"""Noticing a kill that came from outside: the STOP file, or another process's commit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from supervisor.clock import to_us
from supervisor.events.approval_kinds import ApprovalDenied
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.in_flight import InFlight
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.rotation import system_journal
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.storage.database import Database, Transaction
from supervisor.storage.open import open_database
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.recorded_log import RecordedLog

UTC_ZONE = ZoneInfo("UTC")
KILL_FROM_OUTSIDE = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo
from supervisor.clock import to_us
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand
from supervisor.storage.open import open_database

async def main():
    now = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
    database = await open_database("sqlite", state_dir=Path(sys.argv[1]), now_us=to_us(now))
    origin = Origin(at=now, actor="outside", command_id="c-1")
    command = KillCommand(scope="worker:a", why="drill")
    await database.write(kill_switch.engage, command, origin, ZoneInfo("UTC"))
    await database.close()

asyncio.run(main())
"""


@dataclass
class Watching:
    """A watch, what it told the daemon, and the ticks that it can reach."""

    watch: KillWatch
    in_flight: InFlight
    stops: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def tick(self, worker: str) -> AsyncIterator[anyio.CancelScope]:
        """A tick in flight, with its session."""
        with anyio.CancelScope() as scope:
            with self.in_flight.register(worker, f"{worker}@now", scope):
                yield scope


Watch = Callable[[Database], Watching]


@pytest.fixture
def watching(tmp_path: Path, recorded: RecordedLog) -> Watch:
    def watching(database: Database) -> Watching:
        in_flight = InFlight()
        stops: list[str] = []
        changes: list[str] = []
        watch = KillWatch(
            database=database,
            in_flight=in_flight,
            stop_file=tmp_path / "STOP",
            log=recorded.log,
            on_stop=stops.append,
            on_change=lambda: changes.append("changed"),
        )
        return Watching(watch=watch, in_flight=in_flight, stops=stops, changes=changes)

    return watching


@asynccontextmanager
async def running(watching: Watching) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching.watch.run)
        # Its first look is the one that others are compared with.
        await anyio.sleep(0.05)
        yield
        tasks.cancel_scope.cancel()


async def test_a_kill_reaches_what_arrives_only_after_it_was_obeyed(
    watching: Watch, tmp_path: Path
) -> None:
    """Such as the next job of a claim, or a tick whose begin was answered late."""
    database = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    watched = watching(database)
    with anyio.fail_after(5):
        async with running(watched):
            await engage(database, "worker:a")
            await watched.watch.obey()
            async with watched.tick("b") as other, watched.tick("a") as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            assert not other.cancel_called
    await database.close()


async def engage(database: Database, scope: str, *, command_id: str = "c-1") -> None:
    origin = Origin(at=START, actor="t", command_id=command_id)
    command = KillCommand(scope=scope, why="drill")
    await database.write(kill_switch.engage, command, origin, UTC_ZONE)


async def release(database: Database, scope: str, *, command_id: str) -> None:
    origin = Origin(at=START, actor="t", command_id=command_id)
    command = KillCommand(scope=scope, why="drill")
    await database.write(kill_switch.release, command, origin, UTC_ZONE)


async def test_a_release_that_could_not_be_read_at_once_wakes_at_the_next_look(
    watching: Watch, inline_store: InlineDatabase
) -> None:
    watched = watching(inline_store)
    async with watched.tick("any"), running(watched):
        await engage(inline_store, "worker:a")
        await release(inline_store, "worker:a", command_id="c-2")
        inline_store.foreign_commits = [True]
        inline_store.fail_reads = 2  # the latches, then the news
        await until(lambda: watched.changes != [])


async def test_followers_are_told_of_every_foreign_commit_and_the_refused_are_not(
    watching: Watch, inline_store: InlineDatabase
) -> None:
    watched = watching(inline_store)
    told: list[str] = []
    watched.watch.follow(lambda: told.append("told"))
    async with watched.tick("any"), running(watched):
        assert told == []
        await engage(inline_store, "worker:a")
        inline_store.foreign_commits = [True]
        await until(lambda: told != [])
    assert watched.changes == []


async def test_the_stop_file_stops_the_daemon_within_its_latency(
    watching: Watch, store: Database, tmp_path: Path
) -> None:
    watched = watching(store)
    async with running(watched):
        assert watched.stops == []
        (tmp_path / "STOP").touch()
        await until(lambda: watched.stops != [])
    assert str(tmp_path / "STOP") in watched.stops[0]


async def test_a_stop_file_of_any_kind_stops_the_daemon(
    watching: Watch, inline_store: InlineDatabase, tmp_path: Path
) -> None:
    (tmp_path / "STOP").mkdir()
    watched = watching(inline_store)
    async with running(watched):
        assert watched.stops != []


async def test_a_kill_by_another_process_cancels_what_it_reaches(
    watching: Watch, store: Database, tmp_path: Path, recorded: RecordedLog
) -> None:
    watched = watching(store)
    async with watched.tick("a") as killed, watched.tick("b") as other, running(watched):
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", KILL_FROM_OUTSIDE, str(tmp_path)]
        with anyio.CancelScope(shield=True):
            await anyio.run_process(command, env=environment, stderr=subprocess.DEVNULL)
            await until(lambda: killed.cancel_called)
        assert not other.cancel_called
    assert watched.changes == []
    assert [line["worker"] for line in recorded.lines("tick_killed")] == ["a"]


async def test_a_kill_through_another_connection_is_seen(
    watching: Watch, store: Database, tmp_path: Path
) -> None:
    watched = watching(store)
    other = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    async with watched.tick("a") as killed, running(watched):
        await engage(other, "system")
        with anyio.CancelScope(shield=True):
            await until(lambda: killed.cancel_called)
    await other.close()


async def test_every_later_kill_is_seen_too(
    watching: Watch, store: Database, tmp_path: Path
) -> None:
    watched = watching(store)
    other = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    async with running(watched):
        for number in range(5):
            async with watched.tick(f"w{number}") as killed:
                await engage(other, f"worker:w{number}", command_id=f"c{number}")
                with anyio.CancelScope(shield=True):
                    await until(partial(getattr, killed, "cancel_called"))
    await other.close()


async def test_a_release_by_another_process_wakes_the_refused_and_a_kill_does_not(
    watching: Watch, store: Database, tmp_path: Path
) -> None:
    watched = watching(store)
    other = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))
    async with running(watched), watched.tick("any"):
        for number in range(3):
            await engage(other, "worker:a", command_id=f"k{number}")
            await anyio.sleep(0.2)
            assert len(watched.changes) == number
            await release(other, "worker:a", command_id=f"r{number}")
            await until(partial(has, watched.changes, number + 1))
    await other.close()


async def test_a_decision_of_another_process_wakes_whom_it_is_for(
    watching: Watch, store: Database, tmp_path: Path
) -> None:
    watched = watching(store)
    other = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(START))

    def deny(tx: Transaction) -> None:
        with system_journal(tx, UTC_ZONE, Origin(at=START, actor="t")) as journal:
            journal.add(ApprovalDenied(proposal="p", code="person", why="no"))

    async with running(watched), watched.tick("any"):
        await other.write(deny)
        await until(lambda: watched.changes != [])
    await other.close()


async def test_commits_of_its_own_wake_nobody(watching: Watch, store: Database) -> None:
    watched = watching(store)
    async with running(watched):
        await engage(store, "worker:a")
        await anyio.sleep(0.3)
    assert watched.changes == []


async def test_a_tick_that_was_killed_knows_by_what(
    watching: Watch, inline_store: InlineDatabase
) -> None:
    watched = watching(inline_store)
    await engage(inline_store, "worker:a")
    with anyio.CancelScope() as scope, watched.in_flight.register("a", "a@1", scope) as flight:
        await watched.watch.obey()
    assert flight.killed_by
    assert flight.killed_by.scope == "worker:a"


async def test_a_kill_that_could_not_be_read_at_once_is_obeyed_at_the_next_look(
    watching: Watch, inline_store: InlineDatabase, recorded: RecordedLog
) -> None:
    watched = watching(inline_store)
    await engage(inline_store, "worker:a")
    inline_store.foreign_commits = [True]
    inline_store.failures = 1
    async with watched.tick("a") as killed, running(watched):
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.3)
    assert recorded.events[0] == "kill_switch_unreadable"
    assert killed.cancel_called


async def test_a_store_that_can_not_be_read_is_said_once_and_watched_on(
    watching: Watch, inline_store: InlineDatabase, recorded: RecordedLog, tmp_path: Path
) -> None:
    inline_store.foreign_commits = [True] * 3
    inline_store.failures = 3
    watched = watching(inline_store)
    async with running(watched):
        await anyio.sleep(0.35)
        (tmp_path / "STOP").touch()
        await until(lambda: watched.stops != [])
    assert recorded.events == ["kill_switch_unreadable"]


def has(changes: list[str], number: int) -> bool:
    return len(changes) == number


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not is_so():  # noqa: ASYNC110 - nothing to wait on
            await anyio.sleep(0.005)
