"""How far a tick has come, as its worker tells it: for people to see, and for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from supervisor.errors import InputRefused, StoreUnavailable, storable
from supervisor.events.log import Origin
from supervisor.jobs.progress import Loop, Told, tell_progress
from supervisor.redaction import REDACTION
from supervisor.storage.database import Database

#: What takes longer than this is shown while it is in work.
SHOWN_AFTER_S = 0.5
_ITEM_MAX = 200
_NUMBER_MAX = 2**53


class ToldProgress:
    """What `ctx.progress` was told last. Used only in the event loop."""

    def __init__(self, database: Database, loop: Loop, origin: Callable[[], Origin]) -> None:
        self._database = database
        self._loop = loop
        self._origin = origin
        self._told: Told | None = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, *, done: int, total: int | None, item: str) -> None:
        """Take what is to be shown; a tick that is over sooner shows nothing.

        Raises:
            InputRefused: these are no numbers of items.
        """
        if not 0 <= done <= _NUMBER_MAX or not 0 <= (total or 0) <= _NUMBER_MAX:
            raise InputRefused(
                subject=f"progress of {self._loop.owner}",
                what=f"{done} of {total} is none",
                fix="give how many items are done, and how many there are, or None",
            )
        label = REDACTION.text(storable(item))[:_ITEM_MAX]
        self._told = Told(done=done, total=total, item=label)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SHOWN_AFTER_S, self._write)

    def _write(self) -> None:
        self._timer = None
        assert self._told is not None, "it was told something"
        at = self._origin().at
        write_for_people(self._database.write(tell_progress, self._loop, self._told, at))

    def close(self) -> None:
        """Show nothing any more: the tick is over."""
        if self._timer is not None:
            self._timer.cancel()


def write_for_people(writing: Awaitable[None]) -> None:
    """Let a write go on that nobody waits for; where the store does not take it, it is left."""
    asyncio.ensure_future(writing).add_done_callback(_look_at)


def _look_at(writing: asyncio.Future[None]) -> None:
    with contextlib.suppress(StoreUnavailable, asyncio.CancelledError):
        writing.result()
