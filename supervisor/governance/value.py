"""What workers were worth: hours saved at their rate, less cost, by worker and period (row L11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import iso, to_us
from supervisor.events import kinds
from supervisor.events.kinds import Event
from supervisor.events.value_kinds import ValueReported
from supervisor.governance.event_reading import (
    DamagedEvent,
    EventReading,
    has_sessions_before,
    whose,
)
from supervisor.governance.record_periods import finder, newest_periods
from supervisor.governance.retired_days import RetiredDay, has_retired, retired_since
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.worth import MICRO_PER_HOUR
from supervisor.ledger.periods import Period
from supervisor.money import to_usd
from supervisor.storage.database import Transaction

By: TypeAlias = Literal["worker", "session", "day", "week", "month"]

#: Whose value it is, and of when: the key's place in the order, the key, and the worker.
_Place: TypeAlias = tuple[int, str, str]


class WantedValues(msgspec.Struct, frozen=True, kw_only=True):
    """Which values: of the newest `periods_max` periods or sessions, of one worker or of all."""

    by: By
    periods_max: int
    worker: str | None
    timezone: ZoneInfo


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker was worth in a period: `value_micro_usd` is worth less cost, exactly.

    `key` is the period, or the session; empty for the whole record. `cost` has the corrections of
    forfeited holds that were made in the period. A call that retention has pruned has no worker.
    """

    key: str
    worker: str
    hours_saved: float
    micro_hours: int
    worth_micro_usd: int
    cost_micro_usd: int
    value_micro_usd: int
    worth_usd: float
    cost_usd: float
    value_usd: float
    unrated_micro_hours: int


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """The values in the order of their periods, and their total.

    `is_complete` says that there is no older period. `events_ahead` tell of money or hours after
    the newest one, by a clock that was ahead, and are in none.
    """

    by: By
    at: str
    values: tuple[Value, ...]
    total: Value
    is_complete: bool
    events_ahead: int
    damaged: tuple[DamagedEvent, ...]
    damaged_total: int


class _Earned(msgspec.Struct):
    """Sums while they are made, in millionths; `unrated` are hours whose rate nobody has said."""

    micro_hours: int = 0
    unrated: int = 0
    worth: int = 0
    cost: int = 0

    def add(self, other: _Earned) -> None:
        self.micro_hours += other.micro_hours
        self.unrated += other.unrated
        self.worth += other.worth
        self.cost += other.cost


class _Session(msgspec.Struct, frozen=True):
    id: str
    worker: str
    opened_at: int


class _Scope(msgspec.Struct, frozen=True):
    """What is looked at: events since a moment, each at a place or at none.

    What happened at `until` or later is under a clock that was ahead.
    """

    since: int
    place: Callable[[int, str, str], _Place | None]
    is_complete: bool = True
    until: int = 2**63


def read_values(tx: Transaction, wanted: WantedValues, now: datetime) -> Values:
    """Sum up what events say of hours, worth and cost, in one pass over them.

    Raises:
        StoreUnavailable: the store can't be read any further.
    """
    scope = _scope(tx, wanted, now)
    reading = EventReading(tx)
    sums: dict[_Place, _Earned] = {}
    ahead = 0
    for row, event in reading.since(scope.since):
        earned = None if event is None else _earned(event)
        if event is None or earned is None:
            continue
        session_id, worker = whose(tx, row, event)
        if wanted.worker not in (None, worker):
            continue
        place = scope.place(row.at, session_id, worker)
        if place is not None:
            sums.setdefault(place, _Earned()).add(earned)
        elif row.at >= scope.until:
            ahead += 1
    for day in retired_since(tx, scope.since) if wanted.by != "session" else ():
        place, earned = scope.place(day.day_at, "", day.worker), _retired(day)
        if place is not None and earned is not None and wanted.worker in (None, day.worker):
            sums.setdefault(place, _Earned()).add(earned)
    return Values(
        by=wanted.by,
        at=iso(now),
        values=tuple(_value(place[1], place[2], sums[place]) for place in sorted(sums)),
        total=_total(sums.values()),
        is_complete=scope.is_complete,
        events_ahead=ahead,
        damaged=tuple(reading.damaged),
        damaged_total=reading.damaged_total,
    )


def _earned(event: Event) -> _Earned | None:
    match event:
        case ValueReported():
            unrated = 0 if event.rate else event.micro_hours
            return _Earned(micro_hours=event.micro_hours, worth=event.worth, unrated=unrated)
        case kinds.HoldSettled(cost=cost) | kinds.HoldForfeited(cost=cost):
            return _Earned(cost=cost)
        case kinds.HoldReconciled():
            return _Earned(cost=event.cost - event.cost_before)
        case _:
            return None


def _retired(day: RetiredDay) -> _Earned | None:
    """Return what a day's figures say of money and hours, None where no event did."""
    figures = day.unpacked()
    ends = (figures.counters.holds.get(end, 0) for end in ("settled", "forfeited"))
    if not (any(ends) or figures.holds_reconciled or figures.micro_hours):
        return None
    return _Earned(
        micro_hours=figures.micro_hours,
        unrated=figures.unrated_micro_hours,
        worth=figures.worth,
        cost=figures.counters.cost + figures.reconciled,
    )


def _scope(tx: Transaction, wanted: WantedValues, now: datetime) -> _Scope:
    match wanted.by:
        case "worker":
            return _Scope(0, lambda _at, _session, worker: (0, "", worker))
        case "session":
            return _sessions(tx, wanted, now)
        case _:
            return _periods(tx, wanted, Period(wanted.by), now)


def _periods(tx: Transaction, wanted: WantedValues, period: Period, now: datetime) -> _Scope:
    periods = newest_periods(period, now, timezone=wanted.timezone, count=wanted.periods_max)
    find = finder(periods)

    def place(at: int, _session: str, worker: str) -> _Place | None:
        index = find(at)
        return None if index is None else (index, periods[index].key, worker)

    since = periods[0].begins_at
    is_complete = not has_sessions_before(tx, since)
    return _Scope(since, place, is_complete=is_complete, until=periods[-1].ends_at)


def _sessions(tx: Transaction, wanted: WantedValues, now: datetime) -> _Scope:
    rows = tx.rows(
        "scorecard.newest_sessions",
        _Session,
        worker=wanted.worker,
        system=SYSTEM,
        rows_max=wanted.periods_max + 1,
    )
    newest = rows[: wanted.periods_max]
    order = {session.id: number for number, session in enumerate(reversed(newest))}

    def place(_at: int, session: str, worker: str) -> _Place | None:
        return (order[session], session, worker) if session in order else None

    since = min((session.opened_at for session in newest), default=to_us(now))
    is_complete = len(rows) <= wanted.periods_max and not has_retired(tx, 0)
    return _Scope(since, place, is_complete=is_complete)


def _total(sums: Iterable[_Earned]) -> Value:
    total = _Earned()
    for one in sums:
        total.add(one)
    return _value("", "", total)


def _value(key: str, worker: str, earned: _Earned) -> Value:
    value = earned.worth - earned.cost
    return Value(
        key=key,
        worker=worker,
        hours_saved=earned.micro_hours / MICRO_PER_HOUR,
        micro_hours=earned.micro_hours,
        worth_micro_usd=earned.worth,
        cost_micro_usd=earned.cost,
        value_micro_usd=value,
        worth_usd=to_usd(earned.worth),
        cost_usd=to_usd(earned.cost),
        value_usd=to_usd(value),
        unrated_micro_hours=earned.unrated,
    )
