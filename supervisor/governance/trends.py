"""How a window compares with the one before it: rates, and by how much they changed."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_HOUR_S = 3_600.0
_DIGITS = 6


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A figure's rate in this window and in the one before it.

    Rates, and not counts, so that a window that goes on can be compared with one that is over.
    `change` is the part by which the rate rose, negative where it fell: 0.5 is half as much again.
    It is None where there was nothing before; `per_hour` above 0 then is something new.
    """

    per_hour: float
    per_hour_before: float
    change: float | None


def trends(
    now: Mapping[str, int], now_s: float, before: Mapping[str, int], before_s: float
) -> dict[str, Trend]:
    """Return each figure's trend; `now_s` and `before_s` are how long the windows have lasted.

    Empty where one of them has not lasted at all: there is no rate to compare.
    """
    if now_s <= 0 or before_s <= 0:
        return {}
    return {
        name: _trend(count * _HOUR_S / now_s, before.get(name, 0) * _HOUR_S / before_s)
        for name, count in now.items()
    }


def _trend(rate: float, rate_before: float) -> Trend:
    change = round(rate / rate_before - 1, _DIGITS) if rate_before else None
    return Trend(
        per_hour=round(rate, _DIGITS),
        per_hour_before=round(rate_before, _DIGITS),
        change=change,
    )
