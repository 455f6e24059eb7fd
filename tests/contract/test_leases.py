"""Leases on either database: kept while the loop turns, taken away in silence, told by no clock."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from supervisor import Outcome
from supervisor.clock import VirtualClock
from supervisor.governance import job_commands
from supervisor.governance.job_commands import JobCommand
from supervisor.jobs.job import JobState
from supervisor.jobs.leases import claims_of_others
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.maintenance.lease_keeper import LeaseKeeper
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.plan import Kernel
from tests.contract.job_bench import UTC_ZONE, JobBench, done
from tests.contract.site import Site

LEASE_S = 30.0


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    made = JobBench(database, clock, tmp_path)
    yield made
    await made.audit()


def watch_of(bench: JobBench, kernel: Kernel) -> JobWatch:
    leases = Leases(boot_id=kernel.boot_id, in_hand=kernel.in_hand, timezone=UTC_ZONE)
    return JobWatch(
        bench.store,
        bench.clock,
        kernel.log,
        queues=lambda: {"q"},
        arrive=lambda queue, jobs: None,
        leases=leases,
    )


def keeper_of(bench: JobBench, site: Site) -> LeaseKeeper:
    """Return a keeper for the loop that runs, whose thread is the test's."""
    keeper = LeaseKeeper(
        bench.kernel.in_hand,
        boot_id=bench.kernel.boot_id,
        lease_s=lambda: 3_600.0,
        open_store=site.open,
        log=bench.kernel.log,
    )
    keeper.start()
    return keeper


async def look_for(bench: JobBench, watch: JobWatch, span_s: float) -> None:
    """Let a daemon watch the claims of others for so long, as often as it does."""
    looks = round(span_s / 0.5)
    for _ in range(looks):
        await watch._look()
        bench.clock.advance(span_s / looks)
    await watch._look()


def look_six_times(keeper: LeaseKeeper) -> None:
    for _ in range(6):
        keeper.look()


async def beats(bench: JobBench) -> list[int]:
    held = await bench.store.read(claims_of_others, "nobody")
    return [one.beats for one in held]


async def test_a_claim_that_is_renewed_is_left_to_its_holder(bench: JobBench, site: Site) -> None:
    await bench.enqueue(1)
    keeper = keeper_of(bench, site)
    watch = watch_of(bench, bench.other_life())

    async def long(_ctx: Context) -> None:
        await anyio.to_thread.run_sync(keeper.look)
        for _ in range(4):
            await look_for(bench, watch, LEASE_S * 0.9)
            await anyio.to_thread.run_sync(keeper.look)
        assert await beats(bench) == [4]

    end = await bench.tick(long)
    keeper.stop()
    assert end is not None
    assert end.outcome is Outcome.OK
    assert await bench.events("lease_expired") == []


async def test_a_blocked_loop_renews_nothing_and_its_late_end_is_refused(
    bench: JobBench, site: Site
) -> None:
    """Acceptance 4: blocked for two leases, run twice, completed once."""
    job = (await bench.enqueue(1)).id
    keeper = keeper_of(bench, site)
    watch = watch_of(bench, bench.other_life())
    completed: list[str] = []

    async def blocked(ctx: Context) -> None:
        await anyio.to_thread.run_sync(keeper.look)
        await anyio.to_thread.run_sync(keeper.look)
        before = await beats(bench)
        await watch._look()
        # The loop stands still, and the keeper's thread looks six times: once for what turned.
        looks = threading.Thread(target=look_six_times, args=(keeper,))
        looks.start()
        looks.join()
        assert before[0] <= (await beats(bench))[0] <= before[0] + 1
        await look_for(bench, watch, 2 * LEASE_S)

        async def other(_ctx: Context) -> None:
            completed.append("other")

        assert await bench.tick(other, name="v", kernel=bench.other_life()) is not None
        completed.append("blocked")
        ctx.state["kept"] = True

    end = await bench.tick(blocked)
    keeper.stop()
    assert end is not None
    assert end.outcome is Outcome.FAILED
    assert completed == ["other", "blocked"]
    assert (await bench.job(job)).state is JobState.DONE
    assert len(await bench.events("job_completed")) == 1
    assert len(await bench.events("job_completion_refused")) == 1


async def test_a_clock_that_is_set_takes_no_jobs_away(bench: JobBench) -> None:
    await bench.enqueue(1)
    watch = watch_of(bench, bench.other_life())

    async def work(_ctx: Context) -> None:
        await watch._look()
        bench.clock.step_wall(86_400)
        await watch._look()

    end = await bench.tick(work)
    assert end is not None
    assert end.outcome is Outcome.OK


async def test_a_store_that_was_away_for_all_takes_nobodys_jobs_away(bench: JobBench) -> None:
    """Who could not look saw no silence: the holder could not renew in that time, either."""
    await bench.enqueue(1)
    watch = watch_of(bench, bench.other_life())
    expired: list[int] = []

    async def work(_ctx: Context) -> None:
        await look_for(bench, watch, 1.0)
        bench.clock.advance(2 * LEASE_S)
        for span_s in (LEASE_S - 1.0, 1.5):
            await look_for(bench, watch, span_s)
            expired.append(len(await bench.events("lease_expired")))

    await bench.tick(work)
    assert expired == [0, 1], "it goes on being silent, and that is seen"


async def test_the_next_look_is_when_the_first_lease_is_over(bench: JobBench) -> None:
    """Else a lease and a second are not kept where a holder dies right after a renewal."""
    await bench.enqueue(1)
    watch = watch_of(bench, bench.other_life())
    looks: list[float] = []
    expired: list[int] = []

    async def work(_ctx: Context) -> None:
        await look_for(bench, watch, LEASE_S - 0.1)
        looks.append(await watch._look())
        expired.append(len(await bench.events("lease_expired")))
        bench.clock.advance(0.1)
        looks.append(await watch._look())

    await bench.tick(work)
    assert looks == pytest.approx([0.1, 0.5], abs=0.001)
    assert expired == [0]
    assert len(await bench.events("lease_expired")) == 1


async def test_a_worker_whose_claim_is_gone_is_told_and_stops(bench: JobBench, site: Site) -> None:
    await bench.enqueue(1)
    keeper = keeper_of(bench, site)
    reached: list[str] = []

    async def work(_ctx: Context) -> None:
        await anyio.to_thread.run_sync(keeper.look)
        await bench.recover()
        await anyio.to_thread.run_sync(keeper.look)
        await anyio.sleep(5)
        reached.append("the end")

    end = await bench.tick(work)
    keeper.stop()
    assert end is not None
    assert (end.outcome, reached) == (Outcome.FAILED, [])


async def test_a_running_job_that_a_person_cancels_is_cancelled_at_once(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id
    watch = watch_of(bench, bench.kernel)

    async def work(_ctx: Context) -> None:
        origin = bench.origin()
        command = JobCommand(job=job, why="so")
        with_id = type(origin)(at=origin.at, actor="ann", command_id="c-1")
        await bench.store.write(job_commands.cancel, command, with_id, UTC_ZONE)
        await watch._look()
        await anyio.sleep(5)
        raise AssertionError("it was not cancelled")

    await bench.tick(work)
    assert (await bench.job(job)).state is JobState.CANCELLED
    assert await bench.tick(done) is None
