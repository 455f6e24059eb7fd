"""Events that change no state: held until the store takes them, and dropped where they pile up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.errors import StoreUnavailable
from supervisor.events import kinds
from supervisor.events.log import Journal, Origin
from supervisor.storage.database import Database, Transaction

_BATCH_MAX = 100
_RETRY_S = 1.0

_Held = tuple[Origin, kinds.Event]


class Telemetry:
    """Takes events at once and journals them in the background, in batches (requirement S6).

    Nobody waits for it and nobody fails by it. What a store that takes nothing leaves over is
    bounded: beyond `held_max` the newest are dropped, counted in `dropped`, and their number is
    logged and put on record. Used by the loop's thread only.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        open_journal: Callable[[Transaction, Origin], Journal],
        held_max: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._open_journal = open_journal
        self._held_max = held_max
        self._held: deque[_Held] = deque()
        self._arrived = anyio.Event()
        self._dropped_untold = 0
        self.dropped = 0

    def add(self, event: kinds.Event) -> None:
        """Take an event, or drop it if `held_max` wait already; it happened now."""
        assert not event.state_bearing, f"{event.kind} bears state: it can't wait"
        if len(self._held) >= self._held_max:
            self._drop(1)
            return
        self._held.append((Origin(at=self._clock.now(), actor="daemon"), event))
        self._arrived.set()

    def _drop(self, count: int) -> None:
        if not self._dropped_untold:
            self._log.warning("telemetry_is_dropped", held=len(self._held))
        self.dropped += count
        self._dropped_untold += count

    async def run(self) -> None:
        """Journal what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            try:
                await self.flush()
            except StoreUnavailable:
                # Those that bear state say so, and the heartbeat; here it is only waited for.
                await anyio.sleep(_RETRY_S)
                self._arrived.set()

    async def flush(self) -> None:
        """Journal all that is held, batch by batch.

        Raises:
            StoreUnavailable: the store did not take a batch; it and what follows is held on.
        """
        while self._held:
            batch = list(islice(self._held, _BATCH_MAX))
            # Shielded, so that what was written is always known not to be held any more.
            with anyio.CancelScope(shield=True):
                await self._database.write(_journal, self._open_journal, batch)
            for _ in batch:
                self._held.popleft()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        count, self._dropped_untold = self._dropped_untold, 0
        if count:
            self._log.warning("telemetry_dropped", count=count)
            self.add(kinds.TelemetryDropped(count=count))

    async def close(self) -> None:
        """Journal what is left; what the store does not take now is dropped."""
        try:
            await self.flush()
            await self.flush()  # the number of those that were dropped
        except StoreUnavailable:
            self._drop(len(self._held))
            self._held.clear()
            self._log.warning("telemetry_dropped", count=self._dropped_untold)


def _journal(
    tx: Transaction,
    open_journal: Callable[[Transaction, Origin], Journal],
    batch: Sequence[_Held],
) -> None:
    for origin, event in batch:
        with open_journal(tx, origin) as journal:
            journal.add(event)
