"""Breakers of a worker, a provider and all: opened, probed once at a time, closed, durable."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import pytest

from supervisor import BreakerOpen, Context, Outcome, ProviderFailed
from supervisor.governance.audit import audit
from supervisor.governance.breaker import Breaker, BreakerRules, BreakerState, all_breakers
from supervisor.providers.http_errors import status_failure
from supervisor.providers.provider import ModelAnswer, ModelRequest
from supervisor.providers.scripted import Script, Scripted, Step
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


@pytest.fixture
def guarded(bench: Bench) -> Bench:
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


# --- failures


async def test_so_many_failed_ticks_in_a_row_open_the_workers_breaker(guarded: Bench) -> None:
    await open_worker(guarded)
    end = await tick(guarded, works)
    assert end.outcome is Outcome.SKIPPED
    assert isinstance(end.refusal, BreakerOpen)
    assert end.refusal.name == "worker:w"
    assert "supervisor breakers close worker:w --why TEXT" in str(end.refusal)
    assert "3 ticks in a row failed" in str(end.refusal)
    assert (await tick(guarded, works, name="sibling")).outcome is Outcome.OK


async def test_a_tick_that_goes_well_in_between_begins_the_count_anew(guarded: Bench) -> None:
    for function in (fails, fails, works, fails, fails):
        await tick(guarded, function)
    assert await story(guarded) == []
    assert (await breakers(guarded))["worker:w"].failures == 2


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.NOOP])
async def test_a_tick_without_work_is_no_failure(guarded: Bench, outcome: Outcome) -> None:
    async def run(ctx: Context) -> Outcome:
        return outcome

    for _ in range(10):
        await tick(guarded, run)
    assert await story(guarded) == []


async def test_a_rule_of_0_is_off(guarded: Bench) -> None:
    only(guarded, failures_max=0)
    for _ in range(10):
        await tick(guarded, fails)
    assert await breakers(guarded) == {}


async def test_failed_ticks_of_all_workers_in_a_row_open_the_systems_breaker(
    guarded: Bench,
) -> None:
    for name in ("a", "b", "c", "a", "b", "c"):
        await tick(guarded, fails, name=name)
    assert await story(guarded) == [("system", "opened")]
    end = await tick(guarded, works, name="d")
    assert isinstance(end.refusal, BreakerOpen)
    assert end.refusal.name == "system"


# --- half-open


async def test_when_the_cooldown_is_over_one_tick_probes_and_closes_it(guarded: Bench) -> None:
    await open_worker(guarded)
    pass_by(guarded, 299)
    assert (await tick(guarded, works)).outcome is Outcome.SKIPPED
    pass_by(guarded, 1)
    assert (await tick(guarded, works)).outcome is Outcome.OK
    assert await story(guarded) == [
        ("worker:w", "opened"),
        ("worker:w", "half_opened"),
        ("worker:w", "closed"),
    ]
    assert (await breakers(guarded))["worker:w"].failures == 0
    assert (await guarded.store.read(audit)).findings == ()


async def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_maximum(
    guarded: Bench,
) -> None:
    await open_worker(guarded)
    for span_s in (300, 600, 1_200, 1_200):
        opened = (await breakers(guarded))["worker:w"]
        assert opened.retry_at - opened.changed_at == span_s * 1_000_000
        pass_by(guarded, span_s - 1)
        assert (await tick(guarded, fails)).outcome is Outcome.SKIPPED
        pass_by(guarded, 1)
        assert (await tick(guarded, fails)).outcome is Outcome.FAILED
    assert (await guarded.store.read(audit)).findings == ()


async def test_one_that_flaps_goes_on_doubling_and_one_that_held_begins_anew(
    guarded: Bench,
) -> None:
    await open_worker(guarded)
    pass_by(guarded, 300)
    await tick(guarded, works)
    await open_worker(guarded)
    assert (await breakers(guarded))["worker:w"].openings == 2
    pass_by(guarded, 600)
    await tick(guarded, works)
    pass_by(guarded, RULES.cooldown_max_s)
    await open_worker(guarded)
    assert (await breakers(guarded))["worker:w"].openings == 1


async def test_a_probe_that_was_cut_short_leaves_its_place_to_the_next(guarded: Bench) -> None:
    await open_worker(guarded)
    pass_by(guarded, 300)
    with anyio.move_on_after(0.01):
        await tick(guarded, lambda _: anyio.sleep(10))
    assert (await breakers(guarded))["worker:w"].state is BreakerState.HALF_OPEN
    assert (await tick(guarded, works)).outcome is Outcome.OK
    assert (await story(guarded))[-3:] == [
        ("worker:w", "half_opened"),
        ("worker:w", "half_opened"),
        ("worker:w", "closed"),
    ]


async def test_of_32_workers_one_probes_the_systems_breaker(guarded: Bench) -> None:
    for name in ("a", "b", "c", "a", "b", "c"):
        await tick(guarded, fails, name=name)
    pass_by(guarded, 300)
    ends: list[TickEnd] = []

    async def slow(ctx: Context) -> None:
        await anyio.sleep(0.2)

    async def one(name: str) -> None:
        ends.append(await tick(guarded, slow, name=name))

    async with anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(one, f"w{number}")
    assert sorted(end.outcome for end in ends) == [Outcome.OK, *[Outcome.SKIPPED] * 31]
    assert (await story(guarded))[-2:] == [("system", "half_opened"), ("system", "closed")]


async def test_of_32_calls_of_a_probing_tick_one_is_sent_until_it_is_answered(
    guarded: Bench,
) -> None:
    guarded.script(Step(output_tokens=1, latency_s=0.05))
    await open_worker(guarded)
    pass_by(guarded, 300)

    async def fan_out(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(ctx.model.complete, f"{number}")
            await anyio.sleep(0.03)
            assert len(await guarded.events("hold_placed")) == 1

    assert (await tick(guarded, fan_out)).outcome is Outcome.OK
    assert len(await guarded.events("hold_settled")) == 32
    assert (await guarded.events("call_refused")) == []


async def test_where_the_probe_of_a_tick_fails_its_other_calls_are_refused(guarded: Bench) -> None:
    guarded.script(Step(does="server_error", latency_s=0.05), FINE)
    await open_worker(guarded)
    pass_by(guarded, 300)
    refused: list[str] = []

    async def caller(ctx: Context) -> None:
        try:
            await ctx.model.complete("x")
        except (BreakerOpen, ProviderFailed) as error:
            refused.append(error.code)

    async def fan_out(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(caller, ctx)

    await tick(guarded, fan_out)
    assert sorted(refused) == [*["breaker_open"] * 7, "provider_failed"]
    assert (await story(guarded))[-1] == ("worker:w", "opened")


async def test_a_call_inside_of_the_probe_is_a_part_of_it(guarded: Bench) -> None:
    guarded.script(FINE)
    await open_worker(guarded)
    pass_by(guarded, 300)

    async def nested(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.01, what="search"):
            await ctx.model.complete("what it found")

    assert (await tick(guarded, nested)).outcome is Outcome.OK
    assert (await story(guarded))[-1] == ("worker:w", "closed")


async def test_a_tick_that_fails_after_its_probing_call_opens_it_again(guarded: Bench) -> None:
    guarded.script(FINE)
    await open_worker(guarded)
    pass_by(guarded, 300)

    async def run(ctx: Context) -> Outcome:
        await calls(ctx)
        return Outcome.FAILED

    await tick(guarded, run)
    assert [state for _, state in await story(guarded)] == [
        "opened",
        "half_opened",
        "closed",
        "opened",
    ]
    assert (await breakers(guarded))["worker:w"].openings == 2


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


# --- clocks, reloads


async def test_a_clock_that_was_set_back_keeps_no_breaker_open_for_years(guarded: Bench) -> None:
    await open_worker(guarded)
    guarded.clock.step_wall(-timedelta(days=3_650).total_seconds())
    assert (await tick(guarded, works)).outcome is Outcome.OK
    assert (await breakers(guarded))["worker:w"].state is BreakerState.CLOSED


async def test_a_reload_counts_by_the_new_rules_and_ends_no_cooldown(guarded: Bench) -> None:
    await tick(guarded, fails)
    only(guarded, failures_max=2)
    await tick(guarded, fails)
    assert (await tick(guarded, works)).outcome is Outcome.SKIPPED
    only(guarded, failures_max=0)
    assert (await tick(guarded, works)).outcome is Outcome.SKIPPED
    pass_by(guarded, 300)
    assert (await tick(guarded, works)).outcome is Outcome.OK
