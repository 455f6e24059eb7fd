"""What a person asks of jobs: lists, one job with its history, how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from supervisor.clock import from_us, iso
from supervisor.governance.job_commands import no_job
from supervisor.governance.work_progress import ProgressStatus, progress_of_job
from supervisor.jobs.endings import history_of
from supervisor.jobs.job import Job, JobState
from supervisor.jobs.queue import find_job
from supervisor.storage.database import Transaction
from supervisor.storage.readable import readable_rows


class JobLine(msgspec.Struct, frozen=True, kw_only=True):
    """A job in a list; moments in ISO form."""

    id: str
    queue: str
    state: str
    priority: int
    attempts: int
    attempts_max: int
    run_at: str
    enqueued_at: str
    ended_at: str | None
    error: str


class FailureLine(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed."""

    attempt: int
    at: str
    worker: str
    error: str


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the store knows of one job."""

    id: str
    queue: str
    state: str
    key: str
    payload: msgspec.Raw
    priority: int
    attempts: int
    attempts_max: int
    run_at: str
    enqueued_at: str
    started_at: str | None
    ended_at: str | None
    is_cancel_asked: bool
    error: str
    history: Sequence[FailureLine]
    progress: Sequence[ProgressStatus] = ()


class QueueCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue are in a state."""

    queue: str
    state: JobState
    jobs: int


def newest_jobs(
    tx: Transaction, queue: str | None, state: str | None, rows_max: int
) -> list[JobLine]:
    """Return the newest jobs, of one queue or in one state, without their payloads."""
    rows = readable_rows(
        tx, "jobs.page", Job, queue=queue or "", state=state or "", rows_max=rows_max
    )
    return [_line(job) for job in rows]


def one_job(tx: Transaction, job_id: str, now: datetime) -> JobFacts:
    """Return a job with its payload, its history, and how far it has come.

    Raises:
        NotFound: it does not exist.
    """
    job = find_job(tx, job_id)
    if job is None:
        raise no_job(job_id)
    return JobFacts(
        id=job.id,
        queue=job.queue,
        state=job.state,
        key=job.job_key,
        payload=_as_json(job.payload),
        priority=job.priority,
        attempts=job.attempts,
        attempts_max=job.attempts_max,
        run_at=_moment(job.run_at) or "",
        enqueued_at=_moment(job.enqueued_at) or "",
        started_at=_moment(job.started_at),
        ended_at=_moment(job.ended_at),
        is_cancel_asked=job.is_cancel_asked,
        error=job.error,
        history=[
            FailureLine(
                attempt=one.attempt, at=_moment(one.at) or "", worker=one.worker, error=one.error
            )
            for one in history_of(job.history)
        ],
        progress=progress_of_job(tx, job.id, now, is_running=job.state is JobState.RUNNING),
    )


def _as_json(payload: str) -> msgspec.Raw:
    """Return a payload as JSON; as a text where somebody has damaged it."""
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return msgspec.Raw(msgspec.json.encode(payload))
    return msgspec.Raw(payload.encode())


def queue_counts(tx: Transaction) -> list[QueueCount]:
    """Return how many jobs are in which state, at a cost that does not grow with them."""
    return readable_rows(tx, "jobs.counts", QueueCount)


def _line(job: Job) -> JobLine:
    return JobLine(
        id=job.id,
        queue=job.queue,
        state=job.state,
        priority=job.priority,
        attempts=job.attempts,
        attempts_max=job.attempts_max,
        run_at=_moment(job.run_at) or "",
        enqueued_at=_moment(job.enqueued_at) or "",
        ended_at=_moment(job.ended_at),
        error=job.error,
    )


def _moment(at: int | None) -> str | None:
    return None if at is None else iso(from_us(at))
