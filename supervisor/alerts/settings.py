"""What the config says of alerts."""

from __future__ import annotations

import msgspec

from supervisor.alerts.quiet import QuietHours
from supervisor.alerts.rates import RateRule
from supervisor.alerts.record import Terms


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of what; `approvals_age_s` is how long a ticket may wait before it is told."""

    terms: Terms
    approvals_age_s: float
    rates: tuple[RateRule, ...] = ()
    quiet: QuietHours | None = None
