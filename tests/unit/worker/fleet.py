"""Three providers, of which one stands behind another, and what a test looks at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from supervisor import Context
from supervisor.governance.audit import audit
from supervisor.ledger.pricing import FreePrice, Price
from supervisor.providers.scripted import Script, Scripted, Step
from supervisor.worker.models import Models, Source
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import CENT_PRICE, Bench

FINE = Step(text="Fine.", input_tokens=0, output_tokens=5)
BUSY = Step(does="rate_limited", retry_after_s=0.001)
FALLBACK = ("local/m",)

Work = Callable[[Context], Awaitable[object]]


class Fleet:
    """A paid model, a free one behind it, and one whose price nobody knows."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.scripted: dict[str, Scripted] = {}
        self.attempts_max = 1
        self.script()

    def script(self, *paid: Step, local: Sequence[Step] = (FINE,)) -> None:
        """Let the paid model meet these steps, the free one those."""
        steps: dict[str, Sequence[Step]] = {"paid": paid or (FINE,), "local": local, "odd": (FINE,)}
        prices: dict[str, Price | None] = {"paid": CENT_PRICE, "local": FreePrice(), "odd": None}
        self.scripted = {
            name: Scripted(name=name, script=Script(steps=tuple(met)))
            for name, met in steps.items()
        }
        self.bench.kernel.models = Models(
            {
                name: Source(
                    provider=provider,
                    price_hint=None,
                    price=prices[name],
                    max_tokens=77 if name == "local" else 10_000,
                    attempts_max=self.attempts_max,
                    retry_delay_s=0.001,
                    retry_delay_max_s=0.002,
                    retry_after_max_s=0.05,
                )
                for name, provider in self.scripted.items()
            }
        )

    async def tick(
        self, work: Work, *fallback: str, model: str = "paid/m", name: str = "w"
    ) -> TickEnd:
        async def run(ctx: Context) -> None:
            await work(ctx)

        plan = await self.bench.plan(run, name=name)
        plan = replace(plan, model=model, fallback=fallback or FALLBACK)
        return await run_tick(self.bench.kernel, plan)

    async def ends(self) -> list[tuple[str, str]]:
        """Return every hold's model and how it ended, in the order of their ends."""
        placed = {one["hold"]: one["model"] for one in await self.bench.events("hold_placed")}
        ends = await self.bench.events("hold_settled", "hold_released", "hold_forfeited")
        told = [(str(placed[one["hold"]]), str(one["kind"])) for one in ends]
        return [(model, kind.removeprefix("hold_")) for model, kind in told]

    async def falls(self) -> list[tuple[str, str, str]]:
        found = await self.bench.events("model_fell_back")
        return [(str(one["asked"]), str(one["model"]), str(one["code"])) for one in found]

    async def refused(self) -> list[object]:
        """Return the models of the calls that a gate refused."""
        return [one["model"] for one in await self.bench.events("call_refused")]

    async def assert_sound(self) -> None:
        assert (await self.bench.store.read(audit)).findings == ()
        assert (await self.bench.day()).held == 0


@pytest.fixture
def fleet(bench: Bench) -> Fleet:
    return Fleet(bench)


async def ask(ctx: Context) -> str:
    return (await ctx.model.complete("hi")).model
