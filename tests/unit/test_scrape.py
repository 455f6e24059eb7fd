"""The gauges that a scrape reads from the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from supervisor.clock import VirtualClock
from supervisor.events.log import Journal, Origin
from supervisor.governance import kill_switch
from supervisor.governance.breaker import BreakerRules, Cause
from supervisor.governance.breakers import trip
from supervisor.governance.drills import Drill, Verdict, begin, finish
from supervisor.governance.kill_switch import KillCommand
from supervisor.governance.rotation import SessionPlan, adopt_or_rotate, close_session
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import HoldRequest, Metering
from supervisor.ledger.periods import Period
from supervisor.metrics import Metrics
from supervisor.scrape import read_gauges, show
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from tests.contract.policy_bench import SURE, PolicyBench
from tests.unit.inline_database import InlineDatabase

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
OPENED = datetime(2026, 6, 1, 10, 29, tzinfo=UTC)
BUDGETS = Budgets(
    [Budget(scope="system", period=Period.DAY, unit=Unit.MICRO_USD, limit_amount=2_000_000)],
    timezone=BERLIN,
    warn_ratio=0.8,
)


def origin(at: datetime = NOW, command_id: str = "") -> Origin:
    return Origin(at=at, actor="t", command_id=command_id)


def open_session(tx: Transaction, worker: str = "a") -> str:
    plan = SessionPlan(worker=worker, span_s=3600, timezone=BERLIN)
    session = adopt_or_rotate(tx, plan, origin(OPENED))
    assert session
    return session.id


def spend(tx: Transaction, *, number: int, held: int, settled: int | None) -> None:
    session_id = open_session(tx)
    request = HoldRequest(
        id=f"h{number}",
        boot_id="boot-1",
        worker="a",
        session_id=session_id,
        tick=1,
        model="p/m",
        what="",
        amounts=Amounts(cost=held),
    )
    with Journal(tx, session_id, origin()) as journal:
        hold = ledger.reserve(tx, journal, request, BUDGETS)
        assert not isinstance(hold, Exception)
        if settled is not None:
            ledger.settle(tx, journal, hold, Amounts(cost=settled), Metering())


async def scrape(store: InlineDatabase, now: datetime = NOW) -> dict[str, float]:
    metrics = Metrics(version="1")
    show(metrics, await store.read(read_gauges, BUDGETS, now))
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in metrics.render().decode().splitlines()
        if line.startswith("supervisor_")
    }


async def test_a_fresh_store_shows_the_cap_and_nothing_spent(inline_store: InlineDatabase) -> None:
    found = await scrape(inline_store)
    assert found["supervisor_spend_cap_usd"] == 2.0
    assert found["supervisor_spend_today_usd"] == 0.0
    assert found["supervisor_spend_held_usd"] == 0.0
    for scope in ("system", "worker", "session"):
        assert found[f'supervisor_kill_engaged{{scope="{scope}"}}'] == 0.0


async def test_spend_and_holds_are_those_of_todays_cap(inline_store: InlineDatabase) -> None:
    await inline_store.write(spend, number=1, held=900_000, settled=250_000)
    await inline_store.write(spend, number=2, held=100_000, settled=None)
    found = await scrape(inline_store)
    assert found["supervisor_spend_today_usd"] == 0.25
    assert found["supervisor_spend_held_usd"] == 0.1
    # 22:00 UTC is midnight in Berlin.
    tomorrow = await scrape(inline_store, datetime(2026, 6, 1, 22, 0, tzinfo=UTC))
    assert tomorrow["supervisor_spend_today_usd"] == 0.0


async def test_a_clock_that_went_back_still_shows_the_later_day(
    inline_store: InlineDatabase,
) -> None:
    await inline_store.write(spend, number=1, held=900_000, settled=250_000)
    found = await scrape(inline_store, datetime(2026, 5, 30, tzinfo=UTC))
    assert found["supervisor_spend_today_usd"] == 0.25


async def test_latched_kills_are_counted_by_kind_of_scope(inline_store: InlineDatabase) -> None:
    for number, scope in enumerate(("worker:a", "worker:b", "system")):
        command = KillCommand(scope=scope, why="x")
        await inline_store.write(
            kill_switch.engage, command, origin(command_id=f"c{number}"), BERLIN
        )
    command = KillCommand(scope="worker:b", why="x")
    await inline_store.write(kill_switch.release, command, origin(command_id="c9"), BERLIN)
    found = await scrape(inline_store)
    assert found['supervisor_kill_engaged{scope="worker"}'] == 1.0
    assert found['supervisor_kill_engaged{scope="system"}'] == 1.0
    assert found['supervisor_kill_engaged{scope="session"}'] == 0.0


def open_breaker(tx: Transaction) -> None:
    with Journal(tx, open_session(tx), origin()) as journal:
        trip(tx, journal, "worker:a", BreakerRules(), cause=Cause.OVERRUN, why="dear")


async def test_a_breaker_is_shown_in_its_state(inline_store: InlineDatabase) -> None:
    await inline_store.write(open_breaker)
    found = await scrape(inline_store)
    assert found['supervisor_breaker_state{name="worker:a",state="open"}'] == 1.0
    assert found['supervisor_breaker_state{name="worker:a",state="closed"}'] == 0.0


async def test_an_open_session_is_shown_with_its_start(inline_store: InlineDatabase) -> None:
    await inline_store.write(open_session)
    found = await scrape(inline_store)
    started = found['supervisor_session_started_timestamp_seconds{worker="a"}']
    assert started == OPENED.timestamp()


def close_open(tx: Transaction) -> None:
    plan = SessionPlan(worker="a", span_s=3600, timezone=BERLIN)
    session = adopt_or_rotate(tx, plan, origin())
    assert session
    close_session(tx, session, origin())


async def test_a_session_that_ended_is_shown_no_more(inline_store: InlineDatabase) -> None:
    metrics = Metrics(version="1")
    await inline_store.write(open_session)
    show(metrics, await inline_store.read(read_gauges, BUDGETS, NOW))
    await inline_store.write(close_open)
    show(metrics, await inline_store.read(read_gauges, BUDGETS, NOW))
    started = metrics.registry.get_sample_value(
        "supervisor_session_started_timestamp_seconds", {"worker": "a"}
    )
    assert started is None


def finish_drill(tx: Transaction, drill: Drill, at: datetime, *, passed: bool) -> None:
    asked = origin(at, f"{drill}-{at}")
    begin(tx, drill, asked, BERLIN)
    verdict = Verdict(drill=drill, id=asked.command_id, passed=passed, measured_s=0.1, what="x")
    assert finish(tx, verdict, asked, BERLIN)


async def test_the_last_drill_that_was_passed_is_shown_and_0_where_none_was(
    inline_store: InlineDatabase,
) -> None:
    metrics = Metrics(version="0")
    later = NOW + timedelta(hours=1)
    await inline_store.write(finish_drill, Drill.KILL, NOW, passed=True)
    await inline_store.write(finish_drill, Drill.KILL, later, passed=False)
    await inline_store.write(finish_drill, Drill.RESTORE, NOW, passed=False)
    show(metrics, await inline_store.read(read_gauges, BUDGETS, NOW))
    name = "supervisor_drill_last_pass_timestamp_seconds"
    shown = {drill: metrics.registry.get_sample_value(name, {"drill": drill}) for drill in Drill}
    assert shown == {Drill.KILL: NOW.timestamp(), Drill.APPROVALS: 0, Drill.RESTORE: 0}


async def test_tickets_that_wait_are_counted_and_aged(
    inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path
) -> None:
    async def ask(ctx: Context) -> None:
        for _ in range(2):
            await ctx.propose("merge", **SURE)

    bench = PolicyBench(inline_store, clock, tmp_path)
    assert (await scrape(inline_store))["supervisor_approvals_pending"] == 0
    await bench.tick_end(ask)
    asked_at = clock.now()
    shown = await scrape(inline_store, asked_at + timedelta(seconds=90))
    assert shown["supervisor_approvals_pending"] == 2
    assert shown["supervisor_approval_oldest_age_seconds"] == 90
    clock.advance(3601)
    await bench.sweep()
    shown = await scrape(inline_store, clock.now())
    assert shown["supervisor_approvals_pending"] == 0
    assert shown["supervisor_approval_oldest_age_seconds"] == 0
