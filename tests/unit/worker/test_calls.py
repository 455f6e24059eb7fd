"""Paid calls: a hold before each, and the right end after each."""

from __future__ import annotations

import anyio
import pytest

from supervisor import (
    BreakerOpen,
    BudgetExceeded,
    Context,
    InputRefused,
    KillSwitchEngaged,
    Outcome,
    PriceUnknown,
    ProviderFailed,
)
from supervisor.events.log import Origin
from supervisor.governance import kill_switch
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand
from supervisor.providers.scripted import Step
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.tick import run_tick
from tests.unit.worker.conftest import UTC_ZONE, Bench

CENT = Step(input_tokens=0, output_tokens=10_000)


async def tick(bench: Bench, function: WorkerFunction) -> Outcome:
    return (await run_tick(bench.kernel, await bench.plan(function))).outcome


async def ends(bench: Bench) -> list[str]:
    found = await bench.events("hold_settled", "hold_released", "hold_forfeited")
    return [str(event["kind"]).removeprefix("hold_") for event in found]


async def test_a_call_is_settled_at_its_actual_cost(bench: Bench) -> None:
    bench.script(Step(input_tokens=0, output_tokens=2_000))

    async def run(ctx: Context) -> None:
        reply = await ctx.model.complete("hi")
        assert reply.cost_usd == 0.002

    assert await tick(bench, run) is Outcome.OK
    day = await bench.day()
    assert (day.settled, day.held) == (2_000, 0)


async def test_32_concurrent_callers_bill_the_cap_exactly_and_every_refusal_names_its_account(
    bench: Bench,
) -> None:
    bench.script(CENT)
    refused: list[BudgetExceeded] = []

    async def caller(ctx: Context) -> None:
        for _ in range(10):
            try:
                await ctx.model.complete("hi", max_tokens=10_000)
            except BudgetExceeded as refusal:
                refused.append(refusal)

    async def run(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(32):
                tasks.start_soon(caller, ctx)

    assert await tick(bench, run) is Outcome.OK
    assert bench.provider.billed_calls == 100
    assert {refusal.account for refusal in refused} == {"system/day/2026-06-01/micro_usd"}
    day = await bench.day()
    assert (day.settled, day.held) == (1_000_000, 0)
    assert (await bench.store.read(audit)).findings == ()


@pytest.mark.parametrize(
    ("does", "end"),
    [
        ("no_usage", "forfeited"),
        ("server_error", "forfeited"),
        ("closed", "forfeited"),
        ("garbage", "forfeited"),
        ("rate_limited", "released"),
    ],
)
async def test_each_failure_ends_its_hold_as_the_ledger_says(
    bench: Bench, does: str, end: str
) -> None:
    bench.script(Step(does=does, output_tokens=5))  # type: ignore[arg-type] # from a table

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hi")

    expected = Outcome.OK if does == "no_usage" else Outcome.FAILED
    assert await tick(bench, run) is expected
    assert await ends(bench) == [end]
    day = await bench.day()
    assert (day.settled, day.held) == (10_000 if end == "forfeited" else 0, 0)


async def test_each_attempt_has_a_hold_of_its_own(bench: Bench) -> None:
    bench.script(Step(does="rate_limited"), Step(does="server_error"), CENT, attempts_max=3)

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hi")

    assert await tick(bench, run) is Outcome.OK
    assert await ends(bench) == ["released", "forfeited", "settled"]


async def test_a_call_that_is_cancelled_in_flight_is_forfeited_at_once(bench: Bench) -> None:
    bench.script(Step(does="hang"))

    async def run(ctx: Context) -> None:
        with anyio.move_on_after(0.05):
            await ctx.model.complete("hi")
        await ctx.calls.flush()
        assert (await bench.day()).held == 0

    assert await tick(bench, run) is Outcome.OK
    assert await ends(bench) == ["forfeited"]


async def test_a_call_that_is_cancelled_before_it_is_sent_costs_nothing(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ctx.model.complete("hi")
        await ctx.calls.flush()

    assert await tick(bench, run) is Outcome.OK
    assert bench.provider.billed_calls == 0
    assert await ends(bench) in ([], ["released"])


async def test_a_stream_is_settled_when_it_has_been_read_to_its_end(bench: Bench) -> None:
    bench.script(Step(text="one two three", input_tokens=0, output_tokens=3))

    async def run(ctx: Context) -> None:
        async with ctx.model.stream("hi") as stream:
            pieces = [piece async for piece in stream]
            assert "".join(pieces) == stream.reply.text == "one two three"

    assert await tick(bench, run) is Outcome.OK
    assert await ends(bench) == ["settled"]
    assert (await bench.day()).settled == 3


async def test_a_stream_that_is_left_early_or_breaks_is_forfeited(bench: Bench) -> None:
    bench.script(Step(text="one two three"), Step(does="closed"))

    async def run(ctx: Context) -> None:
        async with ctx.model.stream("hi") as stream:
            async for _ in stream:
                break
        async with ctx.model.stream("hi") as stream:
            async for _ in stream:
                pass

    assert await tick(bench, run) is Outcome.FAILED
    assert await ends(bench) == ["forfeited", "forfeited"]


async def test_a_call_above_its_hold_is_recorded_in_full_and_opens_the_breaker(
    bench: Bench,
) -> None:
    bench.script(Step(does="above_max_tokens"))
    seen: list[Exception] = []

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hi", max_tokens=100)
        try:
            await ctx.model.complete("hi", max_tokens=100)
        except BreakerOpen as refusal:
            seen.append(refusal)

    assert await tick(bench, run) is Outcome.OK
    assert (await bench.day()).settled == 101
    assert len(seen) == 1
    assert await tick(bench, run) is Outcome.SKIPPED
    bench.script(Step(output_tokens=1))
    bench.clock.advance(301)
    assert await tick(bench, run) is Outcome.OK
    kinds = [e["kind"] for e in await bench.events("breaker_half_opened", "breaker_closed")]
    assert kinds == ["breaker_half_opened", "breaker_closed"]


async def test_max_tokens_is_clamped_to_what_the_remaining_budget_buys(bench: Bench) -> None:
    bench.kernel.policy = bench.policy(cap=3_000)
    bench.script(Step(text="word " * 20_000))

    async def run(ctx: Context) -> None:
        reply = await ctx.model.complete("hi", max_tokens=10_000)
        assert reply.usage is not None
        assert reply.usage.output_tokens == 3_000

    assert await tick(bench, run) is Outcome.OK
    assert (await bench.day()).settled == 3_000


async def test_a_clamp_below_the_least_useful_answer_is_a_refusal(bench: Bench) -> None:
    bench.kernel.policy = bench.policy(cap=63)

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hi")

    assert await tick(bench, run) is Outcome.REFUSED
    assert bench.provider.billed_calls == 0


async def test_a_kill_is_obeyed_before_each_call(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        origin = Origin(at=bench.clock.now(), actor="t", command_id="c1")
        command = KillCommand(scope=f"session:{ctx.session.id}", why="test")
        await bench.store.write(kill_switch.engage, command, origin, UTC_ZONE)
        with pytest.raises(KillSwitchEngaged):
            await ctx.model.complete("hi")

    assert await tick(bench, run) is Outcome.OK
    assert bench.provider.billed_calls == 0


async def test_an_unknown_price_refuses_with_the_line_to_add(bench: Bench) -> None:
    bench.kernel.models = bench.models([Step()], price=None)  # type: ignore[arg-type] # the table

    async def run(ctx: Context) -> None:
        with pytest.raises(PriceUnknown, match=r"\[providers\.p\]"):
            await ctx.model.complete("hi", model="p/no-such-model-anywhere")

    assert await tick(bench, run) is Outcome.OK
    assert [e["code"] for e in await bench.events("call_refused")] == ["price_unknown"]


@pytest.mark.parametrize(
    "prompt", [[], [{"role": "user", "content": [{"type": "image"}]}], [{"role": "x"}]]
)
async def test_input_that_cannot_be_bounded_is_refused(bench: Bench, prompt: object) -> None:
    async def run(ctx: Context) -> None:
        with pytest.raises(InputRefused):
            await ctx.model.complete(prompt)  # type: ignore[arg-type] # what a user might send

    assert await tick(bench, run) is Outcome.OK


async def test_spend_settles_at_its_maximum_unless_told_otherwise(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.10, what="search"):
            assert (await bench.day()).held == 100_000
        async with ctx.spend(usd_max=0.10, what="search") as hold:
            hold.settle(usd=0.03)
        async with ctx.spend(usd_max=0.10, what="search") as hold:
            hold.release()
        assert (await bench.day()).settled == 130_000
        async with ctx.spend(usd_max=0.10, what="search"):
            raise ProviderFailed(subject="search", what="broke", fix="none")

    assert await tick(bench, run) is Outcome.FAILED
    assert (await bench.day()).settled == 230_000
    assert await ends(bench) == ["settled", "settled", "released", "forfeited"]


async def test_a_spend_that_does_not_fit_is_refused_before_its_block(bench: Bench) -> None:
    entered = False

    async def run(ctx: Context) -> None:
        nonlocal entered
        async with ctx.spend(usd_max=1.01, what="search"):
            entered = True

    assert await tick(bench, run) is Outcome.REFUSED
    assert not entered


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf")])
async def test_an_amount_that_is_none_is_refused(bench: Bench, usd: float) -> None:
    async def run(ctx: Context) -> None:
        with pytest.raises(InputRefused):
            async with ctx.spend(usd_max=usd, what="search"):
                pass
        async with ctx.spend(usd_max=0.5, what="search") as hold:
            with pytest.raises(InputRefused):
                hold.settle(usd=usd)

    assert await tick(bench, run) is Outcome.OK
    assert (await bench.day()).settled == 500_000
