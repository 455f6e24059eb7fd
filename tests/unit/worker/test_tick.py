"""One tick: what passes, what is skipped, and what is recorded at its end."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import msgspec
import pytest

from supervisor import Context, Outcome
from supervisor.events.log import Origin, Recorded
from supervisor.governance import kill_switch
from supervisor.governance.audit import audit
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.session import SessionWithTotals
from supervisor.ledger.accounts import Amounts
from supervisor.maintenance.recovery import Findings, recover
from supervisor.providers.scripted import Step
from supervisor.storage.database import Transaction
from supervisor.worker.plan import WorkerFunction, WorkerPlan
from supervisor.worker.records import Started, begin_tick
from supervisor.worker.tick import TickEnd, WorkerCrashed, origin_now, run_tick, tick_request
from tests.unit.worker.conftest import UTC_ZONE, Bench

CENT = Amounts(cost=10_000, tokens=0, actions=1)


async def nothing(ctx: Context) -> None:
    """A worker with nothing to do."""


async def kill(bench: Bench, scope: str, *, release: bool = False) -> None:
    turn = kill_switch.release if release else kill_switch.engage
    at = bench.clock.now()
    origin = Origin(at=at, actor="t", command_id=f"{turn.__name__}-{scope}-{at}")
    await bench.store.write(turn, KillCommand(scope=scope, why="test"), origin, UTC_ZONE)
    bench.clock.advance(0.001)


async def tick(
    bench: Bench,
    function: WorkerFunction = nothing,
    *,
    timeout_s: float = 5.0,
    checkpoint_every: int = 12,
) -> TickEnd:
    plan = await bench.plan(function, timeout_s=timeout_s, checkpoint_every=checkpoint_every)
    return await run_tick(bench.kernel, plan)


async def sessions(bench: Bench) -> list[SessionWithTotals]:
    def read(tx: Transaction) -> list[SessionWithTotals]:
        return tx.rows("sessions.page", SessionWithTotals, worker="w", rows_max=100)

    return await bench.store.read(read)


async def assert_sound(bench: Bench) -> None:
    assert (await bench.store.read(audit)).findings == ()


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.NOOP, Outcome.FAILED, Outcome.UNKNOWN])
async def test_a_returned_outcome_is_recorded(bench: Bench, outcome: Outcome) -> None:
    async def run(ctx: Context) -> Outcome:
        return outcome

    assert (await tick(bench, run)).outcome is outcome
    completed = await bench.events("cycle_completed")
    assert [event["outcome"] for event in completed] == [outcome]
    await assert_sound(bench)


async def test_none_counts_as_ok(bench: Bench) -> None:
    assert (await tick(bench)).outcome is Outcome.OK


@pytest.mark.parametrize("returned", [Outcome.SKIPPED, [1], "fine", 0])
async def test_a_worker_that_returns_what_is_no_outcome_has_crashed(
    bench: Bench, returned: object
) -> None:
    async def run(ctx: Context) -> Outcome:
        return returned  # type: ignore[return-value] # what a user's worker might do

    with pytest.raises(WorkerCrashed) as crash:
        await tick(bench, run)
    assert isinstance(crash.value.__cause__, TypeError)
    assert [e["outcome"] for e in await bench.events("cycle_completed")] == ["failed"]


async def test_a_worker_that_raises_has_failed_and_its_holds_end(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        await ctx.calls.place(what="lost", amounts=CENT, caller=ctx.calls.caller)
        raise ZeroDivisionError("oops")

    with pytest.raises(WorkerCrashed):
        await tick(bench, run)
    completed = await bench.events("cycle_completed")
    assert (completed[0]["outcome"], completed[0]["code"]) == ("failed", "ZeroDivisionError")
    day = await bench.day()
    assert (day.settled, day.held) == (10_000, 0)
    await assert_sound(bench)


async def test_a_tick_past_its_timeout_is_cancelled_recorded_and_forfeited(bench: Bench) -> None:
    bench.script(Step(does="hang"))

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hi")

    # Long enough for the hold to be placed, also on a machine that is busy.
    assert (await tick(bench, run, timeout_s=1.0)).outcome is Outcome.TIMED_OUT
    assert [e["why"] for e in await bench.events("hold_forfeited")] != []
    assert (await bench.day()).held == 0
    await assert_sound(bench)


async def test_a_kill_reaches_a_tick_in_flight(bench: Bench) -> None:
    bench.script(Step(does="hang"))
    started = anyio.Event()

    async def run(ctx: Context) -> None:
        started.set()
        await ctx.model.complete("hi")

    ends: list[TickEnd] = []

    async def run_it() -> None:
        ends.append(await tick(bench, run))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_it)
        await started.wait()
        while not bench.provider.billed_calls:  # noqa: ASYNC110 - the fake has no event for it
            await anyio.sleep(0.001)
        await kill(bench, "worker:w")
        latches = await bench.store.read(kill_switch.engaged)
        assert len(bench.kernel.in_flight.kill(latches)) == 1
    assert ends[0].outcome is Outcome.CANCELLED
    completed = await bench.events("cycle_completed")
    assert completed[0]["code"] == "kill_switch_engaged"
    assert len(await bench.events("hold_forfeited")) == 1
    await assert_sound(bench)


@pytest.mark.parametrize("scope", ["system", "worker:w"])
async def test_a_killed_worker_is_skipped_until_the_release(bench: Bench, scope: str) -> None:
    await kill(bench, scope)
    for _ in range(3):
        assert (await tick(bench)).outcome is Outcome.SKIPPED
    await kill(bench, scope, release=True)
    assert (await tick(bench)).outcome is Outcome.OK
    assert len(await bench.events("cycle_skipped")) == 3
    await assert_sound(bench)


async def test_a_kill_of_one_worker_leaves_another(bench: Bench) -> None:
    await kill(bench, "worker:other")
    assert (await tick(bench)).outcome is Outcome.OK


async def test_a_killed_session_does_not_rotate_into_a_living_one(bench: Bench) -> None:
    first = (await tick(bench)).session_id
    await kill(bench, f"session:{first}")
    bench.clock.advance(3 * 3600)
    skipped = await tick(bench)
    assert (skipped.outcome, skipped.session_id) == (Outcome.SKIPPED, first)
    await kill(bench, f"session:{first}", release=True)
    assert (await tick(bench)).session_id != first
    await assert_sound(bench)


async def test_a_session_rotates_at_the_first_tick_after_its_window_with_note_and_seal(
    bench: Bench,
) -> None:
    async def run(ctx: Context) -> None:
        ctx.handoff(f"from {ctx.session.id}")

    first = (await tick(bench, run)).session_id
    bench.clock.advance(1800)
    second = (await tick(bench, run)).session_id
    assert first != second
    newest, oldest = await sessions(bench)
    assert (oldest.status, newest.status) == ("completed", "active")
    assert newest.received_note == f"from {first}"
    assert oldest.summary is not None
    summary = msgspec.json.decode(oldest.summary)
    assert summary["counters"]["ticks"] == {"ok": 1}
    assert summary["last_seq"] == oldest.last_seq
    await assert_sound(bench)


async def test_two_starts_in_one_window_adopt_the_same_session(bench: Bench) -> None:
    first = (await tick(bench)).session_id
    bench.clock.advance(60)
    assert (await tick(bench)).session_id == first
    assert len(await sessions(bench)) == 1


async def test_a_clock_that_goes_back_keeps_the_session(bench: Bench) -> None:
    bench.clock.advance(1800)
    first = (await tick(bench)).session_id
    bench.clock.step_wall(-7200)
    assert (await tick(bench)).session_id == first
    await assert_sound(bench)


async def test_state_is_kept_by_ticks_that_end_normally_and_by_no_others(bench: Bench) -> None:
    async def count(ctx: Context) -> None:
        ctx.state["n"] = int(str(ctx.state.get("n", 0))) + 1

    async def count_and_fail(ctx: Context) -> None:
        ctx.state["n"] = 99
        raise ZeroDivisionError

    async def look(ctx: Context) -> None:
        assert ctx.state["n"] == 2

    await tick(bench, count)
    with pytest.raises(WorkerCrashed):
        await tick(bench, count_and_fail)
    await tick(bench, count)
    await tick(bench, look)


async def test_state_that_is_no_json_fails_the_tick_and_keeps_the_old(bench: Bench) -> None:
    async def run(ctx: Context) -> None:
        ctx.state["x"] = object()  # type: ignore[assignment] # what a user might do

    with pytest.raises(WorkerCrashed):
        await tick(bench, run)
    completed = await bench.events("cycle_completed")
    assert (completed[0]["outcome"], completed[0]["code"]) == ("failed", "state_not_kept")


async def test_a_checkpoint_is_kept_every_so_many_ticks(bench: Bench) -> None:
    for _ in range(7):
        await tick(bench, checkpoint_every=3)
    created = await bench.events("checkpoint_created")
    assert [event["tick"] for event in created] == [3, 6]


async def test_a_refused_spend_cap_skips_the_tick_of_a_paid_model(bench: Bench) -> None:
    async def spend(ctx: Context) -> None:
        async with ctx.spend(usd_max=1.0, what="all of it"):
            pass

    assert (await tick(bench, spend)).outcome is Outcome.OK
    skipped = await tick(bench)
    assert skipped.outcome is Outcome.SKIPPED
    assert skipped.refusal is not None
    assert skipped.refusal.code == "budget_exceeded"


async def test_what_a_dead_life_left_is_closed_once_in_the_open(bench: Bench) -> None:
    plan = await bench.plan(nothing)
    begun = await _begin_only(bench, plan)
    dying = Context(bench.kernel, plan, tick=begun.tick, session=begun.session, state="{}")
    await dying.calls.place(what="in flight", amounts=CENT, caller=dying.calls.caller)
    assert await _recover(bench) == Findings(ticks=1, holds=1)
    assert await _recover(bench) == Findings()
    assert [e["tick"] for e in await bench.events("cycle_recovered")] == [1]
    day = await bench.day()
    assert (day.settled, day.held) == (10_000, 0)
    await assert_sound(bench)


async def _begin_only(bench: Bench, plan: WorkerPlan) -> Started:
    begun = await bench.store.write(
        begin_tick, tick_request(bench.kernel, plan), origin_now(bench.kernel, plan)
    )
    assert isinstance(begun, Started)
    return begun


async def _recover(bench: Bench) -> Findings:
    return await recover(
        bench.store, boot_id="boot-2", clock=bench.clock, timezone=UTC_ZONE, workers={"w"}
    )


async def test_a_tick_ends_also_where_somebody_else_has_ended_its_hold(bench: Bench) -> None:
    async def recover_it() -> None:
        # Another daemon takes this life for dead while its call is in flight.
        await anyio.sleep(0.05)
        await recover(
            bench.store, boot_id="other", clock=bench.clock, timezone=UTC_ZONE, workers={"w"}
        )

    async def run(ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover_it)
            await ctx.model.complete("hello", max_tokens=1_000)

    bench.script(Step(latency_s=0.3))
    assert (await tick(bench, run)).outcome is Outcome.OK
    ends = await bench.events("hold_settled", "hold_forfeited", "cycle_recovered")
    assert [event["kind"] for event in ends] == ["hold_forfeited", "cycle_recovered"]
    await assert_sound(bench)


async def test_a_call_and_its_tick_end_in_one_transaction(bench: Bench) -> None:
    commits: list[list[str]] = []

    def note(facts: Sequence[object]) -> None:
        commits.append([fact.event.kind for fact in facts if isinstance(fact, Recorded)])

    async def run(ctx: Context) -> None:
        await ctx.model.complete("hello", max_tokens=1_000)

    bench.store.listen(note)
    await tick(bench, run)
    assert commits[-1] == ["hold_settled", "cycle_completed"]
