"""A store with a day in it, made by the daemon's own transactions, and ways to damage it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import VirtualClock
from supervisor.errors import Refusal
from supervisor.events.log import Origin
from supervisor.governance.audit import AuditReport, audit
from supervisor.governance.kill_switch import KillCommand, engage, release
from supervisor.governance.reconciliation import ReconcileCommand, reconcile_hold
from supervisor.governance.rotation import SessionPlan
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import Hold, HoldRequest, HoldStatus, Metering
from supervisor.ledger.periods import Period
from supervisor.lifecycle import Life, begin_life
from supervisor.maintenance.recovery import recover
from supervisor.outcome import Outcome
from supervisor.storage.database import Database
from supervisor.worker import placing
from supervisor.worker.placing import Granted, HoldEnd
from supervisor.worker.records import (
    Ending,
    Skipped,
    Started,
    TakenElsewhere,
    TickRequest,
    begin_tick,
    finish_tick,
)

UTC_ZONE = ZoneInfo("UTC")
MODEL = "paid/model"


def budgets_of(daily_cap: int = 1_000_000) -> Budgets:
    return Budgets(
        [
            Budget(scope=scope, period=period, unit=unit, limit_amount=limit)
            for scope, period, unit, limit in (
                ("system", Period.DAY, Unit.MICRO_USD, daily_cap),
                ("session", Period.SESSION, Unit.MICRO_USD, 500_000),
                ("session", Period.SESSION, Unit.ACTIONS, 100),
                ("worker:digest", Period.HOUR, Unit.TOKENS, 100_000),
            )
        ],
        timezone=UTC_ZONE,
        warn_ratio=0.8,
    )


class RecordedLife:
    """Runs ticks on a store as the daemon does, one step at a time."""

    def __init__(self, store: Database, clock: VirtualClock) -> None:
        self.store = store
        self.clock = clock
        self.budgets = budgets_of()
        self._boots = 0
        self._holds = 0

    @property
    def boot_id(self) -> str:
        return f"boot-{self._boots}"

    def origin(self, command_id: str = "") -> Origin:
        return Origin(at=self.clock.now(), actor="test", command_id=command_id)

    async def start(self, *workers: str) -> None:
        """Begin a life: earlier ones count as dead."""
        self._boots += 1
        life = Life(boot_id=self.boot_id, pid=1, host="here", version="0")
        await self.store.write(begin_life, life, workers, self.budgets, self.origin())
        await recover(
            self.store,
            boot_id=self.boot_id,
            clock=self.clock,
            timezone=UTC_ZONE,
            workers=set(workers),
        )

    async def begin(self, worker: str) -> Started | Skipped:
        self.clock.advance(1)
        request = TickRequest(
            boot_id=self.boot_id,
            session=SessionPlan(worker=worker, span_s=3600, timezone=UTC_ZONE),
            budgets=self.budgets,
            model=MODEL,
            is_free=False,
        )
        begun = await self.store.write(begin_tick, request, self.origin())
        assert not isinstance(begun, TakenElsewhere)
        return begun

    async def hold(self, worker: str, started: Started, amounts: Amounts) -> Hold | Refusal:
        self._holds += 1
        request = HoldRequest(
            id=f"{worker}#{started.tick}/{self._holds}",
            boot_id=self.boot_id,
            worker=worker,
            session_id=started.session.id,
            tick=started.tick,
            model=MODEL,
            what="test",
            amounts=amounts,
        )
        placed = await self.store.write(
            placing.place, request, None, self.budgets, self.origin(request.id)
        )
        if isinstance(placed, Granted):
            return placed.hold
        assert isinstance(placed, Refusal), f"without a bid it is no probe's to wait for: {placed}"
        return placed

    async def placed(self, worker: str, started: Started, cost: int) -> Hold:
        hold = await self.hold(worker, started, Amounts(cost=cost, tokens=100, actions=1))
        assert isinstance(hold, Hold), hold
        return hold

    async def settle(self, hold: Hold, cost: int) -> None:
        actual = Amounts(cost=cost, tokens=60, actions=1)
        metering = Metering(input_tokens=50, output_tokens=10)
        end = HoldEnd(
            hold=hold,
            status=HoldStatus.SETTLED,
            origin=self.origin(),
            actual=actual,
            metering=metering,
        )
        await self.store.write(placing.end_holds, hold.session_id, [end])

    async def end(self, hold: Hold, status: HoldStatus, why: str) -> None:
        end = HoldEnd(hold=hold, status=status, origin=self.origin(), why=why)
        await self.store.write(placing.end_holds, hold.session_id, [end])

    async def finish(
        self, worker: str, started: Started, outcome: Outcome = Outcome.OK, why: str = ""
    ) -> None:
        ending = Ending(
            worker=worker,
            tick=started.tick,
            session_id=started.session.id,
            outcome=outcome,
            why=why,
            duration_s=0.1,
            checkpoint_every=2,
            state="{}",
        )
        await self.store.write(finish_tick, ending, self.origin())

    async def tick(self, worker: str, *costs: int) -> None:
        """Run a whole tick with a paid call for each cost."""
        started = await self.started(worker)
        for cost in costs:
            await self.settle(await self.placed(worker, started, cost * 2), cost)
        await self.finish(worker, started)

    async def started(self, worker: str) -> Started:
        started = await self.begin(worker)
        assert isinstance(started, Started), started
        return started

    async def kill(self, scope: str, *, is_engaged: bool = True) -> None:
        turn = engage if is_engaged else release
        command = KillCommand(scope=scope, why="a test")
        origin = self.origin(f"kill-{scope}-{is_engaged}-{self.clock.now()}")
        await self.store.write(turn, command, origin, UTC_ZONE)

    async def reconcile(self, hold: Hold, cost: int) -> None:
        command = ReconcileCommand(hold_id=hold.id, cost=cost)
        origin = self.origin(f"reconcile-{hold.id}")
        await self.store.write(reconcile_hold, command, origin, UTC_ZONE)

    async def audit(self) -> AuditReport:
        return await self.store.read(audit)


async def live_a_day(life: RecordedLife) -> None:
    """Every way in which ticks, sessions and holds begin and end, and a crash."""
    await life.start("digest", "triage")
    await life.kill("worker:triage")
    skipped = await life.begin("triage")
    assert isinstance(skipped, Skipped)
    assert skipped.session is None
    await life.kill("worker:triage", is_engaged=False)
    await life.tick("digest", 1_000, 2_000)
    await life.tick("triage", 3_000)
    started = await life.started("digest")
    released = await life.placed("digest", started, 9_000)
    await life.end(released, HoldStatus.RELEASED, "not sent")
    forfeited = await life.placed("digest", started, 7_000)
    await life.end(forfeited, HoldStatus.FORFEITED, "no usage")
    refused = await life.hold("digest", started, Amounts(cost=600_000, tokens=1, actions=1))
    assert isinstance(refused, Refusal)
    await life.placed("digest", started, 5_000)  # forfeited with its tick
    await life.finish("digest", started, Outcome.FAILED)
    life.clock.advance(3600)  # the next window
    await life.tick("digest", 4_000)
    await life.reconcile(forfeited, 2_500)
    await _overrun(life)
    await life.started("digest")  # this life dies here
    life.budgets = budgets_of(daily_cap=30_000)
    await life.start("digest", "triage")
    life.clock.advance(3600)
    refused_tick = await life.begin("digest")
    assert isinstance(refused_tick, Skipped)
    life.budgets = budgets_of()
    await life.start("digest", "triage")
    open_tick = await life.started("digest")
    await life.placed("digest", open_tick, 6_000)  # in flight


async def _overrun(life: RecordedLife) -> None:
    started = await life.started("triage")
    hold = await life.placed("triage", started, 490_000)
    await life.settle(hold, 520_000)
    await life.finish("triage", started)


class Damage:
    """Writes into the store's file behind its back, its triggers gone."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            self.run(f"DROP TRIGGER {name}")

    def run(self, sql: str, *values: object) -> int:
        return self._connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def event(self, kind: str, *, number: int = 0) -> tuple[str, int]:
        """Return the session and the number of an event of a kind, counted from 0."""
        found = self.rows(
            "SELECT session_id, seq FROM events WHERE kind = ? ORDER BY position", kind
        )
        return msgspec.convert(found[number], tuple[str, int])

    def close(self) -> None:
        self._connection.close()
