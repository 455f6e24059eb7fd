"""The governor stands in the gates of every model call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from supervisor.errors import ModelAccessDenied
from supervisor.governance.audit import audit
from supervisor.governance.model_governor import ModelGovernor, ModelList, ModelTier
from supervisor.identity import Identity
from supervisor.outcome import Outcome
from supervisor.worker.context import Context
from supervisor.worker.tick import TickEnd, run_tick
from tests.unit.worker.conftest import Bench

ANN = Identity(org="acme", user="ann")


async def tick(
    bench: Bench, work: Callable[[Context], Awaitable[None]], governor: ModelGovernor
) -> TickEnd:
    bench.kernel.policy = replace(bench.kernel.policy, governor=governor)

    async def run(ctx: Context) -> None:
        await work(ctx)

    return await run_tick(bench.kernel, replace(await bench.plan(run), identity=ANN))


async def test_a_denied_model_is_not_called_and_its_denial_is_on_record(bench: Bench) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(ModelAccessDenied):
            await ctx.model.complete("hi")
        async with ctx.model.stream("hi"):
            pass

    end = await tick(bench, work, ModelGovernor(tiers={ModelTier.STANDARD: ["q/*"]}))
    assert end.outcome is Outcome.REFUSED
    assert isinstance(end.refusal, ModelAccessDenied)
    assert bench.provider.billed_calls == 0
    denied = await bench.events("model_access_denied")
    assert [event["model"] for event in denied] == ["p/m", "p/m"]
    assert (denied[0]["tier"], denied[0]["identity"]) == ("restricted", "org:acme,user:ann")
    refused = await bench.events("call_refused")
    assert [event["code"] for event in refused] == ["model_access_denied"] * 2
    assert await bench.events("hold_placed") == []


async def test_a_model_of_no_provider_is_denied_on_record_too(bench: Bench) -> None:
    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", model="nobody/m")

    end = await tick(bench, work, ModelGovernor())
    assert isinstance(end.refusal, ModelAccessDenied)
    (denied,) = await bench.events("model_access_denied")
    assert denied["model"] == "nobody/m"


async def test_an_override_is_recorded_at_each_use(bench: Bench) -> None:
    governor = ModelGovernor(
        tiers={}, overrides=[ModelList(identity=Identity(user="ann"), models=("p/m",))]
    )

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", max_tokens=1)
        await ctx.model.complete("hi", max_tokens=1)
        with pytest.raises(ModelAccessDenied):
            await ctx.model.complete("hi", max_tokens=1, identity={"user": "bob"})

    assert (await tick(bench, work, governor)).outcome is Outcome.OK
    used = await bench.events("model_override_used")
    assert [event["model"] for event in used] == ["p/m", "p/m"]
    assert used[0] == {
        "kind": "model_override_used",
        "worker": "w",
        "model": "p/m",
        "tier": "restricted",
        "identity": "org:acme,user:ann",
    }
    assert (await bench.store.read(audit)).findings == ()


async def test_a_call_for_an_action_is_judged_by_the_actions_tier(bench: Bench) -> None:
    governor = ModelGovernor(
        tiers={ModelTier.STANDARD: ["p/*"]}, actions={"always_approve": [ModelTier.PREMIUM]}
    )

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", max_tokens=1)
        await ctx.model.complete("hi", max_tokens=1, action_tier="always_approve")

    end = await tick(bench, work, governor)
    assert isinstance(end.refusal, ModelAccessDenied)
    assert bench.provider.billed_calls == 1
