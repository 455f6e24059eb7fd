"""Showing that the daemon lives: a file, a row, systemd's watchdog, an outgoing ping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock, iso, to_us
from supervisor.errors import StoreUnavailable
from supervisor.maintenance.ping import Ping
from supervisor.maintenance.service_manager import ServiceManager
from supervisor.maintenance.vitals import Vitals
from supervisor.storage.database import Database, Transaction

HEARTBEAT_NAME = "heartbeat.json"
#: Longer than any driver waits for a lock: a store that says nothing for so long says no.
_SILENCE_S = 15.0
_TROUBLE_MAX = 300


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What `heartbeat.json` holds."""

    at: str
    pid: int
    boot_id: str
    state: str
    workers: dict[str, dict[str, object]]


def _no_troubles() -> Sequence[str]:
    return ()


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """Beats every `every_s` seconds, and stops vouching for a worker that is stuck.

    Liveness (the file, the row, the watchdog) is distinct from progress (the ping): a daemon
    whose worker is stuck, or whose store takes no writes, still beats, but its ping says so.
    """

    database: Database
    clock: Clock
    log: FilteringBoundLogger
    vitals: Vitals
    manager: ServiceManager
    ping: Ping
    path: Path
    boot_id: str
    pid: int
    every_s: float
    state: Callable[[], str]
    #: What else keeps the daemon from its work, in sentences.
    watched: Callable[[], Sequence[str]] = _no_troubles
    #: Why the store did not take the last row, empty if it did.
    store_error: str = ""
    #: Why the file could not be replaced, empty if it could.
    file_error: str = ""
    #: The last beat; a life's start counts as one, as in its row.
    beat_at: datetime = field(init=False)
    _failures_told: int = 0
    _failures_new: int = 0

    def __post_init__(self) -> None:
        self.beat_at = self.clock.now()

    @property
    def is_store_well(self) -> bool:
        """Whether the store took the last row."""
        return not self.store_error

    async def run(self) -> None:
        """Beat until cancelled. A store that is slow to answer does not hold up the rest."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._reach_store_on_schedule)
            while True:
                self._count_failures()
                self.show()
                await anyio.sleep(self.every_s)

    async def _reach_store_on_schedule(self) -> None:
        while True:
            began_s = self.clock.monotonic()
            was_well = self.is_store_well
            await self.reach_store()
            if was_well != self.is_store_well:
                # At once, to whoever waits for the ping: not at the next beat.
                self.show_state()
            taken_s = self.clock.monotonic() - began_s
            await anyio.sleep(max(self.every_s - taken_s, 0.0))

    async def beat(self) -> None:
        """Beat once, everywhere."""
        self._count_failures()
        self.show()
        await self.reach_store()

    def _count_failures(self) -> None:
        failures = self.database.write_failures()
        self._failures_new = failures - self._failures_told
        self._failures_told = failures

    def show(self) -> None:
        """Beat to all but the store."""
        self.beat_at = self.clock.now()
        self.show_state("WATCHDOG=1")

    def show_state(self, *assignments: str) -> None:
        """Tell the file, the ping and, with `assignments`, the service manager how things stand."""
        self.write_file(self.shown_state())
        # After the file: whether that could be written is one of them.
        state, troubles = self.shown_state(), [*self.vitals.troubles(), *self.degradations()]
        self.manager.notify(*assignments, f"STATUS={'; '.join(troubles) or state}")
        self.ping.report(troubles)

    def shown_state(self) -> str:
        """Return what the daemon is doing in one word, `degraded` before all else."""
        return "degraded" if self.degradations() else self.state()

    def degradations(self) -> list[str]:
        """Return a sentence for each thing but a worker that keeps the daemon from its work.

        A write that failed since the last beat is one until the next, also where the store is
        well again: what did not happen for it has happened to somebody (requirement S6).
        """
        troubles = [*self.watched(), self.store_trouble()]
        if self.file_error:
            troubles.append(f"the heartbeat's file can't be written: {self.file_error}")
        return [trouble[:_TROUBLE_MAX] for trouble in troubles if trouble]

    def store_trouble(self) -> str:
        """Return why the store is not to be relied on, empty if it is."""
        if self.store_error:
            return f"the store does not take writes: {self.store_error}"
        if self._failures_new:
            return f"the store did not take {self._failures_new} writes since the last beat"
        return ""

    async def reach_store(self) -> None:
        """Beat into the store alone, and note whether it takes that."""
        error = f"it has not answered for {_SILENCE_S:g} s"
        with anyio.move_on_after(_SILENCE_S):
            error = await self._write_row()
        if error and self.is_store_well:
            self.log.error("heartbeat_not_stored", error=error)
        self.store_error = error

    async def _write_row(self) -> str:
        troubles = self._failures_new or self.file_error or self.watched()
        state = "degraded" if troubles else self.state()
        try:
            await self.database.write(_beat, self.boot_id, to_us(self.clock.now()), state)
        except StoreUnavailable as error:
            return str(error)
        return ""

    def write_file(self, state: str) -> None:
        """Replace the file."""
        beat = Beat(
            at=iso(self.clock.now()),
            pid=self.pid,
            boot_id=self.boot_id,
            state=state,
            workers=self.vitals.as_heartbeat(),
        )
        fresh = self.path.with_name(f".{self.path.name}")
        try:
            # Replaced whole, not flushed: a beat that a power cut loses has told the truth.
            fresh.write_bytes(msgspec.json.encode(beat))
            fresh.chmod(0o600)
            fresh.replace(self.path)
        except OSError as error:
            if not self.file_error:
                self.log.error("heartbeat_not_written", path=str(self.path), error=str(error))
            self.file_error = str(error)
        else:
            self.file_error = ""


def _beat(tx: Transaction, boot_id: str, now_us: int, state: str) -> None:
    tx.run("daemons.beat", boot_id=boot_id, now=now_us, state=state)
