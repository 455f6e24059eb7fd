"""Windows tile time: no gap, no overlap, also on the days when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.windows import DAY_S, Window, parse_window, window_at

#: Each zone with the instants, in UTC, of both clock changes of 2026.
SWITCHES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "America/Santiago": ("2026-04-05T03:00", "2026-09-06T04:00"),
    "Asia/Kathmandu": ("2026-04-01T00:00", "2026-10-01T00:00"),
}
AROUND = [
    (zone, datetime.fromisoformat(text).replace(tzinfo=UTC))
    for zone, texts in SWITCHES.items()
    for text in texts
]
SPANS_S = [2, 10, 60, 900, 1200, 1800, 3600, 7200, 10_800, 14_400, 43_200, DAY_S]
CHANGES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]

moments = st.builds(
    lambda place, offset_us: (place[0], place[1] + timedelta(microseconds=offset_us)),
    st.sampled_from(AROUND),
    st.one_of(
        st.integers(-2 * 3600 * 10**6, 2 * 3600 * 10**6),
        st.integers(-36 * 3600 * 10**6, 36 * 3600 * 10**6),
    ),
)


def window(moment: datetime, span_s: int, zone: str) -> Window:
    return window_at(moment, span_s=span_s, timezone=ZoneInfo(zone))


def local(moment: datetime, zone: str) -> str:
    return moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M:%S")


def starts(zone: str, span_s: int, *, since: str, until: str) -> list[str]:
    """Return the local times at which windows begin."""
    moment, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))
    found = []
    while moment < end:
        found.append(local(window(moment, span_s, zone).start, zone))
        moment = window(moment, span_s, zone).end
    return found


@given(place=moments, span_s=st.sampled_from(SPANS_S))
def test_a_moment_is_inside_its_window(place: tuple[str, datetime], span_s: int) -> None:
    zone, moment = place
    found = window(moment, span_s, zone)
    assert found.start <= moment < found.end
    assert found.start.tzinfo is UTC
    assert found.end.tzinfo is UTC


@given(place=moments, span_s=st.sampled_from(SPANS_S), fraction=st.floats(0, 1, exclude_max=True))
def test_every_moment_of_a_window_has_that_window(
    place: tuple[str, datetime], span_s: int, fraction: float
) -> None:
    zone, moment = place
    found = window(moment, span_s, zone)
    other = min(
        found.start + (found.end - found.start) * fraction,
        found.end - timedelta(microseconds=1),
    )
    assert window(other, span_s, zone) == found


@given(place=moments, span_s=st.sampled_from(SPANS_S))
def test_windows_follow_each_other_with_no_gap_and_no_overlap(
    place: tuple[str, datetime], span_s: int
) -> None:
    zone, moment = place
    found = window(moment, span_s, zone)
    assert window(found.end, span_s, zone).start == found.end
    before = window(found.start - timedelta(microseconds=1), span_s, zone)
    assert before.end == found.start


@given(place=moments, span_s=st.sampled_from(SPANS_S))
def test_a_window_is_as_long_as_its_span_except_across_a_clock_change(
    place: tuple[str, datetime], span_s: int
) -> None:
    zone, moment = place
    found = window(moment, span_s, zone)
    offsets = {edge.astimezone(ZoneInfo(zone)).utcoffset() for edge in (found.start, found.end)}
    length_s = (found.end - found.start).total_seconds()
    if len(offsets) == 1 and span_s <= 3600:
        assert length_s <= span_s
    assert length_s <= span_s + 3600


@pytest.mark.parametrize(("zone", "change"), AROUND)
@pytest.mark.parametrize("span_s", [1200, 1800, 3600, 7200, 10_800])
def test_a_window_begins_on_the_wall_clocks_grid_or_at_a_clock_change(
    zone: str, change: datetime, span_s: int
) -> None:
    moment = change - timedelta(hours=5)
    while moment < change + timedelta(hours=5):
        found = window(moment, span_s, zone)
        assert is_on_grid(found.start, span_s, zone) or found.start == change
        moment = found.end


def is_on_grid(moment: datetime, span_s: int, zone: str) -> bool:
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    return (wall - midnight).total_seconds() % span_s == 0


@given(place=moments)
def test_the_daily_window_is_the_local_day(place: tuple[str, datetime]) -> None:
    zone, moment = place
    found = window(moment, DAY_S, zone)
    day = moment.astimezone(ZoneInfo(zone)).date()
    last = found.end - timedelta(microseconds=1)
    before = found.start - timedelta(microseconds=1)
    assert found.start.astimezone(ZoneInfo(zone)).date() == day
    assert last.astimezone(ZoneInfo(zone)).date() == day
    assert found.end.astimezone(ZoneInfo(zone)).date() == day + timedelta(days=1)
    assert before.astimezone(ZoneInfo(zone)).date() == day - timedelta(days=1)


@given(place=moments, span_s=st.sampled_from(SPANS_S))
def test_a_windows_start_names_it_to_the_second(place: tuple[str, datetime], span_s: int) -> None:
    zone, moment = place
    found = window(moment, span_s, zone)
    assert found.start.microsecond == 0
    assert found.end - found.start >= timedelta(seconds=1)


@pytest.mark.parametrize("zone", CHANGES)
def test_a_local_day_of_a_clock_change_is_one_window(zone: str) -> None:
    for text in SWITCHES[zone]:
        change = datetime.fromisoformat(text).replace(tzinfo=UTC)
        lengths = {
            (window(change + timedelta(hours=shift), DAY_S, zone)) for shift in range(-30, 31)
        }
        hours = sorted((day.end - day.start).total_seconds() / 3600 for day in lengths)
        odd = {hour for hour in hours if hour != 24}
        assert odd <= {23.0, 25.0, 23.5, 24.5}
        assert len(odd) == 1


def test_an_hour_that_comes_twice_has_two_hourly_windows() -> None:
    assert starts("Europe/Berlin", 3600, since="2026-10-24T23:00", until="2026-10-25T03:00") == [
        "25 01:00:00",
        "25 02:00:00",
        "25 02:00:00",
        "25 03:00:00",
    ]


def test_an_hour_that_is_left_out_has_none() -> None:
    assert starts("Europe/Berlin", 3600, since="2026-03-29T00:00", until="2026-03-29T03:00") == [
        "29 01:00:00",
        "29 03:00:00",
        "29 04:00:00",
    ]


def test_a_local_time_that_does_not_exist_begins_at_the_change() -> None:
    found = starts("Australia/Lord_Howe", 1200, since="2026-10-03T15:00", until="2026-10-03T16:00")
    assert found == ["04 01:20:00", "04 01:40:00", "04 02:30:00", "04 02:40:00"]


def test_a_longer_window_begins_once_where_the_hour_comes_twice() -> None:
    found = starts("Europe/Berlin", 7200, since="2026-10-24T22:00", until="2026-10-25T05:00")
    assert found == ["25 00:00:00", "25 02:00:00", "25 04:00:00"]


def test_half_an_hours_change_keeps_to_the_wall_clock() -> None:
    found = starts("Australia/Lord_Howe", 3600, since="2026-10-03T14:30", until="2026-10-03T18:00")
    assert found == ["04 01:00:00", "04 02:30:00", "04 03:00:00", "04 04:00:00"]


def test_a_day_whose_midnight_is_left_out_begins_at_the_change() -> None:
    found = starts("America/Santiago", DAY_S, since="2026-09-05T12:00", until="2026-09-07T12:00")
    assert found == ["05 00:00:00", "06 01:00:00", "07 00:00:00"]


def test_windows_of_a_timezone_without_full_hours_follow_its_own_clock() -> None:
    found = starts("Asia/Kathmandu", 14_400, since="2026-06-01T18:15", until="2026-06-02T06:15")
    assert found == ["02 00:00:00", "02 04:00:00", "02 08:00:00"]


@pytest.mark.parametrize(
    ("text", "span_s"),
    [("hourly", 3600), ("daily", DAY_S), ("4h", 14_400), ("15m", 900), ("2s", 2), ("1d", DAY_S)],
)
def test_a_window_is_named_or_a_span(text: str, span_s: int) -> None:
    assert parse_window(text) == span_s


@pytest.mark.parametrize(
    "text", ["hourlyy", "Hourly", "", "4", "h", "0h", "-1h", "1.5h", "4h ", "1w", "100000s", "٤h"]
)
def test_a_text_that_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='is not "hourly", "daily" or a span'):
        parse_window(text)


@pytest.mark.parametrize("text", ["7h", "5d", "2d", "7s", "50m", "40m", "45m", "90m", "4500s"])
def test_a_span_that_would_leave_the_wall_clock_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="divides neither an hour nor, in whole hours, a day"):
        parse_window(text)


@given(count=st.integers(1, 99_999), unit=st.sampled_from("smhd"))
def test_what_is_parsed_divides_an_hour_or_in_hours_a_day(count: int, unit: str) -> None:
    try:
        span_s = parse_window(f"{count}{unit}")
    except ValueError:
        return
    assert 3600 % span_s == 0 or (span_s % 3600 == 0 and DAY_S % span_s == 0)
