"""Quiet hours: when only the gravest is told at once, and the rest waits (pure)."""

from __future__ import annotations

import re
from datetime import datetime, time
from zoneinfo import ZoneInfo

import msgspec

from supervisor.alerts.facts import Severity

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")


class QuietHours(msgspec.Struct, frozen=True, kw_only=True):
    """From `start` to `end` of each day, over midnight where `end` comes before `start`."""

    start: time
    end: time
    timezone: ZoneInfo
    least: Severity

    def least_at(self, now: datetime) -> Severity:
        """Return the least severity that is told at this moment."""
        local = now.astimezone(self.timezone).time()
        if self.start <= self.end:
            is_quiet = self.start <= local < self.end
        else:
            is_quiet = local >= self.start or local < self.end
        return self.least if is_quiet else Severity.INFO


def parse_hours(text: str) -> tuple[time, time]:
    """Return the start and the end of hours such as `22:00-07:00`.

    Raises:
        ValueError: it is not of that form.
    """
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError("is not of the form HH:MM-HH:MM")
    hours = [int(number) for number in match.groups()]
    start, end = time(hours[0], hours[1]), time(hours[2], hours[3])
    if start == end:
        raise ValueError("begins when it ends")
    return start, end
