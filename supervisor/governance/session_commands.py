"""A person's commands on a session: let it go on, or end it for good."""

from __future__ import annotations

import msgspec

from supervisor.clock import from_us, iso
from supervisor.errors import IllegalMove, NotFound, UsageError
from supervisor.events.log import Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import SYSTEM, abort_session, find_session, resume_session
from supervisor.governance.session import AbortReason, Session, SessionStatus, check_move
from supervisor.storage.database import Transaction

WHY_MAX = 500


class ResumeCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Resume a paused session; the same command twice is one."""

    session_id: str
    why: str


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What a resume did."""

    session_id: str
    status: str


class AbortCommand(msgspec.Struct, frozen=True, kw_only=True):
    """End a session before its window is over; the same command twice is one."""

    session_id: str
    why: str
    reason: AbortReason = AbortReason.OPERATOR_REQUEST


class Aborted(msgspec.Struct, frozen=True, kw_only=True):
    """What an abort did: its worker has no other session until `next_at`, as ISO in UTC."""

    session_id: str
    status: str
    reason: AbortReason
    next_at: str


class _Tick(msgspec.Struct, frozen=True):
    number: int


def resume(tx: Transaction, command: ResumeCommand, origin: Origin) -> Resumed:
    """Make a paused session active again, in the name of the origin's actor.

    Raises:
        NotFound: there is no such session.
        IllegalMove: it is not paused.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> Resumed:
        session = _found(tx, command.session_id)
        resumed = resume_session(tx, session, origin, why=command.why, is_by_hand=True)
        return Resumed(session_id=resumed.id, status=resumed.status)

    return once(tx, "resume", command, origin, result=Resumed, perform=perform)


def abort(tx: Transaction, command: AbortCommand, origin: Origin) -> Aborted:
    """End a session for good and seal it, in the name of the origin's actor.

    Its worker opens none before the window is over: a second one would have a fresh budget
    (requirements S3, L4). A kill of the session goes on to hold its worker until it is released.

    Raises:
        UsageError: no reason is given, or it is the system's own session.
        NotFound: there is no such session.
        IllegalMove: it is over already, or one of its ticks is running.
        CommandConflict: the command id was used for something else.
    """
    return once(
        tx,
        "abort",
        command,
        origin,
        result=Aborted,
        perform=lambda: _abort(tx, command, origin),
    )


def _abort(tx: Transaction, command: AbortCommand, origin: Origin) -> Aborted:
    session = _found(tx, command.session_id)
    _check(tx, session, command)
    abort_session(tx, session, origin, reason=command.reason, why=command.why)
    return Aborted(
        session_id=session.id,
        status=SessionStatus.ABORTED,
        reason=command.reason,
        next_at=iso(from_us(session.window_end)),
    )


def _check(tx: Transaction, session: Session, command: AbortCommand) -> None:
    subject = f"session {session.id}"
    if not command.why.strip() or len(command.why) > WHY_MAX:
        raise UsageError(
            subject=subject,
            what=f"the reason is empty or longer than {WHY_MAX} characters",
            fix="say why, in a sentence: it stands in the record",
        )
    if session.worker == SYSTEM:
        raise UsageError(
            subject=subject,
            what="is the daemon's own: kills, starts and stops are recorded in it",
            fix="`supervisor kill --system --why TEXT` stops all work",
        )
    check_move(session, SessionStatus.ABORTED)
    running = tx.row("workers.running_tick", _Tick, worker=session.worker)
    if running is not None:
        raise IllegalMove(
            subject=subject,
            what=f"tick {running.number} of worker {session.worker} is running in it",
            fix=f"`supervisor kill --session {session.id} --why TEXT` ends it, or the next start"
            " where its daemon is dead; then abort, and release",
        )


def _found(tx: Transaction, session_id: str) -> Session:
    session = find_session(tx, session_id)
    if session is None:
        fix = "`supervisor sessions` lists them"
        raise NotFound(subject=f"session {session_id}"[:200], what="does not exist", fix=fix)
    return session
