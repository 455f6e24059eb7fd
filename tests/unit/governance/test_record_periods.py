"""Periods follow each other without a gap, in every timezone, also where the clocks change."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from supervisor.clock import to_us
from supervisor.governance.record_periods import finder, newest_periods
from supervisor.ledger.periods import Period, period_start

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]
moments = st.datetimes(datetime(2011, 12, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware by hypothesis
periods = st.sampled_from([Period.HOUR, Period.DAY, Period.WEEK, Period.MONTH])


@given(moments, periods, st.sampled_from(ZONES), st.integers(1, 40))
def test_periods_have_no_gap_no_overlap_and_a_name_each(
    now: datetime, period: Period, zone: str, count: int
) -> None:
    timezone = ZoneInfo(zone)
    found = newest_periods(period, now, timezone=timezone, count=count)
    assert len(found) == count
    assert found[-1].holds(to_us(now))
    pairs = itertools.pairwise(found)
    assert all(first.ends_at == second.begins_at for first, second in pairs)
    assert len({one.key for one in found}) == count


@given(moments, periods, st.sampled_from(ZONES), st.lists(st.integers(0, 40 * 24 * 3600)))
def test_a_moment_is_found_in_its_own_period_or_in_none(
    now: datetime, period: Period, zone: str, ages_s: list[int]
) -> None:
    timezone = ZoneInfo(zone)
    known = newest_periods(period, now, timezone=timezone, count=5)
    find = finder(known)
    for age_s in ages_s:
        at = now - timedelta(seconds=age_s)
        place = find(to_us(at))
        start = period_start(period, at, timezone=timezone)
        assert start is not None
        begins = [one.begins_at for one in known]
        assert place == (begins.index(to_us(start)) if to_us(start) in begins else None)
