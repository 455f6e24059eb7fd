"""Writing how a tick's jobs have ended, while it goes on and with its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio

from supervisor.errors import CommandConflict, StoreUnavailable
from supervisor.worker.calls import Calls
from supervisor.worker.placing import HoldEnd
from supervisor.worker.plan import Kernel
from supervisor.worker.queue_records import (
    FinishedJob,
    TickHolding,
    end_some,
    finish_queue_tick,
)
from supervisor.worker.records import Ending

_STORE_RETRY_S = 1.0
#: What has ended is durable this soon, or with its tick: small jobs share a commit, and a long
#: one does not keep the ends of those before it waiting.
_PACE_S = 0.01


class Endings:
    """The ends of one claim's jobs, in their order. Written only by its tick's task and loop.

    Until an end is durable its job is repeated after a crash, as one that was in flight is.
    """

    def __init__(self, kernel: Kernel, hand: TickHolding, calls: Calls) -> None:
        self._kernel = kernel
        self._hand = hand
        self._calls = calls
        self._left: list[FinishedJob] = []
        self._taken: list[FinishedJob] = []
        self._writing: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Whether somebody else has the jobs by now.
        self.is_lost = False

    def add(self, finished: FinishedJob, *, is_last: bool) -> None:
        """Take an end; that of the last job is written with the tick's."""
        self._left.append(finished)
        if not is_last and self._timer is None and self._writing is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PACE_S, self._write)

    def _write(self) -> None:
        self._timer = None
        if self.is_lost:
            return
        self._taken, self._left = self._left, []
        origin = self._calls.origin()
        written = self._kernel.database.write(end_some, self._hand, self._taken, origin)
        self._writing = asyncio.ensure_future(written)
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[bool]) -> None:
        self._writing = None
        taken, self._taken = self._taken, []
        error = None if writing.cancelled() else writing.exception()
        if writing.cancelled() or error is not None:
            # Tried again with the tick's end, also where it was a fault of ours.
            self._left = [*taken, *self._left]
            self._say_not_written(error)
        else:
            self.is_lost |= not writing.result()

    async def settle(self) -> None:
        """Write what has ended so far: what the next job commits comes after it.

        Raises:
            StoreUnavailable: it could not be written.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._write()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._left:
            raise StoreUnavailable(
                subject=f"ends of jobs of {self._hand.worker}",
                what="were not written yet, so that nothing can be committed after them",
                fix="they are written again with the end of the tick",
            )

    async def finish(self, ending: Ending) -> None:
        """Write what is left in the transaction that ends the tick, however long that takes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        ends = self._calls.take_ends()
        while True:
            try:
                await self._finish(ending, ends)
                return
            except StoreUnavailable as error:
                self._say_not_written(error)
                if self._kernel.is_stopping:
                    return
                await anyio.sleep(_STORE_RETRY_S)
            except CommandConflict as error:
                # Somebody else has ended one of its holds, and nobody's end is written twice.
                self._say_not_written(error)
                ends = []

    async def _finish(self, ending: Ending, ends: Sequence[HoldEnd]) -> None:
        # Behind the ends of holds that are on their way, in the order of calls.
        written = self._kernel.database.write(
            finish_queue_tick, self._hand, ending, self._left, self._calls.origin(), ends
        )
        try:
            await self._calls.flush()
        except StoreUnavailable as error:
            self._say_not_written(error)
        self.is_lost |= not await written

    def _say_not_written(self, error: BaseException | None) -> None:
        self._kernel.log.error(
            "tick_end_not_written",
            worker=self._hand.worker,
            tick=self._hand.tick,
            error=str(error),
        )
