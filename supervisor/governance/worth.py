"""What saved hours are worth: exact integers, rounded so that a value is never overstated."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import msgspec

from supervisor.config.bounds import HOURS_MAX
from supervisor.errors import InputRefused
from supervisor.events.value_kinds import ValueReported

MICRO_PER_HOUR = 1_000_000
_WHAT_MAX = 500


class ValueRule(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says of a worker's worth.

    `micro_hours` is what each tick that ends ok saves where the worker does not say, 0 for nothing.
    `rate` is micro-USD for an hour, 0 where nobody has said what an hour is worth.
    """

    micro_hours: int = 0
    rate: int = 0


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says that its tick has saved people."""

    micro_hours: int
    what: str = ""


def micro_hours(hours: float) -> int:
    """Return hours in millionths, rounded down; a float is read by its shortest decimal form."""
    return math.floor(Fraction(Decimal(str(hours))) * MICRO_PER_HOUR)


def add_saved(before: Saved | None, hours: float, what: str) -> Saved:
    """Return what was said to be saved so far, and these hours.

    Raises:
        InputRefused: that is no number of hours.
    """
    if not math.isfinite(hours) or not 0 <= hours <= HOURS_MAX:
        fix = f"give 0 to {HOURS_MAX:g}"
        raise InputRefused(subject=f"saved {hours}", what="is no number of hours", fix=fix)
    before = before or Saved(micro_hours=0)
    told = "; ".join(text for text in (before.what, what) if text)
    total = min(before.micro_hours + micro_hours(hours), micro_hours(HOURS_MAX))
    return Saved(micro_hours=total, what=told[:_WHAT_MAX])


def worth(saved_micro_hours: int, rate: int) -> int:
    """Return micro-USD, rounded down; `rate` is micro-USD for an hour."""
    return saved_micro_hours * rate // MICRO_PER_HOUR


def value_of(
    rule: ValueRule, saved: Saved | None, *, worker: str, tick: int, is_ok: bool
) -> ValueReported | None:
    """Return the record of what a tick was worth, None where it has saved nobody anything.

    The rate stands in it: one that changes later does not change what was.
    """
    is_preset = saved is None
    if saved is None:
        saved = Saved(micro_hours=rule.micro_hours if is_ok else 0)
    if not saved.micro_hours:
        return None
    return ValueReported(
        worker=worker,
        tick=tick,
        micro_hours=saved.micro_hours,
        rate=rule.rate,
        worth=worth(saved.micro_hours, rule.rate),
        what=saved.what,
        is_preset=is_preset,
    )
