"""The one execution of an approved proposal: taken with its hold, ended with it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.errors import ActionDenied, BudgetExceeded, Refusal
from supervisor.events import approval_kinds, kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.breaker import Asker, to_probe
from supervisor.governance.breakers import begin_probe
from supervisor.governance.gates import first_refusal, look
from supervisor.governance.proposals import (
    EXECUTION_PREFIX,
    ProposalStatus,
    StoredProposal,
    execution_hold_id,
    find_proposal,
)
from supervisor.governance.risk import Risk, SessionRiskRules
from supervisor.governance.session_grants import draw, find_grant
from supervisor.governance.session_risk import count_action
from supervisor.ledger import ledger
from supervisor.ledger.accounts import Budgets
from supervisor.ledger.holds import Hold, HoldRequest, find_hold
from supervisor.storage.database import Transaction

_AGAIN = "propose it again under another command id"


def begin_execution(
    tx: Transaction,
    request: HoldRequest,
    proposal_id: str,
    budgets: Budgets,
    rules: SessionRiskRules,
    origin: Origin,
) -> Hold | Refusal:
    """Pass every gate, take the approved proposal, and hold what it may cost, or do none of it.

    What is held is what was proposed, whatever `request` says. What a person has approved is
    counted in its session's risk here; what the policy approved was counted then.
    """
    asker = Asker(worker=request.worker, tick=request.tick, is_call=True)
    situation = look(tx, asker, now=origin.at)
    with Journal(tx, request.session_id, origin) as journal:
        refusal = first_refusal(situation)
        if refusal is None:
            taken = _take(tx, journal, request, proposal_id, budgets)
            if isinstance(taken, StoredProposal):
                probed = to_probe(situation.breakers, asker)
                begin_probe(tx, journal, probed, asker, hold=request.id)
                return _start(tx, journal, taken, rules)
            refusal = taken
        if isinstance(refusal, BudgetExceeded):
            ledger.record_exhaustion(tx, journal, refusal)
        code, why = refusal.code, str(refusal)
        journal.add(kinds.CallRefused(worker=request.worker, model="", code=code, why=why))
        return refusal


def _take(
    tx: Transaction, journal: Journal, request: HoldRequest, proposal_id: str, budgets: Budgets
) -> StoredProposal | Refusal:
    """Take the proposal with its hold, and draw it from the grant that covers it."""
    now = to_us(journal.origin.at)
    stored = find_proposal(tx, proposal_id)
    assert stored is not None, f"proposal {proposal_id} was approved and is gone"
    refusal = _why_not(tx, stored, request, now)
    if refusal is not None:
        return refusal
    proposal = stored.proposal
    asked = msgspec.structs.replace(request, amounts=proposal.amounts, what=proposal.action)
    hold = ledger.reserve(tx, journal, asked, budgets)
    if isinstance(hold, BudgetExceeded):
        return hold
    if stored.grant_id is not None and not stored.is_drawn:
        drawn = draw(tx, stored.grant_id, proposal.cost, now)
        assert drawn, f"grant {stored.grant_id} had room a moment ago, in this transaction"
        tx.run("approvals.cover_proposal", id=stored.id, grant_id=stored.grant_id, is_drawn=1)
    taken = tx.run("approvals.take_proposal", id=stored.id, hold_id=hold.id)
    assert taken == 1, f"proposal {stored.id} was free a moment ago, in this transaction"
    return stored


def _start(
    tx: Transaction, journal: Journal, stored: StoredProposal, rules: SessionRiskRules
) -> Hold:
    hold = find_hold(tx, execution_hold_id(stored.id))
    assert hold is not None, f"the hold of {stored.id} was just placed"
    action = stored.proposal.action
    journal.add(approval_kinds.ExecutionStarted(proposal=stored.id, hold=hold.id, action=action))
    if not stored.is_counted:
        count_action(tx, journal, rules, action, Risk(stored.risk))
    return hold


def _why_not(
    tx: Transaction, stored: StoredProposal, request: HoldRequest, now: int
) -> ActionDenied | None:
    """Return why the proposal may not be executed, None where it may."""
    if stored.worker != request.worker:
        return _denied(stored, "blocked", f"was approved for worker {stored.worker}")
    if stored.status is not ProposalStatus.APPROVED:
        return _denied(stored, stored.status, f"is {stored.status}, and is executed once")
    if stored.hold_id is not None:
        return _denied(stored, "executed", "is being executed already")
    if now > stored.open_until:
        until = iso(from_us(stored.open_until))
        return _denied(stored, "expired", f"its approval was to be used until {until}")
    if stored.grant_id is None or stored.is_drawn:
        return None
    grant = find_grant(tx, stored.grant_id)
    assert grant is not None, f"grant {stored.grant_id} is gone"
    why_not = grant.why_not(stored.proposal, now)
    return (
        _denied(stored, "expired", f"its approval for the session: {why_not}") if why_not else None
    )


def _denied(stored: StoredProposal, reason: str, what: str) -> ActionDenied:
    action = stored.proposal.action
    return ActionDenied(action=action, reason=reason, what=f"{stored.id} {what}", fix=_AGAIN)


def end_execution(
    tx: Transaction, journal: Journal, hold: Hold, *, failure: str = "", is_unknown: bool = False
) -> None:
    """Record the end of an execution with that of its hold; for other holds there is none.

    Executed where there is no `failure`. Again, it changes nothing.
    """
    if not hold.id.startswith(EXECUTION_PREFIX):
        return
    ended = tx.row(
        "approvals.end_execution",
        StoredProposal,
        hold_id=hold.id,
        status=ProposalStatus.FAILED if failure else ProposalStatus.EXECUTED,
        why=failure,
        now=to_us(journal.origin.at),
    )
    if ended is None:
        return
    action = ended.proposal.action
    if not failure:
        journal.add(
            approval_kinds.ExecutionCompleted(proposal=ended.id, hold=hold.id, action=action)
        )
        return
    journal.add(
        approval_kinds.ExecutionFailed(
            proposal=ended.id,
            action=action,
            why=failure,
            hold=hold.id,
            is_outcome_unknown=is_unknown,
        )
    )


def fail_forfeited(tx: Transaction, journal: Journal, holds: Iterable[Hold], *, why: str) -> None:
    """Record that the executions of these holds ended with them, nobody knows how."""
    for hold in holds:
        end_execution(tx, journal, hold, failure=why, is_unknown=True)
