"""What people decide of jobs, on either database: each once, and only where it can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from supervisor import Outcome, PermanentFailure
from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict, IllegalMove, NotFound
from supervisor.governance import job_commands
from supervisor.governance.job_commands import JobCommand, JobDecided, ResolveCommand
from supervisor.governance.job_facts import newest_jobs, one_job, queue_counts
from supervisor.jobs.job import JobState
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from tests.contract.job_bench import UTC_ZONE, JobBench, done


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    made = JobBench(database, clock, tmp_path)
    yield made
    await made.audit()


async def hopeless(_ctx: Context) -> None:
    raise PermanentFailure("no hope")


async def unsure(_ctx: Context) -> Outcome:
    return Outcome.UNKNOWN


async def decide(bench: JobBench, what: str, job: str, *, command: str = "c-1") -> JobDecided:
    origin = msgspec.structs.replace(bench.origin(), command_id=command)
    decision = {
        "requeue": job_commands.requeue,
        "cancel": job_commands.cancel,
        "discard": job_commands.discard,
    }[what]
    return await bench.store.write(decision, JobCommand(job=job, why="so"), origin, UTC_ZONE)


async def resolve(bench: JobBench, job: str, *, is_done: bool) -> JobDecided:
    command = ResolveCommand(job=job, is_done=is_done, why="looked")
    origin = msgspec.structs.replace(bench.origin(), command_id="r-1")
    return await bench.store.write(job_commands.resolve, command, origin, UTC_ZONE)


async def test_a_dead_job_runs_again_with_all_its_attempts_or_is_put_aside(
    bench: JobBench,
) -> None:
    first, second = [(await bench.enqueue(number)).id for number in range(2)]
    await bench.tick(hopeless, jobs_max=2)
    assert await bench.states() == {"dead": 2}
    await decide(bench, "requeue", first)
    await decide(bench, "discard", second, command="c-2")
    job = await bench.job(first)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert (await bench.job(second)).state is JobState.DISCARDED
    await bench.tick(done)
    assert await bench.states() == {"done": 1, "discarded": 1}
    assert len(await bench.events("job_requeued", "job_discarded")) == 2


async def test_a_waiting_job_is_cancelled_and_never_runs(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id
    later = (await bench.enqueue(2, run_at=bench.in_us(9))).id
    await decide(bench, "cancel", job)
    await decide(bench, "cancel", later, command="c-2")
    bench.clock.advance(10)
    assert await bench.tick(done) is None
    assert await bench.states() == {"cancelled": 2}


async def test_a_running_job_is_cancelled_when_its_worker_lets_go(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id

    async def fails(_ctx: Context) -> None:
        assert (await decide(bench, "cancel", job)).state is JobState.RUNNING
        raise ValueError("let go")

    await bench.tick(fails)
    assert (await bench.job(job)).state is JobState.CANCELLED
    assert len(await bench.events("job_cancel_asked")) == 1


async def test_a_job_that_is_done_before_its_cancel_is_done(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id

    async def works(_ctx: Context) -> None:
        await decide(bench, "cancel", job)

    await bench.tick(works)
    assert (await bench.job(job)).state is JobState.DONE


async def test_a_job_of_an_unknown_outcome_runs_no_more_until_it_is_resolved(
    bench: JobBench,
) -> None:
    first, second = [(await bench.enqueue(number)).id for number in range(2)]
    await bench.tick(unsure, jobs_max=2)
    assert await bench.tick(done) is None
    await resolve(bench, first, is_done=True)
    assert (await bench.job(first)).state is JobState.DONE
    with pytest.raises(CommandConflict, match="with job"):
        await resolve(bench, second, is_done=True)
    await decide(bench, "cancel", second)
    assert await bench.states() == {"done": 1, "cancelled": 1}
    assert len(await bench.events("job_quarantined")) == 2
    assert len(await bench.events("job_resolved")) == 1


async def test_one_that_was_not_done_runs_again(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id
    await bench.tick(unsure)
    await resolve(bench, job, is_done=False)
    seen: list[int] = []

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        seen.append(ctx.job.attempt)

    await bench.tick(work)
    assert seen == [1]


@pytest.mark.parametrize("what", ["requeue", "cancel", "discard"])
async def test_what_is_done_stays_done(bench: JobBench, what: str) -> None:
    job = (await bench.enqueue(1)).id
    await bench.tick(done)
    with pytest.raises(IllegalMove, match="is done; nothing was done"):
        await decide(bench, what, job)
    with pytest.raises(NotFound, match="does not exist"):
        await decide(bench, what, "job-0")


async def test_a_command_that_is_repeated_gives_its_first_answer(bench: JobBench) -> None:
    job = (await bench.enqueue(1)).id
    first = await decide(bench, "cancel", job)
    assert await decide(bench, "cancel", job) == first
    assert len(await bench.events("job_cancelled")) == 1


async def test_lists_and_counts_say_what_there_is(bench: JobBench) -> None:
    job = (await bench.enqueue({"n": 1})).id
    await bench.enqueue(2, "other")
    await bench.tick(hopeless)
    assert [one.state for one in await bench.store.read(newest_jobs, None, None, 9)] == [
        "queued",
        "dead",
    ]
    (dead,) = await bench.store.read(newest_jobs, "q", "dead", 9)
    assert (dead.id, dead.attempts) == (job, 1)
    facts = await bench.store.read(one_job, job, bench.clock.now())
    assert msgspec.json.decode(facts.payload) == {"n": 1}
    assert "no hope" in facts.history[0].error
    counts = await bench.store.read(queue_counts)
    assert {(one.queue, one.state, one.jobs) for one in counts} == {
        ("q", "dead", 1),
        ("other", "queued", 1),
    }
