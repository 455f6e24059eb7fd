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
    tx: Transaction, journal: Journal, rules: SessionRiskRules, action: str, risk: Risk
) -> None:
    """Add one action to the risk of the journal's session; an escalation is an event."""
    before = session_risk(tx, journal.session_id)
    after = accumulated(rules, before, action, risk)
    _keep(tx, journal, before, after, tuple(completes(rules, before, action) or ()))


def escalate(tx: Transaction, journal: Journal, pattern: tuple[str, ...]) -> None:
    """Make the risk of the journal's session high: an action was tried that completes a pattern."""
    before = session_risk(tx, journal.session_id)
    after = msgspec.structs.replace(before, level=Risk.HIGH)
    _keep(tx, journal, before, after, pattern)


def _keep(
    tx: Transaction,
    journal: Journal,
    before: SessionRisk,
    after: SessionRisk,
    pattern: tuple[str, ...],
) -> None:
    tx.run(
        "approvals.set_session_risk",
        session_id=journal.session_id,
        points=after.points,
        level=after.level,
        recent=msgspec.json.encode(after.recent).decode(),
    )
    if after.level is before.level:
        return
    journal.add(
        approval_kinds.SessionRiskEscalated(
            before=before.level, after=after.level, points=after.points, pattern=pattern
        )
    )
