"""The transactions of a queue worker's tick: its jobs are claimed and ended with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import to_us
from supervisor.events import job_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.rotation import find_session, system_journal
from supervisor.jobs.endings import End, Holding, JobEnd, end_jobs
from supervisor.jobs.job import JobRequest
from supervisor.jobs.queue import (
    Claim,
    ClaimRequest,
    claim,
    enqueue_all,
    find_conflict,
    look_for_jobs,
)
from supervisor.outcome import Outcome
from supervisor.storage.database import Transaction
from supervisor.worker.placing import HoldEnd
from supervisor.worker.records import (
    Ending,
    Skipped,
    Started,
    TakenElsewhere,
    TickRequest,
    begin_tick,
    finish_tick,
)

_LOST = "the claim of its jobs was taken away: its lease was not renewed in time"


class Ration(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of which queue a tick wants, and how long their lease is."""

    queue: str
    jobs_max: int
    lease_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A tick that passed the gates and has jobs."""

    started: Started
    claim: Claim


class FinishedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has ended, with what it leaves: the worker's state, and jobs that it wants."""

    end: JobEnd
    state: str | None = None
    jobs: tuple[JobRequest, ...] = ()


class TickHolding(Holding, frozen=True, kw_only=True):
    """A tick's claim, as far as its transactions have to name it."""

    tick: int
    session_id: str
    timezone: ZoneInfo


class _Tick(msgspec.Struct, frozen=True):
    outcome: str | None


def begin_queue_tick(
    tx: Transaction, request: TickRequest, ration: Ration, origin: Origin
) -> Claimed | Skipped | None:
    """Begin a tick and claim its jobs, in one transaction; None where no job is due.

    A gate's refusal leaves the jobs in their queue as they are.
    """
    now, queue = to_us(origin.at), ration.queue
    found = look_for_jobs(tx, queue, now=now, jobs_max=ration.jobs_max)
    if not found:
        return None
    begun = begin_tick(tx, request, origin)
    assert not isinstance(begun, TakenElsewhere), "no occurrence is asked for"
    if isinstance(begun, Skipped):
        return begun
    origin = msgspec.structs.replace(origin, correlation_id=f"{request.worker}#{begun.tick}")
    wanted = ClaimRequest(
        queue=queue,
        boot_id=request.boot_id,
        worker=request.worker,
        tick=begun.tick,
        session_id=begun.session.id,
        lease_us=ration.lease_us,
    )
    with Journal(tx, begun.session.id, origin) as journal:
        return Claimed(started=begun, claim=claim(tx, journal, wanted, found))


def end_some(
    tx: Transaction, hand: TickHolding, finished: Sequence[FinishedJob], origin: Origin
) -> bool:
    """End jobs of a tick that goes on, and keep the state that the last of them left.

    Returns False, and keeps nothing, where the claim was taken away.
    """
    finished, is_held = _end(tx, hand, finished, origin, is_last=False)
    if not is_held:
        _refuse(tx, hand, finished, origin)
        return False
    states = [one.state for one in finished if one.state is not None]
    if states:
        tx.run("workers.keep_state", name=hand.worker, state=states[-1])
    return True


def finish_queue_tick(
    tx: Transaction,
    hand: TickHolding,
    ending: Ending,
    finished: Sequence[FinishedJob],
    origin: Origin,
    ends: Sequence[HoldEnd] = (),
) -> bool:
    """End a tick and the rest of its jobs, with what they leave, in one transaction.

    Returns False, and keeps nothing that a job has left, where the claim was taken away.

    Raises:
        CommandConflict: one of the tick's holds has ended in another way.
    """
    finished, is_held = _end(tx, hand, finished, origin, is_last=True)
    if not is_held:
        if _has_ended(tx, hand):
            # By this very transaction, whose answer was lost on its way.
            return True
        ending = msgspec.structs.replace(
            ending, outcome=Outcome.FAILED, code="lease_lost", why=_LOST, state=None, value=None
        )
        finish_tick(tx, ending, origin, ends)
        _refuse(tx, hand, finished, origin)
        return False
    states = [one.state for one in finished if one.state is not None]
    if states:
        ending = msgspec.structs.replace(ending, state=states[-1])
    finish_tick(tx, ending, origin, ends)
    return True


def _end(
    tx: Transaction,
    hand: TickHolding,
    finished: Sequence[FinishedJob],
    origin: Origin,
    *,
    is_last: bool,
) -> tuple[Sequence[FinishedJob], bool]:
    """End jobs and enqueue what they want; return how they have ended, and whether they did."""
    finished, wanted = _without_conflicts(tx, finished)
    with Journal(tx, hand.session_id, origin) as journal:
        is_held = end_jobs(tx, journal, hand, [one.end for one in finished], is_last=is_last)
        if is_held and wanted:
            enqueue_all(tx, [(journal, request) for request in wanted])
    return finished, is_held


def _has_ended(tx: Transaction, hand: TickHolding) -> bool:
    tick = tx.row("workers.tick", _Tick, worker=hand.worker, number=hand.tick)
    assert tick is not None, f"tick {hand.tick} of {hand.worker} is gone"
    return tick.outcome not in (None, Outcome.RECOVERED)


def _refuse(
    tx: Transaction, hand: TickHolding, finished: Sequence[FinishedJob], origin: Origin
) -> None:
    """Put on record that a worker reports of jobs that it has no longer."""
    session = find_session(tx, hand.session_id)
    is_sealed = session is None or session.summary is not None
    timezone = hand.timezone
    home = (
        system_journal(tx, timezone, origin) if is_sealed else Journal(tx, hand.session_id, origin)
    )
    with home as journal:
        journal.add(
            job_kinds.CompletionRefused(
                queue=hand.queue,
                worker=hand.worker,
                tick=hand.tick,
                token=hand.token,
                jobs=tuple(one.end.id for one in finished),
            )
        )


def _without_conflicts(
    tx: Transaction, finished: Sequence[FinishedJob]
) -> tuple[Sequence[FinishedJob], Sequence[JobRequest]]:
    """Return the jobs and what they want; one that uses the key of another for it has failed."""
    if not any(one.jobs for one in finished):
        return finished, ()
    kept: list[FinishedJob] = []
    wanted: list[JobRequest] = []
    payloads: dict[str, str] = {}
    for one in finished:
        conflict = find_conflict(tx, one.jobs, payloads) if one.jobs else None
        if conflict is None:
            wanted += one.jobs
            kept.append(one)
        else:
            end = JobEnd(id=one.end.id, end=End.FAILED, why=str(conflict), is_permanent=True)
            kept.append(FinishedJob(end=end))
    return kept, wanted
