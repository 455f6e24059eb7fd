"""Periods and windows worked out anew, by search over instants: the oracle of the product's own.

Nothing here is shared with `supervisor.windows` or `supervisor.ledger.periods`. An instant is
looked at every quarter of an hour, since every change of a clock since 1980 falls on one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
_DAY_MINUTES = 1_440

#: Clocks that change by an hour, by half an hour, at midnight, never; offsets of quarters.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "America/Santiago",
    "America/Havana",
    "Pacific/Auckland",
)


def quarter_before(moment: datetime) -> datetime:
    """Return the latest quarter of an hour that is not after `moment`."""
    return moment - timedelta(
        minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond
    )


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return what a clock on the wall shows at that instant."""
    return instant.astimezone(zone).replace(tzinfo=None)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """Return the date that a calendar on the wall shows."""
    return wall(moment, zone).date()


def begins_window(instant: datetime, span_minutes: int, zone: ZoneInfo) -> bool:
    """Return whether a window begins at a quarter of an hour.

    It does where the wall shows a time on the grid, or where the clock has just leapt over one.
    Of a time that is shown twice, only windows of up to an hour begin at the second.
    """
    shown = wall(instant, zone)
    is_second = instant.astimezone(zone).fold == 1
    if (shown.hour * 60 + shown.minute) % span_minutes == 0:
        return not is_second or span_minutes <= 60
    before = wall(instant - timedelta(microseconds=1), zone) + timedelta(microseconds=1)
    leapt = (before + QUARTER * n for n in range(int((shown - before) / QUARTER)))
    return any((time.hour * 60 + time.minute) % span_minutes == 0 for time in leapt)


@lru_cache(maxsize=65_536)
def _window_start(quarter: datetime, span_minutes: int, zone: ZoneInfo) -> datetime:
    while not begins_window(quarter, span_minutes, zone):
        quarter -= QUARTER
    return quarter


@lru_cache(maxsize=65_536)
def _window_end(quarter: datetime, span_minutes: int, zone: ZoneInfo) -> datetime:
    quarter += QUARTER
    while not begins_window(quarter, span_minutes, zone):
        quarter += QUARTER
    return quarter


def window(moment: datetime, span_s: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the window around `moment`; its span is a number of quarters that divides a day."""
    quarter, minutes = quarter_before(moment.astimezone(UTC)), span_s // 60
    return _window_start(quarter, minutes, zone), _window_end(quarter, minutes, zone)


def period(name: str, moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return where an account's period around `moment` begins and ends."""
    if name == "hour":
        return window(moment, 3_600, zone)
    today = day_of(moment, zone)
    if name == "day":
        return day_start(today, zone), day_start(today + timedelta(days=1), zone)
    if name == "week":
        monday = today - timedelta(days=today.isoweekday() - 1)
        return day_start(monday, zone), day_start(monday + timedelta(days=7), zone)
    first = today.replace(day=1)
    years, month = divmod(first.month, 12)
    following = date(first.year + years, month + 1, 1)
    return day_start(first, zone), day_start(following, zone)


@lru_cache(maxsize=65_536)
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the wall shows that day."""
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while wall(instant, zone).date() < day:
        instant += QUARTER
    return instant


@lru_cache(maxsize=64)
def clock_changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return the instants of a year at which the zone's clocks change."""
    instant, found = datetime(year, 1, 1, tzinfo=UTC), []
    offset = instant.astimezone(zone).utcoffset()
    while instant.year == year:
        instant += QUARTER
        if instant.astimezone(zone).utcoffset() != offset:
            found.append(instant)
            offset = instant.astimezone(zone).utcoffset()
    return tuple(found)
