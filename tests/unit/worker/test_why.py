"""A worker says why its tick failed, and everybody who is told of the failure is told why."""

from __future__ import annotations

import pytest

from supervisor import Context, Outcome
from supervisor.alerts.facts import Fact, read_event
from supervisor.events import kinds
from supervisor.governance.audit import audit
from supervisor.governance.status import Surroundings, read_status
from tests.unit.worker.breaker_bench import breakers, fails, tick, works
from tests.unit.worker.conftest import Bench

WHY = "the feed answers 404"


async def says_why(ctx: Context) -> Outcome:
    ctx.state["seen"] = ctx.tick
    return ctx.failed(WHY)


async def last_why(bench: Bench) -> str:
    around = Surroundings(holder=None, stop_requested=None, heartbeat_s=5.0)
    status = await bench.store.read(
        lambda tx: read_status(
            tx,
            now=bench.clock.now(),
            worker_names=["w"],
            budgets=bench.kernel.policy.budgets,
            around=around,
        )
    )
    return status.workers[0].last_why


async def test_what_it_says_is_on_record_and_its_state_is_kept(bench: Bench) -> None:
    assert (await tick(bench, says_why)).outcome is Outcome.FAILED
    completed = await bench.events("cycle_completed")
    assert [(event["outcome"], event["why"]) for event in completed] == [("failed", WHY)]
    seen: list[object] = []

    async def looks(ctx: Context) -> Outcome:
        seen.append(ctx.state["seen"])
        return ctx.unknown("no answer came")

    assert (await tick(bench, looks)).outcome is Outcome.UNKNOWN
    assert seen == [1]
    assert (await bench.events("cycle_completed"))[-1]["why"] == "no answer came"
    assert (await bench.store.read(audit)).findings == ()


async def test_the_status_says_it_until_a_tick_goes_well(bench: Bench) -> None:
    await tick(bench, says_why)
    assert await last_why(bench) == WHY
    await tick(bench, works)
    assert await last_why(bench) == ""


async def test_the_breaker_and_its_alert_say_it(guarded: Bench) -> None:
    for _ in range(3):
        await tick(guarded, says_why)
    why = f"3 ticks in a row failed, at last: {WHY}"
    assert (await breakers(guarded))["worker:w"].why == why
    opened = await guarded.events("breaker_opened")
    fact = read_event(kinds.BreakerOpened(name="worker:w", why=str(opened[0]["why"]), retry_at=0))
    assert isinstance(fact, Fact)
    assert fact.what == why


async def test_without_a_word_the_breaker_says_how_to_give_one(guarded: Bench) -> None:
    for _ in range(3):
        await tick(guarded, fails)
    assert "`return ctx.failed(why)` does" in (await breakers(guarded))["worker:w"].why


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.UNKNOWN])
async def test_why_it_failed_is_not_said_of_another_outcome(bench: Bench, outcome: Outcome) -> None:
    async def run(ctx: Context) -> Outcome:
        ctx.failed(WHY)
        return outcome

    await tick(bench, run)
    assert "why" not in (await bench.events("cycle_completed"))[0]


async def test_an_exception_and_half_a_character_are_words_too(bench: Bench) -> None:
    async def run(ctx: Context) -> Outcome:
        return ctx.failed(ValueError("half of \ud83d"))  # type: ignore[arg-type] # as a user might

    assert (await tick(bench, run)).outcome is Outcome.FAILED
    assert (await bench.events("cycle_completed"))[0]["why"] == "half of \\ud83d"
