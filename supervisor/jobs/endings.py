"""How jobs leave their claim: done, given back, failed, or taken away from a dead holder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, TypedDict, Unpack

import msgspec

from supervisor.clock import to_us
from supervisor.events import job_kinds as kinds
from supervisor.events.log import Journal
from supervisor.jobs.job import JobState
from supervisor.jobs.queue import as_json, count
from supervisor.storage.database import Transaction
from supervisor.storage.readable import readable_row, readable_rows

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
    """How one job ended.

    `delay_us` is when a failed one comes again, or one that goes back behind those that wait;
    without it a job goes back to its place.
    """

    id: str
    end: End
    why: str = ""
    is_permanent: bool = False
    delay_us: int | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, as far as the ends of its jobs name it."""

    token: int
    queue: str
    worker: str


class Held(Holding, frozen=True, kw_only=True):
    """A row of a claim: who has it, and how often its lease was renewed."""

    boot_id: str
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


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Running(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a job to end it; its payload stays where it is."""

    id: str
    state: JobState
    attempts: Annotated[int, msgspec.Meta(ge=1)]
    attempts_max: int
    run_at: int
    is_cancel_asked: bool
    error: str
    history: str
    ended_at: int | None


_HISTORY = msgspec.json.Decoder(list[Failure])


def history_of(history: str) -> list[Failure]:
    """Return a job's last failures, the oldest first; none where they can't be read.

    So that a history that somebody has damaged keeps no job from its end; the audit names it.
    """
    try:
        return _HISTORY.decode(history)
    except msgspec.DecodeError:
        return []


def find_claim(tx: Transaction, token: int) -> Held | None:
    """Return a claim, None where it has ended or was taken away."""
    return readable_row(tx, "jobs.claim", Held, token=token)


def end_jobs(
    tx: Transaction, journal: Journal, held: Holding, ends: Sequence[JobEnd], *, is_last: bool
) -> bool:
    """End jobs of a claim; with the last of them the claim ends, and gives back what is left.

    Returns False, and changes nothing, where the claim has ended or was taken away. What it has
    ended before is left as it is: a commit whose answer was lost is sent again.
    """
    if is_last and tx.run("jobs.end_claim", token=held.token) == 0:
        return False
    done = [one.id for one in ends if one.end is End.DONE]
    # Only a claim that lives has jobs to complete: who takes it away leaves it none.
    is_alive = _complete(tx, journal, held, done) if done else is_last
    if not (is_alive or is_last) and find_claim(tx, held.token) is None:
        return False
    if is_last or len(done) < len(ends):
        _end_others(tx, journal, held, ends, is_last=is_last)
    return True


def _end_others(
    tx: Transaction, journal: Journal, held: Holding, ends: Sequence[JobEnd], *, is_last: bool
) -> None:
    """End the jobs of a claim that are not done; with `is_last` also those without an end."""
    left = {job.id: job for job in _running(tx, held)}
    ends = [one for one in ends if one.id in left]
    back = [left[one.id] for one in ends if _end_one(tx, journal, held, left[one.id], one)]
    if is_last:
        ended = {one.id for one in ends}
        rest = [job for job in left.values() if job.id not in ended]
        for job in rest:
            if job.is_cancel_asked:
                _cancel(tx, journal, held, job)
            else:
                back.append(job)
    if back:
        why = next((one.why for one in ends if one.id == back[0].id), "its tick has ended")
        _give_back(tx, journal, held, [job.id for job in back], why)


def _end_one(tx: Transaction, journal: Journal, held: Holding, job: _Running, end: JobEnd) -> bool:
    """End a job that is not done; return whether it is to go back to its place."""
    if job.is_cancel_asked:
        _cancel(tx, journal, held, job)
    elif end.end is End.FAILED:
        _fail(tx, journal, held, job, end)
    elif end.end is End.UNKNOWN:
        _quarantine(tx, journal, held, job, end)
    elif end.delay_us is not None:
        _put_off(tx, journal, held, job, end)
    else:
        return True
    return False


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
    lost = _running(tx, held)
    for job in lost:
        if job.is_cancel_asked:
            _cancel(tx, journal, held, job)
        else:
            _fail(tx, journal, held, job, JobEnd(id=job.id, end=End.FAILED, why=why))
    return len(lost)


def _running(tx: Transaction, held: Holding) -> list[_Running]:
    # One that was damaged stays as it is, without a claim: nothing that is made of it is true.
    return readable_rows(tx, "jobs.jobs_of_claim", _Running, token=held.token)


def _complete(tx: Transaction, journal: Journal, held: Holding, ids: Sequence[str]) -> bool:
    """Complete those of the jobs that the claim still has; return whether there are any."""
    now = to_us(journal.origin.at)
    changed = tx.rows("job_batches.complete", _Id, ids=as_json(ids), token=held.token, now=now)
    if not changed:
        return False
    theirs = {one.id for one in changed}
    _moved(tx, held, JobState.DONE, len(theirs))
    jobs = tuple(one for one in ids if one in theirs)
    journal.add(kinds.JobCompleted(queue=held.queue, token=held.token, jobs=jobs))
    return True


def _give_back(
    tx: Transaction, journal: Journal, held: Holding, ids: Sequence[str], why: str
) -> None:
    changed = tx.run("job_batches.give_back", ids=as_json(ids), token=held.token)
    assert changed == len(ids), f"claim {held.token} has {changed} of {len(ids)} jobs"
    _moved(tx, held, JobState.QUEUED, changed)
    journal.add(kinds.JobGivenBack(queue=held.queue, token=held.token, jobs=tuple(ids), why=why))


def _put_off(tx: Transaction, journal: Journal, held: Holding, job: _Running, end: JobEnd) -> None:
    run_at = to_us(journal.origin.at) + (end.delay_us or 0)
    state = JobState.SCHEDULED if end.delay_us else JobState.QUEUED
    _leave(tx, held, job, state=state, attempts=job.attempts - 1, run_at=run_at)
    journal.add(
        kinds.JobGivenBack(
            queue=held.queue, token=held.token, jobs=(job.id,), why=end.why, run_at=run_at
        )
    )


def _fail(tx: Transaction, journal: Journal, held: Holding, job: _Running, end: JobEnd) -> None:
    now = to_us(journal.origin.at)
    error = end.why[:ERROR_MAX]
    failure = Failure(attempt=job.attempts, at=now, worker=held.worker, error=error)
    failures = [*history_of(job.history), failure][-HISTORY_MAX:]
    history = msgspec.json.encode(failures).decode()
    event: kinds.JobDeadLettered | kinds.JobRetried
    if end.is_permanent or job.attempts >= job.attempts_max:
        _leave(tx, held, job, state=JobState.DEAD, error=error, history=history, ended_at=now)
        event = kinds.JobDeadLettered(
            job=job.id, queue=held.queue, token=held.token, attempt=job.attempts, error=error
        )
    else:
        run_at = now + (end.delay_us or 0)
        state = JobState.SCHEDULED if end.delay_us else JobState.QUEUED
        _leave(tx, held, job, state=state, error=error, history=history, run_at=run_at)
        event = kinds.JobRetried(
            job=job.id,
            queue=held.queue,
            token=held.token,
            attempt=job.attempts,
            run_at=run_at,
            error=error,
        )
    journal.add(event)


def _quarantine(
    tx: Transaction, journal: Journal, held: Holding, job: _Running, end: JobEnd
) -> None:
    why = end.why[:ERROR_MAX]
    _leave(tx, held, job, state=JobState.UNKNOWN, attempts=job.attempts - 1, error=why)
    journal.add(kinds.JobQuarantined(job=job.id, queue=held.queue, token=held.token, why=why))


def _cancel(tx: Transaction, journal: Journal, held: Holding, job: _Running) -> None:
    now = to_us(journal.origin.at)
    _leave(tx, held, job, state=JobState.CANCELLED, ended_at=now)
    journal.add(kinds.JobCancelled(job=job.id, queue=held.queue, token=held.token))


def _leave(tx: Transaction, held: Holding, job: _Running, **columns: Unpack[_Columns]) -> None:
    """Write a running job without its claim, with some of its columns changed."""
    after = msgspec.structs.replace(job, **columns)
    changed = tx.run(
        "jobs.leave",
        id=after.id,
        token=held.token,
        state=after.state,
        attempts=after.attempts,
        run_at=after.run_at,
        error=after.error,
        history=after.history,
        ended_at=after.ended_at,
    )
    assert changed == 1, f"job {job.id} is not of claim {held.token}"
    _moved(tx, held, after.state, 1)


class _Columns(TypedDict, total=False):
    state: JobState
    attempts: int
    run_at: int
    error: str
    history: str
    ended_at: int


def _moved(tx: Transaction, held: Holding, to: JobState, number: int) -> None:
    count(tx, held.queue, JobState.RUNNING, -number)
    count(tx, held.queue, to, number)
