"""The tickets that wait for a person, and those that were decided: for people to read."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.clock import from_us, iso
from supervisor.errors import NotFound
from supervisor.governance.proposals import Proposal, ProposalStatus, TicketStatus
from supervisor.money import to_usd
from supervisor.storage.database import Transaction


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How many tickets are pending, and since when; moments in microseconds since 1970 UTC."""

    pending: int
    oldest_at: int | None
    next_deadline_at: int | None

    def oldest_age_s(self, now: datetime) -> float:
        """Return how long the oldest has waited, 0 where none does."""
        if self.oldest_at is None:
            return 0.0
        return max((now - from_us(self.oldest_at)).total_seconds(), 0.0)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    proposal_id: str
    worker: str
    session_id: str
    is_draft: bool
    why: str
    status: TicketStatus
    requested_at: int
    deadline_at: int
    decided_at: int | None
    decided_by: str
    decision_why: str
    content: str
    risk: str
    proposal_status: ProposalStatus
    proposal_why: str


class TicketFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A ticket with what it is about; moments as ISO in UTC. Texts are the agent's own."""

    id: str
    status: TicketStatus
    is_draft: bool
    worker: str
    session_id: str
    proposal_id: str
    proposal_status: ProposalStatus
    proposal_why: str
    action: str
    resource: str
    reasoning: str
    cost_usd: float
    tokens: int
    weight: float
    score: float
    risk: str
    risk_factors: tuple[str, ...]
    metadata: dict[str, object]
    why: str
    requested_at: str
    deadline_at: str
    decided_at: str | None
    decided_by: str
    decision_why: str


def read_backlog(tx: Transaction) -> Backlog:
    """Return how many tickets wait, and since when."""
    backlog = tx.row("approvals.backlog", Backlog)
    assert backlog is not None, "a count always has a row"
    return backlog


def pending_tickets(tx: Transaction, rows_max: int) -> list[TicketFacts]:
    """Return the tickets that wait for a person, the oldest first."""
    return [_facts(row) for row in tx.rows("approvals.pending", _Row, rows_max=rows_max)]


def newest_tickets(tx: Transaction, rows_max: int) -> list[TicketFacts]:
    """Return tickets whatever became of them, the newest first."""
    return [_facts(row) for row in tx.rows("approvals.newest", _Row, rows_max=rows_max)]


def one_ticket(tx: Transaction, ticket_id: str) -> TicketFacts:
    """Return one ticket.

    Raises:
        NotFound: there is none.
    """
    row = tx.row("approvals.one", _Row, id=ticket_id)
    if row is None:
        raise NotFound(
            subject=f"ticket {ticket_id[:80]}",
            what="does not exist",
            fix="`supervisor approvals --all` lists them",
        )
    return _facts(row)


def _facts(row: _Row) -> TicketFacts:
    content = msgspec.json.decode(row.content, type=Proposal)
    return TicketFacts(
        id=row.id,
        status=row.status,
        is_draft=row.is_draft,
        worker=row.worker,
        session_id=row.session_id,
        proposal_id=row.proposal_id,
        proposal_status=row.proposal_status,
        proposal_why=row.proposal_why,
        action=content.action,
        resource=content.resource,
        reasoning=content.reasoning,
        cost_usd=to_usd(content.cost),
        tokens=content.tokens,
        weight=content.weight,
        score=content.score,
        risk=row.risk,
        risk_factors=content.risk_factors,
        metadata=dict(content.metadata),
        why=row.why,
        requested_at=iso(from_us(row.requested_at)),
        deadline_at=iso(from_us(row.deadline_at)),
        decided_at=None if row.decided_at is None else iso(from_us(row.decided_at)),
        decided_by=row.decided_by,
        decision_why=row.decision_why,
    )
