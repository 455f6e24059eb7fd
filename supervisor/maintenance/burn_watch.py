"""Looking, a few times in each window, whether somebody spends too fast."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from structlog.typing import FilteringBoundLogger

from supervisor.clock import Clock
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Origin
from supervisor.governance.breaker import BreakerRules
from supervisor.governance.burning import PARTS, find_burns, stop_burns
from supervisor.ledger.accounts import Budgets
from supervisor.storage.database import Database


class BurnWatch:
    """Opens breakers on the rate of spending; takes up changed rules by itself."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        log: FilteringBoundLogger,
        rules: Callable[[], tuple[Budgets, BreakerRules]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log
        self._rules = rules

    async def run(self) -> None:
        """Look until cancelled; where the store does not answer, try again later.

        The first look comes at once: a daemon that is started again and again would have no other.
        """
        while True:
            await self.once()
            await anyio.sleep(self._rules()[1].rate_window_s / PARTS)

    async def once(self) -> None:
        """Look once."""
        budgets, rules = self._rules()
        try:
            # A read first: most of the time nobody does, and a write costs a sync.
            if await self._database.read(find_burns, budgets, rules, self._clock.now()):
                origin = Origin(at=self._clock.now(), actor="daemon")
                await self._database.write(stop_burns, budgets, rules, origin)
        except StoreUnavailable as error:
            self._log.error("spending_not_watched", error=str(error))
