"""A job that somebody has damaged stops no other, nor the daemon; and the audit names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor import Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.errors import RowDamaged
from supervisor.governance.audit import audit
from supervisor.governance.job_facts import newest_jobs, one_job
from supervisor.governance.work_progress import read_progress
from supervisor.jobs.job import JobState
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.metrics import Metrics
from supervisor.scrape import read_gauges, show
from supervisor.storage.database import Database
from supervisor.worker.queue_records import Claimed, Ration, begin_queue_tick
from supervisor.worker.tick import origin_now, run_tick, tick_request
from tests.contract.job_bench import QUEUE, UTC_ZONE, JobBench, done
from tests.databases import Kind, RawConnection

#: What is written by hand into a row, and what the audit says of it. A text in the place of a
#: number can only be in SQLite.
DAMAGES = [
    ("attempts = -5", "has used up -5"),
    ("attempts_max = 0", "of 0 attempts"),
    ("state = 'bogus'", "in the state 'bogus'"),
    ("payload = '{\"to\":'", "its payload is no JSON"),
    ("history = '[{]'", "its history can't be read"),
    ("ended_at = 7", "ended at 7"),
    ("token = 99", "with the claim 99"),
    ("attempts = 'many'", "can't be read"),
    ("run_at = 'soon'", ""),
]
RUNNING = [
    ("attempts = -5", "has used up -5"),
    ("history = 'x'", "its history can't be read"),
    ("state = 'bogus'", "in the state 'bogus'"),
    ("ended_at = 7", "ended at 7"),
    ("token = 99", "under claim 99, and there is none"),
    ("attempts = 'many'", "can't be read"),
]


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> JobBench:
    return JobBench(database, clock, tmp_path)


def damage(raw: RawConnection, kind: Kind, change: str, job_id: str) -> bool:
    """Change a row behind the daemon's back, its rules gone for that.

    Returns False where the database takes no such value whatever its rules are.
    """
    raw.drop_rules()
    statement = f"UPDATE jobs SET {change} WHERE id = ?"  # noqa: S608 - a test's own
    if kind == "postgres" and change.endswith(("'many'", "'soon'")):
        with pytest.raises(Exception, match="invalid input syntax"):
            raw.run(statement, job_id)
        return False
    assert raw.run(statement, job_id) == 1
    return True


async def look_around(bench: JobBench) -> None:
    """Do what the daemon does beside its workers, and what people ask."""
    watch = JobWatch(
        bench.store,
        bench.clock,
        bench.kernel.log,
        queues=lambda: {QUEUE},
        arrive=lambda queue, jobs: None,
        leases=Leases(boot_id="boot-9", in_hand=bench.kernel.in_hand, timezone=UTC_ZONE),
    )
    await watch._look()
    now = bench.clock.now()
    show(
        Metrics(version="0"), await bench.store.read(read_gauges, bench.kernel.policy.budgets, now)
    )
    await bench.store.read(newest_jobs, None, None, 100)
    await bench.store.read(read_progress, now)


async def findings(bench: JobBench, job_id: str) -> list[str]:
    report = await bench.store.read(audit)
    return [one.text for one in report.findings if job_id in one.text or "job number" in one.text]


@pytest.mark.parametrize(("change", "told"), DAMAGES)
async def test_a_queued_job_that_was_damaged_keeps_no_other_from_its_turn(
    bench: JobBench, raw: RawConnection, kind: Kind, change: str, told: str
) -> None:
    bad = (await bench.enqueue("bad", priority=9)).id
    good = [(await bench.enqueue(number)).id for number in range(3)]
    if not damage(raw, kind, change, bad):
        return
    texts = await findings(bench, bad)
    assert not told or any(told in text for text in texts), texts
    payloads: list[object] = []

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        payloads.append(ctx.job.payload)

    for _ in range(6):
        await bench.tick(work, jobs_max=2)
        await look_around(bench)
    assert {0, 1, 2} <= set(payloads)
    for job_id in good:
        assert (await bench.job(job_id)).state is JobState.DONE


@pytest.mark.parametrize(("change", "told"), RUNNING)
async def test_a_running_job_that_was_damaged_keeps_no_recovery_from_the_others(
    bench: JobBench, raw: RawConnection, kind: Kind, change: str, told: str
) -> None:
    ids = [(await bench.enqueue(number)).id for number in range(3)]
    plan = await bench.queue_plan(done)
    ration = Ration(queue=QUEUE, jobs_max=3, lease_us=30_000_000)
    begun = await bench.store.write(
        begin_queue_tick, tick_request(bench.kernel, plan), ration, origin_now(bench.kernel, plan)
    )
    assert isinstance(begun, Claimed)
    if not damage(raw, kind, change, ids[1]):
        return
    texts = await findings(bench, ids[1])
    assert any(told in text for text in texts), texts
    found = await bench.recover()
    assert found.claims == 1
    await look_around(bench)
    while await bench.tick(done, jobs_max=3, kernel=bench.other_life()):
        pass
    for job_id in (ids[0], ids[2]):
        assert (await bench.job(job_id)).state is JobState.DONE


async def test_a_job_that_was_damaged_in_its_workers_hand_lets_the_tick_end(
    bench: JobBench, raw: RawConnection
) -> None:
    bad, good = [(await bench.enqueue(number)).id for number in range(2)]

    async def fails(ctx: Context) -> None:
        assert ctx.job is not None
        if ctx.job.id == bad:
            raw.drop_rules()
            raw.run("UPDATE jobs SET attempts = -5, history = 'x' WHERE id = ?", bad)
            raise ValueError("no luck")

    end = await bench.tick(fails, jobs_max=2)
    assert end is not None
    assert end.outcome is Outcome.FAILED
    assert (await bench.job(good)).state is JobState.DONE
    assert any("has used up -5" in text for text in await findings(bench, bad))


async def test_a_damaged_row_is_shown_as_that_and_not_as_something_else(
    bench: JobBench, raw: RawConnection
) -> None:
    bad = (await bench.enqueue(1)).id
    raw.drop_rules()
    raw.run("UPDATE jobs SET payload = '{' WHERE id = ?", bad)
    assert bytes((await bench.store.read(one_job, bad, bench.clock.now())).payload) == b'"{"'
    raw.run("UPDATE jobs SET state = 'bogus' WHERE id = ?", bad)
    with pytest.raises(RowDamaged, match="can't be read"):
        await bench.store.read(one_job, bad, bench.clock.now())


async def test_counts_that_were_damaged_are_named_and_stop_nothing(
    bench: JobBench, raw: RawConnection
) -> None:
    await bench.enqueue(1)
    raw.drop_rules()
    raw.run("INSERT INTO job_counts (queue, state, jobs) VALUES ('q', 'bogus', -3)")
    await look_around(bench)
    assert await bench.tick(done) is not None
    report = await bench.store.read(audit)
    assert any("counts of jobs" in one.text for one in report.findings)


@pytest.mark.parametrize("change", ["kept = '{'", "done = -4"])
async def test_progress_that_was_damaged_begins_with_the_first_item(
    bench: JobBench, raw: RawConnection, change: str
) -> None:
    seen: list[int] = []

    async def work(ctx: Context) -> Outcome:
        async for number in ctx.each([1, 2, 3]):
            seen.append(number)
            if len(seen) == 2:
                return Outcome.FAILED
        return Outcome.OK

    plan = await bench.plan(work)
    await run_tick(bench.kernel, plan)
    raw.drop_rules()
    assert raw.run(f"UPDATE progress SET {change}") == 1  # noqa: S608 - a test's own
    assert any("progress" in one.text for one in (await bench.store.read(audit)).findings)
    await look_around(bench)
    await run_tick(bench.kernel, plan)
    assert seen == [1, 2, 1, 2, 3]


async def test_a_claim_that_was_damaged_stops_neither_the_watch_nor_a_start(
    bench: JobBench, raw: RawConnection, kind: Kind
) -> None:
    for number in range(2):
        await bench.enqueue(number)
        plan = await bench.queue_plan(done, name=f"w{number}")
        ration = Ration(queue=QUEUE, jobs_max=1, lease_us=30_000_000)
        await bench.store.write(
            begin_queue_tick,
            tick_request(bench.kernel, plan),
            ration,
            origin_now(bench.kernel, plan),
        )
    raw.drop_rules()
    statement = "UPDATE job_claims SET tick = 'first' WHERE worker = 'w0'"
    if kind == "postgres":
        with pytest.raises(Exception, match="invalid input syntax"):
            raw.run(statement)
        return
    raw.run(statement)
    await look_around(bench)
    assert (await bench.recover()).claims == 1
    assert (await bench.states())["queued"] == 1
