"""What ended long ago goes with the windows of its time, and what still guards or waits stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from supervisor import Context, Outcome
from supervisor.governance import job_commands
from supervisor.governance.job_commands import JobCommand
from supervisor.governance.pruning import Pruned, prune_page
from supervisor.governance.pruning_ended import prune_jobs
from supervisor.governance.rotation import open_session_of, pause_session
from supervisor.jobs.job import JobState
from supervisor.maintenance.retention import retain
from tests.contract.job_bench import QUEUE, UTC_ZONE, JobBench, done
from tests.contract.retained_life import RetainedLife
from tests.databases import RawConnection


@pytest.fixture
def bench(aged: RetainedLife, tmp_path: Path) -> JobBench:
    """A queue on the store whose windows grow old."""
    bench = JobBench(aged.store, aged.life.clock, tmp_path)
    policy = bench.kernel.policy
    bench.kernel.policy = dataclasses.replace(policy, budgets=aged.life.budgets)
    return bench


async def lives_on(aged: RetainedLife, bench: JobBench, days: int, *, worker: str = "w") -> None:
    """Let days pass, in each of which the queue's worker does a job, too."""
    for day in range(days):
        await aged.days(1)
        await bench.enqueue(f"{aged.life.clock.now()}, {day}")
        await bench.tick(done, name=worker)


async def one_of_each(bench: JobBench) -> dict[JobState, str]:
    """Leave a job in each state in which nothing happens to it any more."""

    async def ends(ctx: Context) -> Outcome | None:
        assert ctx.job is not None
        async with ctx.once(f"effect of {ctx.job.payload}") as effect:
            effect.record("sent")
        async for _ in ctx.each([1, 2]):
            pass
        if ctx.job.payload in ("dead", "discarded"):
            raise ValueError("no luck")
        return Outcome.UNKNOWN if ctx.job.payload == "unknown" else None

    ids = {}
    for state in ("done", "dead", "discarded", "unknown"):
        ids[JobState(state)] = (await bench.enqueue(state, attempts_max=1)).id
        await bench.tick(ends)
    ids[JobState.CANCELLED] = (await bench.enqueue("cancelled", run_at=bench.in_us(3600))).id
    for state, decide in (("cancelled", job_commands.cancel), ("discarded", job_commands.discard)):
        command = JobCommand(job=ids[JobState(state)], why="x")
        origin = msgspec.structs.replace(bench.origin(), command_id=f"c-{state}")
        await bench.store.write(decide, command, origin, UTC_ZONE)
    for state, job_id in ids.items():
        assert (await bench.job(job_id)).state is state
    return ids


def keys(raw: RawConnection) -> set[object]:
    return {key for (key,) in raw.rows("SELECT effect_key FROM effects")}


async def test_ended_jobs_go_after_keep_days_and_those_that_wait_for_a_person_stay(
    aged: RetainedLife, bench: JobBench, raw: RawConnection
) -> None:
    ids = await one_of_each(bench)
    await lives_on(aged, bench, 6)
    before = await bench.states()
    done_ones = await aged.retain()
    assert done_ones.pruned.others > 0
    left = {job_id for (job_id,) in raw.rows("SELECT id FROM jobs")}
    assert left & set(ids.values()) == {ids[JobState.DEAD], ids[JobState.UNKNOWN]}
    after = await bench.states()  # which are those of the rows
    assert after["done"] < before["done"]
    assert after["done"] >= 2  # the days that are kept
    assert (after["dead"], after["unknown"]) == (1, 1)
    owners = {owner for (owner,) in raw.rows("SELECT owner FROM progress")}
    assert owners == {f"job:{ids[JobState.DEAD]}", f"job:{ids[JobState.UNKNOWN]}"}
    await bench.audit()


async def test_a_key_guards_until_its_job_is_pruned_and_then_means_a_new_one(
    aged: RetainedLife, bench: JobBench
) -> None:
    job_id = (await bench.enqueue("x", key="k")).id
    await bench.tick(done)
    await lives_on(aged, bench, 1)
    await aged.retain()
    assert not (await bench.enqueue("x", key="k")).is_new
    await lives_on(aged, bench, 6)
    await aged.retain()
    again = await bench.enqueue("other", key="k")
    assert (again.id, again.is_new) == (job_id, True)
    await bench.tick(done)
    assert (await bench.job(job_id)).state is JobState.DONE
    await bench.audit()
    await lives_on(aged, bench, 6)
    await aged.retain()
    await bench.audit()


async def test_the_key_of_an_effect_guards_from_when_it_was_asked_for_last(
    aged: RetainedLife, bench: JobBench, raw: RawConnection
) -> None:
    new: list[bool] = []

    async def asks(ctx: Context) -> None:
        async with ctx.once("asked for again and again") as effect:
            new.append(effect.is_new)

    async def sends(ctx: Context) -> None:
        async with ctx.once("asked for once"):
            pass

    ids = await one_of_each(bench)
    await bench.enqueue("once")
    await bench.tick(sends)
    for day in range(7):
        await lives_on(aged, bench, 1)
        await bench.enqueue(f"ask {day}")
        await bench.tick(asks)
        await aged.retain()
    assert new == [True] + [False] * 6
    kept = {"asked for again and again", "effect of dead", "effect of unknown"}
    assert keys(raw) == kept
    assert (await bench.job(ids[JobState.DEAD])).state is JobState.DEAD
    await bench.audit()


async def test_what_is_told_in_a_window_that_has_to_stay_is_no_finding(
    aged: RetainedLife, bench: JobBench, raw: RawConnection
) -> None:
    async def wants(ctx: Context) -> None:
        await ctx.jobs.enqueue(QUEUE, "wanted")
        async with ctx.once("by the first"):
            pass
        async for _ in ctx.each([1, 2]):
            pass

    await bench.enqueue("first")
    await bench.tick(wants)
    session = await bench.store.read(open_session_of, "w")
    assert session is not None
    await bench.store.write(pause_session, session, bench.origin(), why="a person looks")
    await bench.tick(done, name="v")
    await lives_on(aged, bench, 6, worker="v")
    assert (await aged.retain()).held_back == ("w",)
    payloads = {payload for (payload,) in raw.rows("SELECT payload FROM jobs")}
    assert not payloads & {'"first"', '"wanted"'}
    assert raw.rows("SELECT kind FROM events WHERE kind = 'items_begun'") != []
    await bench.audit()


async def test_nothing_goes_without_an_export_or_with_keep_days_0(
    aged: RetainedLife, bench: JobBench
) -> None:
    await one_of_each(bench)
    await lives_on(aged, bench, 6)
    before = await bench.states()
    assert (await aged.store.write(prune_jobs, after=0)).after is None
    await retain(aged.store, aged.plan(keep_days=0), clock=aged.life.clock)
    assert await bench.states() == before


async def test_it_is_sound_after_each_page_and_goes_on_behind_it(
    aged: RetainedLife, bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await bench.enqueue(number)
    while await bench.tick(done, jobs_max=10):
        pass
    await lives_on(aged, bench, 6)
    with monkeypatch.context() as dying:
        dying.setattr("supervisor.maintenance.retention._prune", _prunes_nothing)
        assert (await aged.retain()).exports
    monkeypatch.setattr("supervisor.governance.pruning_ended._PAGE_ROWS", 3)
    await bench.audit()
    after, pages = 0, 0
    while True:
        page = await aged.store.write(prune_jobs, after=after)
        await bench.audit()
        await bench.states()
        if page.after is None:
            break
        after, pages = page.after, pages + 1
    assert pages > 6
    while await aged.store.write(prune_page, bench.origin(), checkpoints_kept=3) != Pruned():
        await bench.audit()
    assert aged.count("jobs") < 10


async def _prunes_nothing(*_: object, **__: object) -> Pruned:
    return Pruned()


async def test_alerts_and_incidents_that_are_over_go_and_what_is_open_or_linked_stays(
    aged: RetainedLife, bench: JobBench, raw: RawConnection
) -> None:
    old, never = bench.in_us(0), None
    for name, resolved, delivered in (
        ("over", old, old),
        ("open", never, old),
        ("untold", old, never),
        ("noted", old, old),
    ):
        raw.run(
            "INSERT INTO alerts (id, key, severity, title, what, done, command, count, reminders,"
            " raised_at, last_at, resolved_at)"
            " VALUES (?, ?, 'info', '', '', '', '', 1, 0, ?, ?, ?)",
            name, name, old, old, resolved,
        )  # fmt: skip
        raw.run(
            "INSERT INTO alert_messages (id, alert_id, channel, severity_rank, body, told_at,"
            " next_at, delivered_at) VALUES (?, ?, 'c', 1, '', ?, 0, ?)",
            name, name, old, delivered,
        )  # fmt: skip
    for name, closed in (("i-over", old), ("i-open", never)):
        raw.run(
            "INSERT INTO incidents (id, title, opened_at, opened_by, closed_at) VALUES"
            " (?, '', ?, 'ann', ?)",
            name, old, closed,
        )  # fmt: skip
        raw.run(
            "INSERT INTO incident_notes (incident_id, number, noted_at, noted_by, text, alert_id,"
            " drill_id) VALUES (?, 1, ?, 'ann', '', ?, '')",
            name, old, "noted" if closed is None else "over",
        )  # fmt: skip
    await lives_on(aged, bench, 6)
    await aged.retain()
    assert [one for (one,) in raw.rows("SELECT id FROM incidents")] == ["i-open"]
    assert {one for (one,) in raw.rows("SELECT id FROM alerts")} == {"open", "untold", "noted"}
    assert aged.count("alert_messages") == 3
    assert aged.count("incident_notes") == 1


async def test_outputs_of_a_worker_that_is_gone_go_and_of_one_that_works_its_newest_stay(
    aged: RetainedLife, bench: JobBench, raw: RawConnection
) -> None:
    for worker in ("w", "gone"):
        raw.run(
            "INSERT INTO outputs (worker, fingerprint, output_key, published_at) VALUES"
            " (?, 'f', '', ?)",
            worker, bench.in_us(0),
        )  # fmt: skip
    await lives_on(aged, bench, 6)
    await aged.retain()
    assert [worker for (worker,) in raw.rows("SELECT worker FROM outputs")] == ["w"]
