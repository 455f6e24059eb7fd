"""Where the time comes from."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Two clocks: `now` for records, `monotonic` for spans."""

    def now(self) -> datetime:
        """Return the wall clock's moment, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that moves only when told to; the fake for tests and simulations."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP would."""
        self._now += timedelta(seconds=seconds)


def to_us(moment: datetime) -> int:
    """Return `moment` as microseconds since 1970, the form that the store keeps."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return the aware UTC moment of `to_us`."""
    return _EPOCH + timedelta(microseconds=microseconds)


def iso(moment: datetime) -> str:
    """Return `moment` in UTC as `2026-06-01T00:00:00Z`, for texts and records."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
