"""All of the daemon's workers: started, restarted, woken, replaced, stopped."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from supervisor.errors import StoreUnavailable, storable, text_of
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.redaction import REDACTION
from supervisor.storage.database import Transaction
from supervisor.supervision import Child, Crash, Intensity, OnGivingUp, Supervision
from supervisor.worker.loop import WorkerLoop
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.queue_loop import QueueLoop
from supervisor.worker.tick import WorkerCrashed

_KIND = "worker"
_ERROR_MAX = 500
#: What a cancelled tick may take to record its end while the store is locked by somebody else.
_RECORD_S = 6.0


class Workforce:
    """Every worker's loop. Written only by the daemon's task and by the crashes it is told of."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        intensity: Intensity,
        grace_s: float,
        kill_latency_s: float,
        timezone: ZoneInfo,
    ) -> None:
        self._kernel = kernel
        self._intensity = intensity
        self._grace_s = grace_s
        self._abandon_s = kill_latency_s + _RECORD_S
        self._timezone = timezone
        self._loops: dict[str, WorkerLoop] = {}
        self.failed: set[str] = set()

    def start(self, supervision: Supervision, plan: WorkerPlan) -> None:
        """Start a worker; its crashes never stop another."""
        made = QueueLoop if plan.queue else WorkerLoop
        loop = self._loops[plan.name] = made(self._kernel, plan)
        self.failed.discard(plan.name)
        supervision.start(
            Child(
                name=_child(plan.name),
                run=loop.run,
                stop=loop.stop,
                grace_s=self._grace_s,
                abandon_s=self._abandon_s,
                intensity=self._intensity,
                on_giving_up=OnGivingUp.LEAVE,
            )
        )

    def wake_all(self) -> None:
        """Let every worker that a gate has refused try again."""
        for loop in self._loops.values():
            loop.wake()

    def call(self, worker: str) -> None:
        """Let a worker tick now, because a ticket of its was decided; nothing for one unknown."""
        if worker in self._loops:
            self._loops[worker].call()

    def queues(self) -> set[str]:
        """Return the queues that have a worker."""
        return {loop.plan.queue for loop in self._loops.values() if loop.plan.queue}

    def arrive(self, queue: str, jobs: int) -> None:
        """Let as many workers of a queue look as jobs have arrived: the idle ones first."""
        loops = [loop for loop in self._loops.values() if loop.plan.queue == queue]
        found = [loop for loop in loops if isinstance(loop, QueueLoop)]
        for loop in sorted(found, key=lambda one: not one.is_idle)[:jobs]:
            loop.is_idle = False
            loop.arrive()

    async def stop(self, supervision: Supervision) -> None:
        """Let every tick in flight finish within the grace, all at the same time."""
        await supervision.stop_together([_child(name) for name in self._loops])

    async def replace(self, supervision: Supervision, plans: Mapping[str, WorkerPlan]) -> None:
        """Give running workers their new plans, stop those that are gone, start the new ones.

        A worker that had failed starts again.
        """
        gone = [
            name
            for name, loop in self._loops.items()
            if name not in plans
            or name in self.failed
            or bool(loop.plan.queue) != bool(plans[name].queue)
        ]
        await supervision.stop_together([_child(name) for name in gone])
        for name in gone:
            del self._loops[name]
        for name, plan in plans.items():
            if name in self._loops:
                self._loops[name].replace(plan)
            else:
                self.start(supervision, plan)

    async def on_crash(self, crash: Crash) -> None:
        """Record a child's crash before it starts again."""
        error = crash.error.__cause__ if isinstance(crash.error, WorkerCrashed) else crash.error
        said = f"{type(error).__name__}: {text_of(error)}" if error else ""
        text = REDACTION.text(storable(said))[:_ERROR_MAX]
        self._kernel.log.error("crashed", child=crash.child, exc_info=error)
        kind, _, worker = crash.child.partition(":")
        if kind != _KIND:
            return
        event: kinds.WorkerCrashed | kinds.WorkerFailed
        if crash.restart_in_s is None:
            self.failed.add(worker)
            window_s = self._intensity.window_s
            event = kinds.WorkerFailed(
                worker=worker, crashes=crash.crashes, window_s=window_s, error=text
            )
        else:
            delay_s = round(crash.restart_in_s, 6)
            event = kinds.WorkerCrashed(worker=worker, error=text, restart_in_s=delay_s)
        origin = Origin(at=self._kernel.clock.now(), actor="daemon")
        try:
            await self._kernel.database.write(_record, event, self._timezone, origin)
        except StoreUnavailable as unavailable:
            self._kernel.log.error("crash_not_written", error=str(unavailable))


def _child(worker: str) -> str:
    # A worker may be called `http`: its child must not be taken for the daemon's own.
    return f"{_KIND}:{worker}"


def _record(
    tx: Transaction,
    event: kinds.WorkerCrashed | kinds.WorkerFailed,
    timezone: ZoneInfo,
    origin: Origin,
) -> None:
    life = "failed" if isinstance(event, kinds.WorkerFailed) else "restarting"
    tx.run("workers.set_life", name=event.worker, life=life, why=event.error)
    with system_journal(tx, timezone, origin) as journal:
        journal.add(event)
