"""Jobs on either database: enqueued once a key, claimed by one, ended by their token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from supervisor import InputRefused, Outcome, PermanentFailure
from supervisor.clock import VirtualClock
from supervisor.errors import CommandConflict
from supervisor.jobs.endings import history_of
from supervisor.jobs.job import JobState
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.queue_records import Claimed, Ration, begin_queue_tick
from supervisor.worker.tick import origin_now, run_tick, tick_request
from tests.contract.job_bench import QUEUE, JobBench, done


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    """A queue; whatever a test does to it, its record proves its rows."""
    made = JobBench(database, clock, tmp_path)
    yield made
    await made.audit()


async def abandon(bench: JobBench, *, jobs_max: int = 1) -> Claimed:
    """Begin a tick with its jobs, and leave it as a kill -9 does."""
    plan = await bench.queue_plan(done)
    ration = Ration(queue=QUEUE, jobs_max=jobs_max, lease_us=30_000_000)
    begun = await bench.store.write(
        begin_queue_tick, tick_request(bench.kernel, plan), ration, origin_now(bench.kernel, plan)
    )
    assert isinstance(begun, Claimed)
    return begun


async def test_a_job_is_claimed_done_and_on_record(bench: JobBench) -> None:
    enqueued = await bench.enqueue({"to": "ann"})
    seen: list[object] = []

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        seen.append((ctx.job.id, ctx.job.payload, ctx.job.attempt, ctx.job.queue))
        ctx.state["last"] = ctx.job.id

    end = await bench.tick(work)
    assert end is not None
    assert end.outcome is Outcome.OK
    assert seen == [(enqueued.id, {"to": "ann"}, 1, QUEUE)]
    job = await bench.job(enqueued.id)
    assert (job.state, job.attempts, job.token) == (JobState.DONE, 1, None)
    kinds = ("job_enqueued", "cycle_started", "job_claimed", "job_completed", "cycle_completed")
    assert [event["kind"] for event in await bench.events(*kinds)] == list(kinds)
    assert await bench.states() == {"done": 1}


async def test_no_tick_begins_where_no_job_is_due(bench: JobBench) -> None:
    await bench.enqueue(1, run_at=bench.in_us(60))
    assert await bench.tick(done) is None
    assert await bench.events("cycle_started", "cycle_skipped") == []
    bench.clock.advance(60)
    assert await bench.tick(done) is not None
    assert await bench.states() == {"done": 1}


async def test_the_same_key_or_content_is_the_same_job(bench: JobBench) -> None:
    first = await bench.enqueue({"a": 1, "b": 2})
    again = await bench.enqueue({"b": 2, "a": 1})
    assert (first.is_new, again.is_new) == (True, False)
    assert first.id == again.id
    keyed = await bench.enqueue([1], key="k")
    assert keyed.is_new
    await bench.tick(done)
    assert not (await bench.enqueue([1], key="k")).is_new
    assert len(await bench.events("job_enqueued")) == 2


async def test_a_key_with_another_payload_is_an_error_that_changes_nothing(
    bench: JobBench,
) -> None:
    await bench.enqueue([1], key="k")
    with pytest.raises(CommandConflict, match="another payload"):
        await bench.enqueue([2], key="k")
    assert await bench.states() == {"queued": 1}
    assert (await bench.enqueue([2], "other", key="k")).is_new


@pytest.mark.parametrize(
    ("payload", "terms", "what"),
    [
        ("x" * 70_000, {}, "at most 65536"),
        (object(), {}, "not JSON"),
        (1, {"key": ""}, "no usable key"),
        (1, {"key": "a\nb"}, "no usable key"),
        (1, {"priority": 10**7}, "priority"),
        (1, {"attempts_max": -1}, "attempts_max"),
    ],
)
async def test_what_is_out_of_bounds_is_refused_by_its_name(
    bench: JobBench, payload: object, terms: dict[str, object], what: str
) -> None:
    with pytest.raises(InputRefused, match=what):
        await bench.enqueue(payload, QUEUE, **terms)
    assert await bench.states() == {}


async def test_higher_priority_goes_first_then_what_is_due_first(bench: JobBench) -> None:
    order: list[object] = []

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        order.append(ctx.job.payload)

    await bench.enqueue("later", run_at=bench.in_us(5))
    for payload, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 5)):
        await bench.enqueue(payload, priority=priority)
        bench.clock.advance(1)
    bench.clock.advance(10)
    while await bench.tick(work, jobs_max=2):
        pass
    assert order == ["high", "first", "second", "later", "low"]


async def test_a_batch_is_one_claim_and_each_job_has_its_own_end(bench: JobBench) -> None:
    ids = [(await bench.enqueue(number)).id for number in range(4)]

    async def work(ctx: Context) -> Outcome | None:
        assert ctx.job is not None
        ctx.state[ctx.job.id] = True
        if ctx.job.payload == 1:
            raise ValueError("one is no number")
        return Outcome.UNKNOWN if ctx.job.payload == 2 else None

    end = await bench.tick(work, jobs_max=10)
    assert end is not None
    assert end.outcome is Outcome.FAILED
    (claimed,) = await bench.events("job_claimed")
    assert claimed["jobs"] == ids
    states = [(await bench.job(one)).state for one in ids]
    assert states == [JobState.DONE, JobState.SCHEDULED, JobState.UNKNOWN, JobState.DONE]
    kept: list[set[str]] = []

    async def look(ctx: Context) -> None:
        kept.append(set(ctx.state))

    await bench.enqueue("look", priority=1)
    await bench.tick(look)
    # What a job leaves is kept with its end, and only if that is one of its own.
    assert kept == [{ids[0], ids[2], ids[3]}]


async def test_a_failed_job_is_retried_after_a_growing_delay_and_is_dead_at_last(
    bench: JobBench,
) -> None:
    job_id = (await bench.enqueue(1)).id

    async def work(_ctx: Context) -> None:
        raise ValueError("no luck")

    for attempt in (1, 2, 3):
        end = await bench.tick(work)
        assert end is not None
        assert end.outcome is Outcome.FAILED
        job = await bench.job(job_id)
        assert job.attempts == attempt
        assert job.run_at <= bench.in_us(10 * 2 ** (attempt - 1))
        bench.clock.advance(60)
    assert (job.state, job.error) == (JobState.DEAD, "no luck")
    assert [failure.attempt for failure in history_of(job.history)] == [1, 2, 3]
    assert await bench.tick(work) is None
    retried = await bench.events("job_retried", "job_dead_lettered")
    assert [event["kind"] for event in retried] == ["job_retried"] * 2 + ["job_dead_lettered"]


async def test_a_dead_job_says_why_its_worker_failed(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1, attempts_max=1)).id

    async def work(ctx: Context) -> Outcome:
        return ctx.failed("the printer is on fire")

    await bench.tick(work)
    job = await bench.job(job_id)
    assert (job.state, job.error) == (JobState.DEAD, "the printer is on fire")


async def test_a_permanent_failure_is_not_retried(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id

    async def work(_ctx: Context) -> None:
        raise PermanentFailure("the feed is gone for good")

    await bench.tick(work)
    job = await bench.job(job_id)
    assert (job.state, job.attempts) == (JobState.DEAD, 1)
    assert "gone for good" in job.error


async def test_a_job_past_its_timeout_has_failed(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id

    async def work(_ctx: Context) -> None:
        await anyio.sleep_forever()

    plan = await bench.queue_plan(work, timeout_s=0.05)
    from supervisor.worker.drain import ask_for_jobs, run_queue_tick

    end = await run_queue_tick(bench.kernel, ask_for_jobs(bench.kernel, plan, jobs_max=1))
    assert end is not None
    assert end.outcome is Outcome.TIMED_OUT
    assert (await bench.job(job_id)).state is JobState.SCHEDULED


async def test_a_refused_call_gives_the_job_back_with_no_attempt_used(bench: JobBench) -> None:
    bench.kernel.policy = type(bench.kernel.policy)(
        budgets=bench.policy(cap=1).budgets, on_cap="wait", min_output_tokens=64
    )
    first, second = [(await bench.enqueue(number)).id for number in range(2)]

    async def work(ctx: Context) -> None:
        await ctx.model.complete("x", max_tokens=100)

    end = await bench.tick(work, jobs_max=2)
    assert end is not None
    assert end.outcome is Outcome.REFUSED
    for one in (first, second):
        job = await bench.job(one)
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert {event["kind"] for event in await bench.events("job_given_back")} == {"job_given_back"}
    # It is behind the other now, which must not wait for it.
    assert (await bench.job(first)).run_at >= (await bench.job(second)).run_at


async def test_jobs_of_a_dead_life_are_claimable_at_its_next_start(bench: JobBench) -> None:
    ids = [(await bench.enqueue(number)).id for number in range(3)]
    await abandon(bench, jobs_max=3)
    assert await bench.states() == {"running": 3}
    found = await bench.recover()
    assert (found.claims, found.ticks) == (1, 1)
    assert await bench.states() == {"queued": 3}
    assert [(await bench.job(one)).attempts for one in ids] == [1, 1, 1]
    assert len(await bench.events("lease_expired")) == 1
    # Each runs alone now, so that one which kills its process does not take others along.
    await bench.tick(done, jobs_max=10, kernel=bench.other_life())
    assert await bench.states() == {"done": 1, "queued": 2}


async def test_a_job_whose_last_attempt_dies_with_its_process_is_dead(bench: JobBench) -> None:
    other = (await bench.enqueue(0, attempts_max=2)).id
    job_id = (await bench.enqueue(1, attempts_max=1)).id
    claimed = await abandon(bench, jobs_max=10)
    assert [one.id for one in claimed.claim.jobs] == [other]
    await abandon(bench, jobs_max=10)
    await bench.recover()
    assert (await bench.job(job_id)).state is JobState.DEAD
    assert (await bench.job(other)).state is JobState.QUEUED


async def test_a_late_end_is_refused_by_its_token_and_keeps_nothing(bench: JobBench) -> None:
    job_id = (await bench.enqueue(1)).id
    runs: list[str] = []

    async def slow(ctx: Context) -> None:
        runs.append("slow")
        ctx.state["by"] = "slow"
        await bench.recover()

        async def quick(again: Context) -> None:
            runs.append("quick")
            again.state["by"] = "quick"

        assert await bench.tick(quick, kernel=bench.other_life()) is not None

    end = await bench.tick(slow, name="v")
    assert end is not None
    assert end.outcome is Outcome.FAILED
    assert runs == ["slow", "quick"]
    assert (await bench.job(job_id)).state is JobState.DONE
    assert len(await bench.events("job_completed")) == 1
    (refused,) = await bench.events("job_completion_refused")
    assert refused["jobs"] == [job_id]
    kept: list[object] = []

    async def look(ctx: Context) -> None:
        kept.append(ctx.state.get("by"))

    await bench.enqueue("look")
    await bench.tick(look, name="v")
    assert kept == [None]


async def test_jobs_that_a_job_wants_come_with_its_completion_alone(bench: JobBench) -> None:
    await bench.enqueue("good")
    await bench.enqueue("bad")

    async def work(ctx: Context) -> None:
        assert ctx.job is not None
        ctx.jobs.enqueue_with_tick("next", {"after": ctx.job.payload})
        if ctx.job.payload == "bad":
            raise ValueError

    await bench.tick(work, jobs_max=2)
    wanted = [event for event in await bench.events("job_enqueued") if event["queue"] == "next"]
    assert len(wanted) == 1


async def test_a_job_that_wants_one_under_a_taken_key_has_failed_for_good(
    bench: JobBench,
) -> None:
    await bench.enqueue("first", "next", key="k")
    job_id = (await bench.enqueue(1)).id

    async def work(ctx: Context) -> None:
        ctx.state["kept"] = True
        ctx.jobs.enqueue_with_tick("next", "second", key="k")

    await bench.tick(work)
    job = await bench.job(job_id)
    assert job.state is JobState.DEAD
    assert "another payload" in job.error


async def test_of_jobs_that_a_tick_wants_those_that_are_there_are_left_alone(
    bench: JobBench,
) -> None:
    await bench.enqueue({"n": 2}, priority=7)

    async def work(ctx: Context) -> None:
        for number in (1, 2, 3, 3):
            ctx.jobs.enqueue_with_tick(QUEUE, {"n": number}, delay_s=60.0 if number == 3 else 0.0)

    await run_tick(bench.kernel, await bench.plan(work))
    assert await bench.states() == {"queued": 2, "scheduled": 1}
    found = [event["priority"] for event in await bench.events("job_enqueued")]
    assert found == [7, 0, 0]
    await bench.audit()


async def test_two_payloads_under_one_key_fail_the_tick_that_wants_both(bench: JobBench) -> None:
    async def work(ctx: Context) -> None:
        ctx.jobs.enqueue_with_tick("next", 1, key="k")
        ctx.jobs.enqueue_with_tick("next", 2, key="k")

    with anyio.fail_after(5):
        await run_tick(bench.kernel, await bench.plan(work))
    (end,) = await bench.events("cycle_completed")
    assert (end["outcome"], end["code"]) == ("failed", "command_conflict")
    assert await bench.events("job_enqueued") == []


async def test_callers_at_the_same_time_each_get_their_own_answer(bench: JobBench) -> None:
    await bench.enqueue("there", key="there")
    answers: dict[object, object] = {}

    async def work(ctx: Context) -> None:
        async def ask(number: int, payload: object, key: str) -> None:
            try:
                answers[number] = (await ctx.jobs.enqueue(QUEUE, payload, key=key)).is_new
            except CommandConflict as error:
                answers[number] = error.code

        async with anyio.create_task_group() as tasks:
            wanted = [("a", "k"), ("b", "l"), ("a", "k"), ("c", "k"), ("there", "there")]
            for number, (payload, key) in enumerate(wanted):
                tasks.start_soon(ask, number, payload, key)

    await run_tick(bench.kernel, await bench.plan(work))
    assert answers == {0: True, 1: True, 2: False, 3: "command_conflict", 4: False}
    assert await bench.states() == {"queued": 3}


async def test_a_worker_enqueues_durably_whatever_becomes_of_its_tick(bench: JobBench) -> None:
    await bench.enqueue(1)
    made: list[bool] = []

    async def work(ctx: Context) -> None:
        made.append((await ctx.jobs.enqueue("next", [1])).is_new)
        made.append((await ctx.jobs.enqueue("next", [1])).is_new)
        raise ValueError

    await bench.tick(work)
    assert made == [True, False]
