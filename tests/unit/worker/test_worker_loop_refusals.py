"""A worker's loop: what it waits for after a refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import anyio
import pytest

from supervisor.clock import VirtualClock
from supervisor.errors import ActionDenied, ApprovalRequired, Refusal
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import BreakerRules, Cause
from supervisor.governance.breakers import trip
from supervisor.governance.rotation import SessionPlan, open_session_of
from supervisor.governance.session import SessionStatus
from supervisor.ledger.accounts import Budget, Budgets, Unit
from supervisor.ledger.periods import Period
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import Policy
from supervisor.worker.schedule import Cron, Every
from tests.conftest import START
from tests.unit.inline_database import InlineDatabase
from tests.unit.time_warp import run_warped
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.loop_life import DAY_S, MIDNIGHT, Life, waiting


@pytest.fixture
def life(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Life:
    return Life(Bench(inline_store, clock, tmp_path), inline_store, clock)


def test_a_killed_worker_is_not_called_and_does_not_run_hot(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await life.turn("worker:w", is_engaged=True)
        await anyio.sleep(600)
        assert await life.skipped() <= 601

    life.live(Every(0.001), story)
    assert len(life.calls) <= 1


@pytest.mark.parametrize(
    "refusal",
    [
        ApprovalRequired(action="merge", what="waits", fix="approve it"),
        ActionDenied(action="merge", reason="blocked", what="is denied", fix="leave it"),
    ],
)
def test_what_anybody_else_commits_is_no_news_to_a_worker_whose_action_was_refused(
    life: Life, refusal: Refusal
) -> None:
    async def refused(_: Context) -> None:
        raise refusal

    life.work = refused

    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(60)
        loop.wake()  # a commit of the command line: a decision, or a kill of somebody else
        await anyio.sleep(60)
        assert len(life.calls) == 1
        loop.call()  # the decision, by the sweep
        await anyio.sleep(60)
        assert len(life.calls) == 2
        # Another policy may allow it.
        loop.replace(loop.plan)
        await anyio.sleep(60)

    life.live(Every(DAY_S), story)
    assert life.waits_s() == pytest.approx([0, 120, 60])


def test_a_release_wakes_a_killed_worker_at_once(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(3_600)
        await life.turn("system", is_engaged=False)
        loop.wake()
        await anyio.sleep(10)

    async def begin() -> None:
        await life.turn("system", is_engaged=True)

    run_warped(life.clock, begin())
    life.live(Every(DAY_S), story)
    assert life.waits_s() == pytest.approx([3_600])


def test_a_cron_worker_that_was_woken_between_its_times_keeps_the_next_one(life: Life) -> None:
    async def begin() -> None:
        await life.turn("system", is_engaged=True)

    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(3_600)
        assert await life.skipped() == 1
        await life.turn("system", is_engaged=False)
        loop.wake()
        await anyio.sleep(2 * DAY_S)

    run_warped(life.clock, begin())
    life.live(Cron("31 10 * * *", UTC_ZONE), story)
    assert [call.strftime("%d %H:%M") for call in life.calls] == [
        "01 11:30",
        "02 10:31",
        "03 10:31",
    ]


def test_a_wake_does_not_disturb_a_worker_that_nothing_had_refused(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        for _ in range(5):
            await anyio.sleep(10)
            loop.wake()

    life.live(Every(1_000.0), story)
    assert life.waits_s() == [0]


def test_a_worker_that_was_woken_ticks_once_for_it(life: Life) -> None:
    # Two kills are released one after the other: the second wake comes while the tick runs.
    async def work(_: Context) -> None:
        await anyio.sleep(30)

    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(120)
        assert await life.skipped() == 1
        await life.turn("system", is_engaged=False)
        loop.wake()
        await anyio.sleep(10)
        loop.wake()
        await anyio.sleep(600)

    async def begin() -> None:
        await life.turn("system", is_engaged=True)

    life.work = work
    run_warped(life.clock, begin())
    life.live(Cron("31 10 * * *", UTC_ZONE), story)
    assert life.waits_s() == pytest.approx([120])


async def spend_a_dollar(ctx: Context) -> None:
    async with ctx.spend(usd_max=1.0, what="a book"):
        pass


def test_at_the_cap_it_waits_until_the_day_ends_and_not_a_second_more(life: Life) -> None:
    life.work = spend_a_dollar
    life.live(Every(60.0), waiting(DAY_S))
    assert life.calls == [START, MIDNIGHT]


def test_at_the_cap_nothing_is_tried_until_then(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(6 * 3_600)
        assert await life.skipped() == 1

    life.work = spend_a_dollar
    life.live(Every(60.0), story)


def test_a_cap_that_was_raised_wakes_the_worker(life: Life) -> None:
    async def story(loop: WorkerLoop) -> None:
        await anyio.sleep(600)
        life.bench.kernel.policy = life.bench.policy(cap=2_000_000)
        plan = loop.plan
        loop.replace(plan)
        await anyio.sleep(1)

    life.work = spend_a_dollar
    life.live(Every(60.0), story)
    assert len(life.calls) == 1, "the account keeps its limit until the reload has changed it"


def small_session(*, on_cap: str = "wait") -> Policy:
    budgets = [
        Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=10**9),
        Budget(scope="session", period=Period.SESSION, unit=Unit.ACTIONS, limit_amount=1),
    ]
    return Policy(
        budgets=Budgets(budgets, timezone=UTC_ZONE, warn_ratio=0.8),
        on_cap=on_cap,
        min_output_tokens=64,
    )


def test_at_a_sessions_cap_it_waits_until_the_window_ends(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(1_700)
        assert await life.skipped() == 1
        await anyio.sleep(1_900)

    life.bench.kernel.policy = small_session()
    life.work = spend_a_dollar
    life.live(Every(60.0), story)
    assert [call.strftime("%H:%M") for call in life.calls] == ["10:30", "11:00"]


def test_on_cap_stop_stops_the_daemon(life: Life) -> None:
    life.bench.kernel.policy = life.bench.policy(on_cap="stop")
    life.work = spend_a_dollar
    life.live(Every(60.0), waiting(120))
    (why,) = life.bench.stops
    assert why.startswith("on_cap = stop: account system/day/2026-06-01/micro_usd")


def test_on_cap_ask_pauses_the_session_for_a_person(life: Life) -> None:
    life.bench.kernel.policy = small_session(on_cap="ask")
    life.work = spend_a_dollar

    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(120)
        session = await life.store.read(open_session_of, "w")
        assert session
        assert (session.status, session.why) == (SessionStatus.PAUSED, "spend cap")
        await anyio.sleep(DAY_S)

    life.live(Every(60.0), story)
    assert len(life.calls) == 1


def test_where_calls_in_flight_may_leave_room_it_waits_its_own_delay(life: Life) -> None:
    # Half of the cap is held by another worker's call, and may turn out to cost nothing.
    async def half(ctx: Context) -> None:
        async with ctx.spend(usd_max=0.6, what="x") as hold:
            await anyio.sleep(100)
            hold.release()

    async def two(_: WorkerLoop) -> None:
        other = replace(await life.plan(Every(60.0)), name="other")
        session = SessionPlan(worker="other", span_s=3600, timezone=UTC_ZONE)

        def register(tx: Transaction) -> None:
            tx.run("workers.register", name="other", life="running")

        await life.store.write(register)
        second = WorkerLoop(life.bench.kernel, replace(other, session=session))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.run)
            await anyio.sleep(300)
            second.stop()

    life.work = half
    life.live(Every(60.0), two)
    assert len(life.calls) >= 4
    assert max(life.waits_s()) <= 160


def open_breaker(tx: Transaction, at: datetime) -> None:
    session = open_session_of(tx, "w")
    assert session
    with Journal(tx, session.id, Origin(at=at, actor="t")) as journal:
        trip(tx, journal, "worker:w", BreakerRules(), cause=Cause.OVERRUN, why="dear")


def test_an_open_breaker_is_waited_for_until_it_lets_a_probe_through(life: Life) -> None:
    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(5)
        await life.store.write(open_breaker, life.clock.now())
        await anyio.sleep(400)

    life.live(Every(10.0), story)
    assert life.waits_s()[1] == pytest.approx(5 + BreakerRules().cooldown_s)
