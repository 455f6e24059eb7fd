"""What the daemon has to say, and do, when it is asked over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from supervisor.clock import Clock
from supervisor.config import Loaded
from supervisor.errors import NotFound, StoreUnavailable, SupervisorError
from supervisor.events.log import Origin
from supervisor.events.telemetry import Telemetry
from supervisor.governance import approvals, kill_switch
from supervisor.governance.approvals import DecideCommand, Decided, Terms
from supervisor.governance.backlog import TicketFacts, pending_tickets
from supervisor.governance.health import status_json
from supervisor.governance.kill_switch import KillCommand, Latched
from supervisor.governance.status import Surroundings, known_workers, read_status
from supervisor.ids import IdSource
from supervisor.lock import LOCK_NAME, Holder, read_holder
from supervisor.maintenance.heartbeat import Heartbeat
from supervisor.maintenance.kill_watch import KillWatch
from supervisor.maintenance.loop_lag import LoopLag
from supervisor.maintenance.stop_file import read_stop, write_stop
from supervisor.maintenance.vitals import Vitals
from supervisor.metrics import Metrics
from supervisor.scrape import read_gauges, show
from supervisor.storage.database import Database, P, T, Transaction, TransactionFunction
from supervisor.worker.plan import Kernel

#: Half of what Prometheus waits for a scrape by default.
_READ_S = 5.0
_SELF = Holder(pid=os.getpid(), boot_id="", started_at="")

#: How many tickets one answer holds at most; it says so where there are more.
TICKETS_MAX = 500


class Tickets(msgspec.Struct, frozen=True, kw_only=True):
    """What GET /approvals answers."""

    approvals: list[TicketFacts]
    is_complete: bool


def _nobody_is_called() -> None:
    """Stand in for the daemon's sweep, which calls workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Every answer, made of the daemon's parts; a state change goes through the store."""

    database: Database
    clock: Clock
    ids: IdSource
    kernel: Kernel
    metrics: Metrics
    vitals: Vitals
    heartbeat: Heartbeat
    kill_watch: KillWatch
    loop_lag: LoopLag
    telemetry: Telemetry
    is_ready: Callable[[], bool]
    loaded: Callable[[], Loaded]
    on_decision: Callable[[], None] = _nobody_is_called

    async def why_not_ready(self) -> str:
        """Return why the daemon can't work, empty if it can: recovered, and the store writable."""
        if not self.is_ready():
            return "starting: recovery has not ended"
        await self.heartbeat.reach_store()
        return self.heartbeat.store_trouble()

    async def scrape(self) -> bytes:
        """Return every series; where the store can't be read, the gauges keep their last value."""
        now = self.clock.now()
        try:
            gauges = await self._read(read_gauges, self.kernel.policy.budgets, now)
            show(self.metrics, gauges)
        except StoreUnavailable as error:
            self.kernel.log.error("scrape_without_store", error=str(error))
        self.metrics.show_write_failures(self.database.write_failures())
        self.metrics.wal.set(self.database.size_bytes())
        self.metrics.show_telemetry_dropped(self.telemetry.dropped)
        self.metrics.loop_lag.set(self.loop_lag.worst_s())
        self.metrics.heartbeat.set(self.heartbeat.beat_at.timestamp())
        self.metrics.forget_workers()
        for name, vitals in self.vitals.workers.items():
            self.metrics.show_worker(name, vitals.life, vitals.last_progress_at)
        return self.metrics.render()

    async def status(self) -> object:
        """Return the same facts as `supervisor status --json`."""
        loaded = self.loaded()
        around = Surroundings(
            # Who answers is running: to look at the lock, as others must, could only be wrong.
            holder=read_holder(loaded.state_dir / LOCK_NAME) or _SELF,
            stop_requested=read_stop(loaded.state_dir),
            heartbeat_s=loaded.config.supervisor.heartbeat_s,
            troubles=(*self.heartbeat.degradations(), *self.vitals.stuck()),
        )
        status = await self._read(
            read_status,
            now=self.clock.now(),
            worker_names=list(loaded.config.worker),
            budgets=self.kernel.policy.budgets,
            around=around,
        )
        return status_json(status)

    async def _read(
        self, function: TransactionFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Read from the store, which must answer sooner than whoever asks gives up."""
        with anyio.move_on_after(_READ_S):
            return await self.database.read(function, *args, **kwargs)
        raise StoreUnavailable(
            subject="store",
            what=f"has not answered for {_READ_S:g} s",
            fix="check that it, and the way to it, are well; the daemon goes on by itself",
        )

    async def kill(self, command: KillCommand, *, actor: str, command_id: str) -> Latched:
        """Latch a kill, and cancel what it reaches before the answer goes out.

        Raises:
            NotFound: nobody knows the worker or the session; nothing was done.
        """
        origin = self._origin(actor, command_id)
        latched = await self.database.write(_engage, command, origin, self.loaded())
        await self.kill_watch.obey()
        return latched

    async def release(self, command: KillCommand, *, actor: str, command_id: str) -> Latched:
        """Unlatch a kill."""
        origin = self._origin(actor, command_id)
        timezone = self.loaded().timezone
        latched = await self.database.write(kill_switch.release, command, origin, timezone)
        self.kill_watch.announce_change()
        return latched

    def stop(self, *, actor: str, why: str) -> Path:
        """Write the STOP file: the daemon ends at once and stays stopped until it is cleared."""
        return write_stop(self.kernel.state_dir, actor=actor, why=why, at=self.clock.now())

    async def tickets(self) -> Tickets:
        """Return the tickets that wait for a person, the oldest first."""
        rows = await self.database.read(pending_tickets, TICKETS_MAX + 1)
        return Tickets(approvals=rows[:TICKETS_MAX], is_complete=len(rows) <= TICKETS_MAX)

    async def decide(
        self, command: DecideCommand, *, is_approval: bool, actor: str, command_id: str
    ) -> Decided:
        """Decide a ticket, and call its worker.

        Raises:
            NotFound, UsageError, CommandConflict: nothing was done.
            IllegalMove: it is decided, or its deadline has passed.
            KillSwitchEngaged: a kill reaches its worker, so that nothing is approved.
        """
        loaded = self.loaded()
        valid_s = self.kernel.policy.actions.approval_valid_s
        terms = Terms(timezone=loaded.timezone, approval_valid_s=valid_s)
        act = approvals.approve if is_approval else approvals.deny
        origin = self._origin(actor, command_id)
        decided = await self.database.write(act, command, origin, terms)
        self.on_decision()
        if isinstance(decided, SupervisorError):
            raise decided
        return decided

    def _origin(self, actor: str, command_id: str) -> Origin:
        return Origin(
            at=self.clock.now(),
            actor=actor,
            command_id=command_id or self.ids.new("http"),
        )


def _engage(tx: Transaction, command: KillCommand, origin: Origin, loaded: Loaded) -> Latched:
    """Latch a kill, unless a typo would make it reach nothing: as `supervisor kill` does."""
    kind, _, name = command.scope.partition(":")
    known = known_workers(tx) | set(loaded.config.worker)
    if kind == "worker" and name and name not in known:
        raise NotFound(
            subject=f"worker {name[:80]}",
            what="is neither in the config nor in the store; nothing was done",
            fix=f"there is: {', '.join(sorted(known)) or 'none'}"
            " (`supervisor kill --force` does it all the same)",
        )
    return kill_switch.engage(tx, command, origin, loaded.timezone)
