"""What is found out about a proposal before its transaction: its tier, its risk, its evaluators."""

from __future__ import annotations

from functools import partial

from supervisor.governance.conditions import Facts, holds
from supervisor.governance.evaluators import ask, first_deny
from supervisor.governance.policy import ActionPolicy, Tier, route
from supervisor.governance.proposals import Proposal
from supervisor.governance.proposing import Judgement
from supervisor.governance.risk import Assessment, assess, highest
from supervisor.governance.session_risk import session_risk
from supervisor.storage.database import Database

_NEVER_AUTOMATIC = (Tier.STEER, Tier.ALWAYS_APPROVE)


async def judge(
    policy: ActionPolicy,
    proposal: Proposal,
    *,
    worker: str,
    session_id: str,
    database: Database,
) -> Judgement:
    """Route and assess a proposal, and ask its evaluators, which may call out."""
    is_known = policy.is_known_asset(proposal.resource)
    assessment = assess(policy.assessor, proposal, is_known_asset=is_known)
    judged = Judgement(route=route(policy, proposal, worker), assessment=assessment)
    if judged.route.tier is Tier.BLOCKED:
        return judged
    denied = await first_deny(
        policy.always_asked, policy.evaluators, proposal, timeout_s=policy.evaluator_timeout_s
    )
    if denied is not None:
        return Judgement(route=judged.route, assessment=assessment, denied_by=denied.why)
    if policy.auto.condition is None or judged.route.tier in _NEVER_AUTOMATIC:
        return judged
    return await _with_condition(policy, proposal, judged, session_id, database)


async def _with_condition(
    policy: ActionPolicy,
    proposal: Proposal,
    judged: Judgement,
    session_id: str,
    database: Database,
) -> Judgement:
    assert policy.auto.condition is not None, "asked only where there is one"
    session = await database.read(session_risk, session_id)
    assessment: Assessment = judged.assessment
    facts = Facts(
        proposal=proposal,
        risk=highest(assessment.risk, session.level),
        ask=partial(
            ask,
            evaluators=policy.evaluators,
            proposal=proposal,
            timeout_s=policy.evaluator_timeout_s,
        ),
    )
    return Judgement(
        route=judged.route,
        assessment=assessment,
        condition_holds=await holds(policy.auto.condition, facts),
        seen=session.level,
    )
