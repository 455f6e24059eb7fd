"""Writing the morning report when it is due, and telling the channels that want it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import anyio

from supervisor.alerts.facts import Fact, Said, Severity
from supervisor.alerts.morning import Morning, read_morning, render
from supervisor.alerts.record import Terms, raise_fact
from supervisor.clock import to_us
from supervisor.config import Loaded
from supervisor.errors import StoreUnavailable
from supervisor.events.log import Origin
from supervisor.storage.database import Transaction
from supervisor.storage.open import open_database
from supervisor.worker.files import Reports, replace_file
from supervisor.worker.occurrences import Claim, open_schedule, take
from supervisor.worker.plan import Kernel
from supervisor.worker.schedule import Cron

#: No worker can be called that: it has a place of its own among the schedules.
_NAME = "@report"
_SLICE_S = 30.0
_SPAN_MAX = timedelta(days=31)
_TOLD_MAX = 1_500


class MorningReport:
    """Writes `reports/morning-DAY.md` at each occurrence, once over restarts and daemons.

    A report is of the time since the last one. One that was due while no daemon ran is written at
    the start: the night on which the daemon died is the one to be told of. It is read on a
    connection of its own, so that a long night holds up no look for a kill.
    """

    def __init__(
        self, kernel: Kernel, loaded: Callable[[], Loaded], terms: Callable[[], Terms]
    ) -> None:
        self._kernel = kernel
        self._loaded = loaded
        self._terms = terms

    async def run(self) -> None:
        """Write reports until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, OSError) as error:
                self._kernel.log.error("report_not_written", error=str(error))
            await anyio.sleep(_SLICE_S)

    async def look(self) -> None:
        """Write the report if it is due.

        Raises:
            StoreUnavailable: the store failed; it is tried again.
            OSError: the file could not be written; it is tried again.
        """
        loaded = self._loaded()
        at, timezone = loaded.config.report.at, loaded.timezone
        if not at:
            return
        schedule, now = Cron(at, timezone), self._kernel.clock.now()
        database = self._kernel.database
        taken = await database.write(open_schedule, _NAME, schedule.name, now)
        if schedule.next_after(taken) > now:
            return
        # The first one has nothing before it: it is of a day.
        since = max(taken, now - _SPAN_MAX)
        morning = await self._read(loaded, since, now)
        day = now.astimezone(timezone).date().isoformat()
        await self._write(morning, day)
        claim = Claim(schedule=schedule.name, before=to_us(taken), due=to_us(now))
        origin = Origin(at=now, actor="report")
        await database.write(_tell, claim, _fact(morning, day), self._terms(), origin)

    async def _read(self, loaded: Loaded, since: datetime, now: datetime) -> Morning:
        database = await open_database(
            loaded.config.supervisor.database,
            state_dir=loaded.state_dir,
            now_us=to_us(now),
            is_read_only=True,
        )
        try:
            return await database.read(read_morning, self._kernel.policy.budgets, since, now)
        finally:
            await database.close()

    async def _write(self, morning: Morning, day: str) -> None:
        reports = Reports(self._kernel.state_dir, _NAME)
        text = reports.render(f"Morning report, {day}", render(morning))
        await anyio.to_thread.run_sync(replace_file, reports.path(f"morning-{day}"), text)
        self._kernel.log.info("report_written", day=day, verdict=morning.verdict)


def _tell(tx: Transaction, claim: Claim, fact: Fact, terms: Terms, origin: Origin) -> None:
    # Of several daemons that have written the same file, one tells of it.
    if take(tx, _NAME, claim):
        raise_fact(tx, fact, terms, origin)


def _fact(morning: Morning, day: str) -> Fact:
    return Fact(
        key=f"morning:{day}",
        severity=Severity.INFO,
        title=f"morning report: {morning.verdict}",
        what=render(morning)[:_TOLD_MAX],
        done=f"reports/morning-{day}.md has all of it",
        command="`supervisor report`",
        said=Said.ONCE,
    )
