"""What an agent wants to do, and where that stands: states and the moves between them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from supervisor.ledger.accounts import Amounts
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction

#: The id of an execution's hold is this and its proposal's: one proposal, one hold, ever.
EXECUTION_PREFIX = "exec:"


class ProposalStatus(StrEnum):
    """Where a proposal stands; nothing leaves the last four."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    EXECUTED = "executed"
    FAILED = "failed"


class TicketStatus(StrEnum):
    """Where a ticket stands; it leaves `pending` exactly once."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


#: The same moves as the trigger `proposals_legal_moves` allows in the database.
PROPOSAL_MOVES: Mapping[ProposalStatus, frozenset[ProposalStatus]] = {
    ProposalStatus.PENDING: frozenset(
        {ProposalStatus.APPROVED, ProposalStatus.DENIED, ProposalStatus.EXPIRED}
    ),
    ProposalStatus.APPROVED: frozenset({ProposalStatus.EXECUTED, ProposalStatus.FAILED}),
    ProposalStatus.DENIED: frozenset(),
    ProposalStatus.EXPIRED: frozenset(),
    ProposalStatus.EXECUTED: frozenset(),
    ProposalStatus.FAILED: frozenset(),
}

#: The same moves as the trigger `tickets_decided_once` allows in the database.
TICKET_MOVES: Mapping[TicketStatus, frozenset[TicketStatus]] = {
    TicketStatus.PENDING: frozenset(
        {TicketStatus.APPROVED, TicketStatus.DENIED, TicketStatus.EXPIRED}
    ),
    TicketStatus.APPROVED: frozenset(),
    TicketStatus.DENIED: frozenset(),
    TicketStatus.EXPIRED: frozenset(),
}


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a proposal: the same command id with another one is an error.

    `resource` is `type:id`. `cost` is the most that it may cost in micro-USD, `tokens` the most
    that it may use. `weight` is how much it moves, in percent of whatever the worker counts in;
    `score` is how sure the worker is, 0 to 1: one that does not say is not sure.
    """

    action: str
    resource: str = ""
    reasoning: str = ""
    cost: int = 0
    tokens: int = 0
    weight: float = 0.0
    score: float = 0.0
    risk_factors: tuple[str, ...] = ()
    metadata: Mapping[str, object] = {}

    @property
    def amounts(self) -> Amounts:
        """What its execution holds: it is one action."""
        return Amounts(cost=self.cost, tokens=self.tokens, actions=1)

    def encode(self) -> str:
        """Return it as JSON, the same for the same content."""
        return REDACTION.text(msgspec.json.encode(self, order="sorted").decode())


class StoredProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as stored; moments in microseconds since 1970 UTC.

    `open_until` is when it expires while it waits, and until when it may be executed once it is
    approved. `code` says in a word why it was denied. `grant_id` names the session grant that
    covers it, `is_drawn` says whether it is drawn from it, `is_counted` whether it is in its
    session's risk.
    """

    id: str
    worker: str
    session_id: str
    tick: int
    content: str
    risk: str
    tier: str
    step: str
    reason: str
    status: ProposalStatus
    code: str
    why: str
    grant_id: str | None
    is_drawn: bool
    is_counted: bool
    hold_id: str | None
    proposed_at: int
    open_until: int

    @property
    def proposal(self) -> Proposal:
        return msgspec.json.decode(self.content, type=Proposal)

    @property
    def correlation_id(self) -> str:
        return f"{self.worker}#{self.tick}"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Why a proposal ended: in one word and in a sentence."""

    code: str = ""
    why: str = ""


_NO_ENDING = Ending()


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a person's decision, as stored; moments in microseconds since 1970 UTC."""

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

    def is_overdue(self, now: int) -> bool:
        """Return whether nobody may decide it any more; the deadline itself still counts."""
        return now > self.deadline_at


def ticket_id(proposal_id: str) -> str:
    """Return the id of a proposal's one ticket: short, and fit for a shell and a URL."""
    return f"t-{hashlib.sha256(proposal_id.encode()).hexdigest()[:16]}"


def execution_hold_id(proposal_id: str) -> str:
    """Return the id of the one hold under which a proposal may be executed."""
    return f"{EXECUTION_PREFIX}{proposal_id}"


def find_proposal(tx: Transaction, proposal_id: str) -> StoredProposal | None:
    """Return a proposal by its id."""
    return tx.row("approvals.proposal", StoredProposal, id=proposal_id)


def find_ticket(tx: Transaction, ticket_id: str) -> Ticket | None:
    """Return a ticket by its id."""
    return tx.row("approvals.ticket", Ticket, id=ticket_id)


def move_proposal(
    tx: Transaction,
    proposal: StoredProposal,
    to: ProposalStatus,
    *,
    now: int,
    ending: Ending = _NO_ENDING,
    open_until: int | None = None,
) -> bool:
    """Move a proposal if it still stands where it stood, and return whether it did."""
    assert to in PROPOSAL_MOVES[proposal.status], f"{proposal.status} can't become {to}"
    changed = tx.run(
        "approvals.move_proposal",
        id=proposal.id,
        before=proposal.status,
        status=to,
        code=ending.code,
        why=ending.why,
        open_until=proposal.open_until if open_until is None else open_until,
        ended_at=now if not PROPOSAL_MOVES[to] else None,
    )
    return changed == 1
