"""Ticks under breakers, and what a test looks at."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from supervisor import Context, Outcome
from supervisor.governance.breaker import Breaker, BreakerRules, all_breakers
from supervisor.providers.scripted import Scripted, Step
from supervisor.worker.models import Model, Models, Source
from supervisor.worker.plan import WorkerFunction
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import CENT_PRICE, Bench

RULES = BreakerRules(
    failures_max=3,
    provider_failures_max=4,
    system_failures_max=6,
    repeats_max=3,
    cooldown_s=300.0,
    cooldown_max_s=1_200.0,
)
FINE = Step(output_tokens=1)
DOWN = Step(does="server_error")


def with_breakers(bench: Bench) -> Bench:
    """Give the bench every breaker."""
    bench.kernel.policy = replace(bench.kernel.policy, breakers=RULES)
    return bench


def only(bench: Bench, **rules: int) -> None:
    bench.kernel.policy = replace(bench.kernel.policy, breakers=BreakerRules(**rules))


async def tick(bench: Bench, function: WorkerFunction, *, name: str = "w") -> TickEnd:
    return await run_tick(bench.kernel, await bench.plan(function, name=name))


async def fails(ctx: Context) -> Outcome:
    return Outcome.FAILED


async def works(ctx: Context) -> Outcome:
    return Outcome.OK


async def calls(ctx: Context) -> None:
    await ctx.model.complete(f"tick {ctx.tick}")


async def breakers(bench: Bench) -> dict[str, Breaker]:
    return {one.name: one for one in await bench.store.read(all_breakers)}


async def story(bench: Bench) -> list[tuple[str, str]]:
    """Return what became of every breaker: its name and its new state."""
    found = await bench.events("breaker_opened", "breaker_half_opened", "breaker_closed")
    return [(str(e["name"]), str(e["kind"]).removeprefix("breaker_")) for e in found]


def pass_by(bench: Bench, seconds: float) -> None:
    bench.clock.advance(seconds)


async def open_worker(bench: Bench, name: str = "w") -> None:
    for _ in range(3):
        assert (await tick(bench, fails, name=name)).outcome is Outcome.FAILED


def two_models(provider: Scripted) -> Models:
    """Return a provider whose model `small` costs a tenth of its others."""

    class Priced(Models):
        def resolve(self, full_name: str, at: datetime) -> Model:
            model = super().resolve(full_name, at)
            is_small = model.name == "small"
            return replace(model, price=TENTH) if is_small else model

    source = Source(
        provider=provider,
        price_hint=None,
        price=CENT_PRICE,
        max_tokens=10_000,
        attempts_max=1,
        retry_delay_s=0.001,
        retry_delay_max_s=0.002,
    )
    return Priced({"p": source}, named=["p/m", "p/small", "q/free"])


TENTH = type(CENT_PRICE)(input_usd_per_mtok=0, output_usd_per_mtok=0.1)
