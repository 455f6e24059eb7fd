"""Auditing proposals, tickets and session grants: their events, replayed, against their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, TypeVar

import msgspec

from supervisor.events import approval_kinds as kinds
from supervisor.events.kinds import Event
from supervisor.events.log import EventRow
from supervisor.governance.audit_findings import Findings
from supervisor.governance.sound_rows import TextKey, damage_text, sound_rows
from supervisor.storage.database import Transaction


class _Row(msgspec.Struct, frozen=True):
    id: str


class _Proposal(_Row, frozen=True):
    status: str
    hold_id: str | None


class _Ticket(_Row, frozen=True):
    status: str


class _Grant(_Row, frozen=True):
    count_used: int


class _Risk(_Row, frozen=True):
    level: str


RowT = TypeVar("RowT", bound=_Row)


class ProposalAudit:
    """Follows every proposal from its making to its end, and each ticket to its decision.

    In memory are their states, the uses of session grants, and the risk of sessions.
    """

    #: The kinds of events that it is to be told of.
    FOLLOWS: ClassVar[tuple[type[Event], ...]] = (
        kinds.ProposalMade,
        kinds.ProposalExpired,
        kinds.ApprovalRequested,
        kinds.ApprovalGranted,
        kinds.ApprovalDenied,
        kinds.ApprovalTimedOut,
        kinds.ExecutionStarted,
        kinds.ExecutionCompleted,
        kinds.ExecutionFailed,
        kinds.SessionRiskEscalated,
    )

    def __init__(self, tx: Transaction, findings: Findings) -> None:
        self._tx = tx
        self._findings = findings
        self._proposals: dict[str, str] = {}
        self._executing: dict[str, str] = {}
        self._tickets: dict[str, str] = {}
        # The grant that each proposal is to be drawn from when it is executed.
        self._own_grants: dict[str, str] = {}
        self._used: dict[str, int] = {}
        self._levels: dict[str, str] = {}

    def add(self, row: EventRow, event: Event) -> None:
        """Replay an event of a proposal; others are none of its."""
        match event:
            case kinds.ProposalMade(proposal=proposal):
                if proposal in self._proposals:
                    self._findings.add(f"proposal {proposal}", "is made a second time", row)
                self._proposals[proposal] = "pending"
            case kinds.ApprovalRequested():
                self._tickets[event.ticket] = "pending"
            case kinds.ApprovalGranted():
                self._grant(row, event)
            case kinds.ApprovalDenied():
                self._decide(row, event.ticket, "denied")
                self._move(row, event.proposal, "denied", before="pending")
            case kinds.ApprovalTimedOut():
                self._decide(row, event.ticket, "expired")
                self._move(row, event.proposal, "expired", before="pending")
            case kinds.ProposalExpired():
                self._move(row, event.proposal, "expired", before="pending")
            case kinds.SessionRiskEscalated():
                self._levels[row.session_id] = event.after
            case _:
                self._execute(row, event)

    def _execute(self, row: EventRow, event: Event) -> None:
        match event:
            case kinds.ExecutionStarted():
                subject = f"proposal {event.proposal}"
                if self._proposals.get(event.proposal) != "approved":
                    self._findings.add(subject, "is executed without being approved", row)
                if event.proposal in self._executing:
                    self._findings.add(subject, "is executed a second time", row)
                self._executing[event.proposal] = event.hold
                if event.proposal in self._own_grants:
                    self._used[self._own_grants.pop(event.proposal)] += 1
            case kinds.ExecutionCompleted():
                self._move(row, event.proposal, "executed", before="approved")
            case kinds.ExecutionFailed():
                self._move(row, event.proposal, "failed", before="approved")
            case _:
                return

    def _grant(self, row: EventRow, event: kinds.ApprovalGranted) -> None:
        if event.ticket:
            self._decide(row, event.ticket, "approved")
        self._move(row, event.proposal, "approved", before="pending")
        if event.for_session:
            # Drawn when it is executed: docs/decisions/0020.
            self._own_grants[event.proposal] = event.grant
            self._used[event.grant] = 0
        elif event.grant:
            self._used[event.grant] = self._used.get(event.grant, 0) + 1

    def _decide(self, row: EventRow, ticket: str, to: str) -> None:
        if not ticket:
            return
        before = self._tickets.get(ticket)
        if before != "pending":
            what = f"is {to} by an event, it was {before or 'never asked for'}"
            self._findings.add(f"ticket {ticket}", what, row)
        self._tickets[ticket] = to

    def _move(self, row: EventRow, proposal: str, to: str, *, before: str) -> None:
        found = self._proposals.get(proposal)
        if found != before:
            what = f"is {to} by an event, it was {found or 'never made'}"
            self._findings.add(f"proposal {proposal}", what, row)
        self._proposals[proposal] = to

    def finish(self) -> None:
        """Compare the rows with what the events have left."""
        for proposal in self._rows("proposals", _Proposal):
            should = self._proposals.pop(proposal.id, None)
            self._compare(f"proposal {proposal.id}", proposal.status, should)
            hold = self._executing.pop(proposal.id, None)
            if proposal.hold_id != hold:
                what = f"its row has hold {proposal.hold_id or 'none'}, its events {hold or 'none'}"
                self._findings.add(f"proposal {proposal.id}", what)
        for ticket in self._rows("tickets", _Ticket):
            self._compare(f"ticket {ticket.id}", ticket.status, self._tickets.pop(ticket.id, None))
        for grant in self._rows("grants", _Grant):
            used = self._used.pop(grant.id, None)
            if grant.count_used != used:
                what = f"its row says that it was used {grant.count_used} times, its events {used}"
                self._findings.add(f"session grant {grant.id}", what)
        for risk in self._rows("risks", _Risk):
            should = self._levels.pop(risk.id, "low")
            self._compare(f"risk of session {risk.id}", risk.level, should)
        missing = (
            *(f"proposal {name}" for name in self._proposals),
            *(f"ticket {name}" for name in self._tickets),
            *(f"session grant {name}" for name in self._used),
            *(f"risk of session {name}" for name in self._levels),
        )
        for subject in missing:
            self._findings.add(subject, "has events but no row")

    def _compare(self, subject: str, says: str, should: str | None) -> None:
        if says != should:
            self._findings.add(subject, f"its row says {says}, its events {should or 'nothing'}")

    def _rows(self, table: str, into: type[RowT]) -> Iterator[RowT]:
        def read(after: str) -> Iterator[RowT]:
            return self._tx.each(f"audit_proposals.rows_of_{table}", into, after=after)

        def pass_over(after: str, error: Exception) -> str:
            broken = self._tx.row(f"audit_proposals.next_of_{table}", TextKey, after=after)
            if broken is None:
                raise error
            self._findings.add(f"{table} {broken.key}", f"its row {damage_text(error)}")
            return broken.key

        return sound_rows(read, after="", key=lambda row: row.id, pass_over=pass_over)
