"""Showing that the daemon lives: a file, a row, systemd's watchdog, an outgoing ping."""

from __future__ import annotations

from collections.abc import Callable
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


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What `heartbeat.json` holds."""

    at: str
    pid: int
    boot_id: str
    state: str
    workers: dict[str, dict[str, object]]


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """Beats every `every_s` seconds, and stops vouching for a worker that is stuck.

    Liveness (the file, the row, the watchdog) is distinct from progress (the ping): a daemon
    whose worker is stuck still beats, but its ping says so.
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
    is_store_well: bool = True
    #: The last beat; a life's start counts as one, as in its row.
    beat_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.beat_at = self.clock.now()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            began_s = self.clock.monotonic()
            await self.beat()
            taken_s = self.clock.monotonic() - began_s
            await anyio.sleep(max(self.every_s - taken_s, 0.0))

    async def beat(self) -> None:
        """Beat once."""
        now = self.beat_at = self.clock.now()
        state = self.state() if self.is_store_well else "degraded"
        self.write_file(state)
        troubles = self.vitals.troubles(now)
        self.manager.notify("WATCHDOG=1", f"STATUS={'; '.join(troubles) or state}")
        self.ping.report(troubles)
        await self.reach_store()

    async def reach_store(self) -> None:
        """Beat into the store alone, and note whether it takes that."""
        now = to_us(self.clock.now())
        try:
            await self.database.write(_beat, self.boot_id, now, self.state())
        except StoreUnavailable as error:
            if self.is_store_well:
                self.log.error("heartbeat_not_stored", error=str(error))
            self.is_store_well = False
        else:
            self.is_store_well = True

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
            self.log.error("heartbeat_not_written", path=str(self.path), error=str(error))


def _beat(tx: Transaction, boot_id: str, now_us: int, state: str) -> None:
    tx.run("daemons.beat", boot_id=boot_id, now=now_us, state=state)
