"""Telling each channel what it is to be told, in its order, until it has arrived."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.alerts.channels import Channel, NotDelivered
from supervisor.alerts.facts import Severity
from supervisor.alerts.record import Pending, claim, note_delivered, note_failed, waits
from supervisor.alerts.settings import Settings
from supervisor.backoff import delay_s
from supervisor.clock import Clock, to_us
from supervisor.errors import StoreUnavailable
from supervisor.storage.database import Database

_LOOK_EVERY_S = 30.0
#: Longer than any channel may take for one message.
_CLAIM = timedelta(seconds=60)
_RETRY_FIRST_S = 1.0
_RETRY_MAX_S = 60.0


class Delivery:
    """One loop a channel, so that one that is down holds up no other.

    A message that a channel has taken is not sent to it again. One whose answer was lost is, with
    the same id: nobody can know better.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        settings: Callable[[], Settings],
        chance: random.Random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._settings = settings
        self._chance = chance
        self._asked = anyio.Event()

    def look(self) -> None:
        """Look now: there may be something to tell."""
        self._asked.set()
        self._asked = anyio.Event()

    async def run(self, name: str, channel: Channel) -> None:
        """Tell one channel until cancelled; the pauses grow while it takes nothing."""
        failures = 0
        while True:
            asked = self._asked
            pending = await self._next(name)
            if pending is None:
                with anyio.move_on_after(_LOOK_EVERY_S):
                    await asked.wait()
                continue
            failed = await self._send(name, channel, pending)
            failures = 0 if failed is None else failures + 1
            if failed is not None:
                await anyio.sleep(max(failed.retry_after_s, self._pause_s(failures)))

    def _pause_s(self, failures: int) -> float:
        return delay_s(
            failures, first_s=_RETRY_FIRST_S, max_s=_RETRY_MAX_S, factor=2.0, chance=self._chance
        )

    async def _next(self, name: str) -> Pending | None:
        now = self._clock.now()
        quiet = self._settings().quiet
        rank_min = (quiet.least_at(now) if quiet else Severity.INFO).rank
        try:
            if not await self._database.read(waits, name, rank_min):
                return None
            return await self._database.write(
                claim, name, now=to_us(now), until=to_us(now + _CLAIM), rank_min=rank_min
            )
        except StoreUnavailable:
            # Whoever looks for facts says so; what is to be told is in the store, and waits.
            return None

    async def _send(self, name: str, channel: Channel, pending: Pending) -> NotDelivered | None:
        failed = None
        try:
            await channel.send(pending.message)
        except NotDelivered as error:
            failed = error
            self._log.warning(
                "alert_not_delivered", channel=name, attempt=pending.attempts, error=str(error)
            )
        try:
            if failed is None:
                now = to_us(self._clock.now())
                await self._database.write(note_delivered, pending.id, now)
            else:
                await self._database.write(note_failed, pending.id, str(failed))
        except StoreUnavailable as error:
            # It is told again once its claim is over: rather twice than not at all.
            self._log.error("alert_not_noted", channel=name, error=str(error))
        return failed
