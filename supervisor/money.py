"""Money as an integer of micro-USD."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

MICRO_PER_USD = 1_000_000
#: The most that the config or a person may name: sums of them fit any store's integer.
USD_MAX = 1e9


def micro_usd(usd: float | int | str | Decimal) -> int:
    """Return `usd` in micro-USD, rounded up, so that a cost is never understated.

    A float is read by its shortest decimal form: `0.1` is ten cents, not a binary fraction above.
    """
    return math.ceil(_exactly(usd))


def limit_micro_usd(usd: float | int | str | Decimal) -> int:
    """Return a limit in micro-USD, rounded down, so that a cap is never overstated."""
    return math.floor(_exactly(usd))


def _exactly(usd: float | int | str | Decimal) -> Fraction:
    # A product of decimals would be rounded to 28 digits before it is rounded up or down.
    amount = usd if isinstance(usd, Decimal) else Decimal(str(usd))
    return Fraction(amount) * MICRO_PER_USD


def to_usd(amount_micro_usd: int) -> float:
    """Return micro-USD as a float of USD, for JSON and metrics only."""
    return amount_micro_usd / MICRO_PER_USD


def usd_text(amount_micro_usd: int) -> str:
    """Return `1.20 USD`: at least two decimals, and as many as the amount has."""
    sign = "-" if amount_micro_usd < 0 else ""
    whole, fraction = divmod(abs(amount_micro_usd), MICRO_PER_USD)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits} USD"
