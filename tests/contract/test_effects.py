"""Outside effects on either database: once a key, and never again where nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from supervisor import NOT_DONE, EffectInFlight, EffectUnknown, Outcome
from supervisor.clock import VirtualClock
from supervisor.governance import job_commands
from supervisor.governance.job_commands import ResolveCommand
from supervisor.jobs.effects import unknown_effects
from supervisor.jobs.job import JobState
from supervisor.storage.database import Database
from supervisor.worker.context import Context
from supervisor.worker.tick import run_tick
from tests.contract.job_bench import UTC_ZONE, JobBench


@pytest.fixture
async def bench(database: Database, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[JobBench]:
    made = JobBench(database, clock, tmp_path)
    yield made
    await made.audit()


class Outside:
    """A world that counts what was done to it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, what: str) -> str:
        self.sent.append(what)
        return f"receipt {len(self.sent)}"


async def resolve(bench: JobBench, name: str, *, is_done: bool) -> None:
    command = ResolveCommand(job=name, is_done=is_done, why="looked")
    origin = msgspec.structs.replace(bench.origin(), command_id=f"r-{name}")
    await bench.store.write(job_commands.resolve, command, origin, UTC_ZONE)


async def test_an_effect_is_done_once_and_gives_its_first_result_again(bench: JobBench) -> None:
    await bench.enqueue(1)
    outside, results = Outside(), []

    async def work(ctx: Context) -> None:
        async with ctx.once("mail:1") as effect:
            if effect.is_new:
                effect.record(await outside.send("mail"))
        results.append(effect.result)
        if len(results) < 3:
            raise ValueError("after the effect")

    for _ in range(3):
        await bench.tick(work)
        bench.clock.advance(60)
    assert (outside.sent, results) == (["mail"], ["receipt 1"] * 3)
    kinds = [event["kind"] for event in await bench.events("effect_taken", "effect_done")]
    assert kinds == ["effect_taken", "effect_done"]


async def test_it_is_for_any_tick_and_of_its_worker_alone(bench: JobBench) -> None:
    outside = Outside()

    async def work(ctx: Context) -> None:
        async with ctx.once("k") as effect:
            if effect.is_new:
                effect.record(await outside.send(ctx.name))

    for name in ("w", "v", "w"):
        await run_tick(bench.kernel, await bench.plan(work, name=name))
    assert outside.sent == ["w", "v"]


async def test_an_exception_leaves_it_unknown_and_a_release_leaves_it_free(
    bench: JobBench,
) -> None:
    outside = Outside()

    async def fails(ctx: Context) -> None:
        async with ctx.once("free") as effect:
            effect.release()
            raise ValueError("nothing was sent")

    async def breaks(ctx: Context) -> None:
        async with ctx.once("unknown"):
            await outside.send("maybe")
            raise ValueError("no answer")

    async def again(ctx: Context) -> None:
        async with ctx.once("free") as effect:
            assert effect.is_new
            effect.record(None)
        with pytest.raises(EffectUnknown):
            async with ctx.once("unknown"):
                raise AssertionError("it is repeated")

    await bench.enqueue(1)
    for work in (fails, breaks, again):
        await bench.tick(work)
        bench.clock.advance(60)
    assert await bench.states() == {"done": 1}
    assert len(await bench.events("effect_released", "effect_unknown")) == 2


async def crash_in_an_effect(bench: JobBench) -> str:
    """Let a life take a key for its job and die before it says what came of it."""
    from supervisor.jobs.effects import Taking
    from supervisor.worker.effects import _take
    from tests.contract.test_jobs import abandon

    job = (await bench.enqueue(1)).id
    begun = await abandon(bench)
    taking = Taking(
        scope="queue:q",
        key="mail:1",
        boot_id="boot-1",
        worker="w",
        tick=begun.started.tick,
        job=job,
    )
    session, origin = begun.started.session.id, bench.origin()
    assert await bench.store.write(_take, taking, session, origin) is None
    return job


async def careful(ctx: Context) -> None:
    async with ctx.once("mail:1") as effect:
        assert not effect.is_new, "it is repeated"


async def test_a_key_that_a_crash_left_taken_is_unknown_and_never_repeated(
    bench: JobBench,
) -> None:
    job = await crash_in_an_effect(bench)
    found = await bench.recover()
    assert found.effects == 1
    (unknown,) = await bench.store.read(unknown_effects, 9)
    assert (unknown.name, unknown.job) == ("queue:q/mail:1", job)
    end = await bench.tick(careful, kernel=bench.other_life())
    assert end is not None
    assert end.outcome is Outcome.REFUSED
    assert (await bench.job(job)).state is JobState.UNKNOWN
    assert await bench.tick(careful) is None
    assert len(await bench.events("effect_unknown", "job_quarantined")) == 2


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("name", ["", "queue:q/mail:1"], ids=["by its job", "by its name"])
async def test_a_person_says_what_became_of_it_and_the_job_goes_on(
    bench: JobBench, is_done: bool, name: str
) -> None:
    job = await crash_in_an_effect(bench)
    await bench.recover()
    await bench.tick(careful)
    await resolve(bench, name or job, is_done=is_done)
    outside = Outside()

    async def work(ctx: Context) -> None:
        async with ctx.once("mail:1") as effect:
            if effect.is_new:
                effect.record(await outside.send("mail"))

    await bench.tick(work)
    assert (await bench.job(job)).state is JobState.DONE
    assert outside.sent == ([] if is_done else ["mail"])


@pytest.mark.parametrize(("found", "sent"), [("it lies there", []), (NOT_DONE, ["mail"])])
async def test_a_probe_finds_out_what_became_of_it(
    bench: JobBench, found: object, sent: list[str]
) -> None:
    job = await crash_in_an_effect(bench)
    await bench.recover()
    outside = Outside()

    async def probe() -> object:
        return found

    async def work(ctx: Context) -> None:
        async with ctx.once("mail:1", probe=probe) as effect:
            if effect.is_new:
                effect.record(await outside.send("mail"))

    await bench.tick(work)
    assert (await bench.job(job)).state is JobState.DONE
    assert outside.sent == sent


async def test_an_effect_outside_of_jobs_is_resolved_by_its_name(bench: JobBench) -> None:
    async def breaks(ctx: Context) -> None:
        async with ctx.once("k"):
            raise ValueError("no answer")

    plan = await bench.plan(breaks)
    from supervisor.worker.tick import WorkerCrashed

    with pytest.raises(WorkerCrashed):
        await run_tick(bench.kernel, plan)
    await resolve(bench, "worker:w/k", is_done=True)
    assert await bench.store.read(unknown_effects, 9) == []


async def test_two_ticks_do_not_do_one_effect_at_a_time(bench: JobBench) -> None:
    await bench.enqueue(1)
    await bench.enqueue(2)

    async def inner(ctx: Context) -> None:
        with pytest.raises(EffectInFlight):
            async with ctx.once("k"):
                raise AssertionError("it is repeated")

    async def outer(ctx: Context) -> None:
        async with ctx.once("k"):
            end = await bench.tick(inner, name="v")
            assert end is not None
            assert end.outcome is Outcome.OK

    await bench.tick(outer)
    assert await bench.states() == {"done": 2}
