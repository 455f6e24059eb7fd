"""How jobs leave their claim: done, given back, failed, or taken away from a dead holder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from supervisor.clock import to_us
from supervisor.events import job_kinds as kinds
from supervisor.events.log import Journal
from supervisor.jobs.job import Job, JobState
from supervisor.jobs.queue import as_json, count
from supervisor.storage.database import Transaction

#: How many failures a job remembers: its last ones.
HISTORY_MAX = 20
ERROR_MAX = 500


class End(StrEnum):
    """What became of a job in a tick."""

    DONE = "done"
    FAILED = "failed"
    BACK = "back"
    UNKNOWN = "unknown"


class JobEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How one job ended; `delay_us` is when a failed one, or one that goes back, is due again."""

    id: str
    end: End
    why: str = ""
    is_permanent: bool = False
    delay_us: int = 0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a claim: who has it, and how often its lease was renewed."""

    token: int
    queue: str
    boot_id: str
    worker: str
    tick: int
    session_id: str
    lease_us: int
    beats: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed, as a job remembers it; `at` in microseconds."""

    attempt: int
    at: int
    worker: str
    error: str


_HISTORY = msgspec.json.Decoder(list[Failure])


def history_of(job: Job) -> list[Failure]:
    """Return the job's last failures, the oldest first."""
    return _HISTORY.decode(job.history)


def end_jobs(
    tx: Transaction, journal: Journal, token: int, ends: Sequence[JobEnd], *, is_last: bool
) -> bool:
    """End jobs of a claim; with the last of them the claim ends, and gives back what is left.

    Returns False, and changes nothing, where the claim was taken away: the ends come too late,
    and somebody else has the jobs.
    """
    held = tx.row("jobs.claim", Held, token=token)
    if held is None:
        return False
    done = [one.id for one in ends if one.end is End.DONE]
    back = [one.id for one in ends if one.end is End.BACK and not one.delay_us]
    if done:
        _complete(tx, journal, held, done)
    for one in ends:
        if one.end is End.FAILED:
            _fail(tx, journal, held, one)
        elif one.end is End.UNKNOWN:
            _quarantine(tx, journal, held, one)
        elif one.end is End.BACK and one.delay_us:
            _put_off(tx, journal, held, one)
    if back:
        why = next(one.why for one in ends if one.id == back[0])
        _give_back(tx, journal, held, back, why)
    if is_last:
        left = [job.id for job in jobs_of(tx, held)]
        if left:
            _give_back(tx, journal, held, left, "its tick has ended")
        tx.run("jobs.end_claim", token=token)
    return True


def refuse_late(
    journal: Journal, *, queue: str, worker: str, tick: int, token: int, jobs: Sequence[str]
) -> None:
    """Put on record that a worker reported of jobs that it no longer had."""
    journal.add(
        kinds.CompletionRefused(
            queue=queue, worker=worker, tick=tick, token=token, jobs=tuple(jobs)
        )
    )


def take_away(tx: Transaction, journal: Journal, held: Held, *, why: str) -> int:
    """End a claim whose holder is dead or silent, and return how many jobs it had.

    Each has used up the attempt. It comes again at once, or is dead if that was its last.
    """
    if tx.run("jobs.end_claim", token=held.token) == 0:
        return 0
    journal.add(
        kinds.LeaseExpired(
            queue=held.queue,
            worker=held.worker,
            tick=held.tick,
            token=held.token,
            boot_id=held.boot_id,
        )
    )
    lost = jobs_of(tx, held)
    for job in lost:
        _fail_one(tx, journal, held, job, JobEnd(id=job.id, end=End.FAILED, why=why))
    return len(lost)


def jobs_of(tx: Transaction, held: Held) -> list[Job]:
    """Return the jobs that a claim still has."""
    return tx.rows("jobs.jobs_of_claim", Job, token=held.token)


def _complete(tx: Transaction, journal: Journal, held: Held, ids: Sequence[str]) -> None:
    now = to_us(journal.origin.at)
    changed = tx.run("job_batches.complete", ids=as_json(ids), token=held.token, now=now)
    assert changed == len(ids), f"claim {held.token} has {changed} of {len(ids)} jobs"
    _moved(tx, held, JobState.DONE, changed)
    journal.add(kinds.JobCompleted(queue=held.queue, token=held.token, jobs=tuple(ids)))


def _give_back(
    tx: Transaction, journal: Journal, held: Held, ids: Sequence[str], why: str
) -> None:
    changed = tx.run("job_batches.give_back", ids=as_json(ids), token=held.token)
    returned = list(ids)
    if changed < len(ids):
        unwanted = [job for job in jobs_of(tx, held) if job.id in ids and job.is_cancel_asked]
        for job in unwanted:
            _cancel(tx, journal, held, job)
        returned = [one for one in ids if all(one != job.id for job in unwanted)]
    assert changed == len(returned), f"claim {held.token} has {changed} of {len(returned)} jobs"
    if returned:
        _moved(tx, held, JobState.QUEUED, changed)
        journal.add(
            kinds.JobGivenBack(
                queue=held.queue, token=held.token, jobs=tuple(returned), why=why
            )
        )


def _put_off(tx: Transaction, journal: Journal, held: Held, end: JobEnd) -> None:
    job = _job_of(tx, held, end.id)
    if job.is_cancel_asked:
        _cancel(tx, journal, held, job)
        return
    run_at = to_us(journal.origin.at) + end.delay_us
    _leave(tx, held, job, JobState.SCHEDULED, attempts=job.attempts - 1, run_at=run_at)
    journal.add(
        kinds.JobGivenBack(
            queue=held.queue, token=held.token, jobs=(job.id,), why=end.why, run_at=run_at
        )
    )


def _fail(tx: Transaction, journal: Journal, held: Held, end: JobEnd) -> None:
    _fail_one(tx, journal, held, _job_of(tx, held, end.id), end)


def _fail_one(tx: Transaction, journal: Journal, held: Held, job: Job, end: JobEnd) -> None:
    if job.is_cancel_asked:
        _cancel(tx, journal, held, job)
        return
    now = to_us(journal.origin.at)
    error = end.why[:ERROR_MAX]
    failure = Failure(attempt=job.attempts, at=now, worker=held.worker, error=error)
    history = [*history_of(job), failure][-HISTORY_MAX:]
    job = msgspec.structs.replace(
        job, error=error, history=msgspec.json.encode(history).decode()
    )
    if end.is_permanent or job.attempts >= job.attempts_max:
        _leave(tx, held, job, JobState.DEAD, ended_at=now)
        journal.add(
            kinds.JobDeadLettered(
                job=job.id,
                queue=job.queue,
                token=held.token,
                attempt=job.attempts,
                error=error,
            )
        )
        return
    run_at = now + end.delay_us
    state = JobState.SCHEDULED if end.delay_us else JobState.QUEUED
    _leave(tx, held, job, state, run_at=run_at)
    journal.add(
        kinds.JobRetried(
            job=job.id,
            queue=job.queue,
            token=held.token,
            attempt=job.attempts,
            run_at=run_at,
            error=error,
        )
    )


def _quarantine(tx: Transaction, journal: Journal, held: Held, end: JobEnd) -> None:
    job = _job_of(tx, held, end.id)
    job = msgspec.structs.replace(job, error=end.why[:ERROR_MAX])
    _leave(tx, held, job, JobState.UNKNOWN, attempts=job.attempts - 1)
    journal.add(
        kinds.JobQuarantined(job=job.id, queue=job.queue, token=held.token, why=job.error)
    )


def _cancel(tx: Transaction, journal: Journal, held: Held, job: Job) -> None:
    _leave(tx, held, job, JobState.CANCELLED, ended_at=to_us(journal.origin.at))
    journal.add(kinds.JobCancelled(job=job.id, queue=job.queue, token=held.token))


def _job_of(tx: Transaction, held: Held, job_id: str) -> Job:
    job = tx.row("jobs.by_id", Job, id=job_id)
    assert job is not None, f"job {job_id} is gone"
    assert job.token == held.token, f"job {job_id} is not of claim {held.token}"
    return job


def _leave(  # noqa: PLR0913 - a row's columns, each by its name
    tx: Transaction,
    held: Held,
    job: Job,
    state: JobState,
    *,
    attempts: int | None = None,
    run_at: int | None = None,
    ended_at: int | None = None,
) -> None:
    changed = tx.run(
        "jobs.leave",
        id=job.id,
        token=held.token,
        state=state,
        attempts=job.attempts if attempts is None else attempts,
        run_at=job.run_at if run_at is None else run_at,
        error=job.error,
        history=job.history,
        ended_at=ended_at,
    )
    assert changed == 1, f"job {job.id} is not of claim {held.token}"
    _moved(tx, held, state, 1)


def _moved(tx: Transaction, held: Held, to: JobState, number: int) -> None:
    count(tx, held.queue, JobState.RUNNING, -number)
    count(tx, held.queue, to, number)
