"""The newest periods of the clock, and which of them a moment falls into. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.ledger.periods import Period, period_end, period_start

_US = timedelta(microseconds=1)


class RecordPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """One hour, day, week or month; `key` is its local name, moments in microseconds since 1970."""

    key: str
    begins_at: int
    ends_at: int

    def holds(self, at: int) -> bool:
        """Return whether a moment is in it."""
        return self.begins_at <= at < self.ends_at


def newest_periods(
    period: Period, now: datetime, *, timezone: ZoneInfo, count: int
) -> list[RecordPeriod]:
    """Return the last `count` periods up to that of `now`, the oldest first, without a gap."""
    periods: list[RecordPeriod] = []
    moment = now
    for _ in range(count):
        start = period_start(period, moment, timezone=timezone)
        end = period_end(period, moment, timezone=timezone)
        assert start is not None, f"the clock begins no {period}"
        assert end is not None, f"the clock ends no {period}"
        key = _key(period, start.astimezone(timezone))
        periods.append(RecordPeriod(key=key, begins_at=to_us(start), ends_at=to_us(end)))
        moment = start - _US
    return periods[::-1]


def finder(periods: Sequence[RecordPeriod]) -> Callable[[int], int | None]:
    """Return what finds the index of a moment's period; most events are in that of the last one.

    None is for a moment in none of them: under a clock that was ahead.
    """
    latest = 0

    def find(at: int) -> int | None:
        nonlocal latest
        if not periods[latest].holds(at):
            found = next((n for n, one in enumerate(periods) if one.holds(at)), None)
            if found is None:
                return None
            latest = found
        return latest

    return find


def _key(period: Period, local: datetime) -> str:
    match period:
        case Period.HOUR:
            return local.strftime("%Y-%m-%dT%H:%M%z")
        case Period.MONTH:
            return local.strftime("%Y-%m")
        case Period.WEEK:
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02d}"
        case _:
            return local.date().isoformat()
