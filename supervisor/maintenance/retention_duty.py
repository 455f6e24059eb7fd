"""The daemon's look, every hour, whether windows are old enough to be exported and pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.errors import SupervisorError
from supervisor.storage.database import Database

_EVERY_S = 3600.0
_FIRST_AFTER_S = 60.0


class RetentionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How long closed windows stay, and where they go; `keep_days` of 0 keeps everything."""

    keep_days: int
    checkpoints_kept: int
    folder: Path
    timezone: ZoneInfo
    version: str


class RetentionDuty:
    """Exports and prunes by itself; what fails is said, and tried again at the next look."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        plan: Callable[[], RetentionPlan],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._plan = plan

    async def run(self) -> None:
        """Look until cancelled."""
        await anyio.sleep(_FIRST_AFTER_S)
        while True:
            await self.once()
            await anyio.sleep(_EVERY_S)

    async def once(self) -> None:
        """Export and prune what is old enough."""
        # Imported when it is due: a start has no use for it (docs/decisions/0006).
        from supervisor.maintenance.retention import retain

        try:
            done = await retain(self._database, self._plan(), clock=self._clock)
        except SupervisorError as error:
            self._log.error("retention_not_done", error=str(error))
            return
        if done.held_back:
            self._log.warning("retention_held_back", workers=list(done.held_back))
        if done.pruned.events:
            self._log.info("pruned", **msgspec.structs.asdict(done.pruned))
