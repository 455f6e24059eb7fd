"""A queue and its workers on either database, with what a test looks at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from supervisor.clock import VirtualClock, to_us
from supervisor.events.log import Origin
from supervisor.governance.audit import AuditReport, audit
from supervisor.governance.rotation import system_journal
from supervisor.jobs.job import Enqueued, Job, JobRules, JobState, Terms, request_job
from supervisor.jobs.queue import enqueue, find_job
from supervisor.maintenance.recovery import Findings, recover
from supervisor.outcome import Outcome
from supervisor.storage.database import Database, Transaction
from supervisor.worker.context import Context
from supervisor.worker.drain import ask_for_jobs, run_queue_tick
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.schedule import OnQueue
from supervisor.worker.tick import TickEnd
from tests.unit.worker.conftest import Bench

UTC_ZONE = ZoneInfo("UTC")
QUEUE = "q"
RULES = JobRules(retry_delay_s=10.0, attempts_max=3)

Work = Callable[[Context], Awaitable[Outcome | None]]


class _Count(msgspec.Struct, frozen=True):
    queue: str
    state: JobState
    jobs: int


class JobBench(Bench):
    """Enqueues jobs, and runs ticks of queue workers, of this life and of others."""

    def __init__(self, database: Database, clock: VirtualClock, folder: Path) -> None:
        super().__init__(database, clock, folder)
        self.kernel.policy = replace(self.kernel.policy, jobs=RULES)

    async def enqueue(self, payload: object, queue: str = QUEUE, /, **terms: object) -> Enqueued:
        """Enqueue a job as the command line does, in the system's session."""
        words = msgspec.convert(terms, Terms)
        request = request_job(queue, payload, words, self.kernel.policy.jobs)

        def write(tx: Transaction) -> Enqueued:
            with system_journal(tx, UTC_ZONE, self.origin()) as journal:
                return enqueue(tx, journal, request)

        return await self.store.write(write)

    def origin(self) -> Origin:
        return Origin(at=self.clock.now(), actor="test")

    def in_us(self, seconds: float) -> int:
        """Return the moment that many seconds from now."""
        return to_us(self.clock.now()) + round(seconds * 1e6)

    async def queue_plan(
        self, work: Work, *, name: str = "w", timeout_s: float = 5.0
    ) -> WorkerPlan:
        plan = await self.plan(work, name=name, timeout_s=timeout_s)
        return replace(plan, queue=QUEUE, schedule=OnQueue(QUEUE))

    async def tick(
        self, work: Work, *, name: str = "w", jobs_max: int = 1, kernel: Kernel | None = None
    ) -> TickEnd | None:
        """Run one tick of a worker of the queue."""
        plan = await self.queue_plan(work, name=name)
        kernel = kernel or self.kernel
        return await run_queue_tick(kernel, ask_for_jobs(kernel, plan, jobs_max=jobs_max))

    def other_life(self, boot_id: str = "boot-2") -> Kernel:
        """Return the kernel of another daemon on the same store."""
        return replace(self.kernel, boot_id=boot_id)

    async def job(self, job_id: str) -> Job:
        found = await self.store.read(find_job, job_id)
        assert found is not None
        return found

    async def states(self) -> dict[str, int]:
        """Return how many jobs are in each state, and check the counts that are kept of it."""

        def read(tx: Transaction) -> tuple[list[_Count], list[_Count]]:
            kept = tx.rows("jobs.counts", _Count)
            real = tx.rows("audit_jobs.real_counts", _Count)
            return kept, real

        kept, real = await self.store.read(read)
        assert kept == real
        return {one.state.value: one.jobs for one in real if one.queue == QUEUE}

    async def recover(self, boot_id: str = "boot-2") -> Findings:
        """Recover as another life does, for which all others are over."""
        return await recover(
            self.store, boot_id=boot_id, clock=self.clock, timezone=UTC_ZONE, workers={"w", "v"}
        )

    async def audit(self) -> AuditReport:
        report = await self.store.read(audit)
        assert report.is_clean, [finding.text for finding in report.findings]
        return report


async def done(_ctx: Context) -> None:
    """A job that is done at once."""
