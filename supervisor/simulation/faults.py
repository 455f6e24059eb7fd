"""The misfortunes of a month, drawn from the seed before it begins."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

DAY_S = 86_400.0
_HOUR_S = 3_600.0
_MINUTE_S = 60.0

_ORDINARY_START = datetime(2026, 6, 1, tzinfo=UTC)
_FIRST_CHANGE_FROM = datetime(2026, 2, 1, tzinfo=UTC)


class FaultKind(StrEnum):
    """What can befall the daemon, its machine, its providers, its workers and its store."""

    CRASH = "crash"
    CRASH_BEFORE_COMMIT = "crash_before_commit"
    CRASH_AFTER_COMMIT = "crash_after_commit"
    CRASH_BEFORE_CALL = "crash_before_call"
    CRASH_IN_CALL = "crash_in_call"
    SIGTERM = "sigterm"
    SIGTERM_TWICE = "sigterm_twice"
    STOP_FILE = "stop_file"
    KILL = "kill"
    RELOAD = "reload"
    ROLLBACK = "rollback"
    WALL_BACK_1H = "wall_back_1h"
    WALL_FORWARD_1H = "wall_forward_1h"
    WALL_NUDGE = "wall_nudge"
    WALL_FORWARD_10Y = "wall_forward_10y"
    WALL_BACK_10Y = "wall_back_10y"
    SUSPEND_3H = "suspend_3h"
    OUTAGE = "outage"
    STORM_429 = "storm_429"
    SLOW = "slow"
    HANGS = "hangs"
    GREED = "greed"
    BAD_WORKER = "bad_worker"
    STORE_LOCKED = "store_locked"
    DISK_FULL = "disk_full"
    #: No fault, but the person who looks in: reconciles, resumes what waits for a person.
    VISIT = "visit"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One misfortune: `at_s` after the start, for `span_s`; `luck` is from 0 to 1, for details."""

    at_s: float
    kind: FaultKind
    span_s: float
    luck: float


class _Habit(msgspec.Struct, frozen=True):
    """How often a day something happens, and how many seconds it lasts, at least and at most."""

    per_day: float
    least_s: float = 0.0
    most_s: float = 0.0


_HABITS = {
    FaultKind.CRASH: _Habit(0.6, 1.0, 2 * _HOUR_S),
    FaultKind.CRASH_BEFORE_COMMIT: _Habit(0.5, 0.1, 10 * _MINUTE_S),
    FaultKind.CRASH_AFTER_COMMIT: _Habit(0.5, 0.1, 10 * _MINUTE_S),
    FaultKind.CRASH_BEFORE_CALL: _Habit(0.3, 0.1, _MINUTE_S),
    FaultKind.CRASH_IN_CALL: _Habit(0.5, 0.1, 10 * _MINUTE_S),
    FaultKind.SIGTERM: _Habit(0.3, 0.5, _HOUR_S),
    FaultKind.SIGTERM_TWICE: _Habit(0.1, 0.5, _HOUR_S),
    FaultKind.STOP_FILE: _Habit(0.1, 10 * _MINUTE_S, 6 * _HOUR_S),
    FaultKind.KILL: _Habit(0.5, 5.0, 6 * _HOUR_S),
    FaultKind.RELOAD: _Habit(0.3),
    FaultKind.ROLLBACK: _Habit(0.1),
    FaultKind.WALL_BACK_1H: _Habit(0.15),
    FaultKind.WALL_FORWARD_1H: _Habit(0.1),
    FaultKind.WALL_NUDGE: _Habit(0.4),
    FaultKind.SUSPEND_3H: _Habit(0.1),
    FaultKind.OUTAGE: _Habit(0.25, 5 * _MINUTE_S, 3 * _HOUR_S),
    FaultKind.STORM_429: _Habit(0.25, 5 * _MINUTE_S, 3 * _HOUR_S),
    FaultKind.SLOW: _Habit(0.25, 5 * _MINUTE_S, 3 * _HOUR_S),
    FaultKind.HANGS: _Habit(0.15, 5 * _MINUTE_S, 2 * _HOUR_S),
    FaultKind.GREED: _Habit(0.3, 10 * _MINUTE_S, 8 * _HOUR_S),
    FaultKind.BAD_WORKER: _Habit(0.1, 5 * _MINUTE_S, 4 * _HOUR_S),
    FaultKind.STORE_LOCKED: _Habit(0.15, 1.0, 3 * _MINUTE_S),
    FaultKind.DISK_FULL: _Habit(0.05, _MINUTE_S, 30 * _MINUTE_S),
}
_VISITS = _Habit(1.0)

#: One month in eight a clock is set ten years ahead; in every second of these, back at its end,
#: as the ledger then stays where it has been and little can happen any more.
_ONLY_FACTOR = 5.0
_PAST_MIDNIGHT_ODDS = 2 / 3
_PAST_MIDNIGHT_S = (900.0, 3_300.0)
_TEN_YEARS_ODDS = 1 / 8
_BACK_ODDS = 1 / 2
_BACK_WITHIN_S = 2 * DAY_S


def draw_faults(
    chance: random.Random,
    *,
    days: float,
    midnight_s: float,
    has_faults: bool,
    only: Collection[FaultKind] = (),
) -> list[Fault]:
    """Return what happens in `days`, in its order; the first local midnight is at `midnight_s`.

    With `only` some kinds of faults, these come five times as often.
    """
    faults = _HABITS if has_faults else {}
    if only:
        faults = {kind: _often(habit) for kind, habit in faults.items() if kind in only}
    habits = {FaultKind.VISIT: _VISITS, **faults}
    found: list[Fault] = []
    for kind, habit in habits.items():
        at_s = _pause_s(chance, habit)
        while at_s < days * DAY_S:
            found.append(_fault(chance, kind, habit, at_s))
            if kind is FaultKind.WALL_BACK_1H and chance.random() < _PAST_MIDNIGHT_ODDS:
                found[-1] = _past_midnight(found[-1], midnight_s)
            at_s += _pause_s(chance, habit)
    if has_faults and not only and chance.random() < _TEN_YEARS_ODDS:
        found.extend(_ten_years(chance, days))
    return sorted(found, key=lambda fault: (fault.at_s, fault.kind))


def _often(habit: _Habit) -> _Habit:
    return msgspec.structs.replace(habit, per_day=_ONLY_FACTOR * habit.per_day)


def _pause_s(chance: random.Random, habit: _Habit) -> float:
    return chance.expovariate(habit.per_day) * DAY_S


def _fault(chance: random.Random, kind: FaultKind, habit: _Habit, at_s: float) -> Fault:
    span_s = 0.0
    if habit.most_s:
        # Short ones are as likely as long ones: each power of ten has its share.
        span_s = math.exp(chance.uniform(math.log(habit.least_s), math.log(habit.most_s)))
    return Fault(at_s=at_s, kind=kind, span_s=span_s, luck=chance.random())


def _past_midnight(fault: Fault, midnight_s: float) -> Fault:
    """Return the fault in the first hour of its day: it takes the clock into the day before."""
    days = max(math.floor((fault.at_s - midnight_s) / DAY_S), 0)
    least_s, most_s = _PAST_MIDNIGHT_S
    at_s = midnight_s + days * DAY_S + least_s + fault.luck * (most_s - least_s)
    return msgspec.structs.replace(fault, at_s=at_s)


def _ten_years(chance: random.Random, days: float) -> list[Fault]:
    at_s = chance.uniform(0.0, days * DAY_S)
    there = Fault(at_s=at_s, kind=FaultKind.WALL_FORWARD_10Y, span_s=0.0, luck=chance.random())
    if chance.random() > _BACK_ODDS:
        return [there]
    back_s = max(at_s + _MINUTE_S, days * DAY_S - chance.uniform(0.0, _BACK_WITHIN_S))
    back = Fault(at_s=back_s, kind=FaultKind.WALL_BACK_10Y, span_s=0.0, luck=chance.random())
    return [there, back]


def draw_start(
    chance: random.Random, *, days: float, timezones: list[ZoneInfo], has_faults: bool
) -> datetime:
    """Return when the month begins: with faults, so that it holds a change of some clock."""
    if not has_faults:
        return _ORDINARY_START
    changes = sorted({change for zone in timezones for change in _clock_changes(zone)})
    if not changes:
        return _ORDINARY_START + timedelta(hours=chance.randrange(24 * 200))
    change = chance.choice(changes)
    before_s = chance.uniform(0.1, 0.9) * days * DAY_S
    return (change - timedelta(seconds=before_s)).replace(microsecond=0)


def _clock_changes(zone: ZoneInfo) -> list[datetime]:
    """Return the hours of one year in which the timezone's offset changes."""
    hours = [_FIRST_CHANGE_FROM + timedelta(hours=hour) for hour in range(366 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]
