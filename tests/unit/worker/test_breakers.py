"""Breakers of a worker and of all: opened by failures, probed once at a time, closed."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from supervisor import BreakerOpen, Context, Outcome, ProviderFailed
from supervisor.events.log import Origin
from supervisor.governance.audit import audit
from supervisor.governance.breaker import BreakerState
from supervisor.governance.breaker_commands import CloseBreaker, close_breaker
from supervisor.providers.scripted import Step
from supervisor.worker.tick import TickEnd
from tests.unit.worker.breaker_bench import (
    FINE,
    RULES,
    breakers,
    calls,
    fails,
    only,
    open_worker,
    pass_by,
    story,
    tick,
    works,
)
from tests.unit.worker.conftest import UTC_ZONE, Bench

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
    guarded.script(Step(output_tokens=1, latency_s=0.3), Step(output_tokens=1))
    await open_worker(guarded)
    pass_by(guarded, 300)

    async def fan_out(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(ctx.model.complete, f"{number}")
            # A busy machine takes its time; the probe's answer takes more.
            while not (placed := await guarded.events("hold_placed")):
                pass
            assert len(placed) == 1

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


async def test_closing_by_hand_what_a_probe_has_closed_keeps_the_record_true(
    guarded: Bench,
) -> None:
    guarded.script(FINE)
    await open_worker(guarded)
    pass_by(guarded, 300)
    await tick(guarded, calls)
    await tick(guarded, fails)
    command = CloseBreaker(name="worker:w", why="mended")
    origin = Origin(at=guarded.clock.now(), actor="ann", command_id="c1")
    done = await guarded.store.write(close_breaker, command, origin, UTC_ZONE)
    assert (done.was, done.changed) == ("closed", False)
    closed = (await breakers(guarded))["worker:w"]
    # It began to fail again soon after it was opened: that is not forgotten, as nothing was opened.
    assert (closed.failures, closed.openings) == (0, 1)
    assert (await guarded.store.read(audit)).findings == ()


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
