"""What a session's events add up to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from supervisor.events import approval_kinds, kinds
from supervisor.events.kinds import Event


class Counters(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A session's running totals: a fold over its events, kept in the session's row.

    The same fold rebuilds them in `supervisor audit`, so that row and events can't drift apart
    unseen. Costs are micro-USD.
    """

    ticks: dict[str, int] = {}
    refusals: dict[str, int] = {}
    cost: int = 0
    tokens: int = 0
    actions: int = 0
    holds: dict[str, int] = {}
    budget_exhaustions: int = 0
    approvals: int = 0
    denials: int = 0
    denials_by_code: dict[str, int] = {}
    executions: dict[str, int] = {}
    context: int = 0
    saved: int = 0

    def add(self, event: Event) -> None:
        """Fold one event in."""
        match event:
            case kinds.CycleSkipped(code=code):
                _count(self.ticks, "skipped")
                _count(self.refusals, code)
            case kinds.CycleCompleted(outcome=outcome):
                _count(self.ticks, outcome)
            case kinds.CycleRecovered():
                _count(self.ticks, "recovered")
            case kinds.CallRefused(code=code):
                _count(self.refusals, code)
            case kinds.BudgetExhausted() | kinds.TokenBudgetExhausted():
                self.budget_exhaustions += 1
            case kinds.HoldPlaced():
                _count(self.holds, "placed")
            case kinds.HoldReleased():
                _count(self.holds, "released")
            case kinds.HoldSettled() | kinds.HoldForfeited():
                _count(self.holds, "settled" if event.kind == "hold_settled" else "forfeited")
                self.cost += event.cost
                self.tokens += event.tokens
                self.actions += event.actions
                if isinstance(event, kinds.HoldSettled):
                    self.context += event.context
                    self.saved += event.saved
            case _:
                self._add_approval(event)

    def _add_approval(self, event: Event) -> None:
        match event:
            case approval_kinds.ApprovalGranted():
                self.approvals += 1
            case approval_kinds.ApprovalDenied(code=code):
                self.denials += 1
                _count(self.denials_by_code, code)
            case approval_kinds.ApprovalTimedOut():
                self.denials += 1
                _count(self.denials_by_code, "expired")
            case approval_kinds.ExecutionCompleted():
                _count(self.executions, "executed")
            case approval_kinds.ExecutionFailed():
                _count(self.executions, "failed")
            case _:
                return


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is sealed when a session ends: its totals, its event range, and the last hash.

    A change to any event, or to this, is seen by `supervisor audit`.
    """

    counters: Mapping[str, object]
    first_seq: int
    last_seq: int
    last_hash: str
