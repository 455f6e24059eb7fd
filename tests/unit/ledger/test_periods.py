"""A period is a pure function of the moment and the timezone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.ledger.periods import Period, period_end, period_key, period_start

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
]
BY_CLOCK = [Period.HOUR, Period.DAY, Period.WEEK, Period.MONTH]
MICROSECOND = timedelta(microseconds=1)

moments = st.datetimes(
    datetime(2025, 12, 1),  # noqa: DTZ001 - hypothesis takes bounds without a zone
    datetime(2028, 1, 31),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
clock_periods = st.sampled_from(BY_CLOCK)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bounds(period: Period, moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start = period_start(period, moment, timezone=zone)
    end = period_end(period, moment, timezone=zone)
    assert start is not None
    assert end is not None
    return start, end


def key(period: Period, text: str, zone: str = "Europe/Berlin") -> str:
    return period_key(period, at(text), timezone=ZoneInfo(zone))


@given(period=clock_periods, moment=moments, zone=zones)
def test_a_moment_is_inside_its_period(period: Period, moment: datetime, zone: ZoneInfo) -> None:
    start, end = bounds(period, moment, zone)
    assert start <= moment < end


@given(period=clock_periods, moment=moments, zone=zones, fraction=st.floats(0, 1))
def test_one_period_has_one_name(
    period: Period, moment: datetime, zone: ZoneInfo, fraction: float
) -> None:
    start, end = bounds(period, moment, zone)
    other = min(start + (end - start) * fraction, end - MICROSECOND)
    assert period_key(period, other, timezone=zone) == period_key(period, moment, timezone=zone)
    assert bounds(period, other, zone) == (start, end)


@given(period=clock_periods, moment=moments, zone=zones)
def test_a_period_ends_where_the_next_begins_and_that_has_another_name(
    period: Period, moment: datetime, zone: ZoneInfo
) -> None:
    _, end = bounds(period, moment, zone)
    assert bounds(period, end, zone)[0] == end
    assert period_key(period, end, timezone=zone) != period_key(period, moment, timezone=zone)


@given(period=clock_periods, moment=moments, later_s=st.integers(1, 10**8), zone=zones)
def test_a_name_never_comes_again(
    period: Period, moment: datetime, later_s: int, zone: ZoneInfo
) -> None:
    later = moment + timedelta(seconds=later_s)
    _, end = bounds(period, moment, zone)
    is_same = period_key(period, later, timezone=zone) == period_key(period, moment, timezone=zone)
    assert is_same == (later < end)


@given(moment=moments, zone=zones)
def test_the_daily_key_is_the_local_date(moment: datetime, zone: ZoneInfo) -> None:
    expected = moment.astimezone(zone).date().isoformat()
    assert period_key(Period.DAY, moment, timezone=zone) == expected


@given(period=clock_periods, moment=moments, zone=zones)
def test_a_key_does_not_depend_on_how_the_moment_is_written(
    period: Period, moment: datetime, zone: ZoneInfo
) -> None:
    elsewhere = moment.astimezone(ZoneInfo("Asia/Tokyo"))
    assert period_key(period, elsewhere, timezone=zone) == period_key(period, moment, timezone=zone)


def test_the_hour_that_comes_twice_in_autumn_is_two_periods() -> None:
    first, second = key(Period.HOUR, "2026-10-25T00:30"), key(Period.HOUR, "2026-10-25T01:30")
    assert (first, second) == ("2026-10-25T00:00Z", "2026-10-25T01:00Z")


def test_an_hour_is_the_local_clocks() -> None:
    assert key(Period.HOUR, "2026-06-01T10:20", "Asia/Kathmandu") == "2026-06-01T10:15Z"
    assert key(Period.HOUR, "2026-06-01T10:10", "Asia/Kathmandu") == "2026-06-01T09:15Z"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-06-01T21:59:59", "2026-06-01"),
        ("2026-06-01T22:00:00", "2026-06-02"),
        ("2026-12-31T23:00:00", "2027-01-01"),
    ],
)
def test_a_day_begins_at_local_midnight(text: str, day: str) -> None:
    assert key(Period.DAY, text) == day


def test_the_days_of_clock_changes_are_23_and_25_hours_long() -> None:
    zone = ZoneInfo("Europe/Berlin")
    spring = bounds(Period.DAY, at("2026-03-29T12:00"), zone)
    autumn = bounds(Period.DAY, at("2026-10-25T12:00"), zone)
    assert spring[1] - spring[0] == timedelta(hours=23)
    assert autumn[1] - autumn[0] == timedelta(hours=25)


@pytest.mark.parametrize(
    ("text", "week"),
    [
        ("2026-05-31T21:59:59", "2026-W22"),
        ("2026-05-31T22:00:00", "2026-W23"),
        ("2026-12-31T12:00:00", "2026-W53"),
        ("2027-01-03T12:00:00", "2026-W53"),
        ("2027-01-04T12:00:00", "2027-W01"),
    ],
)
def test_a_week_begins_on_monday_and_belongs_to_its_iso_year(text: str, week: str) -> None:
    assert key(Period.WEEK, text) == week


@pytest.mark.parametrize(
    ("text", "month", "end"),
    [
        ("2026-01-31T12:00", "2026-01", "2026-01-31T23:00"),
        ("2026-02-28T22:59", "2026-02", "2026-02-28T23:00"),
        ("2026-12-15T12:00", "2026-12", "2026-12-31T23:00"),
        ("2028-02-29T12:00", "2028-02", "2028-02-29T23:00"),
    ],
)
def test_a_month_ends_with_its_last_day(text: str, month: str, end: str) -> None:
    assert key(Period.MONTH, text) == month
    found = period_end(Period.MONTH, at(text), timezone=ZoneInfo("Europe/Berlin"))
    assert found == at(end)


@given(moment=moments, zone=zones)
def test_a_session_and_no_end_are_not_the_clocks(moment: datetime, zone: ZoneInfo) -> None:
    assert period_key(Period.SESSION, moment, timezone=zone, session_id="a@1") == "a@1"
    assert period_key(Period.UNLIMITED, moment, timezone=zone) == "all"
    for period in (Period.SESSION, Period.UNLIMITED):
        assert period_start(period, moment, timezone=zone) is None
        assert period_end(period, moment, timezone=zone) is None
