"""An idle worker begins with the commit that brings its job, and loses none by that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import InputRefused
from supervisor.events.log import Recorded
from supervisor.governance.rotation import system_journal
from supervisor.jobs.job import JobState, Terms, request_job
from supervisor.jobs.queue import enqueue
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.worker.context import Context
from supervisor.worker.queue_loop import QueueLoop
from supervisor.worker.tick import run_tick
from tests.contract.job_bench import QUEUE, RULES, UTC_ZONE, JobBench, Work, done


class IdleBench(JobBench):
    """A queue, workers that wait for it, and each commit's events as they are told of."""

    def __init__(self, database: Database, clock: VirtualClock, folder: Path) -> None:
        super().__init__(database, clock, folder)
        self.commits: list[list[str]] = []
        self.arrivals: list[tuple[str, int]] = []
        database.listen(self._follow)
        watch = JobWatch(
            database,
            clock,
            self.kernel.log,
            queues=lambda: {QUEUE},
            arrive=lambda queue, jobs: self.arrivals.append((queue, jobs)),
            leases=Leases(boot_id="boot-1", in_hand=self.kernel.in_hand, timezone=UTC_ZONE),
        )
        database.listen(watch.follow)

    def _follow(self, facts: Sequence[object]) -> None:
        self.commits.append([fact.event.kind for fact in facts if isinstance(fact, Recorded)])

    @asynccontextmanager
    async def waiting(
        self, work: Work = done, *, name: str = "w"
    ) -> AsyncIterator[tuple[QueueLoop, anyio.CancelScope]]:
        """Have a worker that waits while the block runs, and see it end after it."""
        loop = QueueLoop(self.kernel, await self.queue_plan(work, name=name))
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await loop.run()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: loop.is_idle)
            yield loop, scope
            loop.stop()

    def bring(self) -> str:
        """Queue a write that enqueues a job, and return the job's id."""
        request = request_job(QUEUE, "brought", Terms(), RULES)

        def write(tx: Transaction) -> None:
            with system_journal(tx, UTC_ZONE, self.origin()) as journal:
                enqueue(tx, journal, request)

        self.store.write(write)
        return request.id


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 - what is looked at has no event
            await anyio.sleep(0.001)


@pytest.fixture
async def bench(
    database: Database, clock: VirtualClock, tmp_path: Path
) -> AsyncIterator[IdleBench]:
    made = IdleBench(database, clock, tmp_path)
    yield made
    await made.audit()


async def test_an_idle_worker_claims_in_the_commit_that_brings_its_job(bench: IdleBench) -> None:
    begun = anyio.Event()

    async def work(_ctx: Context) -> None:
        begun.set()

    async def ask(ctx: Context) -> None:
        await ctx.jobs.enqueue(QUEUE, 1)

    async with bench.waiting(work) as (loop, _):
        await run_tick(bench.kernel, await bench.plan(ask, name="v"))
        with anyio.fail_after(10):
            await begun.wait()
        await until(lambda: loop.is_idle)
    (kinds,) = [kinds for kinds in bench.commits if "job_enqueued" in kinds]
    assert kinds[0] == "job_enqueued"
    assert kinds[-2:] == ["cycle_started", "job_claimed"]
    # Nobody else was woken for what was taken already.
    assert bench.arrivals == []
    assert await bench.states() == {"done": 1}


async def test_a_job_that_nobody_waits_for_is_told_of(bench: IdleBench) -> None:
    bench.bring()
    await bench.enqueue("second")
    await bench.tick(done, jobs_max=2)
    assert sum(jobs for _, jobs in bench.arrivals) == 2


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_worker_that_ends_before_its_tick_gives_back_what_it_has_asked_for(
    bench: IdleBench, is_cancelled: bool
) -> None:
    begun: list[str] = []

    async def work(ctx: Context) -> None:
        begun.append(ctx.name)

    async with bench.waiting(work) as (loop, scope):
        job_id = bench.bring()
        assert loop.expect()
        loop.stop()
        if is_cancelled:
            scope.cancel()
    job = await bench.job(job_id)
    assert (job.state, job.attempts, begun) == (JobState.QUEUED, 0, [])
    (end,) = await bench.events("cycle_completed")
    assert end["outcome"] == Outcome.CANCELLED
    assert not loop.expect()


async def test_a_job_that_was_expected_and_refused_leaves_the_worker_waiting(
    bench: IdleBench,
) -> None:
    async def ask(ctx: Context) -> None:
        bench.kernel.idle.expect(QUEUE)
        with pytest.raises(InputRefused):
            await ctx.jobs.enqueue(QUEUE, object())

    async with bench.waiting() as (loop, _):
        await run_tick(bench.kernel, await bench.plan(ask, name="v"))
        await until(lambda: loop.is_idle)
        await bench.enqueue(1)
        loop.arrive()
        await until(lambda: bool(bench.commits) and "job_completed" in bench.commits[-1])
        await until(lambda: loop.is_idle)
    assert await bench.states() == {"done": 1}


async def test_one_worker_is_told_of_one_job(bench: IdleBench) -> None:
    async with bench.waiting(name="w") as (first, _), bench.waiting(name="u") as (second, _):
        bench.kernel.idle.expect(QUEUE)
        assert [first.is_idle, second.is_idle].count(True) == 1
        bench.kernel.idle.expect(QUEUE)
        # Both have asked by now, and a third job finds nobody.
        bench.kernel.idle.expect(QUEUE)
        await until(lambda: first.is_idle and second.is_idle)
        bench.kernel.idle.expect("another")
        assert first.is_idle
        assert second.is_idle
