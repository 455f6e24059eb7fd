"""A wall clock that is set, and a machine that slept: what each thing that keeps time does then.

The real loop, gates, sessions and ledger, in virtual time. A suspend is a wall clock that went on
while the monotonic one stood still.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import pytest

from supervisor.clock import VirtualClock, from_us
from supervisor.events import kinds
from supervisor.events.log import Origin, Recorded
from supervisor.governance.audit import audit
from supervisor.governance.breaker import BreakerRules, Cause
from supervisor.governance.breakers import trip
from supervisor.governance.health import Health, problems
from supervisor.governance.rotation import system_journal
from supervisor.governance.status import Status, Surroundings, read_status
from supervisor.maintenance.vitals import Vitals
from supervisor.providers.scripted import Step
from supervisor.storage.database import Transaction
from supervisor.worker.context import Context
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.schedule import Cron, Every
from tests.unit.inline_database import InlineDatabase
from tests.unit.maintenance.conftest import Fact
from tests.unit.worker.conftest import UTC_ZONE, Bench
from tests.unit.worker.loop_life import Life

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
TEN_YEARS_S = 3_650 * DAY_S
SUSPEND_S = 3 * HOUR_S
STEPS_S = (-HOUR_S, HOUR_S, TEN_YEARS_S, SUSPEND_S)
SLICE_S = 31.0
#: What one call of the script costs: 400 tokens at 1 micro-USD.
CALL_MICRO_USD = 400

RowT = TypeVar("RowT", bound=msgspec.Struct)


class Day(msgspec.Struct, frozen=True):
    period_key: str
    settled: int
    held: int


class Session(msgspec.Struct, frozen=True):
    id: str
    status: str
    window_start: int
    window_end: int


class Kept:
    """A worker that makes a paid call each tick, and what is kept of it."""

    def __init__(self, store: InlineDatabase, clock: VirtualClock, folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.bench = Bench(store, clock, folder)
        self.bench.script(Step(text="word " * CALL_MICRO_USD))
        self.life = Life(self.bench, store, clock)
        self.life.work = self._call
        self.ledger_days: list[str] = []
        store.listen(self._follow)

    async def _call(self, ctx: Context) -> None:
        await ctx.model.complete("x", max_tokens=1_000)

    def _follow(self, facts: Sequence[object]) -> None:
        for fact in facts:
            if isinstance(fact, Recorded) and isinstance(fact.event, kinds.HoldPlaced):
                (day,) = (name for name in fact.event.accounts if name.startswith("system/day/"))
                self.ledger_days.append(day.split("/")[2])

    def run(self, *steps: tuple[float, float], every_s: float = 600.0) -> None:
        """Live through pairs of how long to wait and how far to set the wall clock then."""
        self.run_on(Every(every_s), *steps)

    def run_on(self, schedule: Every | Cron, *steps: tuple[float, float]) -> None:
        async def story(_: WorkerLoop) -> None:
            for wait_s, step_s in steps:
                await anyio.sleep(wait_s)
                self.clock.step_wall(step_s)

        self.life.live(schedule, story)

    def rows(self, sql: str, into: type[RowT]) -> list[RowT]:
        name = f"clock_steps.{into.__name__.lower()}"
        self.store.add_statement(name, sql)

        def read(tx: Transaction) -> list[RowT]:
            return tx.rows(name, into)

        return asyncio.run(self.store.read(read))

    def days(self) -> dict[str, int]:
        sql = "SELECT period_key, settled, held FROM accounts WHERE id LIKE 'system/day/%'"
        found = self.rows(f"{sql} ORDER BY period_key", Day)
        assert all(day.held == 0 for day in found)
        return {day.period_key: day.settled for day in found}

    def sessions(self) -> list[Session]:
        sql = "SELECT id, status, window_start, window_end FROM sessions WHERE worker = 'w'"
        return self.rows(f"{sql} ORDER BY opened_at, window_start", Session)

    def status(self) -> Status:
        return asyncio.run(
            self.store.read(
                read_status,
                now=self.clock.now(),
                worker_names=["w"],
                budgets=self.bench.kernel.policy.budgets,
                around=Surroundings(holder=None, stop_requested=None, heartbeat_s=5.0),
            )
        )

    def clock_problems(self) -> list[str]:
        found = problems(self.status())
        return [f"{problem.what}; {problem.fix}" for problem in found if "clock" in problem.fix]

    def check(self) -> None:
        """Assert what no clock may ever break."""
        # Ids name a window, so that none can have two; and what was spent is where it was spent.
        sessions = self.sessions()
        assert len({session.window_start for session in sessions}) == len(sessions)
        assert [session.status for session in sessions].count("active") <= 1
        assert self.ledger_days == sorted(self.ledger_days), "the spend day went back"
        billed = self.bench.provider.billed_calls * CALL_MICRO_USD
        assert sum(self.days().values()) == billed > 0
        assert asyncio.run(self.store.read(audit)).findings == ()


@pytest.fixture
def kept(inline_store: InlineDatabase, clock: VirtualClock, tmp_path: Path) -> Kept:
    return Kept(inline_store, clock, tmp_path)


# --- every rule under every step


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("back_s", [0.0, 1.0])
def test_whatever_is_done_to_the_wall_clock_the_books_keep_their_rules(
    kept: Kept, step_s: float, back_s: float
) -> None:
    # Set, lived with, and with `back_s` set right again.
    kept.run((2 * HOUR_S, step_s), (5 * HOUR_S, -step_s * back_s), (20 * HOUR_S, 0.0))
    kept.check()


# --- the ledger's day


def test_a_clock_set_back_over_midnight_spends_on_in_the_later_day(kept: Kept) -> None:
    kept.clock.advance(13 * HOUR_S)  # 23:30
    kept.run((HOUR_S, -HOUR_S), (0.9 * HOUR_S, 0.0))
    kept.check()
    first, second = kept.days()
    assert (first, second) == ("2026-06-01", "2026-06-02")
    assert kept.clock.now() < datetime(2026, 6, 2, 0, 0, tzinfo=UTC) + timedelta(hours=1)
    # Four ticks before midnight; all that came after it, also in the hour that came twice.
    assert kept.days()["2026-06-01"] == 3 * CALL_MICRO_USD
    assert kept.ledger_days[3:] == ["2026-06-02"] * (len(kept.ledger_days) - 3)


def test_a_clock_that_was_ten_years_ahead_gives_no_second_budget_when_it_is_set_right(
    kept: Kept,
) -> None:
    kept.bench.kernel.policy = kept.bench.policy(cap=10 * CALL_MICRO_USD)
    kept.run((HOUR_S / 2, TEN_YEARS_S), (3 * HOUR_S, -TEN_YEARS_S), (5 * DAY_S, 0.0))
    kept.check()
    assert len(kept.days()) == 2
    assert max(kept.days().values()) <= 10 * CALL_MICRO_USD


def test_a_suspend_over_midnight_spends_in_the_day_of_waking_up(kept: Kept) -> None:
    kept.clock.advance(12 * HOUR_S)  # 22:30
    kept.run((HOUR_S / 4, SUSPEND_S), (HOUR_S / 4, 0.0))
    kept.check()
    assert list(kept.days()) == ["2026-06-01", "2026-06-02"]


# --- windows and sessions


def test_a_clock_set_back_keeps_the_session_until_its_window_is_over(kept: Kept) -> None:
    kept.run((HOUR_S, -HOUR_S), (1.4 * HOUR_S, 0.0))
    kept.check()
    ids = [session.id for session in kept.sessions()]
    assert ids == ["w@2026-06-01T10:00Z", "w@2026-06-01T11:00Z"]


@pytest.mark.parametrize(("step_s", "skipped"), [(HOUR_S, 0), (SUSPEND_S, 2), (TEN_YEARS_S, None)])
def test_windows_that_were_jumped_over_have_no_sessions(
    kept: Kept, step_s: float, skipped: int | None
) -> None:
    kept.run((HOUR_S / 4, step_s), (HOUR_S / 2, 0.0))
    kept.check()
    before, after, *rest = kept.sessions()
    assert (before.status, after.status) == ("completed", "active" if not rest else "completed")
    assert len(rest) <= 1
    gap = from_us(after.window_start) - from_us(before.window_end)
    if skipped is not None:
        assert gap == timedelta(hours=skipped)
    assert gap >= timedelta(0)


# --- schedules


@pytest.mark.parametrize("step_s", [-HOUR_S, -TEN_YEARS_S])
def test_a_fixed_delay_is_not_lengthened_by_a_clock_set_back(kept: Kept, step_s: float) -> None:
    kept.run((900.0, step_s), (2_000.0, 0.0))
    assert len(kept.life.calls) == 1 + 2_900 // 600


@pytest.mark.parametrize("step_s", [HOUR_S, SUSPEND_S, TEN_YEARS_S])
def test_a_fixed_delay_is_over_after_a_jump_once_and_not_as_often_as_it_would_have_been(
    kept: Kept, step_s: float
) -> None:
    kept.run((900.0, step_s), (SLICE_S, 0.0))
    assert len(kept.life.calls) == 3, "at once, at 600 s, and once for all that was missed"


@pytest.mark.parametrize(
    ("step_s", "times"),
    [
        (-HOUR_S, ["11:00:00", "12:00:00", "13:00:00"]),
        (HOUR_S, ["11:00:00", "12:15", "13:00:00"]),
        (SUSPEND_S, ["11:00:00", "14:15", "15:00:00"]),
        (TEN_YEARS_S, ["11:00:00", "11:15", "12:00:00"]),
    ],
)
def test_a_cron_occurrence_that_was_jumped_over_runs_late_and_once(
    kept: Kept, step_s: float, times: list[str]
) -> None:
    # At 11:15; the worker waits for 12:00 then.
    left_s = (100 if step_s > 0 else 170) * 60.0
    cron = Cron("0 * * * *", UTC_ZONE, missed="once")
    kept.run_on(cron, (45 * 60.0, step_s), (left_s, 0.0))
    kept.check()
    told = [call.strftime("%H:%M:%S") for call in kept.life.calls]
    assert len(told) == len(times)
    assert all(moment.startswith(start) for moment, start in zip(told, times, strict=True)), told


def test_no_jump_makes_a_worker_run_hot(kept: Kept) -> None:
    jumps = itertools.product((300.0,), (*STEPS_S, *(-step_s for step_s in STEPS_S)))
    kept.run(*jumps, every_s=100.0)
    kept.check()
    # One in each hundred seconds, and one for each jump ahead.
    assert len(kept.life.calls) <= 8 * 3 + 1 + 4


# --- breakers are durable, so that theirs is the wall clock


def test_a_breaker_lets_its_probe_through_by_the_wall_clock(kept: Kept) -> None:
    def open_it(tx: Transaction) -> None:
        origin = Origin(at=kept.clock.now(), actor="t")
        with system_journal(tx, UTC_ZONE, origin) as journal:
            trip(tx, journal, "worker:w", BreakerRules(), cause=Cause.OVERRUN, why="dear")

    async def story(_: WorkerLoop) -> None:
        await anyio.sleep(30)
        await kept.store.write(open_it)
        await anyio.sleep(100)
        kept.clock.step_wall(SUSPEND_S)
        await anyio.sleep(SLICE_S)

    kept.life.live(Every(60.0), story)
    kept.check()
    assert len(kept.life.calls) == 2, "before it opened, and once when it had slept long enough"


# --- what is only watched


@pytest.mark.parametrize("step_s", [*STEPS_S, -TEN_YEARS_S])
def test_a_set_clock_makes_no_running_tick_stuck_and_no_stuck_one_well(
    clock: VirtualClock, fact: Fact, step_s: float
) -> None:
    vitals = Vitals({"a": 120.0}, clock)
    vitals.follow([fact(kinds.CycleStarted(worker="a", tick=7))])
    clock.advance(60)
    clock.step_wall(step_s)
    assert vitals.troubles() == []
    clock.advance(71)
    assert vitals.troubles() == ["worker a is stuck in tick 7"]


@pytest.mark.parametrize(
    ("step_s", "is_told"),
    [
        (-HOUR_S, False),
        (HOUR_S, False),
        (SUSPEND_S, False),
        (-2 * HOUR_S, True),
        (-DAY_S, True),
    ],
)
def test_a_store_that_is_far_ahead_of_the_clock_is_told_with_its_cure(
    kept: Kept, step_s: float, is_told: bool
) -> None:
    kept.run((HOUR_S / 4, step_s), (60.0, 0.0))
    found = kept.clock_problems()
    assert bool(found) == is_told
    assert all("The clock was ahead" in problem for problem in found)


def test_years_ahead_are_told_of_the_ledger_and_of_the_session(kept: Kept) -> None:
    kept.run((HOUR_S / 4, TEN_YEARS_S), (HOUR_S, -TEN_YEARS_S), (60.0, 0.0))
    status = kept.status()
    told = " ".join(kept.clock_problems())
    assert "the ledger's clock is ahead of the wall clock by 3650 days" in told
    assert "session w@2036" in told
    assert status.clock.ledger_at.startswith("2036-")
    assert Health.DEGRADED in {problem.health for problem in problems(status)}


def test_a_clock_that_is_right_is_told_nothing_of(kept: Kept) -> None:
    kept.run((DAY_S, 0.0))
    assert kept.clock_problems() == []
    assert kept.status().clock.session == ""
