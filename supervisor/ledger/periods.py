"""Which period of an account a moment belongs to: pure, so that no reset job can fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from supervisor.windows import window_at


class Period(StrEnum):
    """How long an account counts before its next one begins at zero."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    SESSION = "session"
    UNLIMITED = "unlimited"


def period_key(
    period: Period, moment: datetime, *, timezone: ZoneInfo, session_id: str = ""
) -> str:
    """Return the name of the period around `moment`; equal names are one account."""
    local = moment.astimezone(timezone)
    match period:
        case Period.HOUR:
            # In UTC: a local hour can come twice on one day.
            start = window_at(moment, span_s=3600, timezone=timezone).start
            return start.strftime("%Y-%m-%dT%H:%MZ")
        case Period.DAY:
            return local.date().isoformat()
        case Period.WEEK:
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02d}"
        case Period.MONTH:
            return f"{local.year}-{local.month:02d}"
        case Period.SESSION:
            return session_id
        case Period.UNLIMITED:
            return "all"


def period_start(period: Period, moment: datetime, *, timezone: ZoneInfo) -> datetime | None:
    """Return when the period around `moment` began, None for one that the clock does not begin."""
    if period is Period.HOUR:
        return window_at(moment, span_s=3600, timezone=timezone).start
    first = _first_day(period, moment.astimezone(timezone))
    return None if first is None else _midnight(first, timezone)


def period_end(period: Period, moment: datetime, *, timezone: ZoneInfo) -> datetime | None:
    """Return when the period around `moment` ends, None for one that the clock does not end."""
    if period is Period.HOUR:
        return window_at(moment, span_s=3600, timezone=timezone).end
    first = _first_day(period, moment.astimezone(timezone))
    if first is None:
        return None
    days = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period]
    following = first + timedelta(days=days)
    if period is Period.MONTH:
        following = (first + timedelta(days=31)).replace(day=1)
    return _midnight(following, timezone)


def _first_day(period: Period, local: datetime) -> datetime | None:
    # Where a midnight comes twice, the day begins with the first.
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case _:
            return None


def _midnight(day: datetime, timezone: ZoneInfo) -> datetime:
    return day.replace(tzinfo=timezone).astimezone(UTC)
