"""The kinds of events of proposals, tickets, executions and the risk of sessions."""

from __future__ import annotations

from supervisor.events.event import Event


class ProposalMade(Event, frozen=True, kw_only=True):
    """An agent asked to take an action; `cost` is the most that it may cost."""

    kind = "proposal_made"
    proposal: str
    worker: str
    action: str
    resource: str
    cost: int
    tokens: int
    weight: float
    score: float
    reasoning: str = ""
    risk_factors: tuple[str, ...] = ()


class RiskAssessed(Event, frozen=True, kw_only=True):
    """A proposal's risk, and that of its session when it came."""

    kind = "risk_assessed"
    proposal: str
    risk: str
    why: str
    session_risk: str


class SessionRiskEscalated(Event, frozen=True, kw_only=True):
    """A session's actions add up to a higher risk; what follows is judged by it."""

    kind = "session_risk_escalated"
    before: str
    after: str
    points: int
    pattern: tuple[str, ...] = ()


class ProposalSteered(Event, frozen=True, kw_only=True):
    """A proposal was answered with guidance, for the `attempt`-th time in its session."""

    kind = "proposal_steered"
    proposal: str
    action: str
    attempt: int
    guidance: str
    suggest: tuple[str, ...] = ()


class ProposalExpired(Event, frozen=True, kw_only=True):
    """A proposal that was steered was not followed up in time."""

    kind = "proposal_expired"
    proposal: str
    why: str


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """A person is asked; `deadline_at` is until when. A draft is an action that is off."""

    kind = "approval_requested"
    ticket: str
    proposal: str
    action: str
    deadline_at: int
    tier: str
    step: str
    why: str
    is_draft: bool = False


class ApprovalGranted(Event, frozen=True, kw_only=True):
    """A proposal may be executed, once: `by` the policy, a person, or a person's session grant.

    `ticket` is empty where nobody was asked. A person's grant `for_session` has its limits here.
    """

    kind = "approval_granted"
    proposal: str
    by: str
    tier: str
    step: str
    why: str
    ticket: str = ""
    grant: str = ""
    for_session: bool = False
    resources: tuple[str, ...] = ()
    count_max: int | None = None
    cost_max: int | None = None
    expires_at: int | None = None


class ApprovalDenied(Event, frozen=True, kw_only=True):
    """A proposal may not be executed; `code` says by what: blocked, evaluator, person ..."""

    kind = "approval_denied"
    proposal: str
    code: str
    why: str
    ticket: str = ""


class ApprovalTimedOut(Event, frozen=True, kw_only=True):
    """Nobody decided before the deadline: the ticket and its proposal expired, which denies it."""

    kind = "approval_timed_out"
    ticket: str
    proposal: str
    deadline_at: int


class ExecutionStarted(Event, frozen=True, kw_only=True):
    """An approved proposal was taken for its one execution, under a hold."""

    kind = "execution_started"
    proposal: str
    hold: str
    action: str


class ExecutionCompleted(Event, frozen=True, kw_only=True):
    """An execution ended well; recorded with the settling of its hold."""

    kind = "execution_completed"
    proposal: str
    hold: str
    action: str


class ExecutionFailed(Event, frozen=True, kw_only=True):
    """An execution failed, or did not take place; unknown: nobody knows what it has done."""

    kind = "execution_failed"
    proposal: str
    action: str
    why: str
    hold: str = ""
    is_outcome_unknown: bool = False
