"""What every section is, and the bounds that its numbers have."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

#: A year of seconds, so that no moment leaves the calendar; 1e15, so that sums fit any store's
#: integer; and 1e9 USD, which are as many micro-USD.
SECONDS_MAX = 366.0 * 86_400.0
COUNT_MAX = 10**15
USD_MAX = 1e9
#: Of one tick, and for an hour: their product still fits 64 bits in micro-USD.
HOURS_MAX = 100_000.0
RATE_USD_MAX = 1e6

Seconds = Annotated[float, Meta(gt=0, le=SECONDS_MAX)]
Usd = Annotated[float, Meta(ge=0, le=USD_MAX)]
Hours = Annotated[float, Meta(ge=0, le=HOURS_MAX)]
HourlyUsd = Annotated[float, Meta(ge=0, le=RATE_USD_MAX)]
Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
Positive = Annotated[int, Meta(ge=1, le=COUNT_MAX)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; a key that it does not have is refused."""
