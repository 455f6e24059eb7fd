"""Whatever providers do and however calls fall over: no more is billed than settled, or capped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from hypothesis import given
from hypothesis import strategies as st

from supervisor import Context, Outcome, ProviderFailed, Refusal
from supervisor.clock import VirtualClock
from supervisor.governance.audit import audit
from supervisor.governance.breaker import BreakerRules
from supervisor.ledger.pricing import FixedPrice, FreePrice, Price
from supervisor.providers.scripted import Script, Scripted, Step
from supervisor.worker.models import Models, Source
from supervisor.worker.tick import run_tick
from tests.properties.effort import effort
from tests.unit.inline_database import InlineDatabase
from tests.unit.worker.conftest import Bench

#: USD per million tokens of output, so many micro-USD a token; input costs nothing.
PRICES = {"dear": 3, "cheap": 1, "free": 0}
CALL_TOKENS = 1_000
DOES = ("answer", "no_usage", "rate_limited", "server_error", "closed", "garbage")

steps = st.builds(
    Step,
    does=st.sampled_from(DOES),
    text=st.sampled_from(["", "a few\nlines\n"]),
    input_tokens=st.just(0),
    output_tokens=st.integers(0, CALL_TOKENS),
    retry_after_s=st.sampled_from([None, 0.0, 3_600.0]),
)
scripts = st.fixed_dictionaries(
    {name: st.lists(steps, min_size=1, max_size=6).map(tuple) for name in PRICES}
)
orders = st.permutations([f"{name}/m" for name in PRICES])


def price_of(name: str) -> Price:
    usd = PRICES[name]
    if not usd:
        return FreePrice()
    return FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=usd)


def fleet(script: dict[str, tuple[Step, ...]], attempts_max: int) -> dict[str, Source]:
    return {
        name: Source(
            provider=Scripted(name=name, script=Script(steps=met, then="cycle")),
            price_hint=None,
            price=price_of(name),
            max_tokens=CALL_TOKENS,
            attempts_max=attempts_max,
            retry_delay_s=0.0001,
            retry_delay_max_s=0.0001,
        )
        for name, met in script.items()
    }


class Day:
    """Ticks of one worker whose calls fall over, all at once or one after the other."""

    def __init__(self, bench: Bench, sources: dict[str, Source], order: Sequence[str]) -> None:
        self.bench = bench
        self.sources = sources
        self.order = order
        bench.kernel.models = Models(sources)
        rules = BreakerRules(provider_failures_max=3, cooldown_s=60.0)
        bench.kernel.policy = replace(bench.kernel.policy, breakers=rules)

    async def call(self, ctx: Context, number: int) -> None:
        try:
            if number % 2:
                await ctx.model.complete(f"call {number}")
                return
            async with ctx.model.stream(f"call {number}") as stream:
                async for _ in stream:
                    pass
        except (ProviderFailed, Refusal):
            return

    async def live(self, ticks: int, calls: int) -> None:
        async def run(ctx: Context) -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(calls):
                    tasks.start_soon(self.call, ctx, number)

        plan = await self.bench.plan(run)
        first, *behind = self.order
        plan = replace(plan, model=first, fallback=tuple(behind))
        for _ in range(ticks):
            end = await run_tick(self.bench.kernel, plan)
            assert end.outcome in (Outcome.OK, Outcome.SKIPPED)
            self.bench.clock.advance(61)

    def billed(self) -> int:
        total = 0
        for name, source in self.sources.items():
            assert isinstance(source.provider, Scripted)
            total += PRICES[name] * source.provider.billed_usage.output_tokens
        return total

    def sent(self) -> int:
        sources = self.sources.values()
        return sum(one.provider.calls for one in sources if isinstance(one.provider, Scripted))

    async def check(self, cap: int) -> None:
        day = await self.bench.day()
        assert self.billed() <= day.settled <= cap
        assert day.held == 0
        # Each time that something was sent there was a hold, and none was for nothing.
        assert len(await self.bench.events("hold_placed")) == self.sent()
        for fell in await self.bench.events("model_fell_back"):
            asked, used = str(fell["asked"]), str(fell["model"])
            assert self.order.index(used) > self.order.index(asked)
        assert (await self.bench.store.read(audit)).findings == ()


@effort(examples=60, steps=1)
@given(
    script=scripts,
    order=orders,
    cap=st.integers(0, 12_000),
    attempts_max=st.integers(1, 3),
    ticks=st.integers(1, 3),
    calls=st.integers(1, 5),
)
def test_falls_over_are_never_billed_above_a_cap(
    script: dict[str, tuple[Step, ...]],
    order: list[str],
    cap: int,
    attempts_max: int,
    ticks: int,
    calls: int,
) -> None:
    async def main() -> None:
        clock = VirtualClock(datetime(2026, 6, 1, 10, tzinfo=UTC))
        bench = Bench(InlineDatabase(), clock, Path("/nonexistent"))
        bench.kernel.policy = bench.policy(cap=cap)
        day = Day(bench, fleet(script, attempts_max), order)
        await day.live(ticks, calls)
        await day.check(cap)

    asyncio.run(main())
