"""A session's risk in the store: it accumulates with each action, and survives restarts."""

from __future__ import annotations

import msgspec

from supervisor.events import approval_kinds
from supervisor.events.log import Journal
from supervisor.governance.risk import (
    Risk,
    SessionRisk,
    SessionRiskRules,
    accumulated,
    completes,
)
from supervisor.storage.database import Transaction


class _Row(msgspec.Struct, frozen=True):
    points: int
    level: Risk
    recent: str


def session_risk(tx: Transaction, session_id: str) -> SessionRisk:
    """Return what the session's actions add up to so far."""
    row = tx.row("approvals.session_risk", _Row, session_id=session_id)
    if row is None:
        return SessionRisk()
    recent = msgspec.json.decode(row.recent, type=tuple[str, ...])
    return SessionRisk(points=row.points, level=row.level, recent=recent)


def count_action(
    tx: Transaction,
    journal: Journal,
    rules: SessionRiskRules,
    before: SessionRisk,
    *,
    action: str,
    risk: Risk,
) -> SessionRisk:
    """Add one action to its session's risk; an escalation is an event."""
    after = accumulated(rules, before, action, risk)
    tx.run(
        "approvals.set_session_risk",
        session_id=journal.session_id,
        points=after.points,
        level=after.level,
        recent=msgspec.json.encode(after.recent).decode(),
    )
    if after.level is not before.level:
        journal.add(
            approval_kinds.SessionRiskEscalated(
                before=before.level,
                after=after.level,
                points=after.points,
                pattern=tuple(completes(rules, before, action) or ()),
            )
        )
    return after
