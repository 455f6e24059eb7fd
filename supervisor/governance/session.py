"""A session's states and the moves between them (governance.md, "States")."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from supervisor.errors import IllegalMove


class SessionStatus(StrEnum):
    """Where a session stands; nothing leaves the last two."""

    CREATED = "created"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABORTED = "aborted"


class AbortReason(StrEnum):
    """What a person ended a session for, before its window was over."""

    OPERATOR_REQUEST = "operator_request"
    KILL_SWITCH = "kill_switch"
    BUDGET_EXHAUSTED = "budget_exhausted"
    AGENT_TIMEOUT = "agent_timeout"
    SYSTEM_ERROR = "system_error"
    POLICY_VIOLATION = "policy_violation"


#: The same moves as the trigger `sessions_legal_moves` allows in the database.
MOVES: dict[SessionStatus, frozenset[SessionStatus]] = {
    SessionStatus.CREATED: frozenset({SessionStatus.ACTIVE, SessionStatus.ABORTED}),
    SessionStatus.ACTIVE: frozenset(
        {SessionStatus.PAUSED, SessionStatus.COMPLETED, SessionStatus.ABORTED}
    ),
    SessionStatus.PAUSED: frozenset(
        {SessionStatus.ACTIVE, SessionStatus.COMPLETED, SessionStatus.ABORTED}
    ),
    SessionStatus.COMPLETED: frozenset(),
    SessionStatus.ABORTED: frozenset(),
}

#: Why a session is paused when the daemon stopped: the next start in its window resumes it.
DAEMON_STOPPED = "daemon stopped"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A governance window of one worker, as stored; moments in microseconds since 1970 UTC."""

    id: str
    worker: str
    window_start: int
    window_end: int
    execution_mode: str
    status: SessionStatus
    why: str
    opened_at: int
    closed_at: int | None
    received_note: str
    handoff_note: str
    summary: str | None


class SessionWithTotals(Session, frozen=True, kw_only=True):
    """A session, and what its events add up to as of when it was read; `counters` is JSON."""

    last_seq: int
    last_hash: bytes
    counters: str


def check_move(session: Session, to: SessionStatus) -> None:
    """Check that `session` may become `to`.

    Raises:
        IllegalMove: it may not.
    """
    if to not in MOVES[session.status]:
        raise IllegalMove(
            subject=f"session {session.id}",
            what=f"is {session.status} and can't become {to}",
            fix="`supervisor sessions` shows which sessions are open",
        )
