"""What people decide of jobs: to run them again, to cancel or discard them, to resolve them."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.errors import IllegalMove, NotFound
from supervisor.events import job_kinds as kinds
from supervisor.events.kinds import Event
from supervisor.events.log import Journal, Origin
from supervisor.governance.commands import once
from supervisor.governance.rotation import system_journal
from supervisor.jobs.effects import (
    Effect,
    EffectState,
    find_effect,
    keep,
    release,
    unknown_of_job,
)
from supervisor.jobs.job import Enqueued, Job, JobRequest, JobState
from supervisor.jobs.queue import count, enqueue, find_job
from supervisor.storage.database import Transaction


class JobCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Do something with a job, for a reason."""

    job: str
    why: str


class ResolveCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Say of a job, or of an effect `SCOPE/KEY`, whether it was done."""

    job: str
    is_done: bool
    why: str


class JobDecided(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the job; a running one is still `running` until its worker has let go."""

    job: str
    queue: str
    before: JobState
    state: JobState


def enqueue_for_person(
    tx: Transaction, request: JobRequest, origin: Origin, timezone: ZoneInfo
) -> Enqueued:
    """Put a job in a queue; its key is its command id.

    Raises:
        CommandConflict: the key was used for another payload.
    """
    with system_journal(tx, timezone, origin) as journal:
        return enqueue(tx, journal, request)


def requeue(tx: Transaction, command: JobCommand, origin: Origin, timezone: ZoneInfo) -> JobDecided:
    """Run a job now that is dead, or that waits for its time or for its next attempt.

    Raises:
        NotFound, IllegalMove: there is no such job, or it is in another state.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> JobDecided:
        job = _job_in(tx, command.job, JobState.DEAD, JobState.SCHEDULED)
        event = kinds.JobRequeued(job=job.id, queue=job.queue, before=job.state, why=command.why)
        return _move(tx, job, JobState.QUEUED, event, system_journal(tx, timezone, origin))

    return once(tx, "job_requeue", command, origin, result=JobDecided, perform=perform)


def cancel(tx: Transaction, command: JobCommand, origin: Origin, timezone: ZoneInfo) -> JobDecided:
    """End a job that is not over; a running one is asked to end, and nothing of it is kept then.

    Raises:
        NotFound, IllegalMove: there is no such job, or it is over or dead.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> JobDecided:
        open_states = (JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.UNKNOWN)
        job = _job_in(tx, command.job, *open_states)
        if job.state is JobState.RUNNING:
            tx.run("jobs.ask_cancel", id=job.id)
            with system_journal(tx, timezone, origin) as journal:
                journal.add(kinds.JobCancelAsked(job=job.id, why=command.why))
            return JobDecided(job=job.id, queue=job.queue, before=job.state, state=job.state)
        event = kinds.JobCancelled(job=job.id, queue=job.queue, why=command.why)
        return _move(tx, job, JobState.CANCELLED, event, system_journal(tx, timezone, origin))

    return once(tx, "job_cancel", command, origin, result=JobDecided, perform=perform)


def discard(tx: Transaction, command: JobCommand, origin: Origin, timezone: ZoneInfo) -> JobDecided:
    """Put a dead job aside for good.

    Raises:
        NotFound, IllegalMove: there is no such job, or it is not dead.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> JobDecided:
        job = _job_in(tx, command.job, JobState.DEAD)
        event = kinds.JobDiscarded(job=job.id, queue=job.queue, why=command.why)
        return _move(tx, job, JobState.DISCARDED, event, system_journal(tx, timezone, origin))

    return once(tx, "job_discard", command, origin, result=JobDecided, perform=perform)


def resolve(
    tx: Transaction, command: ResolveCommand, origin: Origin, timezone: ZoneInfo
) -> JobDecided:
    """End the quarantine of a job or of an effect: it was done, or it may be done again.

    A job that waits for the outcome of its effects runs again in any case, and is told of them:
    also where each of them was resolved by its own name.

    Raises:
        NotFound, IllegalMove: there is no such job, or its outcome is not unknown.
        CommandConflict: the command id was used for something else.
    """

    def perform() -> JobDecided:
        if "/" in command.job:
            effect = _effect_in_doubt(tx, command.job)
            _resolve_effects(tx, [effect], command, system_journal(tx, timezone, origin))
            _let_go_on(tx, effect.job, command.why, system_journal(tx, timezone, origin))
            state = JobState.DONE if command.is_done else JobState.QUEUED
            return JobDecided(
                job=command.job, queue=effect.scope, before=JobState.UNKNOWN, state=state
            )
        job = _job_in(tx, command.job, JobState.UNKNOWN)
        in_doubt = unknown_of_job(tx, job.id)
        _resolve_effects(tx, in_doubt, command, system_journal(tx, timezone, origin))
        is_over = command.is_done and not in_doubt
        state = JobState.DONE if is_over else JobState.QUEUED
        event = kinds.JobResolved(job=job.id, queue=job.queue, is_done=is_over, why=command.why)
        return _move(tx, job, state, event, system_journal(tx, timezone, origin))

    return once(tx, "job_resolve", command, origin, result=JobDecided, perform=perform)


def _let_go_on(tx: Transaction, job_id: str, why: str, journal: Journal) -> None:
    """Let a job run again that waited for nothing but the effects which are resolved by now."""
    job = find_job(tx, job_id)
    if job is None or job.state is not JobState.UNKNOWN or unknown_of_job(tx, job_id):
        return
    event = kinds.JobResolved(job=job.id, queue=job.queue, is_done=False, why=why)
    _move(tx, job, JobState.QUEUED, event, journal)


def _effect_in_doubt(tx: Transaction, name: str) -> Effect:
    scope, _, key = name.partition("/")
    effect = find_effect(tx, scope, key)
    if effect is None:
        raise NotFound(
            subject=f"effect {name}",
            what="does not exist",
            fix="its name is in the event effect_unknown: SCOPE/KEY",
        )
    if effect.state is not EffectState.UNKNOWN:
        raise IllegalMove(
            subject=f"effect {name}",
            what=f"is {effect.state}; nothing was done",
            fix="only one that is unknown can be resolved",
        )
    return effect


def _resolve_effects(
    tx: Transaction, in_doubt: Sequence[Effect], command: ResolveCommand, journal: Journal
) -> None:
    with journal:
        for effect in in_doubt:
            if command.is_done:
                keep(tx, journal, effect, "null")
            else:
                release(tx, journal, effect, why=command.why)


def _job_in(tx: Transaction, job_id: str, *states: JobState) -> Job:
    job = find_job(tx, job_id)
    if job is None:
        raise no_job(job_id)
    if job.state not in states:
        raise IllegalMove(
            subject=f"job {job_id}",
            what=f"is {job.state}; nothing was done",
            fix=f"this can be done to one that is {' or '.join(states)}",
        )
    return job


def no_job(job_id: str) -> NotFound:
    """Return the error of a job that does not exist."""
    return NotFound(
        subject=f"job {job_id}", what="does not exist", fix="`supervisor jobs` lists them"
    )


def _move(tx: Transaction, job: Job, state: JobState, event: Event, journal: Journal) -> JobDecided:
    now = to_us(journal.origin.at)
    is_anew = isinstance(event, kinds.JobRequeued)
    tx.run(
        "jobs.move",
        id=job.id,
        before=job.state,
        state=state,
        attempts=0 if is_anew else job.attempts,
        run_at=now if state is JobState.QUEUED else job.run_at,
        ended_at=None if state is JobState.QUEUED else now,
    )
    count(tx, job.queue, job.state, -1)
    count(tx, job.queue, state, 1)
    with journal:
        journal.add(event)
    return JobDecided(job=job.id, queue=job.queue, before=job.state, state=state)
