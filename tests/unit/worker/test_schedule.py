"""When a worker ticks: fixed delays, and cron through clock changes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.worker.schedule import Cron, Every

SWITCHES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-10-03T15:30", "2026-04-04T15:00"),
}
CASES = [(zone, change) for zone, changes in SWITCHES.items() for change in changes]
AUTUMN = [(zone, changes[1]) for zone, changes in SWITCHES.items()]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(cron: Cron, *, since: datetime, until: datetime, tick_s: float = 1.0) -> list[datetime]:
    """Return when a worker ticks that asks after each tick when the next one is."""
    found: list[datetime] = []
    now = since + timedelta(seconds=cron.next_delay_s(since))
    while now < until:
        found.append(now)
        now += timedelta(seconds=tick_s)
        now += timedelta(seconds=cron.next_delay_s(now))
        assert len(found) < 10_000, f"a busy loop at {found[-1]}"
    return found


def test_a_fixed_delay_begins_at_once_and_counts_from_the_end() -> None:
    every = Every(900.0)
    assert not every.follows_wall_clock
    assert every.next_delay_s(at("2026-06-01T10:30")) == 900.0


@pytest.mark.parametrize(
    ("expression", "zone", "now", "following"),
    [
        ("0 6 * * *", "UTC", "2026-06-01T05:59:59", "2026-06-01T06:00"),
        ("0 6 * * *", "UTC", "2026-06-01T06:00:00", "2026-06-02T06:00"),
        ("0 6 * * *", "Europe/Berlin", "2026-06-01T03:00", "2026-06-01T04:00"),
        ("*/15 * * * *", "UTC", "2026-06-01T10:31", "2026-06-01T10:45"),
        ("0 0 * * MON", "UTC", "2026-06-02T00:00", "2026-06-08T00:00"),
        ("0 0 29 2 *", "UTC", "2026-06-01T00:00", "2028-02-29T00:00"),
    ],
)
def test_the_first_tick_waits_for_its_time(
    expression: str, zone: str, now: str, following: str
) -> None:
    cron = Cron(expression, ZoneInfo(zone))
    expected_s = (at(following) - at(now)).total_seconds()
    assert cron.next_delay_s(at(now)) == expected_s


@pytest.mark.parametrize(("zone", "change"), CASES)
@pytest.mark.parametrize("minute", [0, 15, 30, 45])
@pytest.mark.parametrize("hour", [0, 1, 2, 3])
def test_a_daily_occurrence_runs_once_on_each_day_of_a_clock_change(
    zone: str, change: str, hour: int, minute: int
) -> None:
    cron = Cron(f"{minute} {hour} * * *", ZoneInfo(zone))
    local_day = at(change).astimezone(ZoneInfo(zone)).date()
    found = runs(cron, since=at(change) - timedelta(days=2), until=at(change) + timedelta(days=2))
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in found]
    assert days.count(local_day) == 1
    assert len(days) == len(set(days))


@pytest.mark.parametrize(("zone", "change"), CASES)
@pytest.mark.parametrize("hour", [0, 1, 2, 3])
def test_a_tick_that_lasts_through_the_change_does_not_make_it_run_again(
    zone: str, change: str, hour: int
) -> None:
    cron = Cron(f"30 {hour} * * *", ZoneInfo(zone))
    for tick_min in (5, 25, 35, 50, 65):
        found = runs(
            cron,
            since=at(change) - timedelta(days=1),
            until=at(change) + timedelta(days=2),
            tick_s=tick_min * 60.0,
        )
        days = [moment.astimezone(ZoneInfo(zone)).date() for moment in found]
        assert len(days) == len(set(days)), tick_min


@pytest.mark.parametrize(("zone", "change"), AUTUMN)
def test_asking_within_the_hour_that_comes_twice_is_never_a_busy_loop(
    zone: str, change: str
) -> None:
    for minute in range(0, 60, 10):
        for hour in (0, 1, 2):
            cron = Cron(f"{minute} {hour} * * *", ZoneInfo(zone))
            for offset_min in range(-120, 120, 5):
                now = at(change) + timedelta(minutes=offset_min)
                assert cron.next_delay_s(now) > 0, (cron, now)


@pytest.mark.parametrize(("zone", "change"), CASES)
def test_a_wildcard_follows_real_time_through_the_change(zone: str, change: str) -> None:
    cron = Cron("*/30 * * * *", ZoneInfo(zone))
    found = runs(cron, since=at(change) - timedelta(hours=5), until=at(change) + timedelta(hours=5))
    gaps = {later - earlier for earlier, later in itertools.pairwise(found)}
    assert gaps == {timedelta(minutes=30)}


@given(
    minutes=st.integers(0, 365 * 24 * 60),
    zone=st.sampled_from(sorted(SWITCHES)),
    expression=st.sampled_from(["0 * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *"]),
)
def test_the_next_time_is_always_ahead(minutes: int, zone: str, expression: str) -> None:
    moment = at("2026-01-01T00:00") + timedelta(minutes=minutes)
    assert Cron(expression, ZoneInfo(zone)).next_delay_s(moment) > 0
