"""What the daemon does for drills: it flies the canary, and holds those that are scheduled."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.config import Loaded
from supervisor.governance.drills import Drill, Verdict
from supervisor.ids import RandomIds
from supervisor.maintenance.drill_schedule import DrillSchedule, scheduled_drills
from supervisor.worker.canary import CanaryKeeper
from supervisor.worker.plan import Kernel, WorkerPlan


class Rehearsals:
    """The daemon's two children for drills; both take up a changed config."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        loaded: Callable[[], Loaded],
        canary: Callable[[], WorkerPlan],
    ) -> None:
        self._kernel = kernel
        self._loaded = loaded
        self.canary = CanaryKeeper(kernel, canary)
        self.schedule = DrillSchedule(
            database=kernel.database,
            clock=kernel.clock,
            log=kernel.log,
            timezone=loaded().timezone,
            schedules=lambda: scheduled_drills(loaded()),
            hold=self._hold,
        )

    async def _hold(self, drill: Drill) -> Verdict:
        # Imported when one is due: a start has no use for it (docs/decisions/0006).
        from supervisor.maintenance.drilling import Rehearsal, hold_drill

        rehearsal = Rehearsal(
            drill=drill,
            loaded=self._loaded(),
            clock=self._kernel.clock,
            actor="daemon",
            id=RandomIds().new("drill"),
        )
        return await hold_drill(rehearsal)
