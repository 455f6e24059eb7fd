"""Quiet hours, over midnight too, and by the local clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from supervisor.alerts.facts import Severity
from supervisor.alerts.quiet import QuietHours, parse_hours


def quiet(hours: str, zone: str = "UTC") -> QuietHours:
    start, end = parse_hours(hours)
    return QuietHours(start=start, end=end, timezone=ZoneInfo(zone), least=Severity.CRITICAL)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 6, 1, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "moment", "is_quiet"),
    [
        ("22:00-07:00", at(21, 59), False),
        ("22:00-07:00", at(22), True),
        ("22:00-07:00", at(3), True),
        ("22:00-07:00", at(7), False),
        ("12:00-14:00", at(13), True),
        ("12:00-14:00", at(14), False),
        ("12:00-14:00", at(23), False),
    ],
)
def test_they_begin_at_their_start_and_are_over_at_their_end(
    hours: str, moment: datetime, is_quiet: bool
) -> None:
    expected = Severity.CRITICAL if is_quiet else Severity.INFO
    assert quiet(hours).least_at(moment) is expected


def test_they_are_those_of_the_configured_timezone() -> None:
    # 21:00 UTC is 23:00 in Berlin in summer.
    assert quiet("22:00-07:00", "Europe/Berlin").least_at(at(21)) is Severity.CRITICAL


@pytest.mark.parametrize("text", ["22-7", "22:00", "25:00-07:00", "07:00-07:00", "22:00-07:00 "])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_hours(text)
