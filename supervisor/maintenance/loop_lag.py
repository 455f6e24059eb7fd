"""Noticing that the event loop was blocked."""

from __future__ import annotations

import contextlib
from collections import deque
from zoneinfo import ZoneInfo

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.errors import StoreUnavailable
from supervisor.events import kinds
from supervisor.events.log import Origin
from supervisor.governance.rotation import system_journal
from supervisor.storage.database import Database, Transaction

_EVERY_S = 1.0
_REMEMBERED_S = 60.0


class LoopLag:
    """Sleeps a second and sees how much longer it took: the part of a block that came after it.

    So a block is understated by up to that second; waking more often would cost an idle daemon
    more than all else it does.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        timezone: ZoneInfo,
        warn_s: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._timezone = timezone
        self._warn_s = warn_s
        self._lags: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before_s = self._clock.monotonic()
            await anyio.sleep(_EVERY_S)
            lag_s = max(self._clock.monotonic() - before_s - _EVERY_S, 0.0)
            self._remember(lag_s)
            if lag_s >= self._warn_s:
                await self._tell(round(lag_s, 3))

    async def _tell(self, lag_s: float) -> None:
        self._log.warning("loop_was_blocked", lag_s=lag_s)
        origin = Origin(at=self._clock.now(), actor="daemon")
        # The line above has said it, and the heartbeat says that the store takes nothing.
        with contextlib.suppress(StoreUnavailable):
            await self._database.write(_record, self._timezone, origin, lag_s)

    def _remember(self, lag_s: float) -> None:
        now_s = self._clock.monotonic()
        self._lags.append((now_s, lag_s))
        while self._lags[0][0] < now_s - _REMEMBERED_S:
            self._lags.popleft()

    def worst_s(self) -> float:
        """Return the worst delay of the last minute, in seconds."""
        return max((lag_s for _, lag_s in self._lags), default=0.0)


def _record(tx: Transaction, timezone: ZoneInfo, origin: Origin, lag_s: float) -> None:
    with system_journal(tx, timezone, origin) as journal:
        journal.add(kinds.LoopBlocked(lag_s=lag_s))
