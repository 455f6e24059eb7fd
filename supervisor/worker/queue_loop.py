"""A queue worker's loop: a tick as long as there are jobs, then wait until there is one."""

from __future__ import annotations

from supervisor.outcome import Outcome
from supervisor.worker.drain import Asked, ask_for_jobs, give_back, run_queue_tick
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.tick import Occasion, TickEnd, run_tick

#: A tick whose jobs took less than this may have more of them next time, one whose jobs took longer
#: has fewer: small jobs share their commits, and a long one keeps no other from a free worker. What
#: the store took is not counted: the slower it is, the more should share a commit.
_BRISK_S = 0.05
#: How long an idle worker waits that nobody wakes; whoever enqueues does (maintenance/job_watch).
_IDLE_S = 60.0
_RETRY_S = 1.0


class QueueLoop(WorkerLoop):
    """One queue worker's life between two crashes."""

    def __init__(self, kernel: Kernel, plan: WorkerPlan) -> None:
        super().__init__(kernel, plan)
        self._jobs_max = 1
        self._has_found = False
        self._asked: Asked | None = None
        #: Whether it has looked for jobs, found none, and waits.
        self.is_idle = False

    async def run(self) -> None:
        """Do jobs until it is stopped; a tick that was asked for in vain gives them back."""
        try:
            await super().run()
        finally:
            self.is_idle = False
            self._kernel.idle.discard(self.plan.queue, self)
            asked, self._asked = self._asked, None
            if asked is not None:
                await give_back(self._kernel, asked)

    def expect(self) -> bool:
        """Ask for jobs with the commit that is about to bring one; False where it does not wait."""
        if not self.is_idle or self._is_stopping:
            return False
        self.is_idle = False
        self._asked = self._ask(is_called=False)
        self._woken.set()
        return True

    def _ask(self, *, is_called: bool) -> Asked:
        return ask_for_jobs(self._kernel, self.plan, jobs_max=self._jobs_max, is_called=is_called)

    def arrive(self) -> None:
        """Look for jobs now, unless a gate has refused: then what is queued has to wait."""
        if self._refusal is None:
            self._woken.set()

    async def _tick_if_due(self, *, is_called: bool) -> TickEnd | None:
        self.is_idle, self._has_found = False, True
        self._kernel.idle.discard(self.plan.queue, self)
        asked, self._asked = self._asked, None
        if asked is not None and is_called:
            # The tick that was asked for knows of no decision; the one after it does.
            self._is_called, is_called = True, False
        end = await run_queue_tick(
            self._kernel,
            asked or self._ask(is_called=is_called),
            should_stop=lambda: self._is_stopping,
        )
        if end is None:
            self.is_idle, self._has_found = True, False
            self._kernel.idle.add(self.plan.queue, self)
            # The decision is of a job that is put off: the tick that has it learns of it.
            self._is_called |= is_called
            return None
        if end.jobs_s < _BRISK_S:
            self._jobs_max = min(self._jobs_max * 2, self._kernel.policy.jobs.batch_max)
        else:
            self._jobs_max = max(self._jobs_max // 2, 1)
        return end

    async def _own_delay_s(self) -> float:
        if self._refusal is not None:
            return _RETRY_S
        return 0.0 if self._has_found else _IDLE_S


async def tick_once(kernel: Kernel, plan: WorkerPlan) -> TickEnd:
    """Run one tick of a worker, for one job where it has a queue; `noop` where none is due.

    Raises:
        WorkerCrashed, StoreUnavailable: as `run_tick` does.
    """
    if not plan.queue:
        return await run_tick(kernel, plan, Occasion(is_called=True))
    end = await run_queue_tick(kernel, ask_for_jobs(kernel, plan, jobs_max=1, is_called=True))
    return end or TickEnd(outcome=Outcome.NOOP)
