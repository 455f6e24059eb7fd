"""What a simulated month came to."""

from __future__ import annotations

import msgspec

from supervisor.governance.figures import Totals


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant that broke: which, when by the simulated wall clock, and what was seen."""

    rule: str
    detail: str
    at: str
    day: float


class DaySpend(msgspec.Struct, frozen=True, kw_only=True):
    """One day of the daemon-wide cap, in micro-USD; `billed` is the providers' invoice.

    `slack` is what was billed above a hold or hidden from the daemon, which no cap can hold.
    """

    day: str
    limit: int
    settled: int
    billed: int
    overrun: int
    slack: int


class Scorecard(Totals, frozen=True, kw_only=True):
    """One seed's month; all but `wall_s` is the same in every run of the seed.

    Its figures are those of `supervisor scorecard`, folded from the month's events.
    """

    seed: int
    days: float
    has_faults: bool
    began_at: str
    ended_at: str
    spend: list[DaySpend]
    recovered_ticks: int
    faults: dict[str, int]
    audits: int
    checks: dict[str, int]
    notes: list[str]
    digest: str
    failure: Failure | None
    wall_s: float

    @property
    def checks_total(self) -> int:
        return sum(self.checks.values())
