"""Putting a worker's durable state back to a checkpoint (requirement R2)."""

from __future__ import annotations

import hashlib
from zoneinfo import ZoneInfo

import msgspec

from supervisor.errors import IllegalMove, NotFound
from supervisor.events import kinds, upkeep_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.commands import once
from supervisor.governance.kill_switch import KillCommand, engage
from supervisor.governance.rotation import open_session_of, pause_session, system_journal
from supervisor.governance.session import DAEMON_STOPPED, SessionStatus
from supervisor.jobs.progress import forget_progress
from supervisor.storage.database import Transaction


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint as stored; `state` is the worker's as JSON, `created_at` in microseconds."""

    id: str
    worker: str
    label: str
    session_id: str
    event_seq: int
    tick: int
    state: str
    created_at: int


class RollbackCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Put the worker's state back to a checkpoint of its own."""

    worker: str
    checkpoint: str


class RolledBack(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored; `paused` is the session that waits to be resumed.

    Where none is open, it is None, and the worker is killed instead until it is released.
    """

    worker: str
    checkpoint: str
    tick: int
    state_bytes: int
    state_sha256: str
    paused: str | None


class _Tick(msgspec.Struct, frozen=True):
    number: int


def checkpoints_of(tx: Transaction, worker: str, rows_max: int) -> list[Checkpoint]:
    """Return the worker's newest checkpoints, without their states."""
    return tx.rows("governance.checkpoints", Checkpoint, worker=worker, rows_max=rows_max)


def roll_back(
    tx: Transaction, command: RollbackCommand, origin: Origin, timezone: ZoneInfo
) -> RolledBack:
    """Restore the state, and pause the worker's session until a person resumes it.

    No balance and no event is touched: what was spent is spent, what happened has happened.

    Raises:
        NotFound: the worker has no such checkpoint.
        IllegalMove: a tick of the worker is running, whose end would overwrite the state.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> RolledBack:
        checkpoint = tx.row("governance.checkpoint", Checkpoint, id=command.checkpoint)
        if checkpoint is None or checkpoint.worker != command.worker:
            raise NotFound(
                subject=f"checkpoint {command.checkpoint} of worker {command.worker}",
                what="does not exist",
                fix=f"`supervisor checkpoints {command.worker}` lists them",
            )
        return _restore(tx, checkpoint, origin, timezone)

    return once(tx, "rollback", command, origin, result=RolledBack, perform=perform)


def record_failure(
    tx: Transaction, command: RollbackCommand, origin: Origin, timezone: ZoneInfo, why: str
) -> None:
    """Record a rollback that was asked for and refused: what `roll_back` raised has undone all."""
    worker, checkpoint = command.worker, command.checkpoint
    session = open_session_of(tx, worker)
    journal = Journal(tx, session.id, origin) if session else system_journal(tx, timezone, origin)
    with journal:
        journal.add(upkeep_kinds.RollbackRequested(worker=worker, checkpoint=checkpoint))
        journal.add(upkeep_kinds.RollbackFailed(worker=worker, checkpoint=checkpoint, why=why))


def _restore(
    tx: Transaction, checkpoint: Checkpoint, origin: Origin, timezone: ZoneInfo
) -> RolledBack:
    worker = checkpoint.worker
    running = tx.row("workers.running_tick", _Tick, worker=worker)
    if running is not None:
        raise IllegalMove(
            subject=f"worker {worker}",
            what=f"its tick {running.number} is running and would overwrite the state",
            fix=f"`supervisor kill --worker {worker} --why TEXT` ends it; then roll back, release",
        )
    tx.run("workers.restore_state", name=worker, state=checkpoint.state)
    # What its items have left in the state is undone with it, so that they are done again.
    forget_progress(tx, f"worker:{worker}")
    session = open_session_of(tx, worker)
    state = checkpoint.state.encode()
    done = RolledBack(
        worker=worker,
        checkpoint=checkpoint.id,
        tick=checkpoint.tick,
        state_bytes=len(state),
        state_sha256=hashlib.sha256(state).hexdigest(),
        paused=session.id if session else None,
    )
    journal = Journal(tx, session.id, origin) if session else system_journal(tx, timezone, origin)
    with journal:
        journal.add(upkeep_kinds.RollbackRequested(worker=worker, checkpoint=checkpoint.id))
        journal.add(
            kinds.RollbackCompleted(
                worker=worker,
                checkpoint=checkpoint.id,
                tick=checkpoint.tick,
                state_bytes=done.state_bytes,
                state_sha256=done.state_sha256,
            )
        )
    why = f"rolled back to {checkpoint.id}"
    if session is not None and session.status is SessionStatus.ACTIVE:
        pause_session(tx, session, origin, why=why)
    elif session is None:
        _kill(tx, worker, why, origin, timezone)
    elif session.why == DAEMON_STOPPED:
        # Paused already, by the stop: from now on for a person, so that no start resumes it.
        tx.run("sessions.move", id=session.id, status=SessionStatus.PAUSED, why=why)
    return done


def _kill(tx: Transaction, worker: str, why: str, origin: Origin, timezone: ZoneInfo) -> None:
    """Keep a worker without a session from opening one and going on before anybody has looked."""
    command = KillCommand(scope=f"worker:{worker}", why=why)
    engaging = msgspec.structs.replace(origin, command_id=f"{origin.command_id}/kill")
    engage(tx, command, engaging, timezone)
