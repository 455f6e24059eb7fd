"""Flying the canary: for each kill drill one tick of a worker that waits to be killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import anyio

from supervisor.clock import from_us
from supervisor.errors import ConfigError, KillSwitchEngaged, StoreUnavailable
from supervisor.governance.drills import CANARY, Drill, DrillRecord, take_up, under_way
from supervisor.storage.database import Transaction
from supervisor.worker.plan import Kernel, WorkerPlan
from supervisor.worker.records import register_worker
from supervisor.worker.tick import TickEnd, WorkerCrashed, run_tick

#: Who asked has given up by then.
_STALE_AFTER = timedelta(seconds=30)


class CanaryKeeper:
    """Looks for a drill whenever another process has committed, and flies the canary for it.

    Its tick is a worker's like any other: gates, hold, in flight, cancelled by the same watch.
    """

    def __init__(self, kernel: Kernel, plan: Callable[[], WorkerPlan]) -> None:
        self._kernel = kernel
        self._plan = plan
        self._woken = anyio.Event()

    def wake(self) -> None:
        """Look whether a drill was asked for."""
        self._woken.set()

    async def run(self) -> None:
        """Wait for drills until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            try:
                await self._look()
            except StoreUnavailable as error:
                self._kernel.log.error("canary_not_flown", error=str(error))

    async def _look(self) -> None:
        database = self._kernel.database
        now = self._kernel.clock.now()
        if self._kernel.is_stopping:
            return
        for record in await database.read(under_way, Drill.KILL):
            is_stale = now - from_us(record.asked_at) > _STALE_AFTER
            if not is_stale and await database.write(_take_up, record, self._kernel.boot_id):
                await self._fly()

    async def _fly(self) -> None:
        try:
            plan = self._plan()
        except ConfigError as error:
            # Whoever asked finds no tick, and says so in its verdict.
            self._kernel.log.error("canary_not_flown", error=str(error))
            return
        end = await self._tick(plan)
        if end is not None and isinstance(end.refusal, KillSwitchEngaged):
            # Killed while it flew: now the gate has to keep it down. It would end at once.
            await self._tick(replace(plan, function=_land))

    async def _tick(self, plan: WorkerPlan) -> TickEnd | None:
        try:
            return await run_tick(self._kernel, plan)
        except WorkerCrashed as crash:
            self._kernel.log.error("crashed", child=CANARY, exc_info=crash.__cause__)
            return None


async def _land(_ctx: object) -> None:
    """Do nothing."""


def _take_up(tx: Transaction, record: DrillRecord, boot_id: str) -> bool:
    if not take_up(tx, record.id, boot_id):
        return False
    register_worker(tx, CANARY, "running")
    return True
