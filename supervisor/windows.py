"""Windows: spans of time aligned to the wall clock of a timezone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

DAY_S = 86_400
_HOUR_S = 3_600
_NAMED = {"hourly": 3_600, "daily": DAY_S}
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
_SPAN = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[smhd])")


def next_occurrence(expression: str, after: datetime, timezone: ZoneInfo) -> datetime:
    """Return a cron expression's first occurrence after a moment, in UTC.

    cronsim has the rules of Debian's cron for clock changes. In an hour that comes twice it offers
    again what has run in its first pass: that is past.
    """
    from cronsim import CronSim

    occurrences = CronSim(expression, after.astimezone(timezone))
    return next(due for moment in occurrences if (due := moment.astimezone(UTC)) > after)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time, `start` inside and `end` outside it; both aware and in UTC."""

    start: datetime
    end: datetime


def span_of(text: str) -> int | None:
    """Return the seconds of a span such as `4h`, `15m` or `7d`, None where it is none."""
    match = _SPAN.fullmatch(text)
    return None if match is None else int(match["count"]) * _UNITS[match["unit"]]


def parse_window(text: str) -> int:
    """Return the seconds of `hourly`, `daily`, or a span such as `4h`, `15m`, `2s`.

    Raises:
        ValueError: it is none of these, or divides neither an hour nor, in hours, a day.
    """
    if text in _NAMED:
        return _NAMED[text]
    span_s = span_of(text)
    if span_s is None:
        raise ValueError('is not "hourly", "daily" or a span such as "4h", "15m"')
    # Clocks change by an hour at a full hour: other spans would leave their grid there.
    if _HOUR_S % span_s and (span_s % _HOUR_S or DAY_S % span_s):
        raise ValueError(
            "divides neither an hour nor, in whole hours, a day: it can't follow the wall clock"
        )
    return span_s


def window_at(moment: datetime, *, span_s: int, timezone: ZoneInfo) -> Window:
    """Return the window of `span_s` seconds around `moment`, aligned to local midnight.

    `span_s` is one of `parse_window`. Windows follow each other with no gap and no overlap, also on
    the days when clocks change: of the local times that do not exist the first begins at the
    change, and the others begin no window; of a local time that comes twice, both begin a window
    of at most an hour, and only the first begins a longer one.
    """
    local = moment.astimezone(timezone).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    steps = int((local - midnight).total_seconds()) // span_s
    offset = _steady_offset(moment, span_s, timezone)
    if offset is not None:
        start = (midnight + timedelta(seconds=span_s * steps) - offset).replace(tzinfo=UTC)
        return Window(start=start, end=start + timedelta(seconds=span_s))
    near = [midnight + timedelta(seconds=span_s * (steps + step)) for step in _reach(span_s)]
    folds = (0, 1) if span_s <= _HOUR_S else (0,)
    starts = {start for wall in near for fold in folds for start in _instants(wall, fold, timezone)}
    return Window(
        start=max(start for start in starts if start <= moment),
        end=min(start for start in starts if start > moment),
    )


def _steady_offset(moment: datetime, span_s: int, timezone: ZoneInfo) -> timedelta | None:
    """Return the timezone's offset if no clock change is near, so that no window is touched."""
    reach = timedelta(seconds=span_s + 2 * _HOUR_S)
    around = (moment - reach, moment, moment + reach)
    offsets = {at.astimezone(timezone).utcoffset() for at in around}
    return offsets.pop() if len(offsets) == 1 else None


def _reach(span_s: int) -> range:
    # Far enough to both sides that a clock change of up to two hours is looked over.
    steps = 2 * _HOUR_S // span_s + 2
    return range(-steps, steps + 1)


def _instants(wall: datetime, fold: int, timezone: ZoneInfo) -> list[datetime]:
    instant = wall.replace(tzinfo=timezone, fold=fold).astimezone(UTC)
    local = instant.astimezone(timezone)
    exists = local.replace(tzinfo=None) == wall
    just_before = (instant - timedelta.resolution).astimezone(timezone)
    is_at_change = fold == 0 and just_before.utcoffset() != local.utcoffset()
    return [instant] if exists or is_at_change else []
