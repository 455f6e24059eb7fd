"""How far long work is can be seen while it goes on, and what does not follow from its events."""

from __future__ import annotations

from pathlib import Path

import anyio
import msgspec
import pytest

from supervisor import Context, Outcome
from supervisor.clock import VirtualClock
from supervisor.events.log import Journal
from supervisor.governance import checkpoints
from supervisor.governance.audit import audit
from supervisor.governance.job_facts import one_job
from supervisor.governance.rollback import RollbackCommand, checkpoints_of, roll_back
from supervisor.governance.rotation import open_session_of
from supervisor.governance.work_progress import ProgressStatus, read_progress
from supervisor.jobs.progress import Progress, progress_of
from supervisor.metrics import Metrics
from supervisor.scrape import read_gauges, show
from supervisor.storage.database import Database, Transaction
from supervisor.worker.tick import WorkerCrashed, run_tick
from tests.contract.job_bench import UTC_ZONE, JobBench
from tests.databases import RawConnection

ROW = Progress(
    owner="worker:w",
    name="items",
    job="",
    worker="w",
    tick=1,
    done=30,
    total=100,
    last_item="",
    item="",
    kept="{}",
    began_at=0,
    began_done=10,
    at=40_000_000,
)


@pytest.fixture
def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> JobBench:
    return JobBench(database, clock, tmp_path)


async def seen(bench: JobBench) -> tuple[ProgressStatus, ...]:
    return await bench.store.read(read_progress, bench.clock.now())


async def series(bench: JobBench) -> dict[str, float]:
    """Return what /metrics says of the progress of worker `w`."""
    metrics = Metrics(version="0")
    gauges = await bench.store.read(read_gauges, bench.kernel.policy.budgets, bench.clock.now())
    show(metrics, gauges)
    names = ("items_done", "items", "remaining_seconds")
    found = {
        name: metrics.registry.get_sample_value(f"supervisor_progress_{name}", {"worker": "w"})
        for name in names
    }
    return {name: value for name, value in found.items() if value is not None}


async def until_named(bench: JobBench, item: str) -> ProgressStatus:
    """Wait until the one loop that runs names its item."""
    with anyio.fail_after(5):
        while True:
            shown = await seen(bench)
            if shown and shown[0].item == item:
                return shown[0]
            await anyio.sleep(0.005)


async def test_status_and_metrics_show_how_far_it_is_and_how_long_it_takes_yet(
    bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.worker.items.SHOWN_AFTER_S", 0.01)
    job_id = (await bench.enqueue(1)).id

    async def work(ctx: Context) -> None:
        async for number in ctx.each(range(10), label=lambda one: f"row {one}"):
            bench.clock.advance(2)
            if number == 5:
                shown = await until_named(bench, "row 5")
                assert (shown.job, shown.done, shown.total) == (job_id, 5, 10)
                assert (shown.last_item, shown.count) == ("row 4", "5 of 10 (50 %)")
                # Five items in ten seconds, and two seconds of the sixth have passed.
                assert shown.eta_s == 8.0
                assert await series(bench) == {
                    "items_done": 5.0,
                    "items": 10.0,
                    "remaining_seconds": 8.0,
                }
                facts = await bench.store.read(one_job, job_id, bench.clock.now())
                assert facts.progress == [shown]

    await bench.tick(work)
    assert await seen(bench) == ()
    assert await series(bench) == {}
    facts = await bench.store.read(one_job, job_id, bench.clock.now())
    assert [(one.done, one.is_running) for one in facts.progress] == [(10, False)]


async def test_what_waits_for_its_workers_next_tick_is_shown_as_waiting(bench: JobBench) -> None:
    async def breaks(ctx: Context) -> None:
        async for number in ctx.each([1, 2, 3]):
            if number == 3:
                raise ValueError

    async def passes(ctx: Context) -> None:
        async for _ in ctx.each([1, 2, 3]):
            pass

    with pytest.raises(WorkerCrashed):
        await run_tick(bench.kernel, await bench.plan(breaks))
    (shown,) = await seen(bench)
    assert (shown.done, shown.total, shown.is_running, shown.eta_s) == (2, 3, False, None)
    await run_tick(bench.kernel, await bench.plan(passes))
    assert await seen(bench) == ()


async def test_what_a_dead_life_was_at_is_not_told_as_running(bench: JobBench) -> None:
    told: list[tuple[bool, float | None]] = []

    async def work(ctx: Context) -> None:
        async for number in ctx.each([1, 2, 3]):
            bench.clock.advance(1)
            if number == 3:
                for dead in ("", "boot-1", "boot-2"):
                    (one,) = await bench.store.read(read_progress, bench.clock.now(), dead=dead)
                    told.append((one.is_running, one.eta_s))

    await run_tick(bench.kernel, await bench.plan(work))
    assert told == [(True, 0.0), (False, None), (True, 0.0)]


async def test_what_a_worker_says_of_its_tick_is_shown_and_nobody_goes_on_by_it(
    bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.worker.told_progress.SHOWN_AFTER_S", 0.01)

    async def work(ctx: Context) -> Outcome:
        ctx.progress(done=1, total=4, item="feed 1")
        assert (await until_named(bench, "feed 1")).eta_s is None
        bench.clock.advance(10)
        ctx.progress(done=3, total=4, item="feed 3")
        shown = await until_named(bench, "feed 3")
        assert (shown.name, shown.done, shown.eta_s) == ("", 3, 5.0)
        return Outcome.FAILED

    await run_tick(bench.kernel, await bench.plan(work))
    assert await seen(bench) == ()
    assert (await bench.audit()).is_clean


def test_the_pace_is_that_of_the_attempt_that_runs() -> None:
    # Twenty items in 40 s; seventy are left.
    assert ROW.eta_s(40_000_000) == 140.0
    assert ROW.eta_s(60_000_000) == 120.0
    assert ROW.eta_s(10**12) == 0.0
    changed = ({"total": None}, {"done": 10}, {"done": 100}, {"total": 20})
    etas = [msgspec.structs.replace(ROW, **one).eta_s(40_000_000) for one in changed]
    assert etas == [None, None, 0.0, 0.0]


async def test_a_rollback_lets_a_workers_items_begin_with_the_first(bench: JobBench) -> None:
    seen_items: list[int] = []

    async def work(ctx: Context) -> None:
        async for number in ctx.each([1, 2, 3]):
            seen_items.append(number)
            if len(seen_items) == 3:
                raise ValueError

    plan = await bench.plan(work)
    with pytest.raises(WorkerCrashed):
        await run_tick(bench.kernel, plan)
    session = await bench.store.read(open_session_of, "w")
    assert session is not None
    session_id = session.id

    def keep(tx: Transaction) -> None:
        with Journal(tx, session_id, bench.origin()) as journal:
            checkpoints.keep_checkpoint(tx, journal, worker="w", tick=1, state="{}", label="old")

    await bench.store.write(keep)
    (checkpoint,) = await bench.store.read(checkpoints_of, "w", 1)
    command = RollbackCommand(worker="w", checkpoint=checkpoint.id)
    origin = msgspec.structs.replace(bench.origin(), command_id="r-1")
    await bench.store.write(roll_back, command, origin, UTC_ZONE)
    assert await bench.store.read(progress_of, "worker:w") == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE progress SET done = 9", "its events"),
        ("UPDATE progress SET last_item = 'x'", "its events"),
        ("UPDATE progress SET done = -3", "can't be read|its events"),
    ],
)
async def test_progress_that_was_changed_by_hand_is_found(
    bench: JobBench, raw: RawConnection, change: str, what: str
) -> None:
    async def work(ctx: Context) -> Outcome:
        async for _ in ctx.each([1, 2, 3]):
            pass
        return Outcome.FAILED

    await run_tick(bench.kernel, await bench.plan(work))
    assert (await bench.audit()).is_clean
    raw.drop_rules()
    raw.run(change)
    report = await bench.store.read(audit)
    (finding,) = report.findings
    assert finding.text.startswith("progress worker:w/items")
    assert any(part in finding.text for part in what.split("|"))


async def test_a_going_on_behind_items_that_nobody_has_done_is_found(
    bench: JobBench, raw: RawConnection
) -> None:
    async def work(ctx: Context) -> Outcome:
        async for number in ctx.each(["a", "b", "c"]):
            if number == "b":
                return Outcome.FAILED
        return Outcome.OK

    await run_tick(bench.kernel, await bench.plan(work))
    raw.drop_rules()
    raw.run("UPDATE progress SET done = 2, last_item = 'b'")
    await run_tick(bench.kernel, await bench.plan(work))
    report = await bench.store.read(audit)
    assert "goes on behind item 2, its events have done 1" in report.findings[0].text
