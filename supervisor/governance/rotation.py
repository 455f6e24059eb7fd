"""Opening, pausing and closing sessions on the wall clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import from_us, iso, to_us
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.counters import Summary
from supervisor.events.log import Journal, Origin, head_of
from supervisor.governance.session import (
    DAEMON_STOPPED,
    AbortReason,
    Session,
    SessionStatus,
    check_move,
)
from supervisor.storage.database import Transaction
from supervisor.windows import DAY_S, window_at

#: The session of what belongs to no worker: the daemon's life, kills, config. Rotates daily.
SYSTEM = "system"
HANDOFF_NOTE_MAX = 4_000


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A worker and the windows that its sessions have."""

    worker: str
    span_s: int
    timezone: ZoneInfo
    execution_mode: str = "live"


class _Latest(msgspec.Struct, frozen=True):
    window_end: int


def find_session(tx: Transaction, session_id: str) -> Session | None:
    """Return a session by its id."""
    return tx.row("sessions.by_id", Session, id=session_id)


def open_session_of(tx: Transaction, worker: str) -> Session | None:
    """Return the worker's one session that is not over, if it has one."""
    return tx.recall("sessions.open_of_worker", Session, worker=worker)


def latest_session_of(tx: Transaction, worker: str) -> Session | None:
    """Return the worker's session with the latest window, if it ever had one."""
    return tx.row("sessions.latest_of_worker", Session, worker=worker)


def is_due(session: Session, now: datetime) -> bool:
    """Return whether the session's window is over; a clock that went back never makes it so."""
    return to_us(now) >= session.window_end


def adopt_or_rotate(tx: Transaction, plan: SessionPlan, origin: Origin) -> Session | None:
    """Return the worker's session for now: the open one, or the next after it was closed.

    Both steps of a rotation are in the caller's transaction, and a session's id is its worker
    and its window's start: a crash or a second start never makes a second one (requirement S3).
    A session that was paused because the daemon stopped goes on. One that is paused for a person
    stays, also past its window: a rotation must not resume what only a person may.

    Returns None only where the window's session is over already, because the clock went back.
    """
    return rotate_from(tx, plan, open_session_of(tx, plan.worker), origin)


def rotate_from(
    tx: Transaction, plan: SessionPlan, current: Session | None, origin: Origin
) -> Session | None:
    """Do as `adopt_or_rotate` does, where the worker's open session is known already."""
    if current is None:
        return _open(tx, plan, origin, previous=None)
    is_paused = current.status is SessionStatus.PAUSED
    if is_paused and current.why != DAEMON_STOPPED:
        return current
    if is_due(current, origin.at):
        close_session(tx, current, origin)
        return _open(tx, plan, origin, previous=find_session(tx, current.id))
    if is_paused:
        return resume_session(tx, current, origin, why="daemon started")
    return current


def _open(
    tx: Transaction, plan: SessionPlan, origin: Origin, *, previous: Session | None
) -> Session | None:
    window = window_at(origin.at, span_s=plan.span_s, timezone=plan.timezone)
    start, end = to_us(window.start), to_us(window.end)
    latest = tx.row("sessions.latest_window", _Latest, worker=plan.worker, now=to_us(origin.at))
    if latest is not None and latest.window_end > start:
        if latest.window_end > to_us(origin.at):
            return None
        # The worker's windows were made wider: the first of them takes what is left of its own.
        start = latest.window_end
    session_id = session_id_at(plan.worker, from_us(start))
    note = previous.handoff_note if previous else ""
    tx.run(
        "sessions.open",
        id=session_id,
        worker=plan.worker,
        window_start=start,
        window_end=end,
        execution_mode=plan.execution_mode,
        now=to_us(origin.at),
        received_note=note,
    )
    tx.run("sessions.move", id=session_id, status=SessionStatus.ACTIVE, why="")
    with Journal(tx, session_id, _command(origin, f"open:{session_id}")) as journal:
        journal.add(
            kinds.SessionOpened(
                worker=plan.worker, window_start=start, window_end=end, received_note=note
            )
        )
        if previous:
            journal.add(kinds.SessionRotated(worker=plan.worker, previous=previous.id))
    return find_session(tx, session_id)


def session_id_at(worker: str, start: datetime) -> str:
    """Return the id of the worker's session whose window begins at `start`."""
    return f"{worker}@{_stamp(start)}"


def _stamp(start: datetime) -> str:
    text = iso(start)
    return text.replace(":00Z", "Z") if text.endswith(":00Z") else text


def close_session(tx: Transaction, session: Session, origin: Origin) -> None:
    """Complete a session, sealed with its summary.

    Raises:
        IllegalMove: it is over already.
    """
    check_move(session, SessionStatus.COMPLETED)
    journal = Journal(tx, session.id, _command(origin, f"close:{session.id}"))
    journal.add(kinds.SessionClosed(worker=session.worker))
    journal.flush()
    _seal(tx, session, SessionStatus.COMPLETED, origin, why="window ended")


def abort_session(
    tx: Transaction, session: Session, origin: Origin, *, reason: AbortReason, why: str
) -> None:
    """End a session before its window is over, sealed with its summary.

    Raises:
        IllegalMove: it is over already.
    """
    check_move(session, SessionStatus.ABORTED)
    with Journal(tx, session.id, origin) as journal:
        journal.add(upkeep_kinds.SessionAborted(worker=session.worker, reason=reason, why=why))
    _seal(tx, session, SessionStatus.ABORTED, origin, why=why)


def _seal(
    tx: Transaction, session: Session, status: SessionStatus, origin: Origin, *, why: str
) -> None:
    tx.run(
        "sessions.seal",
        id=session.id,
        status=status,
        why=why,
        now=to_us(origin.at),
        summary=msgspec.json.encode(summarize(tx, session.id)).decode(),
    )


def summarize(tx: Transaction, session_id: str) -> Summary:
    """Return the session's totals and event range as they stand."""
    head = head_of(tx, session_id)
    return Summary(
        counters=msgspec.to_builtins(head.counters),
        first_seq=min(1, head.last_seq),
        last_seq=head.last_seq,
        last_hash=head.last_hash.hex(),
    )


def pause_session(tx: Transaction, session: Session, origin: Origin, *, why: str) -> None:
    """Let nothing run in the session until it is resumed.

    Raises:
        IllegalMove: it is not active.
    """
    check_move(session, SessionStatus.PAUSED)
    tx.run("sessions.move", id=session.id, status=SessionStatus.PAUSED, why=why)
    with Journal(tx, session.id, origin) as journal:
        journal.add(kinds.SessionPaused(worker=session.worker, why=why))


def resume_session(
    tx: Transaction, session: Session, origin: Origin, *, why: str, is_by_hand: bool = False
) -> Session:
    """Make a paused session active again; `is_by_hand` says that a person's command does it.

    Raises:
        IllegalMove: it is not paused.
    """
    check_move(session, SessionStatus.ACTIVE)
    tx.run("sessions.move", id=session.id, status=SessionStatus.ACTIVE, why="")
    with Journal(tx, session.id, origin) as journal:
        journal.add(kinds.SessionResumed(worker=session.worker, why=why, is_by_hand=is_by_hand))
    resumed = find_session(tx, session.id)
    assert resumed is not None, f"session {session.id} is gone"
    return resumed


def system_journal(tx: Transaction, timezone: ZoneInfo, origin: Origin) -> Journal:
    """Return the journal of what belongs to no worker, its session opened or rotated if due."""
    plan = SessionPlan(worker=SYSTEM, span_s=DAY_S, timezone=timezone)
    session = adopt_or_rotate(tx, plan, origin)
    assert session is not None, "the system's session is never closed but by its successor"
    return Journal(tx, session.id, origin)


def _command(origin: Origin, command_id: str) -> Origin:
    return msgspec.structs.replace(origin, command_id=command_id)
