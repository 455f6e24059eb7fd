"""What a person has allowed for the rest of a session: how much of it is left, and drawing it."""

from __future__ import annotations

import glob

import msgspec

from supervisor.clock import from_us, iso
from supervisor.governance.conditions import fits
from supervisor.governance.proposals import Proposal
from supervisor.money import usd_text
from supervisor.storage.database import Transaction


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """How far an approval for a session goes; None is no limit but the session's end.

    `resources` are patterns, empty for the ticket's own resource alone. `count_max` executions,
    `cost_max` micro-USD by what proposals say that they cost at most, both counted together over
    all that is drawn, the ticket's own proposal among them.
    """

    resources: tuple[str, ...] = ()
    count_max: int | None = None
    cost_max: int | None = None
    expires_s: float | None = None


class SessionGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A session grant as stored; `expires_at` in microseconds, costs in micro-USD."""

    id: str
    session_id: str
    worker: str
    action: str
    resources: str
    count_max: int | None
    cost_max: int | None
    expires_at: int | None
    count_used: int
    cost_used: int
    granted_by: str

    def why_not(self, proposal: Proposal, now: int) -> str:
        """Return why it does not cover the proposal, empty where it does."""
        patterns = msgspec.json.decode(self.resources, type=tuple[str, ...])
        if not fits(proposal.resource, patterns):
            return f"it does not cover the resource {proposal.resource!r}"
        if self.count_max is not None and self.count_used >= self.count_max:
            return f"its {self.count_max} executions are used up"
        if self.cost_max is not None and self.cost_used + proposal.cost > self.cost_max:
            return f"{usd_text(self.cost_max - self.cost_used)} of it are left"
        if self.expires_at is not None and now > self.expires_at:
            return f"it expired at {iso(from_us(self.expires_at))}"
        return ""


def patterns_of(scope: Scope, resource: str) -> tuple[str, ...]:
    """Return the resources that a scope covers, as patterns."""
    # Escaped: an agent that calls its resource `*` is not given all of them.
    return scope.resources or (glob.escape(resource),)


def find_grant(tx: Transaction, grant_id: str) -> SessionGrant | None:
    """Return a session grant by its id, which is its ticket's."""
    return tx.row("approvals.grant", SessionGrant, id=grant_id)


def draw_any(tx: Transaction, session_id: str, proposal: Proposal, now: int) -> SessionGrant | None:
    """Draw the proposal from the oldest grant of the session that covers it, if one does."""
    grants = tx.rows(
        "approvals.grants_of_session", SessionGrant, session_id=session_id, action=proposal.action
    )
    for grant in grants:
        if not grant.why_not(proposal, now) and draw(tx, grant.id, proposal.cost, now):
            return grant
    return None


def draw(tx: Transaction, grant_id: str, cost: int, now: int) -> bool:
    """Draw one execution and its cost, and return whether there was room for it."""
    return tx.run("approvals.draw", id=grant_id, cost=cost, now=now) == 1
