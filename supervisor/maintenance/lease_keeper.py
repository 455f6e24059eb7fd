"""A thread that renews leases of jobs, as long as the event loop turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from supervisor.errors import StoreUnavailable
from supervisor.jobs.leases import InHand, renew
from supervisor.storage.database import Database

#: Renewals in the length of a lease.
_BEATS = 3


class LeaseKeeper:
    """Renews three times in a lease's length, through a connection of its own.

    Not from the loop: a worker that keeps it busy for a moment loses nothing. Not for a loop that
    has not turned since the last time: then nobody can say that the job is being done, its lease
    runs out, and its late end is refused. Jobs that are done before the second look cost nothing.
    Only the keeper's thread writes its fields.
    """

    def __init__(
        self,
        in_hand: InHand,
        *,
        boot_id: str,
        lease_s: Callable[[], float],
        open_store: Callable[[], Awaitable[Database]],
        log: FilteringBoundLogger,
    ) -> None:
        self._in_hand = in_hand
        self._boot_id = boot_id
        self._lease_s = lease_s
        self._open_store = open_store
        self._log = log
        self._has_turned = True
        self._seen: frozenset[int] = frozenset()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = threading.Event()

    def start(self) -> None:
        """Keep the leases of the loop that runs in this thread."""
        self._loop = asyncio.get_running_loop()
        # Daemonic: it must not keep a process alive that wants to end.
        threading.Thread(target=self._run, name="lease-keeper", daemon=True).start()

    def stop(self) -> None:
        """Keep them no more."""
        self._is_over.set()

    def _run(self) -> None:
        while not self._is_over.wait(self._lease_s() / _BEATS):
            self.look()

    def look(self) -> None:
        """Renew what was in hand at the last look too, if the loop has turned since."""
        tokens = self._in_hand.tokens()
        kept, self._seen = tokens & self._seen, tokens
        if not kept:
            self._has_turned = True
            return
        has_turned, self._has_turned = self._has_turned, False
        self._call(self._turned)
        if not has_turned:
            self._log.warning("leases_not_renewed", claims=len(kept), why="the loop is blocked")
            return
        try:
            left = asyncio.run(self._renew())
        except StoreUnavailable as error:
            self._log.error("leases_not_renewed", claims=len(kept), why=str(error))
            return
        for token in kept - left:
            self._call(self._in_hand.lose, token)

    def _turned(self) -> None:
        self._has_turned = True

    def _call(self, function: Callable[..., object], *args: object) -> None:
        assert self._loop is not None, "it was not started"
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    async def _renew(self) -> frozenset[int]:
        database = await self._open_store()
        try:
            return frozenset(await database.write(renew, self._boot_id))
        finally:
            await database.close()
