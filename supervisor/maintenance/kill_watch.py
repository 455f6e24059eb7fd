"""Noticing a kill that came from outside: the STOP file, or another process's commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
from structlog.typing import FilteringBoundLogger

from supervisor.errors import StoreUnavailable
from supervisor.governance.in_flight import InFlight
from supervisor.governance.kill_switch import engaged
from supervisor.maintenance.stop_file import read_stop
from supervisor.storage.database import Database, Transaction

#: While a tick runs; a twentieth of `kill_latency_s` at its default.
_BUSY_EVERY_S = 0.04
#: While none does: there is nothing to cancel, and the gates read the latches themselves.
_IDLE_EVERY_S = 0.5


class _News(msgspec.Struct, frozen=True):
    """The newest event's position, and how many of the new ones can open a gate."""

    position: int
    openings: int = 0


def _newest(tx: Transaction) -> _News:
    newest = tx.row("governance.newest", _News)
    assert newest is not None, "a maximum always has a row"
    return newest


def _news(tx: Transaction, seen: int | None) -> _News:
    news = tx.row("governance.news", _News, seen=seen or 0)
    assert news is not None, "a count always has a row"
    return news


class KillWatch:
    """Looks often while a tick runs; the gates don't depend on it, work in flight does."""

    def __init__(
        self,
        *,
        database: Database,
        in_flight: InFlight,
        stop_file: Path,
        log: FilteringBoundLogger,
        on_stop: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._in_flight = in_flight
        self._stop_file = stop_file
        self._log = log
        self._on_stop = on_stop
        self._on_change = on_change
        self._listeners: list[Callable[[], None]] = []
        self._has_failed = False
        self._is_behind = False
        self._seen: int | None = None
        #: How many ticks had arrived when a latched kill was obeyed last; None where none is.
        self._obeyed: int | None = None

    def troubles(self) -> list[str]:
        """Return why a kill that is latched in the store would not be noticed, if that is so."""
        return ["the kill switch can't be read: every gate refuses"] if self._has_failed else []

    def follow(self, listener: Callable[[], None]) -> None:
        """Let `listener` know whenever others have committed anything."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch until cancelled; the file also while the store does not answer."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_file)
            tasks.start_soon(self._watch_store)

    async def _watch_file(self) -> None:
        while True:
            if self._stop_file.exists():
                said = read_stop(self._stop_file.parent) or "no word about why"
                self._on_stop(f"the file {self._stop_file} is there: {said}")
            await self._pause()

    async def _watch_store(self) -> None:
        while True:
            await self._look()
            await self._pause()

    async def _pause(self) -> None:
        if len(self._in_flight):
            await anyio.sleep(_BUSY_EVERY_S)
            return
        with anyio.move_on_after(_IDLE_EVERY_S):
            await self._in_flight.wait_for_one()

    async def _look(self) -> None:
        try:
            if self._seen is None:
                self._seen = (await self._database.read(_newest)).position
            if await self._database.has_foreign_commits() or self._is_behind:
                await self.obey()
                await self._wake_the_refused()
                for tell in self._listeners:
                    tell()
            elif self._obeyed is not None and self._in_flight.arrivals != self._obeyed:
                # It was not to be seen then, though it had begun before the kill: the next job of
                # a claim, or a tick whose begin was answered late.
                await self.obey()
            self._has_failed = False
        except StoreUnavailable as error:
            # Not cancelled for that: the gates refuse every further call (requirement K5).
            if not self._has_failed:
                self._log.error("kill_switch_unreadable", error=str(error))
            self._has_failed = True

    async def _wake_the_refused(self) -> None:
        """Announce a change, where one of the new events can turn a gate's no into a yes.

        Not after every commit of others: on a store of many daemons a refused worker would tick,
        and be skipped, and thereby commit, as often as any of them does.
        """
        self._is_behind = True
        news = await self._database.read(_news, self._seen)
        self._is_behind = False
        self._seen = news.position
        if news.openings:
            self.announce_change()

    def announce_change(self) -> None:
        """Let workers that a gate has refused try again."""
        self._on_change()

    async def obey(self) -> None:
        """Cancel every running tick that a latched kill reaches.

        Raises:
            StoreUnavailable: the latches can't be read.
        """
        # Until it has been read, also where this fails: the next look tries again.
        self._is_behind = True
        arrivals = self._in_flight.arrivals
        latches = await self._database.read(engaged)
        self._is_behind = False
        self._obeyed = arrivals if latches else None
        for flight in self._in_flight.kill(latches):
            self._log.warning("tick_killed", worker=flight.worker, session_id=flight.session_id)
