"""The duties that come round: recovery, sweeps, drills, alerts, retention, report, queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

import anyio
import msgspec

from supervisor.alert_assembly import build_channels, build_settings
from supervisor.alerts.duty import Alerts, Configured, Watched
from supervisor.alerts.failing import WorkerNews
from supervisor.assembly import build_canary, build_retention
from supervisor.clock import to_us
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.governance.drills import CANARY
from supervisor.maintenance.approval_sweep import ApprovalSweep
from supervisor.maintenance.burn_watch import BurnWatch
from supervisor.maintenance.heartbeat import Heartbeat
from supervisor.maintenance.job_watch import JobWatch, Leases
from supervisor.maintenance.lease_keeper import LeaseKeeper
from supervisor.maintenance.peers import Peers
from supervisor.maintenance.recovery import Findings, recover
from supervisor.maintenance.retention_duty import RetentionDuty
from supervisor.maintenance.stuck_watch import StuckWatch
from supervisor.maintenance.sweep_rehearsal import SweepRehearsal
from supervisor.maintenance.vitals import Vitals
from supervisor.metrics import Metrics
from supervisor.storage.open import open_database
from supervisor.worker.morning_report import MorningReport
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
        vitals: Vitals,
        workforce: Workforce,
    ) -> None:
        self._kernel = kernel
        self._loaded = loaded
        self._peers = peers
        self._metrics = metrics
        self._vitals = vitals
        self._heartbeat: Heartbeat | None = None
        rehearsal = SweepRehearsal(
            kernel.database, kernel.clock, boot_id=kernel.boot_id, timezone=loaded().timezone
        )
        self.approvals = ApprovalSweep(
            kernel.database, kernel.clock, kernel.log, loaded, workforce.call, rehearsal.once
        )
        self._stuck = StuckWatch(
            kernel.database,
            kernel.in_flight,
            kernel.clock,
            kernel.log,
            stuck_after_s=lambda: loaded().config.supervisor.stuck_after_s,
            on_stuck=lambda: metrics.show_recovery(stuck=1),
        )
        self._is_left_behind = anyio.Event()
        self.job_watch = self._build_job_watch(workforce, loaded().timezone)
        self.burns = BurnWatch(
            kernel.database,
            kernel.clock,
            kernel.log,
            lambda: (kernel.policy.budgets, kernel.policy.breakers),
        )
        self._retention = RetentionDuty(
            kernel.database, kernel.clock, kernel.log, lambda: build_retention(loaded())
        )
        self._rehearsals = Rehearsals(kernel, loaded=loaded, canary=lambda: build_canary(loaded()))
        self.alerts = Alerts(
            database=kernel.database,
            clock=kernel.clock,
            log=kernel.log,
            configured=Configured(
                settings=lambda: build_settings(loaded()), channels=lambda: build_channels(loaded())
            ),
            watched=Watched(
                stuck=vitals.stuck, degradations=self._degradations, workers=self._workers
            ),
            chance=kernel.chance,
        )
        self._report = MorningReport(kernel, loaded, lambda: build_settings(loaded()).terms)

    def children(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return what is to run from the first recovery until the end, by name."""
        return {
            "recovery": self._recover_on_schedule,
            "stuck-ticks": self._stuck.run,
            "approvals": self.approvals.run,
            "burns": self.burns.run,
            "canary": self._rehearsals.canary.run,
            "drills": self._rehearsals.schedule.run,
            "retention": self._retention.run,
            "alerts": self.alerts.run,
            "jobs": self.job_watch.run,
            "leases": self._keep_leases,
            "report": self._report.run,
        }

    def _build_job_watch(self, workforce: Workforce, timezone: ZoneInfo) -> JobWatch:
        kernel = self._kernel
        return JobWatch(
            kernel.database,
            kernel.clock,
            kernel.log,
            queues=workforce.queues,
            arrive=workforce.arrive,
            leases=Leases(
                boot_id=kernel.boot_id,
                in_hand=kernel.in_hand,
                timezone=timezone,
                on_taken=self._recover_soon,
            ),
        )

    async def _keep_leases(self) -> None:
        """Renew the leases of jobs from a thread, until cancelled."""
        kernel, loaded = self._kernel, self._loaded()
        keeper = LeaseKeeper(
            kernel.in_hand,
            boot_id=kernel.boot_id,
            lease_s=lambda: kernel.policy.jobs.lease_s,
            open_store=lambda: open_database(
                loaded.config.supervisor.database,
                state_dir=loaded.state_dir,
                now_us=to_us(kernel.clock.now()),
            ),
            log=kernel.log,
        )
        keeper.start()
        try:
            await anyio.sleep_forever()
        finally:
            keeper.stop()

    def wake(self) -> None:
        """Look at once whether a ticket was decided: another process has committed."""
        self.approvals.look()

    def follow(self, facts: Sequence[object]) -> None:
        """Look at what one commit of this process has made true."""
        self.alerts.follow(facts)
        self.job_watch.follow(facts)

    def follow_others(self) -> None:
        """Look at once for drills, facts and jobs: others have committed."""
        self._rehearsals.canary.wake()
        self.alerts.look_soon()
        self.job_watch.look()

    def watch(self, heartbeat: Heartbeat) -> None:
        """Let alerts know of what the heartbeat notices."""
        self._heartbeat = heartbeat

    def _degradations(self) -> Sequence[str]:
        return self._heartbeat.degradations() if self._heartbeat else ()

    def _workers(self) -> Mapping[str, WorkerNews]:
        return {
            name: WorkerNews(
                life=one.life,
                outcome=one.outcome,
                progress_at=one.last_progress_at,
                failing_since=one.failing_since,
                why=one.why,
            )
            for name, one in self._vitals.workers.items()
        }

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

    def _recover_soon(self) -> None:
        self._is_left_behind.set()

    async def _recover_on_schedule(self) -> None:
        """Recover now and then, and when jobs were taken from a silent daemon: it may be dead."""
        while True:
            with anyio.move_on_after(_RECOVER_EVERY_S):
                await self._is_left_behind.wait()
            self._is_left_behind = anyio.Event()
            try:
                await self.recover()
            except StoreUnavailable as error:
                self._kernel.log.error("recovery_not_done", error=str(error))
