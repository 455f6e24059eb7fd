"""How much input a call and a session may have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import anyio
import pytest

from supervisor.errors import ContextExceeded
from supervisor.governance.audit import audit
from supervisor.outcome import Outcome
from supervisor.providers.provider import Message
from supervisor.providers.scripted import Step
from supervisor.worker.context import Context
from supervisor.worker.context_budget import ContextLimits
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import Bench

TEXT = "x" * 500


async def tick(
    bench: Bench,
    work: Callable[[Context], Awaitable[None]],
    *,
    call: int | None = None,
    session: int | None = None,
) -> TickEnd:
    limits = ContextLimits(call_tokens_max=call, session_tokens_max=session)
    bench.kernel.policy = replace(bench.kernel.policy, context=limits)

    async def run(ctx: Context) -> None:
        await work(ctx)

    return await run_tick(bench.kernel, await bench.plan(run))


async def test_a_call_above_its_budget_is_refused_and_nothing_is_held(bench: Bench) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete(TEXT, max_tokens=1)

    end = await tick(bench, work, call=500)
    assert isinstance(end.refusal, ContextExceeded)
    assert (end.refusal.limit, end.refusal.free) == ("call_tokens_max", 500)
    assert bench.provider.billed_calls == 0
    assert await bench.events("hold_placed") == []
    (refused,) = await bench.events("call_refused")
    assert refused["code"] == "context_exceeded"


async def test_exactly_the_budget_is_within_it(bench: Bench) -> None:
    bound: list[int] = []

    async def measure(ctx: Context) -> None:
        with pytest.raises(ContextExceeded) as told:
            await ctx.model.complete(TEXT, max_tokens=1)
        bound.append(told.value.needed)

    async def work(ctx: Context) -> None:
        await ctx.model.complete(TEXT, max_tokens=1)

    await tick(bench, measure, call=1)
    assert (await tick(bench, work, call=bound[0])).outcome is Outcome.OK
    assert (await tick(bench, work, call=bound[0] - 1)).outcome is Outcome.REFUSED


async def test_the_workers_own_hook_makes_it_shorter_once(bench: Bench) -> None:
    asked: list[int] = []

    async def shorten(messages: Sequence[Message], tokens_max: int) -> str:
        asked.append(tokens_max)
        return messages[0].content[:50]

    async def work(ctx: Context) -> None:
        await ctx.model.complete(TEXT, max_tokens=1, compact=shorten)
        await ctx.model.complete("short", max_tokens=1, compact=shorten)

    assert (await tick(bench, work, call=400)).outcome is Outcome.OK
    assert asked == [400]
    (compacted,) = await bench.events("context_compacted")
    assert (compacted["worker"], compacted["model"]) == ("w", "p/m")
    assert int(str(compacted["after"])) <= 400 < int(str(compacted["before"]))
    assert bench.provider.billed_calls == 2
    assert (await bench.store.read(audit)).findings == ()


async def test_a_hook_that_does_not_make_it_short_enough_is_refused(bench: Bench) -> None:
    async def keep(messages: Sequence[Message], tokens_max: int) -> Sequence[Message]:
        return messages

    async def work(ctx: Context) -> None:
        await ctx.model.complete(TEXT, max_tokens=1, compact=keep)

    assert (await tick(bench, work, call=400)).outcome is Outcome.REFUSED
    assert bench.provider.billed_calls == 0


async def test_a_sessions_input_adds_up_over_its_ticks_and_is_bounded(bench: Bench) -> None:
    bench.script(Step(input_tokens=900))

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", max_tokens=1)

    for _ in range(3):
        assert (await tick(bench, work, session=3_000)).outcome is Outcome.OK
    end = await tick(bench, work, session=3_000)
    assert isinstance(end.refusal, ContextExceeded)
    assert (end.refusal.limit, end.refusal.free) == ("session_tokens_max", 300)
    bench.clock.advance(3_600)
    assert (await tick(bench, work, session=3_000)).outcome is Outcome.OK, "a new session"
    assert (await bench.store.read(audit)).findings == ()


async def test_16_calls_at_once_are_never_above_the_sessions_budget(bench: Bench) -> None:
    bench.script(Step(input_tokens=900))
    refused: list[ContextExceeded] = []

    async def one(ctx: Context) -> None:
        try:
            await ctx.model.complete("hi", max_tokens=1)
        except ContextExceeded as refusal:
            refused.append(refusal)

    async def work(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(one, ctx)

    assert (await tick(bench, work, session=9_050)).outcome is Outcome.OK
    assert (bench.provider.billed_calls, len(refused)) == (10, 6)


async def test_without_a_budget_nothing_is_counted(bench: Bench) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete(TEXT * 100, max_tokens=1)

    assert (await tick(bench, work)).outcome is Outcome.OK
    (settled,) = await bench.events("hold_settled")
    assert "context" not in settled
