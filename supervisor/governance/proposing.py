"""The transaction in which a proposal is made, and what the policy makes of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.errors import Refusal
from supervisor.events import approval_kinds, kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.approvals import (
    approve_proposal,
    expire,
    request_decision,
    settle_ticket,
)
from supervisor.governance.breaker import Asker
from supervisor.governance.commands import check_same_content, conflict
from supervisor.governance.gates import Situation, first_refusal, look
from supervisor.governance.policy import (
    ActionPolicy,
    Circumstances,
    Route,
    Ruling,
    Way,
    rule_on,
)
from supervisor.governance.proposals import (
    Proposal,
    ProposalStatus,
    StoredProposal,
    Ticket,
    TicketStatus,
    find_proposal,
    find_ticket,
    ticket_id,
)
from supervisor.governance.risk import Assessment, Risk, SessionRisk, completes
from supervisor.governance.session_grants import SessionGrant, draw_any
from supervisor.governance.session_risk import count_action, escalate, session_risk
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction

_REASONING_MAX = 500
_STATUSES = {
    Way.APPROVE: ProposalStatus.APPROVED,
    Way.DENY: ProposalStatus.DENIED,
}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a proposal before its transaction.

    `condition_holds` is what the tree of the auto rule said at the session's risk `seen`, None
    where there is no tree. `denied_by` is the first evaluator's no.
    """

    route: Route
    assessment: Assessment
    denied_by: str = ""
    condition_holds: bool | None = None
    seen: Risk = Risk.LOW


class ProposalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that wants to take an action; `id` is the command id.

    `judgement` is None where the worker asks again about a proposal that it has made.
    """

    id: str
    worker: str
    session_id: str
    tick: int
    proposal: Proposal
    judgement: Judgement | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a proposal stands, with the ticket that it waits for, and its guidance if steered."""

    stored: StoredProposal
    ticket: Ticket | None = None
    guidance: str = ""
    suggest: tuple[str, ...] = ()
    attempts_left: int = 0


class _Count(msgspec.Struct, frozen=True):
    count: int


def propose(
    tx: Transaction,
    request: ProposalRequest,
    policy: ActionPolicy,
    timezone: ZoneInfo,
    origin: Origin,
) -> Standing | Refusal:
    """Make a proposal, or say where it stands if it was made before.

    Every gate has its say first: under a kill nothing is proposed, and nothing looked up either.

    Raises:
        CommandConflict: the id was used for another proposal; it names the field that differs.
    """
    asker = Asker(worker=request.worker, tick=request.tick)
    situation = look(tx, asker, now=origin.at)
    refusal = first_refusal(situation)
    if refusal is not None:
        with Journal(tx, request.session_id, origin) as journal:
            code, why = refusal.code, str(refusal)
            journal.add(kinds.CallRefused(worker=request.worker, model="", code=code, why=why))
        return refusal
    before = find_proposal(tx, request.id)
    if before is not None:
        _check_same(before, request)
        return _ask_again(tx, before, request, policy, timezone, origin)
    assert request.judgement is not None, f"proposal {request.id} is new and was not judged"
    with Journal(tx, request.session_id, origin) as journal:
        return _make(tx, journal, request, request.judgement, policy, situation)


def _check_same(before: StoredProposal, request: ProposalRequest) -> None:
    if before.worker != request.worker:
        raise conflict(request.id, "worker", before.worker, request.worker)
    check_same_content(request.id, before.content, request.proposal.encode().encode())


def _make(
    tx: Transaction,
    journal: Journal,
    request: ProposalRequest,
    judgement: Judgement,
    policy: ActionPolicy,
    situation: Situation,
) -> Standing:
    risk = session_risk(tx, request.session_id)
    at = _circumstances(tx, request, judgement, policy, situation, risk)
    ruling = rule_on(policy, request.proposal, judgement.route, at)
    journal.add(_made(request))
    journal.add(
        approval_kinds.RiskAssessed(
            proposal=request.id,
            risk=judgement.assessment.risk,
            why=judgement.assessment.why,
            session_risk=risk.level,
        )
    )
    grant = None
    if ruling.way in (Way.ASK, Way.DRAFT):
        grant = draw_any(tx, request.session_id, request.proposal, to_us(journal.origin.at))
    stored = _store(tx, journal, request, judgement, ruling, policy)
    if ruling.way is Way.APPROVE:
        count_action(tx, journal, policy.session_risk, stored.proposal.action, Risk(stored.risk))
    elif at.pattern and ruling.way in (Way.ASK, Way.DRAFT):
        escalate(tx, journal, at.pattern)
    if grant is not None:
        return _approve_by_grant(tx, journal, stored, grant, policy)
    return _follow(tx, journal, stored, ruling, policy)


def _circumstances(
    tx: Transaction,
    request: ProposalRequest,
    judgement: Judgement,
    policy: ActionPolicy,
    situation: Situation,
    risk: SessionRisk,
) -> Circumstances:
    action = request.proposal.action
    holds = judgement.condition_holds
    if holds and risk.level is not judgement.seen:
        holds = False  # the session's risk has risen since the tree was asked
    session = situation.session
    return Circumstances(
        risk=judgement.assessment.risk,
        session=risk,
        pattern=tuple(completes(policy.session_risk, risk, action) or ()),
        is_dry_run=session is not None and session.execution_mode == "dry_run",
        condition_holds=holds,
        denied_by=judgement.denied_by,
        steered=_steered(tx, request.session_id, action),
    )


def _steered(tx: Transaction, session_id: str, action: str) -> int:
    row = tx.row("approvals.steered", _Count, session_id=session_id, action=action)
    return row.count if row else 0


def _made(request: ProposalRequest) -> approval_kinds.ProposalMade:
    content = request.proposal
    return approval_kinds.ProposalMade(
        proposal=request.id,
        worker=request.worker,
        action=content.action,
        resource=content.resource,
        cost=content.cost,
        tokens=content.tokens,
        weight=content.weight,
        score=content.score,
        reasoning=REDACTION.text(content.reasoning)[:_REASONING_MAX],
        risk_factors=content.risk_factors,
    )


def _store(
    tx: Transaction,
    journal: Journal,
    request: ProposalRequest,
    judgement: Judgement,
    ruling: Ruling,
    policy: ActionPolicy,
) -> StoredProposal:
    now = to_us(journal.origin.at)
    is_approved, is_denied = ruling.way is Way.APPROVE, ruling.way is Way.DENY
    open_s = policy.approval_valid_s if is_approved else policy.ticket_deadline_s
    tx.run(
        "approvals.propose",
        id=request.id,
        worker=request.worker,
        session_id=request.session_id,
        tick=request.tick,
        action=request.proposal.action,
        resource=request.proposal.resource,
        content=request.proposal.encode(),
        risk=judgement.assessment.risk,
        tier=ruling.route.tier,
        step=ruling.route.step,
        reason=ruling.why,
        status=_STATUSES.get(ruling.way, ProposalStatus.PENDING),
        code=ruling.code,
        why=ruling.why if is_denied else "",
        is_counted=int(is_approved),
        now=now,
        open_until=now + round(open_s * 1_000_000),
        ended_at=now if is_denied else None,
    )
    stored = find_proposal(tx, request.id)
    assert stored is not None, f"proposal {request.id} was just made"
    return stored


def _follow(
    tx: Transaction, journal: Journal, stored: StoredProposal, ruling: Ruling, policy: ActionPolicy
) -> Standing:
    """Do what the ruling says; the proposal is stored as it says already."""
    match ruling.way:
        case Way.APPROVE:
            journal.add(_granted(stored, by="policy", why=ruling.why))
            return Standing(stored=stored)
        case Way.DENY:
            journal.add(
                approval_kinds.ApprovalDenied(proposal=stored.id, code=ruling.code, why=ruling.why)
            )
            return Standing(stored=stored)
        case Way.STEER:
            return _steer(tx, journal, stored, policy)
        case Way.ASK | Way.DRAFT:
            is_draft = ruling.way is Way.DRAFT
            ticket = request_decision(tx, journal, stored, why=ruling.why, is_draft=is_draft)
            return Standing(stored=stored, ticket=ticket)


def _granted(
    stored: StoredProposal, *, by: str, why: str, ticket: str = "", grant: str = ""
) -> approval_kinds.ApprovalGranted:
    return approval_kinds.ApprovalGranted(
        proposal=stored.id,
        by=by,
        tier=stored.tier,
        step=stored.step,
        why=why,
        ticket=ticket,
        grant=grant,
    )


def _steer(
    tx: Transaction, journal: Journal, stored: StoredProposal, policy: ActionPolicy
) -> Standing:
    action = stored.proposal.action
    tx.run("approvals.steer", session_id=stored.session_id, action=action)
    standing = _steered_standing(tx, stored, policy)
    attempt = policy.max_retries - standing.attempts_left
    journal.add(
        approval_kinds.ProposalSteered(
            proposal=stored.id,
            action=action,
            attempt=attempt,
            guidance=standing.guidance,
            suggest=standing.suggest,
        )
    )
    return standing


def _steered_standing(tx: Transaction, stored: StoredProposal, policy: ActionPolicy) -> Standing:
    action = stored.proposal.action
    rule = policy.rule(action)
    steered = _steered(tx, stored.session_id, action)
    return Standing(
        stored=stored,
        guidance=rule.guidance or f"{action} is not to be done here; look for another way",
        suggest=rule.suggest,
        attempts_left=max(policy.max_retries - steered, 0),
    )


def _approve_by_grant(
    tx: Transaction,
    journal: Journal,
    stored: StoredProposal,
    grant: SessionGrant,
    policy: ActionPolicy,
    *,
    ticket: str = "",
) -> Standing:
    """Approve a pending proposal that was drawn from a session grant, without asking again."""
    now = to_us(journal.origin.at)
    approve_proposal(tx, stored, now, now + round(policy.approval_valid_s * 1_000_000))
    tx.run("approvals.cover_proposal", id=stored.id, grant_id=grant.id, is_drawn=1)
    tx.run("approvals.counted", id=stored.id)
    count_action(tx, journal, policy.session_risk, stored.proposal.action, Risk(stored.risk))
    why = f"allowed for the session by {grant.granted_by}"
    journal.add(_granted(stored, by=grant.granted_by, why=why, ticket=ticket, grant=grant.id))
    found = find_proposal(tx, stored.id)
    assert found is not None, f"proposal {stored.id} is gone"
    return Standing(stored=found)


def _ask_again(
    tx: Transaction,
    before: StoredProposal,
    request: ProposalRequest,
    policy: ActionPolicy,
    timezone: ZoneInfo,
    origin: Origin,
) -> Standing:
    """Say where a proposal stands now; one that waits may have expired, or be covered by now."""
    ticket = find_ticket(tx, ticket_id(before.id))
    if before.status is not ProposalStatus.PENDING:
        return Standing(stored=before, ticket=ticket)
    if ticket is None:
        return _steered_standing(tx, before, policy)
    now = to_us(origin.at)
    if ticket.is_overdue(now):
        expire(tx, ticket, origin, timezone)
        expired = find_proposal(tx, before.id)
        assert expired is not None, f"proposal {before.id} is gone"
        return Standing(stored=expired, ticket=find_ticket(tx, ticket.id))
    grant = draw_any(tx, request.session_id, before.proposal, now)
    if grant is None:
        return Standing(stored=before, ticket=ticket)
    by_grant = msgspec.structs.replace(origin, actor=grant.granted_by)
    why = f"covered by ticket {grant.id}"
    settle_ticket(tx, ticket, TicketStatus.APPROVED, by_grant, why=why)
    with Journal(tx, request.session_id, origin) as journal:
        return _approve_by_grant(tx, journal, before, grant, policy, ticket=ticket.id)
