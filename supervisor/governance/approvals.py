"""Tickets: asking a person, their one decision, and the end of what nobody decided."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.errors import IllegalMove, KillSwitchEngaged, NotFound, SupervisorError, UsageError
from supervisor.events import approval_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.commands import done_before, once
from supervisor.governance.conditions import fits
from supervisor.governance.kill_switch import applying, engaged
from supervisor.governance.proposals import (
    Ending,
    Proposal,
    ProposalStatus,
    StoredProposal,
    Ticket,
    TicketStatus,
    find_proposal,
    find_ticket,
    move_proposal,
    ticket_id,
)
from supervisor.governance.rotation import find_session, open_session_of, system_journal
from supervisor.governance.session_grants import Scope, patterns_of
from supervisor.money import usd_text
from supervisor.storage.database import Transaction

WHY_MAX = 500
_LIST = "`supervisor approvals` lists those that wait"


class DecideCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision; `for_session` allows more of the same until the session ends."""

    ticket: str
    why: str
    for_session: Scope | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and on what."""

    ticket: str
    proposal: str
    status: TicketStatus
    worker: str
    action: str
    resource: str


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision needs of the config: how long an approval may be used, in seconds."""

    timezone: ZoneInfo
    approval_valid_s: float


def request_decision(
    tx: Transaction,
    journal: Journal,
    proposal: StoredProposal,
    *,
    why: str,
    is_draft: bool,
) -> Ticket:
    """Ask a person about a proposal; its ticket is open as long as the proposal is."""
    now = to_us(journal.origin.at)
    ticket = ticket_id(proposal.id)
    tx.run(
        "approvals.request",
        id=ticket,
        proposal_id=proposal.id,
        worker=proposal.worker,
        session_id=proposal.session_id,
        is_draft=int(is_draft),
        why=why,
        now=now,
        deadline_at=proposal.open_until,
    )
    journal.add(
        approval_kinds.ApprovalRequested(
            ticket=ticket,
            proposal=proposal.id,
            action=proposal.proposal.action,
            deadline_at=proposal.open_until,
            tier=proposal.tier,
            step=proposal.step,
            why=why,
            is_draft=is_draft,
        )
    )
    found = find_ticket(tx, ticket)
    assert found is not None, f"ticket {ticket} was just made"
    return found


def approve(
    tx: Transaction, command: DecideCommand, origin: Origin, terms: Terms
) -> Decided | SupervisorError:
    """Let a ticket's proposal be executed once, or more of its like for the session.

    What stands against it is returned and not raised, as finding a ticket overdue ends it: a
    ticket that is decided or overdue (`IllegalMove`), a kill that reaches its worker.

    Raises:
        NotFound: there is no such ticket.
        UsageError: the reason is too long, or the scope does not cover the ticket's own proposal.
        CommandConflict: the command id was used for something else.
    """
    return _decide(tx, command, origin, terms, is_approval=True)


def deny(
    tx: Transaction, command: DecideCommand, origin: Origin, terms: Terms
) -> Decided | SupervisorError:
    """Refuse a ticket's proposal; also under a kill, as it makes nothing possible.

    Raises, and returns: as for `approve`.
    """
    return _decide(tx, command, origin, terms, is_approval=False)


def _decide(
    tx: Transaction, command: DecideCommand, origin: Origin, terms: Terms, *, is_approval: bool
) -> Decided | SupervisorError:
    operation = "approve" if is_approval else "deny"
    done = done_before(tx, operation, command, origin, result=Decided)
    if done is not None:
        return done
    ticket = find_ticket(tx, command.ticket)
    if ticket is None:
        raise NotFound(subject=f"ticket {command.ticket[:80]}", what="does not exist", fix=_LIST)
    if len(command.why) > WHY_MAX:
        what = f"the reason has more than {WHY_MAX} characters"
        raise UsageError(subject=f"ticket {ticket.id}", what=what, fix="say it in a sentence")
    refused = _why_not(tx, ticket, origin, terms, is_approval=is_approval)
    if refused is not None:
        return refused
    perform = _approve if is_approval else _deny
    return once(
        tx,
        operation,
        command,
        origin,
        result=Decided,
        perform=lambda: perform(tx, ticket, command, origin, terms),
    )


def _why_not(
    tx: Transaction, ticket: Ticket, origin: Origin, terms: Terms, *, is_approval: bool
) -> SupervisorError | None:
    if ticket.status is TicketStatus.PENDING and ticket.is_overdue(to_us(origin.at)):
        expire(tx, ticket, origin, terms.timezone)
        expired = find_ticket(tx, ticket.id)
        assert expired is not None, f"ticket {ticket.id} is gone"
        ticket = expired
    if ticket.status is not TicketStatus.PENDING:
        return not_open(ticket)
    return _killed(tx, ticket) if is_approval else None


def _killed(tx: Transaction, ticket: Ticket) -> KillSwitchEngaged | None:
    # Also a kill of the session that the worker is in by now: that is where it would be executed.
    session = open_session_of(tx, ticket.worker)
    latches = engaged(tx)
    for session_id in (ticket.session_id, session.id if session else None):
        killed = applying(latches, worker=ticket.worker, session_id=session_id)
        if killed is not None:
            return killed
    return None


def not_open(ticket: Ticket) -> IllegalMove:
    """Return the error of deciding a ticket that is not pending; it names the state."""
    what = f"is {ticket.status}"
    if ticket.status is TicketStatus.EXPIRED:
        what += f": nobody decided before {iso(from_us(ticket.deadline_at))}"
    elif ticket.decided_at is not None:
        what += f" ({ticket.decided_by}, {iso(from_us(ticket.decided_at))})"
    return IllegalMove(
        subject=f"ticket {ticket.id}",
        what=f"{what}; a ticket is decided once, before its deadline",
        fix="for another decision the agent has to propose it again",
    )


def _approve(
    tx: Transaction, ticket: Ticket, command: DecideCommand, origin: Origin, terms: Terms
) -> Decided:
    proposal = _proposal_of(tx, ticket)
    if command.for_session is not None:
        _open_grant(tx, ticket, proposal, command.for_session, origin)
    valid_us = round(terms.approval_valid_s * 1_000_000)
    settle_ticket(tx, ticket, TicketStatus.APPROVED, origin, why=command.why)
    approve_proposal(tx, proposal, to_us(origin.at), to_us(origin.at) + valid_us)
    if command.for_session is not None:
        tx.run("approvals.cover_proposal", id=proposal.id, grant_id=ticket.id, is_drawn=0)
    with home_journal(tx, proposal, origin, terms.timezone) as journal:
        granted = approval_kinds.ApprovalGranted(
            proposal=proposal.id,
            by=origin.actor,
            tier=proposal.tier,
            step=proposal.step,
            why=command.why,
            ticket=ticket.id,
        )
        journal.add(_with_scope(granted, proposal, command.for_session, origin))
    return _decided(ticket, proposal, TicketStatus.APPROVED)


def _with_scope(
    granted: approval_kinds.ApprovalGranted,
    proposal: StoredProposal,
    scope: Scope | None,
    origin: Origin,
) -> approval_kinds.ApprovalGranted:
    if scope is None:
        return granted
    return msgspec.structs.replace(
        granted,
        grant=granted.ticket,
        for_session=True,
        resources=patterns_of(scope, proposal.proposal.resource),
        count_max=scope.count_max,
        cost_max=scope.cost_max,
        expires_at=_expires_at(scope, origin),
    )


def _open_grant(
    tx: Transaction, ticket: Ticket, proposal: StoredProposal, scope: Scope, origin: Origin
) -> None:
    session = find_session(tx, ticket.session_id)
    if session is None or session.summary is not None:
        # The session in which it was proposed is over: what is meant is the one that goes on.
        session = open_session_of(tx, ticket.worker)
    if session is None:
        raise UsageError(
            subject=f"ticket {ticket.id}",
            what=f"worker {ticket.worker} has no open session to allow it for",
            fix="approve it once, without --for-session",
        )
    content = proposal.proposal
    _check_scope(ticket, scope, content)
    tx.run(
        "approvals.open_grant",
        id=ticket.id,
        session_id=session.id,
        worker=ticket.worker,
        action=content.action,
        resources=msgspec.json.encode(patterns_of(scope, content.resource)).decode(),
        count_max=scope.count_max,
        cost_max=scope.cost_max,
        expires_at=_expires_at(scope, origin),
        granted_by=origin.actor,
        now=to_us(origin.at),
    )


def _check_scope(ticket: Ticket, scope: Scope, proposal: Proposal) -> None:
    what = ""
    if scope.count_max is not None and scope.count_max < 1:
        what = f"a count of {scope.count_max} allows nothing"
    elif scope.expires_s is not None and scope.expires_s <= 0:
        what = "an approval that has expired already allows nothing"
    elif scope.cost_max is not None and scope.cost_max < proposal.cost:
        what = f"its own proposal costs up to {usd_text(proposal.cost)}"
    elif not fits(proposal.resource, patterns_of(scope, proposal.resource)):
        what = f"the resources do not cover its own {proposal.resource!r}"
    if what:
        fix = "widen the limits, or approve it once"
        raise UsageError(subject=f"ticket {ticket.id}", what=what, fix=fix)


def _expires_at(scope: Scope, origin: Origin) -> int | None:
    if scope.expires_s is None:
        return None
    return to_us(origin.at) + round(scope.expires_s * 1_000_000)


def _deny(
    tx: Transaction, ticket: Ticket, command: DecideCommand, origin: Origin, terms: Terms
) -> Decided:
    if command.for_session is not None:
        what, fix = "a denial is for this proposal alone", "leave the scope out"
        raise UsageError(subject=f"ticket {ticket.id}", what=what, fix=fix)
    proposal = _proposal_of(tx, ticket)
    why = f"denied by {origin.actor}" + (f": {command.why}" if command.why else "")
    ending = Ending(code="person", why=why)
    settle_ticket(tx, ticket, TicketStatus.DENIED, origin, why=command.why)
    moved = move_proposal(tx, proposal, ProposalStatus.DENIED, now=to_us(origin.at), ending=ending)
    assert moved, f"proposal {proposal.id} was decided without its ticket"
    with home_journal(tx, proposal, origin, terms.timezone) as journal:
        journal.add(
            approval_kinds.ApprovalDenied(
                proposal=proposal.id, code="person", why=command.why, ticket=ticket.id
            )
        )
    return _decided(ticket, proposal, TicketStatus.DENIED)


def _decided(ticket: Ticket, proposal: StoredProposal, status: TicketStatus) -> Decided:
    content = proposal.proposal
    return Decided(
        ticket=ticket.id,
        proposal=proposal.id,
        status=status,
        worker=ticket.worker,
        action=content.action,
        resource=content.resource,
    )


def settle_ticket(
    tx: Transaction, ticket: Ticket, status: TicketStatus, origin: Origin, *, why: str
) -> None:
    """Decide a ticket that was seen to be pending; of several deciders one gets here."""
    changed = tx.run(
        "approvals.decide",
        id=ticket.id,
        status=status,
        now=to_us(origin.at),
        decided_by=origin.actor,
        why=why,
    )
    assert changed == 1, f"ticket {ticket.id} was pending a moment ago, in this transaction"


def approve_proposal(tx: Transaction, proposal: StoredProposal, now: int, open_until: int) -> None:
    """Move a pending proposal to approved; it may be executed until `open_until`."""
    moved = move_proposal(tx, proposal, ProposalStatus.APPROVED, now=now, open_until=open_until)
    assert moved, f"proposal {proposal.id} was pending a moment ago, in this transaction"


def expire(tx: Transaction, ticket: Ticket, origin: Origin, timezone: ZoneInfo) -> bool:
    """Expire an overdue ticket and its proposal, and return whether it was still pending."""
    now = to_us(origin.at)
    if not tx.run("approvals.expire", id=ticket.id, now=now):
        return False
    proposal = _proposal_of(tx, ticket)
    why = f"nobody decided before {iso(from_us(ticket.deadline_at))}"
    ending = Ending(code="expired", why=why)
    moved = move_proposal(tx, proposal, ProposalStatus.EXPIRED, now=now, ending=ending)
    assert moved, f"proposal {proposal.id} was decided without its ticket"
    with home_journal(tx, proposal, origin, timezone) as journal:
        journal.add(
            approval_kinds.ApprovalTimedOut(
                ticket=ticket.id, proposal=proposal.id, deadline_at=ticket.deadline_at
            )
        )
    return True


def _proposal_of(tx: Transaction, ticket: Ticket) -> StoredProposal:
    proposal = find_proposal(tx, ticket.proposal_id)
    assert proposal is not None, f"ticket {ticket.id} has lost its proposal"
    return proposal


def home_journal(
    tx: Transaction, proposal: StoredProposal, origin: Origin, timezone: ZoneInfo
) -> Journal:
    """Return the journal of the proposal's session, or the system's where that is over."""
    origin = msgspec.structs.replace(origin, correlation_id=proposal.correlation_id)
    session = find_session(tx, proposal.session_id)
    if session is None or session.summary is not None:
        return system_journal(tx, timezone, origin)
    return Journal(tx, session.id, origin)
