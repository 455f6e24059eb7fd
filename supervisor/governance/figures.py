"""What events add up to: the figures of every scorecard."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from supervisor.events import kinds
from supervisor.events.counters import Counters
from supervisor.events.kinds import Event
from supervisor.events.value_kinds import ValueReported
from supervisor.governance.rotation import SYSTEM
from supervisor.governance.worth import MICRO_PER_HOUR
from supervisor.money import to_usd
from supervisor.outcome import Outcome

#: How a tick ends when the work was not done, as far as anybody knows.
_BAD_OUTCOMES = (
    Outcome.FAILED,
    Outcome.UNKNOWN,
    Outcome.TIMED_OUT,
    Outcome.CANCELLED,
    "recovered",
)


class Figures(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Running totals of any events, of one session or of many; written by `add` alone.

    A fold over events and nothing else, so that a scorecard can't say what the record does not.
    Money in micro-USD; `reconciled` is by how much people have corrected forfeited holds.
    """

    counters: Counters = msgspec.field(default_factory=Counters)
    events: int = 0
    lives: int = 0
    sessions: int = 0
    rotations: int = 0
    checkpoints: int = 0
    kills: int = 0
    worker_crashes: int = 0
    workers_failed: int = 0
    holds_reconciled: int = 0
    reconciled: int = 0
    micro_hours: int = 0
    unrated_micro_hours: int = 0
    worth: int = 0

    def include(self, other: Figures) -> None:
        """Add up with those of other events."""
        for name in self.__struct_fields__:
            if name != "counters":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        _include(self.counters, other.counters)

    def add(self, event: Event) -> None:
        """Fold one event in."""
        self.events += 1
        self.counters.add(event)
        match event:
            case kinds.HoldReconciled():
                self.holds_reconciled += 1
                self.reconciled += event.cost - event.cost_before
            case kinds.CheckpointCreated():
                self.checkpoints += 1
            case kinds.SessionOpened():
                self.sessions += event.worker != SYSTEM
            case kinds.SessionRotated():
                self.rotations += event.worker != SYSTEM
            case _:
                self._add_rest(event)

    def _add_rest(self, event: Event) -> None:
        match event:
            case ValueReported():
                self.micro_hours += event.micro_hours
                self.unrated_micro_hours += 0 if event.rate else event.micro_hours
                self.worth += event.worth
            case kinds.DaemonStarted():
                self.lives += 1
            case kinds.KillSwitchEngaged():
                self.kills += 1
            case kinds.WorkerCrashed():
                self.worker_crashes += 1
            case kinds.WorkerFailed():
                self.workers_failed += 1
            case _:
                return

    def totals(self) -> Totals:
        """Return the figures as they are told."""
        counters = self.counters
        holds = {**counters.holds, "reconciled": self.holds_reconciled}
        return Totals(
            events=self.events,
            ticks=_told(counters.ticks),
            refusals=_told(counters.refusals),
            holds=_told(holds),
            approvals=counters.approvals,
            denials=counters.denials,
            denials_by_reason=_told(counters.denials_by_code),
            executions=_told(counters.executions),
            budget_exhaustions=counters.budget_exhaustions,
            recoveries=counters.ticks.get("recovered", 0),
            sessions=self.sessions,
            rotations=self.rotations,
            checkpoints=self.checkpoints,
            lives=self.lives,
            kills=self.kills,
            worker_crashes=self.worker_crashes,
            workers_failed=self.workers_failed,
            actions=counters.actions,
            tokens=counters.tokens,
            cost_micro_usd=counters.cost,
            cost_usd=to_usd(counters.cost),
            reconciled_usd=to_usd(self.reconciled),
            hours_saved=self.micro_hours / MICRO_PER_HOUR,
            worth_micro_usd=self.worth,
            worth_usd=to_usd(self.worth),
        )


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a scorecard, as `supervisor scorecard` and `supervisor simulate` tell them.

    `cost_*` is what calls cost when they ended, forfeits in full; `reconciled_usd` is by how much
    that was corrected later, in the window in which it was. `supervisor value` has it by worker.
    """

    events: int
    ticks: dict[str, int]
    refusals: dict[str, int]
    holds: dict[str, int]
    approvals: int
    denials: int
    denials_by_reason: dict[str, int]
    executions: dict[str, int]
    budget_exhaustions: int
    recoveries: int
    sessions: int
    rotations: int
    checkpoints: int
    lives: int
    kills: int
    worker_crashes: int
    workers_failed: int
    actions: int
    tokens: int
    cost_micro_usd: int
    cost_usd: float
    reconciled_usd: float
    hours_saved: float
    worth_micro_usd: int
    worth_usd: float

    def headline(self) -> dict[str, int]:
        """Return what a trend is told of, money in micro-USD."""
        return {
            "ticks": sum(self.ticks.values()),
            "bad_ticks": sum(self.ticks.get(outcome, 0) for outcome in _BAD_OUTCOMES),
            "approvals": self.approvals,
            "denials": self.denials,
            "refusals": sum(self.refusals.values()),
            "budget_exhaustions": self.budget_exhaustions,
            "recoveries": self.recoveries,
            "worker_crashes": self.worker_crashes,
            "cost_micro_usd": self.cost_micro_usd,
        }


def _include(counters: Counters, other: Counters) -> None:
    for name in counters.__struct_fields__:
        mine, theirs = getattr(counters, name), getattr(other, name)
        if not isinstance(mine, dict):
            setattr(counters, name, mine + theirs)
            continue
        for key, count in theirs.items():
            mine[key] = mine.get(key, 0) + count


def _told(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts) if counts[name]}
