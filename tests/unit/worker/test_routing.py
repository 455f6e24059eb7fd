"""A class of models becomes the cheapest allowed model, and what that saves is on record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from supervisor.errors import ModelAccessDenied
from supervisor.governance.audit import audit
from supervisor.governance.model_governor import ModelGovernor, ModelTier
from supervisor.governance.routing import Ask, RouteRule, Routing
from supervisor.governance.suggesting import saved_since
from supervisor.ledger.pricing import FixedPrice
from supervisor.outcome import Outcome
from supervisor.providers.scripted import Script, Scripted, Step
from supervisor.worker.context import Context
from supervisor.worker.models import Models, Source
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import Bench

#: USD per million tokens of output; input costs nothing.
PRICES = {"small": 1.0, "middle": 5.0, "large": 20.0, "unpriced": None}
CLASSES = {
    "cheap": ("unpriced/m", "middle/m", "small/m"),
    "balanced": ("middle/m",),
    "best": ("large/m",),
}
USAGE = Step(input_tokens=10, output_tokens=1_000)


def models() -> Models:
    return Models(
        {
            name: Source(
                provider=Scripted(name=name, script=Script(steps=(USAGE,))),
                # Nobody knows a model of that name.
                price_hint=None,
                price=None
                if price is None
                else FixedPrice(input_usd_per_mtok=0, output_usd_per_mtok=price),
                max_tokens=2_000,
                attempts_max=1,
                retry_delay_s=0.001,
                retry_delay_max_s=0.002,
            )
            for name, price in PRICES.items()
        }
    )


async def tick(
    bench: Bench,
    work: Callable[[Context], Awaitable[None]],
    *rules: RouteRule,
    governor: ModelGovernor | None = None,
    model: str = "cheap",
) -> TickEnd:
    bench.kernel.models = models()
    bench.kernel.policy = replace(
        bench.kernel.policy, routing=Routing(classes=CLASSES, rules=rules), governor=governor
    )

    async def run(ctx: Context) -> None:
        await work(ctx)

    return await run_tick(bench.kernel, replace(await bench.plan(run), model=model))


async def used(bench: Bench) -> list[object]:
    return [event["model"] for event in await bench.events("hold_placed")]


async def test_a_class_is_the_cheapest_of_its_models_that_has_a_price(bench: Bench) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi")
        await ctx.model.complete("hi", model="balanced")
        async with ctx.model.stream("hi", model="best") as stream:
            async for _ in stream:
                pass
        await ctx.model.complete("hi", model="middle/m")

    assert (await tick(bench, work)).outcome is Outcome.OK
    assert await used(bench) == ["small/m", "middle/m", "large/m", "middle/m"]
    routed = await bench.events("model_routed")
    assert [(one["asked"], one["model"], one["best"]) for one in routed] == [
        ("cheap", "small/m", "large/m"),
        ("balanced", "middle/m", "large/m"),
        ("best", "large/m", "large/m"),
    ]
    saved = [event.get("saved", 0) for event in await bench.events("hold_settled")]
    assert saved == [19_000, 15_000, 0, 0], "of 1,000 tokens against 20 USD per million"
    assert await bench.store.read(saved_since, bench.clock.now()) == 34_000
    assert (await bench.store.read(audit)).findings == ()


async def test_a_model_that_may_not_be_used_is_no_offer(bench: Bench) -> None:
    governor = ModelGovernor(tiers={ModelTier.STANDARD: ["middle/*"]})

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi")
        with pytest.raises(ModelAccessDenied, match="has none among the best models"):
            await ctx.model.complete("hi", model="best")

    assert (await tick(bench, work, governor=governor)).outcome is Outcome.OK
    assert await used(bench) == ["middle/m"]
    (denied,) = await bench.events("model_access_denied")
    assert denied["model"] == "best"


async def test_the_remaining_budget_turns_a_call_to_a_cheaper_class(bench: Bench) -> None:
    rule = RouteRule(use="cheap", asked="best", budget_left_max=0.5)
    bench.kernel.policy = bench.policy(cap=60_000)

    async def work(ctx: Context) -> None:
        for _ in range(3):
            await ctx.model.complete("hi", model="best")
            await ctx.calls.flush()

    assert (await tick(bench, work, rule)).outcome is Outcome.OK
    assert await used(bench) == ["large/m", "large/m", "small/m"]
    routed = await bench.events("model_routed")
    assert [(one["use"], one.get("rule", 0)) for one in routed] == [
        ("best", 0),
        ("best", 0),
        ("cheap", 1),
    ]


@pytest.mark.parametrize(
    ("asked", "purpose", "tokens", "left", "use"),
    [
        ("cheap", "", 100, 1.0, ("cheap", 0)),
        ("cheap", "review of a merge", 100, 1.0, ("best", 1)),
        ("best", "", 10_000, 1.0, ("best", 0)),
        ("best", "", 10_001, 1.0, ("balanced", 2)),
        ("balanced", "", 10_001, 1.0, ("balanced", 0)),
        ("balanced", "", 100, 0.1, ("cheap", 3)),
        ("balanced", "", 100, 0.11, ("balanced", 0)),
        ("cheap", "review", 100, 0.0, ("best", 1)),
    ],
)
def test_the_first_rule_that_is_on_a_call_decides(
    asked: str, purpose: str, tokens: int, left: float, use: tuple[str, int]
) -> None:
    routing = Routing(
        classes=CLASSES,
        rules=[
            RouteRule(use="best", purpose="review*"),
            RouteRule(use="balanced", asked="best", input_tokens_min=10_001),
            RouteRule(use="cheap", budget_left_max=0.1),
        ],
    )
    ask = Ask(asked=asked, purpose=purpose, input_tokens=tokens, budget_left=left)
    assert routing.use(ask) == use
