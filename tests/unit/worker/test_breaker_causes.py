"""What else opens breakers: a provider that fails, and calls that get nowhere."""

from __future__ import annotations

import anyio
import pytest

from supervisor import BreakerOpen, Context, Outcome
from supervisor.governance.breaker import BreakerState
from supervisor.ledger.pricing import FreePrice
from supervisor.providers.http_errors import status_failure
from supervisor.providers.provider import ModelAnswer, ModelRequest
from supervisor.providers.scripted import Script, Scripted, Step
from supervisor.worker.tick import TickEnd, WorkerCrashed
from tests.unit.worker.breaker_bench import (
    DOWN,
    FINE,
    breakers,
    calls,
    only,
    open_worker,
    pass_by,
    story,
    tick,
    two_models,
    works,
)
from tests.unit.worker.conftest import Bench

# --- providers


async def test_so_many_failed_calls_in_a_row_open_the_providers_breaker_for_all(
    guarded: Bench,
) -> None:
    guarded.script(DOWN)
    for name in ("a", "b", "c", "d"):
        await tick(guarded, calls, name=name)
    end = await tick(guarded, calls, name="e")
    assert isinstance(end.refusal, BreakerOpen)
    assert (end.refusal.name, end.outcome) == ("provider:p", Outcome.REFUSED)
    assert len(await guarded.events("hold_placed")) == 4
    # Who calls no model of it goes on.
    assert (await tick(guarded, works, name="f")).outcome is Outcome.OK


async def test_a_request_that_the_provider_turns_down_is_not_the_providers_fault(
    guarded: Bench,
) -> None:
    class Strict(Scripted):
        async def complete(self, request: ModelRequest) -> ModelAnswer:
            raise status_failure("p", status=400)

    guarded.kernel.models = two_models(Strict(name="p", script=Script()))
    only(guarded, provider_failures_max=1)
    for _ in range(3):
        assert (await tick(guarded, calls)).outcome is Outcome.FAILED
    assert await story(guarded) == []


async def test_of_32_workers_one_call_probes_the_provider_with_its_cheapest_model(
    guarded: Bench,
) -> None:
    only(guarded, provider_failures_max=4)
    guarded.script(DOWN)
    for name in ("a", "b", "c", "d"):
        await tick(guarded, calls, name=name)
    pass_by(guarded, 300)
    provider = Scripted(name="p", script=Script(steps=(Step(output_tokens=1, latency_s=0.2),)))
    guarded.kernel.models = two_models(provider)
    ends: list[TickEnd] = []

    async def one(name: str) -> None:
        ends.append(await tick(guarded, calls, name=name))

    async with anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(one, f"w{number}")
    assert sorted(end.outcome for end in ends) == [Outcome.OK, *[Outcome.REFUSED] * 31]
    placed = await guarded.events("hold_placed")
    assert [hold["model"] for hold in placed[4:]] == ["p/small"]
    assert (await story(guarded))[-2:] == [("provider:p", "half_opened"), ("provider:p", "closed")]


# --- no progress


async def test_the_same_call_with_the_same_result_repeated_opens_it(guarded: Bench) -> None:
    guarded.script(FINE)

    async def stuck(ctx: Context) -> None:
        await ctx.model.complete("what now?")

    for _ in range(3):
        assert (await tick(guarded, stuck)).outcome is Outcome.OK
    end = await tick(guarded, stuck)
    assert isinstance(end.refusal, BreakerOpen)
    assert "the same call had the same result 3 times in a row" in str(end.refusal)
    (opened,) = await guarded.events("breaker_opened")
    assert opened["cause"] == "no_progress"


async def test_within_one_tick_it_stops_the_fourth_call(guarded: Bench) -> None:
    guarded.script(FINE)

    async def loop(ctx: Context) -> None:
        for _ in range(10):
            await ctx.model.complete("what now?")

    assert (await tick(guarded, loop)).outcome is Outcome.REFUSED
    assert len(await guarded.events("hold_placed")) == 3


async def test_another_call_or_another_result_in_between_is_progress(guarded: Bench) -> None:
    same, other = Step(output_tokens=1, text="a"), Step(output_tokens=1, text="b")
    guarded.script(same, same, other, same, same, same, other)

    async def ask(ctx: Context) -> None:
        await ctx.model.complete("what now?" if ctx.tick != 5 else "and else?")

    for _ in range(7):
        assert (await tick(guarded, ask)).outcome is Outcome.OK


async def test_a_probe_with_the_same_result_opens_it_again_and_another_closes_it(
    guarded: Bench,
) -> None:
    guarded.script(*[FINE] * 4, Step(output_tokens=1, text="new"))

    async def stuck(ctx: Context) -> None:
        await ctx.model.complete("what now?")

    for _ in range(3):
        await tick(guarded, stuck)
    pass_by(guarded, 300)
    await tick(guarded, stuck)
    assert (await breakers(guarded))["worker:w"].state is BreakerState.OPEN
    pass_by(guarded, 600)
    assert (await tick(guarded, stuck)).outcome is Outcome.OK
    assert (await breakers(guarded))["worker:w"].state is BreakerState.CLOSED


async def test_calls_that_run_beside_each_other_repeat_nothing(guarded: Bench) -> None:
    guarded.script(Step(output_tokens=1, text="the same", latency_s=0.001))

    async def sample(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ctx.model.complete, "what now?")

    for _ in range(3):
        assert (await tick(guarded, sample)).outcome is Outcome.OK
    assert await story(guarded) == []


async def test_the_same_again_and_again_within_a_tick_is_no_progress(guarded: Bench) -> None:
    guarded.script(Step(output_tokens=1, text="the same"))

    async def stuck(ctx: Context) -> None:
        for _ in range(8):
            await ctx.model.complete("what now?")

    assert (await tick(guarded, stuck)).outcome is Outcome.REFUSED
    assert await story(guarded) == [("worker:w", "opened")]


async def test_a_free_model_may_be_asked_the_same_at_every_tick_and_not_within_one(
    guarded: Bench,
) -> None:
    guarded.kernel.models = guarded.models([FINE], price=FreePrice())

    async def polls(ctx: Context) -> None:
        for _ in range(2):
            await ctx.model.complete("anything new?")

    async def loops(ctx: Context) -> None:
        for _ in range(4):
            await ctx.model.complete("anything new?")

    for _ in range(6):
        assert (await tick(guarded, polls)).outcome is Outcome.OK
    assert await story(guarded) == []
    assert (await tick(guarded, loops)).outcome is Outcome.REFUSED
    assert await story(guarded) == [("worker:w", "opened")]


async def test_paid_calls_repeat_themselves_also_where_free_ones_stand_between(
    guarded: Bench,
) -> None:
    paid, free = guarded.models([FINE]), guarded.models([FINE], price=FreePrice())

    async def stuck(ctx: Context) -> None:
        guarded.kernel.models = paid if ctx.tick % 2 else free
        await ctx.model.complete("what now?")

    for _ in range(5):
        assert (await tick(guarded, stuck)).outcome is Outcome.OK
    assert await story(guarded) == [("worker:w", "opened")]


# --- crashes


async def _crashes(_: Context) -> None:
    raise KeyError("a bug")


async def test_a_worker_that_crashes_is_held_by_its_restarts_and_not_by_a_breaker(
    guarded: Bench,
) -> None:
    only(guarded, failures_max=3, system_failures_max=3)
    for _ in range(5):
        with pytest.raises(WorkerCrashed):
            await tick(guarded, _crashes)
    assert await story(guarded) == []


async def test_a_probe_that_crashes_keeps_the_breaker_open(guarded: Bench) -> None:
    only(guarded, failures_max=3)
    await open_worker(guarded)
    pass_by(guarded, 400)
    with pytest.raises(WorkerCrashed):
        await tick(guarded, _crashes)
    assert [state for _, state in await story(guarded)] == ["opened", "half_opened", "opened"]
