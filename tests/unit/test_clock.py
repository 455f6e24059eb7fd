"""Moments go into the store and come out the same; the virtual clock moves when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from supervisor.clock import SystemClock, VirtualClock, from_us, iso, to_us
from supervisor.ids import RandomIds, SequentialIds

START = datetime(2026, 6, 1, 10, 30, tzinfo=UTC)
moments = st.datetimes(
    datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis takes bounds without a zone
    datetime(2200, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)


@given(moment=moments)
def test_a_moment_survives_the_store_to_the_microsecond(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment
    assert from_us(to_us(moment)).tzinfo is UTC


@given(moment=moments)
def test_a_moment_is_stored_the_same_however_it_is_written(moment: datetime) -> None:
    assert to_us(moment.astimezone(ZoneInfo("America/Santiago"))) == to_us(moment)


@given(first=moments, second=moments)
def test_the_stored_form_keeps_the_order(first: datetime, second: datetime) -> None:
    assert (to_us(first) < to_us(second)) == (first < second)


def test_a_moment_is_written_in_utc() -> None:
    berlin = datetime(2026, 6, 1, 0, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert iso(berlin) == "2026-05-31T22:00:00Z"


def test_the_virtual_clock_lets_time_pass_on_both_clocks() -> None:
    clock = VirtualClock(START)
    clock.advance(1.5)
    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_a_set_wall_clock_moves_no_span() -> None:
    clock = VirtualClock(START)
    clock.step_wall(-3600)
    assert clock.now() == START - timedelta(hours=1)
    assert clock.monotonic() == 0.0


def test_the_machines_clock_is_aware_and_its_spans_never_go_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    spans = [clock.monotonic() for _ in range(100)]
    assert spans == sorted(spans)


def test_identities_say_their_kind_and_are_never_made_twice() -> None:
    ids = RandomIds()
    made = {ids.new("boot") for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(name.startswith("boot-") for name in made)


def test_the_fake_identities_are_counted() -> None:
    ids = SequentialIds()
    assert [ids.new("a"), ids.new("b")] == ["a-1", "b-2"]
