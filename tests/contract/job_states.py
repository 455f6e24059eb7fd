"""Jobs in any state, made by the same functions as in a daemon."""

from __future__ import annotations

from supervisor.clock import to_us
from supervisor.events.log import Journal, Origin
from supervisor.governance.rotation import system_journal
from supervisor.jobs.endings import End, JobEnd, end_jobs, find_claim
from supervisor.jobs.job import JobRequest, JobState
from supervisor.jobs.queue import ClaimRequest, claim, enqueue, look_for_jobs
from supervisor.storage.database import Transaction
from tests.contract.policy_bench import UTC_ZONE, PolicyBench

_ENDS = {
    JobState.DEAD: (End.FAILED, True),
    JobState.UNKNOWN: (End.UNKNOWN, False),
    JobState.DONE: (End.DONE, False),
}


def job_request(key: str, payload: str = "1", queue: str = "q") -> JobRequest:
    return JobRequest(queue=queue, key=key, payload=payload, priority=0, run_at=0, attempts_max=5)


async def job_in(bench: PolicyBench, state: JobState, key: str, queue: str = "q") -> str:
    """Return the id of a new job that is queued, or has come to an end."""
    request = job_request(key, queue=queue)

    def write(tx: Transaction) -> None:
        with system_journal(tx, UTC_ZONE, Origin(at=bench.clock.now(), actor="t")) as journal:
            enqueue(tx, journal, request)
            if state in _ENDS:
                _end(tx, journal, request, *_ENDS[state])

    await bench.store.write(write)
    return request.id


def _end(
    tx: Transaction, journal: Journal, request: JobRequest, end: End, is_permanent: bool
) -> None:
    now = to_us(journal.origin.at)
    found = look_for_jobs(tx, request.queue, now=now, jobs_max=1)
    wanted = ClaimRequest(
        queue=request.queue,
        boot_id="boot-1",
        worker="w",
        tick=1,
        session_id=journal.session_id,
        lease_us=1,
    )
    held = find_claim(tx, claim(tx, journal, wanted, found).token)
    assert held is not None
    ended = JobEnd(id=found[0].id, end=end, why="so", is_permanent=is_permanent)
    end_jobs(tx, journal, held, [ended], is_last=True)
