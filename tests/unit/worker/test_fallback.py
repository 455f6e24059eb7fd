"""Where a model gives no answer, those behind it are asked, each under a hold of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor import (
    BreakerOpen,
    BudgetExceeded,
    Context,
    InputRefused,
    KillSwitchEngaged,
    ModelAccessDenied,
    Outcome,
    PriceUnknown,
    ProviderFailed,
)
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.model_governor import ModelGovernor, ModelTier
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.providers.scripted import Step
from tests.unit.worker.breaker_bench import pass_by
from tests.unit.worker.conftest import UTC_ZONE
from tests.unit.worker.fleet import BUSY, FINE, Fleet, ask, fleet

__all__ = ["fleet"]

CENT = Step(input_tokens=0, output_tokens=10_000)
DOWN = Step(does="server_error")


# --- what falls over


@pytest.mark.parametrize(
    ("step", "end"),
    [(DOWN, "forfeited"), (Step(does="garbage"), "forfeited"), (BUSY, "released")],
    ids=["500", "garbage", "429"],
)
async def test_a_provider_that_fails_is_followed_by_the_next_and_each_has_its_hold(
    fleet: Fleet, step: Step, end: str
) -> None:
    fleet.script(step)
    said: list[str] = []

    async def work(ctx: Context) -> None:
        said.append(await ask(ctx))

    assert (await fleet.tick(work)).outcome is Outcome.OK
    assert said == ["local/m"], "who answered is no secret"
    assert await fleet.ends() == [("paid/m", end), ("local/m", "settled")]
    assert await fleet.falls() == [("paid/m", "local/m", "provider_failed")]
    (fell,) = await fleet.bench.events("model_fell_back")
    assert str(fell["why"]).startswith("paid/m: provider paid: ")
    await fleet.assert_sound()


async def test_all_tries_that_the_provider_allows_come_before_the_fall(fleet: Fleet) -> None:
    fleet.attempts_max = 3
    fleet.script(BUSY, BUSY, FINE)
    await fleet.tick(ask)
    assert await fleet.falls() == []
    fleet.script(BUSY)
    await fleet.tick(ask)
    assert fleet.scripted["paid"].calls == 3
    assert len(await fleet.falls()) == 1


async def test_a_provider_that_wants_to_be_left_alone_for_long_is_not_waited_for(
    fleet: Fleet,
) -> None:
    fleet.attempts_max = 3
    fleet.script(Step(does="rate_limited", retry_after_s=3_600))
    await fleet.tick(ask)
    assert fleet.scripted["paid"].calls == 1
    (fell,) = await fleet.bench.events("model_fell_back")
    assert "it asks to wait 3600 s or more" in str(fell["why"])


async def test_a_provider_that_asked_for_it_is_left_alone_until_then(fleet: Fleet) -> None:
    fleet.script(Step(does="rate_limited", retry_after_s=3_600), FINE)
    for _ in range(3):
        assert (await fleet.tick(ask)).outcome is Outcome.OK
    assert fleet.scripted["paid"].calls == 1
    assert len(await fleet.falls()) == 3
    assert (await fleet.tick(ask, "paid/other")).outcome is Outcome.OK
    assert (await fleet.ends())[-1] == ("paid/other", "settled"), "limits may be of a model alone"
    end = await fleet.tick(ask, "paid/m")
    assert end.outcome is Outcome.FAILED
    assert "m is left alone for another 3600 s, as it asked: HTTP 429" in end.why
    pass_by(fleet.bench, 3_601)
    await fleet.tick(ask)
    assert (await fleet.ends())[-1] == ("paid/m", "settled")
    await fleet.assert_sound()


async def test_without_a_fallback_a_long_wait_fails_the_call_at_once(fleet: Fleet) -> None:
    fleet.attempts_max = 3
    fleet.script(Step(does="rate_limited", retry_after_s=3_600))
    assert (await fleet.tick(ask, "paid/m")).outcome is Outcome.FAILED
    assert fleet.scripted["paid"].calls == 1


async def test_a_spent_cap_falls_to_the_free_model_and_never_above_it(fleet: Fleet) -> None:
    fleet.bench.kernel.policy = fleet.bench.policy(cap=15_000)
    fleet.script(CENT)

    async def work(ctx: Context) -> None:
        for _ in range(3):
            await ctx.model.complete("hi", max_tokens=10_000)
            await ctx.calls.flush()

    assert (await fleet.tick(work)).outcome is Outcome.OK
    used = [model for model, _ in await fleet.ends()]
    assert used == ["paid/m", "paid/m", "local/m"], "the second one with what was left"
    assert await fleet.falls() == [("paid/m", "local/m", "budget_exceeded")]
    assert (await fleet.bench.day()).settled == 15_000
    again = await fleet.tick(ask)
    assert again.outcome is Outcome.OK, "a spent cap lets a tick through that may go on for free"
    await fleet.assert_sound()


async def test_a_cap_of_one_model_does_not_keep_the_tick_from_the_others(fleet: Fleet) -> None:
    limits = [
        Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=10**6),
        Budget(scope="model:paid/m", period=Period.DAY, unit=Unit.TOKENS, limit_amount=0),
    ]
    budgets = Budgets(limits, timezone=UTC_ZONE, warn_ratio=0.8)
    fleet.bench.kernel.policy = replace(fleet.bench.kernel.policy, budgets=budgets)
    for _ in range(2):  # by the second time the account is there
        assert (await fleet.tick(ask)).outcome is Outcome.OK
    assert await fleet.ends() == [("local/m", "settled")] * 2


async def test_an_open_breaker_of_the_provider_falls_over_at_once_and_its_probe_brings_it_back(
    fleet: Fleet,
) -> None:
    rules = BreakerRules(provider_failures_max=2, cooldown_s=300.0)
    fleet.bench.kernel.policy = replace(fleet.bench.kernel.policy, breakers=rules)
    fleet.script(DOWN, DOWN, FINE)
    for _ in range(4):
        assert (await fleet.tick(ask)).outcome is Outcome.OK
    assert fleet.scripted["paid"].calls == 2, "then its breaker is open, and nobody asks it"
    assert [code for _, _, code in await fleet.falls()] == ["provider_failed"] * 2 + [
        "breaker_open"
    ] * 2
    pass_by(fleet.bench, 301)
    await fleet.tick(ask)
    assert (await fleet.ends())[-1] == ("paid/m", "settled")
    await fleet.assert_sound()


# --- what does not


@pytest.mark.parametrize("scope", ["worker:w", "system"])
async def test_a_kill_asks_no_other_model(fleet: Fleet, scope: str) -> None:
    from tests.unit.worker.test_tick import kill

    async def work(ctx: Context) -> None:
        await kill(fleet.bench, scope)
        with pytest.raises(KillSwitchEngaged):
            await ask(ctx)

    await fleet.tick(work)
    assert fleet.scripted["local"].calls == 0
    assert await fleet.refused() == ["paid/m"]


async def test_the_workers_own_breaker_asks_no_other_model(fleet: Fleet) -> None:
    rules = BreakerRules(repeats_max=2)
    fleet.bench.kernel.policy = replace(fleet.bench.kernel.policy, breakers=rules)

    async def work(ctx: Context) -> None:
        for _ in range(2):
            await ask(ctx)
            await ctx.calls.flush()
        with pytest.raises(BreakerOpen):
            await ask(ctx)

    await fleet.tick(work)
    assert fleet.scripted["local"].calls == 0
    assert await fleet.refused() == ["paid/m"]


async def test_what_the_caller_may_not_use_is_refused_and_not_replaced(fleet: Fleet) -> None:
    governor = ModelGovernor(tiers={ModelTier.STANDARD: ["local/*"]})
    fleet.bench.kernel.policy = replace(fleet.bench.kernel.policy, governor=governor)
    end = await fleet.tick(ask)
    assert isinstance(end.refusal, ModelAccessDenied)
    assert fleet.scripted["local"].calls == 0


async def test_a_model_behind_that_the_caller_may_not_use_is_passed_over(fleet: Fleet) -> None:
    governor = ModelGovernor(tiers={ModelTier.STANDARD: ["paid/*"]})
    fleet.bench.kernel.policy = replace(fleet.bench.kernel.policy, governor=governor)
    fleet.script(DOWN)
    end = await fleet.tick(ask)
    assert end.outcome is Outcome.FAILED, "the provider's failure is what may be over soon"
    assert fleet.scripted["local"].calls == 0
    assert len(await fleet.bench.events("model_access_denied")) == 1


async def test_an_input_that_can_not_be_bounded_asks_no_other_model(fleet: Fleet) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(InputRefused):
            await ctx.model.complete([{"role": "user", "content": ""}], max_tokens=0)

    await fleet.tick(work)
    assert await fleet.falls() == []


async def test_a_price_that_nobody_knows_is_passed_over_only_behind_another(fleet: Fleet) -> None:
    fleet.script(DOWN)
    assert (await fleet.tick(ask, "odd/m", "local/m")).outcome is Outcome.OK
    assert (await fleet.ends())[-1] == ("local/m", "settled")
    assert [one["code"] for one in await fleet.bench.events("call_refused")] == ["price_unknown"]
    end = await fleet.tick(ask, "local/m", model="odd/m")
    assert isinstance(end.refusal, PriceUnknown), "of the model asked for, somebody has to know"


# --- which model is next, and what is told where none answers


async def test_a_call_to_a_model_behind_falls_to_those_after_it_alone(fleet: Fleet) -> None:
    fleet.script(local=(DOWN,))

    async def work(ctx: Context) -> None:
        await ctx.model.complete("hi", model="local/m")

    assert (await fleet.tick(work, "paid/m", "local/m")).outcome is Outcome.FAILED
    assert fleet.scripted["paid"].calls == 0


async def test_where_none_answers_the_failure_names_each_and_the_tick_has_failed(
    fleet: Fleet,
) -> None:
    fleet.bench.kernel.policy = fleet.bench.policy(cap=0)
    fleet.script(local=(DOWN,))
    said: list[ProviderFailed] = []

    async def work(ctx: Context) -> None:
        try:
            await ask(ctx)
        except ProviderFailed as error:
            said.append(error)
            raise

    end = await fleet.tick(work)
    assert end.outcome is Outcome.FAILED, "not refused: a server may be back before midnight"
    assert "paid/m: account system/day/2026-06-01/micro_usd: hold of" in str(said[0])
    assert "local/m: provider local: HTTP 500" in str(said[0])
    await fleet.assert_sound()


async def test_where_only_gates_said_no_the_one_that_opens_first_is_told(fleet: Fleet) -> None:
    rules = BreakerRules(provider_failures_max=1, cooldown_s=300.0)
    fleet.bench.kernel.policy = replace(fleet.bench.policy(cap=0), breakers=rules)
    fleet.script(local=(DOWN,))
    await fleet.tick(ask)
    end = await fleet.tick(ask)
    assert isinstance(end.refusal, BreakerOpen)
    assert end.refusal.name == "provider:local"


async def test_a_cap_that_refuses_them_all_is_the_cap(fleet: Fleet) -> None:
    fleet.bench.kernel.policy = fleet.bench.policy(cap=0)

    async def work(ctx: Context) -> None:
        with pytest.raises(BudgetExceeded):
            await ask(ctx)

    await fleet.tick(work, "paid/other")
    assert len(await fleet.bench.events("call_refused")) == 2


async def test_the_length_of_an_answer_is_the_models_own_unless_the_worker_says_it(
    fleet: Fleet,
) -> None:
    fleet.script(DOWN)

    async def work(ctx: Context) -> None:
        await ask(ctx)
        await ctx.model.complete("hi", max_tokens=33)

    await fleet.tick(work)
    placed = await fleet.bench.events("hold_placed")
    first, second = (one["tokens"] for one in placed if one["model"] == "local/m")
    assert int(str(first)) - int(str(second)) == 77 - 33
