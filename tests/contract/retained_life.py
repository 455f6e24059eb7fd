"""A life that is long enough for windows to grow old, and what retention makes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from supervisor.clock import VirtualClock
from supervisor.governance.audit import AuditReport
from supervisor.maintenance.export_audit import audit_export
from supervisor.maintenance.retention import Retained, retain
from supervisor.maintenance.retention_duty import RetentionPlan
from supervisor.storage.database import Database
from tests.databases import RawConnection
from tests.unit.governance.recorded_life import UTC_ZONE, RecordedLife

KEEP_DAYS = 2
DAY_S = 86_400
#: The tables that grow with the work.
GROWING = ("sessions", "events", "holds", "ticks", "proposals", "tickets", "commands", "accounts")


class RetainedLife:
    """Runs ticks day by day, and exports and prunes as the daemon does."""

    def __init__(
        self, life: RecordedLife, store: Database, raw: RawConnection, folder: Path
    ) -> None:
        self.life = life
        self.store = store
        self.raw = raw
        self.folder = folder

    def plan(self, *, keep_days: int = KEEP_DAYS, checkpoints_kept: int = 3) -> RetentionPlan:
        return RetentionPlan(
            keep_days=keep_days,
            checkpoints_kept=checkpoints_kept,
            folder=self.folder,
            timezone=UTC_ZONE,
            version="0",
        )

    async def days(self, number: int, *workers: str) -> None:
        """Let so many days pass, each with a paid tick of every worker."""
        for _ in range(number):
            self.life.clock.advance(DAY_S)
            await self.life.start("digest", "triage")
            for worker in workers or ("digest", "triage"):
                await self.life.tick(worker, 1_000)

    async def retain(self, *, keep_days: int = KEEP_DAYS, checkpoints_kept: int = 3) -> Retained:
        plan = self.plan(keep_days=keep_days, checkpoints_kept=checkpoints_kept)
        # In the evening: what was closed in the morning two days ago is old enough.
        evening = VirtualClock(self.life.clock.now() + timedelta(hours=6))
        return await retain(self.store, plan, clock=evening)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*")) if self.folder.exists() else []

    def audits_of_files(self) -> list[AuditReport]:
        return [audit_export(path) for path in self.files()]

    def count(self, table: str) -> int:
        ((number,),) = self.raw.rows(f"SELECT count(*) FROM {table}")  # noqa: S608 - one of ours
        assert isinstance(number, int)
        return number

    def counts(self) -> dict[str, int]:
        return {table: self.count(table) for table in GROWING}

    def sessions(self, worker: str) -> list[tuple[object, ...]]:
        return self.raw.rows(
            "SELECT id, status FROM sessions WHERE worker = ? ORDER BY window_start", worker
        )
