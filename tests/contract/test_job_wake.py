"""A job of another process wakes an idle worker: as soon as its commit is heard, or seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.governance.in_flight import InFlight
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.storage.database import Database
from tests.contract.job_bench import QUEUE, UTC_ZONE, JobBench
from tests.contract.site import Site
from tests.databases import Kind

#: Less than the watch waits between two looks of its own.
SOON_S = 3.0
BUSY_S = 0.5


class Arrivals:
    """What a watch has said, and how often it has looked."""

    def __init__(self) -> None:
        self.looks = 0
        self.has_looked = anyio.Event()
        self.has_come = anyio.Event()

    def queues(self) -> set[str]:
        self.looks += 1
        self.has_looked.set()
        return {QUEUE}

    def arrive(self, queue: str, _jobs: int) -> None:
        assert queue == QUEUE
        self.has_come.set()


@pytest.fixture
async def other(site: Site, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    """Another process's way to the same store."""
    store = await site.open()
    yield JobBench(store, clock, tmp_path)
    await store.close()


@asynccontextmanager
async def watching(database: Database, bench: JobBench, kind: Kind) -> AsyncIterator[Arrivals]:
    """Watch the queues as the daemon does; on SQLite nothing is heard, and the kill watch looks."""
    arrivals = Arrivals()
    watch = JobWatch(
        database,
        bench.clock,
        bench.kernel.log,
        queues=arrivals.queues,
        arrive=arrivals.arrive,
        leases=Leases(boot_id="boot-1", in_hand=bench.kernel.in_hand, timezone=UTC_ZONE),
    )
    polling = KillWatch(
        database=database,
        in_flight=InFlight(),
        stop_file=bench.kernel.state_dir / "STOP",
        log=bench.kernel.log,
        on_stop=bench.stops.append,
        on_change=lambda: None,
    )
    polling.follow(watch.look)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run)
        if kind == "sqlite":
            tasks.start_soon(polling.run)
        await arrivals.has_looked.wait()
        yield arrivals
        tasks.cancel_scope.cancel()


async def test_a_job_of_another_process_is_noticed_at_once(
    database: Database, other: JobBench, kind: Kind
) -> None:
    async with watching(database, other, kind) as arrivals:
        for number in range(3):
            await anyio.sleep(0.05)  # the look before is over, and it waits
            other.clock.advance(1)
            arrivals.has_come = anyio.Event()
            with anyio.fail_after(SOON_S):
                await other.enqueue(number)
                await arrivals.has_come.wait()


async def test_however_much_others_commit_it_looks_a_bounded_number_of_times(
    database: Database, other: JobBench, kind: Kind
) -> None:
    async with watching(database, other, kind) as arrivals:
        commits = 0
        with anyio.move_on_after(BUSY_S):
            while True:
                await other.enqueue(commits, "elsewhere")
                commits += 1
        assert commits > 20
        assert arrivals.looks <= 2 + BUSY_S / 0.05
