"""What a simulated month came to."""

from __future__ import annotations

from collections import Counter

import msgspec

from supervisor.events import kinds
from supervisor.events.log import Recorded
from supervisor.governance.rotation import SYSTEM


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


class Scorecard(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's month; all but `wall_s` is the same in every run of the seed."""

    seed: int
    days: float
    has_faults: bool
    began_at: str
    ended_at: str
    ticks: dict[str, int]
    refusals: dict[str, int]
    holds: dict[str, int]
    spend: list[DaySpend]
    lives: int
    recovered_ticks: int
    rotations: int
    kills: int
    worker_crashes: int
    workers_failed: int
    faults: dict[str, int]
    events: int
    audits: int
    checks: dict[str, int]
    notes: list[str]
    digest: str
    failure: Failure | None
    wall_s: float

    @property
    def checks_total(self) -> int:
        return sum(self.checks.values())


class Tally:
    """Counts what the committed events tell. Written by `count` alone."""

    def __init__(self) -> None:
        self.events = 0
        self.ticks: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.holds: Counter[str] = Counter()
        self.lives = 0
        self.rotations = 0
        self.kills = 0
        self.worker_crashes = 0
        self.workers_failed = 0

    def count(self, recorded: Recorded) -> None:
        """Count one event."""
        self.events += 1
        match event := recorded.event:
            case kinds.CycleCompleted():
                self.ticks[event.outcome] += 1
            case kinds.CycleSkipped():
                self.ticks["skipped"] += 1
                self.refusals[event.code] += 1
            case kinds.CycleRecovered():
                self.ticks["recovered"] += 1
            case kinds.CallRefused():
                self.refusals[event.code] += 1
            case kinds.HoldSettled() | kinds.HoldForfeited() | kinds.HoldReleased():
                self.holds[event.kind.removeprefix("hold_")] += 1
            case kinds.HoldReconciled():
                self.holds["reconciled"] += 1
            case _:
                self._count_rest(recorded)

    def _count_rest(self, recorded: Recorded) -> None:
        match event := recorded.event:
            case kinds.DaemonStarted():
                self.lives += 1
            case kinds.SessionRotated():
                self.rotations += event.worker != SYSTEM
            case kinds.KillSwitchEngaged():
                self.kills += 1
            case kinds.WorkerCrashed():
                self.worker_crashes += 1
            case kinds.WorkerFailed():
                self.workers_failed += 1
            case _:
                return
