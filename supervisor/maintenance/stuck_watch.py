"""Cancelling ticks in whose session nothing has happened for too long."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.errors import StoreUnavailable
from supervisor.events import upkeep_kinds
from supervisor.events.log import Journal, Origin
from supervisor.governance.in_flight import Flight, InFlight
from supervisor.storage.database import Database, Transaction

#: A tick is looked at that often within the span after which it counts as stuck.
_LOOKS = 30
_LOOK_MIN_S = 0.05


class _Head(msgspec.Struct, frozen=True):
    id: str
    last_seq: int


class _Tick(msgspec.Struct, frozen=True):
    worker: str
    number: int
    session_id: str | None


class _Quiet(msgspec.Struct, frozen=True):
    """A session's last number, and since when it is that by the monotonic clock."""

    seq: int
    since_s: float


class StuckWatch:
    """Follows the ticks of this daemon that are in flight, as long as there are any.

    By the monotonic clock and the numbers of events: neither a wall clock that jumps nor a time in
    which this process stood still makes a tick stuck. A tick that swallows its cancellation is told
    of once. `on_stuck` is called for each; `stuck_after_s` gives what the config says now.
    """

    def __init__(
        self,
        database: Database,
        in_flight: InFlight,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        stuck_after_s: Callable[[], float],
        on_stuck: Callable[[], None],
    ) -> None:
        self._database = database
        self._in_flight = in_flight
        self._clock = clock
        self._log = log
        self._stuck_after_s = stuck_after_s
        self._on_stuck = on_stuck
        self._quiet: dict[Flight, _Quiet] = {}
        self._looked_s = clock.monotonic()

    async def run(self) -> None:
        """Watch until cancelled; where the store does not answer, look again later."""
        while True:
            await self._in_flight.wait_for_one()
            try:
                await self.look()
            except StoreUnavailable as error:
                # No tick can be told from a stuck one while no event can be written or read.
                self._quiet.clear()
                self._log.error("stuck_ticks_not_looked_for", error=str(error))
            await anyio.sleep(max(self._stuck_after_s() / _LOOKS, _LOOK_MIN_S))

    async def look(self) -> None:
        """Look once, and cancel what has been quiet for too long.

        Raises:
            StoreUnavailable: the store failed.
        """
        flights = [one for one in self._in_flight.running() if not one.stuck_why]
        heads = await self._database.read(_heads)
        now_s = self._clock.monotonic()
        if now_s - self._looked_s > self._stuck_after_s() / 2:
            # It was not the ticks that stood still but all of the daemon.
            self._quiet.clear()
        self._looked_s = now_s
        self._quiet = {flight: self._see(flight, heads, now_s) for flight in flights}
        for flight, quiet in self._quiet.items():
            if now_s - quiet.since_s >= self._stuck_after_s():
                await self._end(flight, quiet, now_s)

    def _see(self, flight: Flight, heads: Mapping[str, int], now_s: float) -> _Quiet:
        before = self._quiet.get(flight)
        seq = heads.get(flight.session_id, 0)
        return before if before is not None and before.seq == seq else _Quiet(seq, now_s)

    async def _end(self, flight: Flight, quiet: _Quiet, now_s: float) -> None:
        idle_s, limit_s = round(now_s - quiet.since_s, 3), self._stuck_after_s()
        origin = Origin(at=self._clock.now(), actor="recovery")
        found = upkeep_kinds.SessionStuck(
            worker=flight.worker, tick=0, idle_s=idle_s, stuck_after_s=limit_s
        )
        if not await self._database.write(_record, flight.session_id, quiet.seq, found, origin):
            return
        flight.give_up(f"no event in its session for {idle_s:g} s, stuck_after_s = {limit_s:g}")
        self._on_stuck()


def _heads(tx: Transaction) -> dict[str, int]:
    return {row.id: row.last_seq for row in tx.rows("sessions.open_heads", _Head)}


def _record(
    tx: Transaction,
    session_id: str,
    seen_seq: int,
    found: upkeep_kinds.SessionStuck,
    origin: Origin,
) -> bool:
    """Record that a session is stuck; return False where an event has come, or its tick's end."""
    tick = tx.row("workers.running_tick", _Tick, worker=found.worker)
    if tick is None or tick.session_id != session_id or _heads(tx).get(session_id) != seen_seq:
        return False
    origin = msgspec.structs.replace(origin, correlation_id=f"{tick.worker}#{tick.number}")
    with Journal(tx, session_id, origin) as journal:
        journal.add(msgspec.structs.replace(found, tick=tick.number))
    return True
