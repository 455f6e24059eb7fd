"""Putting jobs in a queue and taking them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from supervisor.clock import to_us
from supervisor.errors import CommandConflict, RowDamaged
from supervisor.events import job_kinds as kinds
from supervisor.events.log import Journal
from supervisor.jobs.job import Enqueued, Job, JobRequest, JobState
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction
from supervisor.storage.memory import Keep, Later
from supervisor.storage.readable import readable_row, readable_rows

_PROMOTED_MAX = 1_000
#: Behind more damaged jobs than this at the head of a queue, no other is found.
_DAMAGED_MAX = 1_000
_ENCODER = msgspec.json.Encoder()


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A tick that takes jobs; `lease_us` is how long it may be silent."""

    queue: str
    boot_id: str
    worker: str
    tick: int
    session_id: str
    lease_us: int


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is next; `attempts` are those before."""

    number: int
    id: str
    payload: str
    attempts: Annotated[int, msgspec.Meta(ge=0)]
    attempts_max: Annotated[int, msgspec.Meta(ge=1)]

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


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Payload(msgspec.Struct, frozen=True):
    payload: str


class _NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is to be written, by the names of the statements' parameters."""

    id: str
    queue: str
    job_key: str
    payload: str
    priority: int
    run_at: int
    state: JobState
    attempts_max: int
    now: int


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
    (made,) = enqueue_all(tx, [(journal, request)])
    return made


def enqueue_all(
    tx: Transaction, wanted: Sequence[tuple[Journal, JobRequest]]
) -> Sequence[Enqueued]:
    """Put jobs in their queues as `enqueue` does, by one statement; each has its caller's journal.

    Raises:
        CommandConflict: the key of one was used for another payload.
    """
    if not wanted:
        return []
    rows = [_row_of(request, to_us(journal.origin.at)) for journal, request in wanted]
    # Each as if it were written by itself; the list's own name keeps payloads as they are.
    clean = [REDACTION.values(msgspec.structs.asdict(row)) for row in rows]
    found = tx.rows("job_batches.enqueue", _Id, payload=_ENCODER.encode(clean).decode())
    new = {one.id for one in found}
    made: list[Enqueued] = []
    for row, (journal, request) in zip(rows, wanted, strict=True):
        is_new = row.id in new
        new.discard(row.id)
        if is_new:
            _record_new(tx, journal, request, row)
        elif (conflict := find_conflict(tx, [request], {})) is not None:
            raise conflict
        made.append(Enqueued(id=row.id, is_new=is_new))
    return made


def _row_of(request: JobRequest, now: int) -> _NewJob:
    run_at = max(request.run_at, now)
    return _NewJob(
        id=request.id,
        queue=request.queue,
        job_key=request.key,
        payload=request.payload,
        priority=request.priority,
        run_at=run_at,
        state=JobState.SCHEDULED if run_at > now else JobState.QUEUED,
        attempts_max=request.attempts_max,
        now=now,
    )


def _record_new(tx: Transaction, journal: Journal, request: JobRequest, row: _NewJob) -> None:
    count(tx, row.queue, row.state, 1)
    journal.add(
        kinds.JobEnqueued(
            job=row.id,
            queue=row.queue,
            priority=row.priority,
            run_at=row.run_at,
            attempts_max=row.attempts_max,
            digest=request.digest,
        )
    )


def find_conflict(
    tx: Transaction, requests: Sequence[JobRequest], payloads: dict[str, str]
) -> CommandConflict | None:
    """Return the error of the first request whose key was used for another payload.

    `payloads` are those that are to be enqueued before them, by the ids of their jobs; where there
    is no conflict, these join them.
    """
    joined = dict(payloads)
    stored = _stored(tx, [request.id for request in requests])
    for request in requests:
        job_id = request.id
        if job_id in stored and job_id not in joined:
            # One by one: they may be large.
            first = tx.row("jobs.payload", _Payload, id=job_id)
            assert first is not None, f"job {job_id} was there"
            joined[job_id] = first.payload
        if joined.setdefault(job_id, request.payload) != request.payload:
            return CommandConflict(
                subject=f"job {job_id}",
                what=f"its key {request.key!r} was used in queue {request.queue} before, with"
                " another payload; nothing was done",
                fix="use a fresh key for another job",
            )
    payloads.update(joined)
    return None


def _stored(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Return which of these jobs are there."""
    return {one.id for one in tx.rows("job_batches.stored", _Id, ids=as_json(ids))}


def find_job(tx: Transaction, job_id: str) -> Job | None:
    """Return a job by its id.

    Raises:
        RowDamaged: its row can't be read.
    """
    try:
        return tx.row("jobs.by_id", Job, id=job_id)
    except msgspec.ValidationError as error:
        raise RowDamaged(subject=f"job {job_id}", why=str(error)) from error


def count(tx: Transaction, queue: str, state: JobState, change: int) -> None:
    """Keep the number of a queue's jobs in a state; called with every move."""
    _counted(tx, queue, state).jobs += change
    tx.touch(_COUNTS, (queue, state))


def _counted(tx: Transaction, queue: str, state: JobState) -> _Count:
    counts = tx.kept(_COUNTS)
    counted = counts.get((queue, state))
    if counted is None:
        stored = readable_row(tx, "jobs.count", _Count, queue=queue, state=state)
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
    try:
        found = tx.rows("jobs.candidates", Candidate, queue=queue, rows_max=jobs_max)
    except msgspec.ValidationError:
        # Behind those that can't be read there may be others.
        rows_max = jobs_max + _DAMAGED_MAX
        found = readable_rows(tx, "jobs.candidates", Candidate, queue=queue, rows_max=rows_max)
        found = found[:jobs_max]
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
