"""Long work on either database: item by item, and on behind the last one that was committed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor import Context, InputRefused, Outcome
from supervisor.clock import VirtualClock
from supervisor.governance import kill_switch
from supervisor.governance.kill_switch import KillCommand
from supervisor.jobs.job import JobState
from supervisor.jobs.progress import Progress, WorkTakenAway, progress_of
from supervisor.storage.database import Database
from supervisor.worker.tick import WorkerCrashed, run_tick
from tests.contract.job_bench import UTC_ZONE, JobBench, Work


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    """A queue; whatever a test does to it, its record proves its rows."""
    made = JobBench(database, clock, tmp_path)
    yield made
    await made.audit()


class Died(Exception):
    """What stands for a failure in the middle of the work."""


class Worked:
    """A worker that goes through ten items, and fails at some of them once."""

    def __init__(self, *failing: int) -> None:
        self.failing = list(failing)
        self.seen: list[int] = []
        self.sums: list[object] = []

    async def run(self, ctx: Context) -> None:
        loop = ctx.each(range(10))
        async for number in loop:
            self.seen.append(number)
            loop.kept["sum"] = int(str(loop.kept.get("sum", 0))) + number
            ctx.state["last"] = number
            if number in self.failing:
                self.failing.remove(number)
                raise Died
        self.sums.append(loop.kept["sum"])


async def progress(bench: JobBench, owner: str) -> Progress:
    (found,) = await bench.store.read(progress_of, owner)
    return found


async def tick(bench: JobBench, work: Work) -> Outcome:
    """Run a tick that works for no job."""
    plan = await bench.plan(work)
    try:
        return (await run_tick(bench.kernel, plan)).outcome
    except WorkerCrashed:
        return Outcome.FAILED


async def test_an_item_is_committed_before_the_next_one_is_taken(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(4):
            taken.append(number)
            yield number

    async def work(ctx: Context) -> None:
        async for number in ctx.each(source(), total=4, label=lambda one: f"row {one}"):
            # No more than one is in memory, however many there are.
            assert taken == list(range(number + 1))
            row = await progress(bench, f"job:{job_id}")
            assert (row.done, row.total) == (number, 4)
            assert row.last_item == (f"row {number - 1}" if number else "")

    assert (await bench.tick(work)) is not None
    assert (await bench.job(job_id)).state is JobState.DONE
    done = await bench.events("items_begun", "item_done")
    assert [event.get("done", 0) for event in done] == [0, 1, 2, 3, 4]
    assert [event.get("item", "") for event in done][1:] == [f"row {one}" for one in range(4)]


async def test_a_job_goes_on_behind_its_last_item_with_all_that_was_kept(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id
    worked = Worked(3, 7)
    for _ in range(3):
        await bench.tick(worked.run)
        bench.clock.advance(60)
    assert (await bench.job(job_id)).state is JobState.DONE
    # Only the one in work is given again.
    assert worked.seen == [0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9]
    assert worked.sums == [sum(range(10))]
    assert [event.get("done", 0) for event in await bench.events("items_begun")] == [0, 3, 7]


async def test_another_worker_of_the_queue_goes_on_with_what_the_first_has_kept(
    bench: JobBench,
) -> None:
    await bench.enqueue(1)
    worked = Worked(5)
    await bench.tick(worked.run)
    bench.clock.advance(60)
    await bench.tick(worked.run, name="v")
    assert worked.seen == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9]
    assert worked.sums == [45]


async def test_a_tick_without_a_job_goes_on_until_one_has_ended_well(bench: JobBench) -> None:
    worked = Worked(2, 6)
    outcomes = [await tick(bench, worked.run) for _ in range(4)]
    assert outcomes == ["failed", "failed", "ok", "ok"]
    assert worked.seen == [0, 1, 2, 2, 3, 4, 5, 6, 6, 7, 8, 9, *range(10)]
    assert worked.sums == [45, 45]


async def test_the_state_of_each_item_stays_though_the_tick_fails(bench: JobBench) -> None:
    worked = Worked(4)
    await tick(bench, worked.run)
    states: list[object] = []

    async def look(ctx: Context) -> Outcome:
        states.append(ctx.state["last"])
        return Outcome.FAILED

    await tick(bench, look)
    assert states == [3]


async def test_items_come_after_the_ends_of_the_jobs_before_them(bench: JobBench) -> None:
    first, second = [(await bench.enqueue(number)).id for number in range(2)]
    worked = Worked(3)

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        if ctx.job.payload == 0:
            ctx.state["by the first"] = True
            return
        async for _ in ctx.each([1, 2]):
            assert (await bench.job(first)).state is JobState.DONE
        await worked.run(_other_loop(ctx))

    await bench.tick(work, jobs_max=2)
    assert (await bench.job(second)).state is JobState.SCHEDULED
    states: list[dict[str, object]] = []

    async def look(ctx: Context) -> None:
        states.append(dict(ctx.state))

    await bench.enqueue("look", priority=1)
    await bench.tick(look)
    # Of the second, what its items have committed; and the first one's is not lost by it.
    assert states == [{"by the first": True, "last": 2}]


def _other_loop(ctx: Context) -> Context:
    each = ctx.each
    ctx.each = lambda items, **words: each(items, name="other", **words)  # type: ignore[method-assign] # a test's own name
    return ctx


async def test_jobs_that_an_item_wants_come_with_it_and_once(bench: JobBench) -> None:
    await bench.enqueue(1)
    worked = Worked(1, 2)

    async def work(ctx: Context) -> None:
        async for number in ctx.each(range(4)):
            ctx.jobs.enqueue_with_tick("next", {"number": number})
            if number in worked.failing:
                worked.failing.remove(number)
                raise Died

    for _ in range(3):
        await bench.tick(work)
        bench.clock.advance(60)
    wanted = [event for event in await bench.events("job_enqueued") if event["queue"] == "next"]
    assert len(wanted) == 4


async def test_whose_job_was_taken_away_commits_no_item(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id
    worked, refused = Worked(), []

    async def slow(ctx: Context) -> None:
        try:
            async for number in ctx.each(range(10)):
                if number == 4:
                    await bench.recover()
                    assert await bench.tick(worked.run, kernel=bench.other_life()) is not None
        except WorkTakenAway as error:
            refused.append(error.code)
            raise

    end = await bench.tick(slow, name="v")
    assert end is not None
    assert end.outcome is Outcome.FAILED
    assert refused == ["work_taken_away"]
    assert worked.seen == [4, 5, 6, 7, 8, 9]
    assert (await progress(bench, f"job:{job_id}")).done == 10
    assert len(await bench.events("item_done")) == 10


async def test_a_recovered_tick_commits_no_item(bench: JobBench) -> None:
    async def slow(ctx: Context) -> None:
        async for number in ctx.each(range(10)):
            if number == 2:
                await bench.recover()

    assert await tick(bench, slow) is Outcome.REFUSED
    assert (await progress(bench, "worker:w")).done == 2


async def test_where_the_items_have_changed_it_begins_with_the_first(bench: JobBench) -> None:
    worked = Worked(3)
    assert await tick(bench, worked.run) is Outcome.FAILED
    seen: list[str] = []

    async def others(ctx: Context) -> None:
        loop = ctx.each(["new", "0", "1", "2", "3"])
        async for item in loop:
            assert loop.kept == {}
            seen.append(item)

    assert await tick(bench, others) is Outcome.OK
    assert seen == ["new", "0", "1", "2", "3"]


async def test_items_that_can_not_be_gone_through_again_begin_anew_with_the_next_attempt(
    bench: JobBench,
) -> None:
    assert await tick(bench, Worked(3).run) is Outcome.FAILED
    seen: list[int] = []

    async def fewer(ctx: Context) -> None:
        seen.extend([item async for item in ctx.each(iter([0, 1]))])

    assert await tick(bench, fewer) is Outcome.FAILED
    assert seen == []
    assert await tick(bench, fewer) is Outcome.OK
    assert seen == [0, 1]


async def test_an_async_source_is_gone_through_the_same_way(bench: JobBench) -> None:
    seen: list[int] = []

    async def source() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    async def work(ctx: Context) -> None:
        async for number in ctx.each(source()):
            seen.append(number)
            if len(seen) == 3:
                raise Died

    assert await tick(bench, work) is Outcome.FAILED
    assert await tick(bench, work) is Outcome.OK
    assert seen == [0, 1, 2, 2, 3, 4]


async def test_what_can_not_be_committed_is_refused_by_its_name(bench: JobBench) -> None:
    said: list[str] = []

    async def refused(ctx: Context, name: str, items: list[object], spoil: object) -> None:
        try:
            loop = ctx.each(items, name=name)
            async for _ in loop:
                if callable(spoil):
                    spoil(loop.kept)
        except InputRefused as error:
            said.append(error.what)

    async def work(ctx: Context) -> None:
        await refused(ctx, "", [1], None)
        await refused(ctx, "a", [1], None)
        await refused(ctx, "a", [1], None)
        await refused(ctx, "b", [object()], None)
        await refused(ctx, "c", [1], lambda kept: kept.update(x=object()))
        await refused(ctx, "d", [1], lambda kept: kept.update(x="x" * 70_000))
        await refused(ctx, "e", [1], lambda _: ctx.publish({"x": 1}))

    assert await tick(bench, work) is Outcome.OK
    told = ("no usable name", "second loop", "no text of its own", "not JSON", "at most 65536")
    for part, what in zip((*told, "a crash would lose them"), said, strict=True):
        assert part in what


async def test_under_a_kill_no_loop_begins(bench: JobBench) -> None:
    async def work(ctx: Context) -> None:
        command = KillCommand(scope="worker:w", why="x")
        origin = msgspec.structs.replace(bench.origin(), command_id="k-1")
        await bench.store.write(kill_switch.engage, command, origin, UTC_ZONE)
        async for _ in ctx.each([1]):
            raise AssertionError("it has begun")

    assert await tick(bench, work) is Outcome.REFUSED
    assert await bench.store.read(progress_of, "worker:w") == []


@pytest.mark.parametrize("seed", range(5))
async def test_wherever_it_fails_each_item_is_committed_once(bench: JobBench, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - where it fails, not a secret
    worked = Worked(*(chance.randrange(10) for _ in range(chance.randrange(8))))
    while await tick(bench, worked.run) is Outcome.FAILED:
        pass
    assert worked.sums == [45]
    labels = [event["item"] for event in await bench.events("item_done")]
    assert labels == [str(number) for number in range(10)]
