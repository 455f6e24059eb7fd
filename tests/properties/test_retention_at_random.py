"""Whatever happens in whichever order, what is pruned is in a file and all of it adds up."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from supervisor.clock import VirtualClock, to_us
from supervisor.errors import CommandConflict, NotFound
from supervisor.events.log import Origin
from supervisor.governance.kill_switch import engaged
from supervisor.governance.rotation import open_session_of, pause_session, resume_session
from supervisor.governance.session import SessionStatus
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import Hold, HoldStatus
from supervisor.ledger.periods import Period
from supervisor.maintenance.retention import ExportRefused
from supervisor.storage.database import Transaction
from supervisor.storage.open import open_database
from supervisor.worker.records import Started
from tests.contract.retained_life import RetainedLife
from tests.databases import RawConnection
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

WORKERS = ("digest", "triage", "mail")
STEPS = 120
LIMITS = (
    ("system", Period.DAY, Unit.MICRO_USD, 10**9),
    ("session", Period.SESSION, Unit.MICRO_USD, 10**9),
    ("session", Period.SESSION, Unit.ACTIONS, 10**6),
    ("worker:digest", Period.HOUR, Unit.TOKENS, 10**9),
    ("worker:mail", Period.MONTH, Unit.MICRO_USD, 10**9),
    ("system", Period.UNLIMITED, Unit.MICRO_USD, 10**12),
)
ALL = "system/unlimited/all/micro_usd"


def budgets(chance: random.Random) -> Budgets:
    """Return the limits, some of them left out; the daily cap and the unlimited one stay."""
    kept = [limit for limit in LIMITS if limit[0] == "system" or chance.random() < 0.7]
    return Budgets(
        [
            Budget(scope=scope, period=period, unit=unit, limit_amount=limit)
            for scope, period, unit, limit in kept
        ],
        timezone=UTC_ZONE,
        warn_ratio=0.8,
    )


class Fate:
    """Lets one thing after the other happen, by chance."""

    def __init__(self, life: RecordedLife, aged: RetainedLife, chance: random.Random) -> None:
        self.life = life
        self.aged = aged
        self.chance = chance
        self.forfeited: list[Hold] = []

    async def step(self) -> None:
        steps = (self.tick, self.tick, self.tick, self.wait, self.restart, self.crash, self.pause)
        more = (self.resume, self.kill, self.release, self.reconcile, self.retain, self.retain)
        await self.chance.choice((*steps, *more))()

    async def tick(self) -> None:
        self.life.clock.advance(self.chance.randrange(1, 7_200))
        worker = self.chance.choice(WORKERS)
        started = await self.life.begin(worker)
        if not isinstance(started, Started):
            return
        for _ in range(self.chance.randrange(3)):
            amounts = Amounts(cost=self.chance.randrange(1, 5_000), tokens=100, actions=1)
            hold = await self.life.hold(worker, started, amounts)
            if not isinstance(hold, Hold):
                break  # the breaker, after a call above its hold
            match self.chance.randrange(3):
                case 0:
                    await self.life.settle(hold, self.chance.randrange(6_000))
                case 1:
                    await self.life.end(hold, HoldStatus.RELEASED, "not sent")
                case _:
                    self.forfeited.append(hold)  # with its tick
        await self.life.finish(worker, started)

    async def wait(self) -> None:
        self.life.clock.advance(self.chance.randrange(3_600, 200_000))

    async def restart(self) -> None:
        self.life.budgets = budgets(self.chance)
        await self.life.start(*WORKERS)

    async def crash(self) -> None:
        worker = self.chance.choice(WORKERS)
        started = await self.life.begin(worker)
        if isinstance(started, Started):
            await self.life.hold(worker, started, Amounts(cost=1_000, tokens=1, actions=1))
        self.life.clock.advance(self.chance.randrange(1, 100_000))
        await self.restart()

    async def pause(self) -> None:
        await self.life.store.write(_pause, self.chance.choice(WORKERS), self.life.origin())

    async def resume(self) -> None:
        await self.life.store.write(_resume, self.chance.choice(WORKERS), self.life.origin())

    async def kill(self) -> None:
        self.life.clock.advance(1)
        await self.life.kill(f"worker:{self.chance.choice(WORKERS)}")

    async def release(self) -> None:
        self.life.clock.advance(1)
        for latch in await self.life.store.read(engaged):
            await self.life.kill(latch.scope, is_engaged=False)

    async def reconcile(self) -> None:
        if self.forfeited:
            hold = self.forfeited.pop(self.chance.randrange(len(self.forfeited)))
            with suppress(NotFound, CommandConflict):  # it is pruned, or ended otherwise
                await self.life.reconcile(hold, self.chance.randrange(1_000))

    async def retain(self) -> None:
        # What can't be told whole yet waits; at the end of the test nothing does.
        with suppress(ExportRefused):
            await self.aged.retain(keep_days=self.chance.randrange(1, 4))
        report = await self.life.audit()
        assert report.findings == ()


def _pause(tx: Transaction, worker: str, origin: Origin) -> None:
    session = open_session_of(tx, worker)
    if session is not None and session.status is SessionStatus.ACTIVE:
        pause_session(tx, session, origin, why="spend cap")


def _resume(tx: Transaction, worker: str, origin: Origin) -> None:
    session = open_session_of(tx, worker)
    if session is not None and session.status is SessionStatus.PAUSED:
        resume_session(tx, session, origin, why="a person")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_all_adds_up(seed: int, tmp_path: Path, clock: VirtualClock) -> None:
    database = await open_database("sqlite", state_dir=tmp_path, now_us=to_us(clock.now()))
    raw = RawConnection(f"sqlite:///{tmp_path / 'supervisor.db'}")
    life = RecordedLife(database, clock)
    chance = random.Random(seed)  # noqa: S311 - repeatable, not a secret
    aged = RetainedLife(life, database, raw, tmp_path / "exports")
    fate = Fate(life, aged, chance)
    await fate.restart()
    for _ in range(STEPS):
        await fate.step()
    await fate.release()
    for worker in WORKERS:
        await database.write(_resume, worker, life.origin())
    for _ in range(9):
        clock.advance(86_400)
        await life.start(*WORKERS)
        for worker in WORKERS:
            await life.tick(worker, 10)
    done = await aged.retain(keep_days=2)
    assert done.held_back == ()
    assert (await life.audit()).findings == ()
    assert [report.findings for report in aged.audits_of_files()] == [()] * len(aged.files())
    assert aged.files()
    # What was ever used, of what is here and of what is gone, is on the account without end.
    ((settled,),) = raw.rows("SELECT settled FROM accounts WHERE id = ?", ALL)
    ((here,),) = raw.rows("SELECT coalesce(sum(cost_settled), 0) FROM holds")
    ((gone,),) = raw.rows("SELECT coalesce(sum(cost), 0) FROM retired_usage")
    assert isinstance(here, int)
    assert isinstance(gone, int)
    assert settled == here + gone
    raw.close()
    await database.close()
