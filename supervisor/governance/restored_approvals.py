"""Ending, in a store that was put back, what may have been decided or used since the backup."""

from __future__ import annotations

from collections.abc import Collection
from zoneinfo import ZoneInfo

from supervisor.clock import to_us
from supervisor.events import approval_kinds
from supervisor.events.log import Origin
from supervisor.governance.approvals import expire, home_journal, settle_ticket
from supervisor.governance.proposals import (
    Ending,
    ProposalStatus,
    StoredProposal,
    Ticket,
    TicketStatus,
    find_proposal,
    move_proposal,
)
from supervisor.storage.database import Transaction

_WHY = "the store was restored: whether it was executed since the backup is not known"
_TICKET_WHY = "the store was restored: whether it was approved since the backup is not known"


def end_approvals(tx: Transaction, origin: Origin, timezone: ZoneInfo) -> int:
    """Fail each approval that waits for its execution, and return how many there were.

    The store before the restore may have let it be executed: this one would let it be once more.
    One that is being executed is left to recovery, which says that its outcome is unknown.
    """
    unused = tx.rows("restore.unused_approvals", StoredProposal)
    ending = Ending(code="restored", why=_WHY)
    for stored in unused:
        moved = move_proposal(
            tx, stored, ProposalStatus.FAILED, now=to_us(origin.at), ending=ending
        )
        assert moved, f"proposal {stored.id} was approved a moment ago, in this transaction"
        with home_journal(tx, stored, origin, timezone) as journal:
            action = stored.proposal.action
            journal.add(approval_kinds.ExecutionFailed(proposal=stored.id, action=action, why=_WHY))
    return len(unused)


def end_grants(tx: Transaction) -> int:
    """Let no session grant cover anything more, and return how many were ended.

    How much of each was drawn since the backup is not known.
    """
    return tx.run("restore.end_grants")


def pending_tickets(tx: Transaction) -> list[Ticket]:
    """Return the tickets that wait for their person, the oldest first."""
    return tx.rows("restore.pending_tickets", Ticket)


def end_tickets(
    tx: Transaction, origin: Origin, timezone: ZoneInfo, *, waiting: Collection[str]
) -> int:
    """Deny each ticket that waits here and may have been decided since, and return how many.

    `waiting` are those of which the store before the restore says that nobody has decided. One
    that is approved a second time would let its action be executed a second time.
    """
    unsure = [ticket for ticket in pending_tickets(tx) if ticket.id not in waiting]
    for ticket in unsure:
        if not expire(tx, ticket, origin, timezone):
            _deny(tx, ticket, origin, timezone)
    return len(unsure)


def _deny(tx: Transaction, ticket: Ticket, origin: Origin, timezone: ZoneInfo) -> None:
    stored = find_proposal(tx, ticket.proposal_id)
    assert stored is not None, f"ticket {ticket.id} has lost its proposal"
    settle_ticket(tx, ticket, TicketStatus.DENIED, origin, why=_TICKET_WHY)
    ending = Ending(code="restored", why=_TICKET_WHY)
    moved = move_proposal(tx, stored, ProposalStatus.DENIED, now=to_us(origin.at), ending=ending)
    assert moved, f"proposal {stored.id} was decided without its ticket"
    with home_journal(tx, stored, origin, timezone) as journal:
        journal.add(
            approval_kinds.ApprovalDenied(
                proposal=stored.id, code="restored", why=_TICKET_WHY, ticket=ticket.id
            )
        )
