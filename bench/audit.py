"""How long `supervisor audit` reads, and how much memory it takes, as a store grows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from bench.daemons import command, environment, write_config
from bench.figures import Figure, Goal
from bench.site import Site
from supervisor.clock import to_us
from supervisor.events.log import Origin
from supervisor.governance.rotation import SessionPlan
from supervisor.ledger.accounts import Amounts, Budget, Budgets, Unit
from supervisor.ledger.holds import HoldRequest, HoldStatus, Metering
from supervisor.ledger.periods import Period
from supervisor.lifecycle import Life, begin_life
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.storage.open import open_database
from supervisor.worker.placing import Granted, HoldEnd, place
from supervisor.worker.records import Ending, Started, TickRequest, begin_tick, finish_tick

TITLE = "audit of a whole record"
SPAN_GOAL = Goal(target=60, aim=30)
MEMORY_GOAL = Goal(target=150, aim=100)

_START = datetime(2026, 6, 1, tzinfo=UTC)
_ZONE = ZoneInfo("UTC")
_WORKERS = tuple(f"worker-{number}" for number in range(8))
#: A tick of each worker every so often: 30 ticks to an hourly session.
_EVERY_S = 120
_ROUNDS_A_BATCH = 250
_MODEL = "quick/model"
_BOOT = "boot-filled"
_MANY = 10**15
_BUDGETS = Budgets(
    [
        Budget(scope=scope, period=period, unit=unit, limit_amount=_MANY)
        for scope, period, unit in (
            ("system", Period.DAY, Unit.MICRO_USD),
            ("session", Period.SESSION, Unit.MICRO_USD),
            ("session", Period.SESSION, Unit.ACTIONS),
        )
    ],
    timezone=_ZONE,
    warn_ratio=0.8,
)


class _Audited(msgspec.Struct, frozen=True):
    """What one audit took."""

    span_s: float
    cpu_s: float
    peak_mib: float


def measure(site: Site) -> tuple[Figure, ...]:
    """Audit a small store and the run's large one, each in a process of its own."""
    # Imported here: it fills that store with `fill`.
    from bench.full_store import EVENTS, EVENTS_QUICK, full_store

    few = site.pick(100_000, 5_000)
    folder = site.folder / "small"
    folder.mkdir(mode=0o700)
    asyncio.run(fill(folder, few))
    small = _audit(site, folder / "supervisor.db", few)
    many = site.pick(EVENTS, EVENTS_QUICK)
    large = _audit(site, full_store(site), many)
    return (
        _figure(f"audit of {many:,} events", large.span_s, "s", SPAN_GOAL),
        _figure("its CPU time", large.cpu_s, "s"),
        _figure("its peak RSS", large.peak_mib, "MiB", MEMORY_GOAL),
        _figure(f"audit of {few:,} events", small.span_s, "s"),
        _figure("peak RSS of that", small.peak_mib, "MiB"),
    )


def _figure(what: str, value: float, unit: str, goal: Goal | None = None) -> Figure:
    return Figure(what=what, value=round(value, 2), unit=unit, samples=1, goal=goal)


def _audit(site: Site, store: Path, events: int) -> _Audited:
    """Run `supervisor audit`, which must find nothing on a store of at least so many events."""
    folder = site.folder / f"config-{events}"
    folder.mkdir()
    config = write_config(folder, [], database=f"sqlite:///{store}")
    began_s = time.monotonic()
    with subprocess.Popen(
        command(config, "audit", "--json"), env=environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    span_s = time.monotonic() - began_s
    report = json.loads(told)
    assert process.returncode == 0, report
    assert report["events"] >= events, report
    return _Audited(span_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


async def fill(state_dir: Path, events: int) -> int:
    """Write a store of at least so many events with the daemon's own transactions.

    Returns how many there are. A commit takes many ticks, since nobody waits for one.
    """
    database = await open_database("sqlite", state_dir=state_dir, now_us=to_us(_START))
    try:
        life = Life(boot_id=_BOOT, pid=1, host="bench", version="0")
        origin = Origin(at=_START, actor="bench")
        await database.write(begin_life, life, _WORKERS, _BUDGETS, origin)
        first = written = 0
        while written < events:
            written = await database.write(_live, first, _ROUNDS_A_BATCH)
            first += _ROUNDS_A_BATCH
        return written
    finally:
        await database.close()


def _live(tx: Transaction, first: int, count: int) -> int:
    """Let every worker tick `count` times, and return how many events there are then."""
    for number in range(first, first + count):
        at = _START + timedelta(seconds=number * _EVERY_S)
        for worker in _WORKERS:
            _tick(tx, worker, at)
    nothing = dict.fromkeys(("session_id", "worker", "kind", "correlation_id", "since"))
    (newest,) = tx.rows("status.newest_events", _Position, rows_max=1, **nothing)
    return newest.key


class _Position(msgspec.Struct, frozen=True):
    key: int


def _tick(tx: Transaction, worker: str, at: datetime) -> None:
    """Write a tick with one paid call: about four events."""
    actor = f"worker:{worker}"
    request = TickRequest(
        boot_id=_BOOT,
        session=SessionPlan(worker=worker, span_s=3_600, timezone=_ZONE),
        budgets=_BUDGETS,
        model=_MODEL,
        is_free=False,
    )
    started = begin_tick(tx, request, Origin(at=at, actor=actor))
    assert isinstance(started, Started), started
    name = f"{worker}#{started.tick}"
    origin = Origin(at=at + timedelta(seconds=2), actor=actor, correlation_id=name)
    placed = place(tx, _call(worker, started, f"{name}.1"), None, _BUDGETS, origin)
    assert isinstance(placed, Granted), placed
    end = HoldEnd(
        hold=placed.hold,
        status=HoldStatus.SETTLED,
        origin=origin,
        actual=Amounts(cost=1_300, tokens=980, actions=1),
        metering=Metering(input_tokens=900, output_tokens=80, duration_s=1.2),
    )
    ending = Ending(
        worker=worker,
        tick=started.tick,
        session_id=started.session.id,
        outcome=Outcome.OK,
        duration_s=2.0,
        checkpoint_every=12,
        state='{"seen":12}',
    )
    assert finish_tick(tx, ending, origin, [end])


def _call(worker: str, started: Started, hold_id: str) -> HoldRequest:
    return HoldRequest(
        id=hold_id,
        boot_id=_BOOT,
        worker=worker,
        session_id=started.session.id,
        tick=started.tick,
        model=_MODEL,
        what="digest",
        amounts=Amounts(cost=6_000, tokens=2_900, actions=1),
    )
