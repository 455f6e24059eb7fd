"""The duties that come round: recovery, the approvals' sweep, drills, and the queues' watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import msgspec

from supervisor.assembly import build_canary
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.governance.drills import CANARY
from supervisor.maintenance.approval_sweep import ApprovalSweep
from supervisor.maintenance.job_watch import JobWatch
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.recovery import Findings, recover
from supervisor.metrics import Metrics
from supervisor.worker.plan import Kernel
from supervisor.worker.rehearsals import Rehearsals
from supervisor.worker.workforce import Workforce

_RECOVER_EVERY_S = 60.0


class Upkeep:
    """What the daemon does beside its workers; it takes up a changed config by itself."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        loaded: Callable[[], Loaded],
        peers: Peers,
        metrics: Metrics,
        workforce: Workforce,
    ) -> None:
        self._kernel = kernel
        self._loaded = loaded
        self._peers = peers
        self._metrics = metrics
        self.approvals = ApprovalSweep(
            kernel.database, kernel.clock, kernel.log, loaded, workforce.call
        )
        self.job_watch = JobWatch(
            kernel.database,
            kernel.clock,
            kernel.log,
            queues=workforce.queues,
            arrive=workforce.arrive,
        )
        self._rehearsals = Rehearsals(kernel, loaded=loaded, canary=lambda: build_canary(loaded()))

    def children(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return what is to run from the first recovery until the end, by name."""
        return {
            "recovery": self._recover_on_schedule,
            "approvals": self.approvals.run,
            "canary": self._rehearsals.canary.run,
            "drills": self._rehearsals.schedule.run,
            "jobs": self.job_watch.run,
        }

    def wake(self) -> None:
        """Look at once whether a ticket was decided: another process has committed."""
        self.approvals.look()

    def look_at_what_others_did(self) -> None:
        """Look at once for drills and jobs: another process has committed."""
        self._rehearsals.canary.wake()
        self.job_watch.look()

    async def recover(self) -> None:
        """Close what dead lives left behind.

        Raises:
            StoreUnavailable: the store failed; what was closed stays closed.
        """
        loaded = self._loaded()
        found = await recover(
            self._kernel.database,
            boot_id=self._kernel.boot_id,
            clock=self._kernel.clock,
            timezone=loaded.timezone,
            workers={*loaded.config.worker, CANARY},
            peers=self._peers,
        )
        self._metrics.show_recovery(**msgspec.structs.asdict(found))
        if found != Findings():
            self._kernel.log.warning("recovered", **msgspec.structs.asdict(found))

    async def _recover_on_schedule(self) -> None:
        while True:
            await anyio.sleep(_RECOVER_EVERY_S)
            try:
                await self.recover()
            except StoreUnavailable as error:
                self._kernel.log.error("recovery_not_done", error=str(error))
