"""Putting jobs in a queue and taking them out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from supervisor.clock import to_us
from supervisor.errors import CommandConflict
from supervisor.events import job_kinds as kinds
from supervisor.events.log import Journal
from supervisor.jobs.job import Enqueued, Job, JobRequest, JobState
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Keep, Later

_PROMOTED_MAX = 1_000


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A tick that wants jobs, `jobs_max` at most; `lease_us` is how long it may be silent."""

    queue: str
    boot_id: str
    worker: str
    tick: int
    session_id: str
    lease_us: int
    jobs_max: int


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is next; `attempts` are those before."""

    number: int
    id: str
    payload: str
    attempts: int
    attempts_max: int

    @property
    def runs_alone(self) -> bool:
        """Whether it shares no claim: where a process dies, nobody knows of which job."""
        return self.attempts > 0 or self.attempts_max == 1


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that a tick has, until their lease runs out; `token` is its proof."""

    token: int
    queue: str
    jobs: tuple[Candidate, ...]


class _Token(msgspec.Struct, frozen=True):
    token: int


class _Moment(msgspec.Struct, frozen=True):
    at: int


class _Count(msgspec.Struct):
    """How many jobs of a queue are in a state; changed in place."""

    queue: str
    state: JobState
    jobs: int


_COUNTS: Keep[tuple[str, JobState], _Count] = Keep(
    "job_counts",
    Later("jobs.keep_count", "queue", "state", "jobs"),
    lambda counted: (counted.queue, counted.state, counted.jobs),
)


def enqueue(tx: Transaction, journal: Journal, request: JobRequest) -> Enqueued:
    """Put a job in its queue, in the caller's transaction; with a known key, nothing is done.

    Raises:
        CommandConflict: the key was used for another payload.
    """
    now = to_us(journal.origin.at)
    run_at = max(request.run_at, now)
    state = JobState.SCHEDULED if run_at > now else JobState.QUEUED
    is_new = tx.run(
        "jobs.enqueue",
        id=request.id,
        queue=request.queue,
        job_key=request.key,
        payload=request.payload,
        priority=request.priority,
        run_at=run_at,
        state=state,
        attempts_max=request.attempts_max,
        now=now,
    )
    if not is_new:
        conflict = find_conflict(tx, [request])
        if conflict is not None:
            raise conflict
        return Enqueued(id=request.id, is_new=False)
    count(tx, request.queue, state, 1)
    journal.add(
        kinds.JobEnqueued(
            job=request.id,
            queue=request.queue,
            priority=request.priority,
            run_at=run_at,
            attempts_max=request.attempts_max,
            digest=request.digest,
        )
    )
    return Enqueued(id=request.id, is_new=True)


def find_conflict(tx: Transaction, requests: Sequence[JobRequest]) -> CommandConflict | None:
    """Return the error of the first request whose key was used for another payload."""
    for request in requests:
        first = find_job(tx, request.id)
        if first is not None and first.payload != request.payload:
            return CommandConflict(
                subject=f"job {request.id}",
                what=f"its key {request.key!r} was used in queue {request.queue} before, with"
                " another payload; nothing was done",
                fix="use a fresh key for another job",
            )
    return None


def find_job(tx: Transaction, job_id: str) -> Job | None:
    """Return a job by its id."""
    return tx.row("jobs.by_id", Job, id=job_id)


def count(tx: Transaction, queue: str, state: JobState, change: int) -> None:
    """Keep the number of a queue's jobs in a state; called with every move."""
    _counted(tx, queue, state).jobs += change
    tx.touch(_COUNTS, (queue, state))


def _counted(tx: Transaction, queue: str, state: JobState) -> _Count:
    counts = tx.kept(_COUNTS)
    counted = counts.get((queue, state))
    if counted is None:
        stored = tx.row("jobs.count", _Count, queue=queue, state=state)
        counted = counts[queue, state] = stored or _Count(queue=queue, state=state, jobs=0)
    return counted


def next_due(tx: Transaction, queue: str) -> int | None:
    """Return when the next job can be claimed, in microseconds: 0 for now, None for no job."""
    if tx.row("jobs.first_queued", _Moment, queue=queue) is not None:
        return 0
    scheduled = tx.row("jobs.first_scheduled", _Moment, queue=queue)
    return None if scheduled is None else scheduled.at


def look_for_jobs(tx: Transaction, queue: str, *, now: int, jobs_max: int) -> Sequence[Candidate]:
    """Return what a claim would take: the first by priority, then by the time they are due.

    One that was tried before, or has one attempt only, runs alone: of a batch whose process dies
    every job has used up an attempt, and none may lose its last one to another.
    """
    promoted = 0
    if _counted(tx, queue, JobState.SCHEDULED).jobs > 0:
        promoted = tx.run("jobs.promote", queue=queue, now=now, rows_max=_PROMOTED_MAX)
    if promoted:
        count(tx, queue, JobState.SCHEDULED, -promoted)
        count(tx, queue, JobState.QUEUED, promoted)
    found = tx.rows("jobs.candidates", Candidate, queue=queue, rows_max=jobs_max)
    alone = next((place for place, one in enumerate(found) if one.runs_alone), len(found))
    return found[: max(alone, 1)]


def claim(
    tx: Transaction, journal: Journal, request: ClaimRequest, found: Sequence[Candidate]
) -> Claim:
    """Take the jobs that `look_for_jobs` has found in this transaction."""
    now = to_us(journal.origin.at)
    begun = tx.row(
        "jobs.begin_claim",
        _Token,
        queue=request.queue,
        boot_id=request.boot_id,
        worker=request.worker,
        tick=request.tick,
        session_id=request.session_id,
        lease_us=request.lease_us,
        now=now,
    )
    assert begun is not None, "a claim always has a token"
    ids = tuple(one.id for one in found)
    taken = tx.run("job_batches.take", ids=as_json(ids), token=begun.token, now=now)
    assert taken == len(ids), f"{taken} of {len(ids)} jobs were there to take"
    count(tx, request.queue, JobState.QUEUED, -taken)
    count(tx, request.queue, JobState.RUNNING, taken)
    journal.add(
        kinds.JobClaimed(
            queue=request.queue,
            worker=request.worker,
            tick=request.tick,
            token=begun.token,
            jobs=ids,
        )
    )
    return Claim(token=begun.token, queue=request.queue, jobs=tuple(found))


def as_json(ids: Sequence[str]) -> str:
    """Return ids as the statements of batches take them."""
    return msgspec.json.encode(ids).decode()
